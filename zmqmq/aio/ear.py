"""The event loop's ear for a client's bell: waiting without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from zmqmq.client.bell import Bell


class Ear:
    """Hears a client's bell on the event loop: waits for predicates without a thread."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_told = False

    async def wait_for(self, predicate: Callable[[], object], timeout: float | None) -> bool:
        """Waits until `predicate()` is true, at most `timeout` seconds (None: for ever); gives the predicate."""
        if predicate():
            return True
        loop = self._listen()
        deadline = None if timeout is None else loop.time() + timeout
        while not predicate():
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                return False
            rung = loop.create_future()
            self._waiting.add(rung)
            try:
                await asyncio.wait_for(rung, left)
            except TimeoutError:
                continue
            finally:
                self._waiting.discard(rung)
        return True

    def _listen(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._bell.listen(self._tell)
        return self._loop

    def _tell(self) -> None:
        """On the engine's thread: one word to the loop for however many rings it has not heard yet."""
        if self._waiting and not self._is_told and self._loop is not None and not self._loop.is_closed():
            self._is_told = True
            self._loop.call_soon_threadsafe(self._rung)

    def _rung(self) -> None:
        self._is_told = False
        for rung in self._waiting:
            if not rung.done():
                rung.set_result(None)

    def stop(self) -> None:
        """Listens no more."""
        self._bell.unlisten(self._tell)
