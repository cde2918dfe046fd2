"""The bell of a client object: user threads wait for it, the engine rings it when something has changed.

There is one lock per client object, and the bell is its condition. Asyncio faces listen instead of waiting: a listener is
a function of ours that hands a wake-up to an event loop; it never runs user code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Listener = Callable[[], None]


class Bell:
    """A condition with deadlines and listeners."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._condition = threading.Condition(self.lock)
        self._listeners: list[Listener] = []
        self._waiting = 0

    def ring(self) -> None:
        """Something has changed. The lock is held."""
        if self._waiting:
            self._condition.notify_all()
        for listener in self._listeners:
            listener()

    def wait_for(self, predicate: Callable[[], object], timeout: float | None) -> bool:
        """Waits until `predicate()` is true, at most `timeout` seconds (None: for ever). The lock is held; gives the predicate."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._waiting += 1
        try:
            while not predicate():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._condition.wait(left)
            return True
        finally:
            self._waiting -= 1

    def listen(self, listener: Listener) -> None:
        """Calls `listener` at every ring, on the engine's thread and with the lock held: it must only pass the word on."""
        with self.lock:
            self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """Ends `listen`."""
        with self.lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
