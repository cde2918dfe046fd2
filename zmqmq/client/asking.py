"""The administrator's role on the engine: questions out, answers back to whoever waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from zmqmq.client.bell import Bell
from zmqmq.core.commands import Beacon, Command, Welcome
from zmqmq.core.requests import Request, Requests
from zmqmq.errors import Unreachable, ZmqmqError


class Asking:
    """Guarded by the bell's lock. Methods of the role run on the engine's thread."""

    def __init__(self, next_id: Callable[[], int], bell: Bell) -> None:
        self._requests = Requests(next_id)
        self._bell = bell

    def ask(self, build: Callable[[int], Command], timeout: float) -> Request:
        """Queues a question. The lock is held."""
        return self._requests.ask(build, time.monotonic() + timeout)

    def opened(self, welcome: Welcome, now: float) -> None:
        with self._bell.lock:
            self._requests.opened()

    def down(self, reason: Unreachable) -> None:
        """Questions wait for the next session."""

    def expired(self) -> None:
        """Questions outlive sessions."""

    def hear(self, command: Command, now: float) -> None:
        with self._bell.lock:
            if self._requests.hear(command):
                self._bell.ring()

    def woken(self) -> None:
        """Administrators do not sleep."""

    def beacon(self, beacon: Beacon, now: float) -> None:
        """Administrators do not sleep."""

    def step(self, now: float, is_open: bool) -> list[Command]:
        if not is_open:
            return []
        with self._bell.lock:
            return self._requests.step(now)

    def deadline(self, is_open: bool) -> float:
        return float("inf")

    def is_quiet(self) -> bool:
        return True

    def fail(self, error: ZmqmqError) -> None:
        self._requests.fail(error)
