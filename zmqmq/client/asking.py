"""The administrator's role on the engine: questions out, answers back to whoever waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from zmqmq.client.bell import Bell
from zmqmq.core.commands import Beacon, Command, Welcome
from zmqmq.core.requests import Request, Requests
from zmqmq.core.topology import Letter
from zmqmq.errors import Unreachable, ZmqmqError


class Asking:
    """Guarded by the bell's lock. Methods of the role run on the engine's thread."""

    def __init__(self, next_id: Callable[[], int], bell: Bell) -> None:
        self._requests = Requests(next_id)
        self._bell = bell

    def ask(self, build: Callable[[int], Command], timeout: float, broker: str = "", endpoint: str = "") -> Request:
        """Queues a question, for any broker or for one that is found at `endpoint`. The lock is held."""
        return self._requests.ask(build, time.monotonic() + timeout, broker, endpoint)

    def forget(self, request: Request) -> None:
        """Nobody waits for the answer any more. The lock is held."""
        self._requests.forget(request)

    def opened(self, broker: str, welcome: Welcome, now: float) -> None:
        with self._bell.lock:
            self._requests.opened(broker)

    def down(self, broker: str, reason: Unreachable, gives_up_at: float) -> None:
        """Questions wait for the next session, or go to somebody else."""
        with self._bell.lock:
            self._requests.opened(broker)

    def hear(self, broker: str, command: Command, now: float) -> None:
        with self._bell.lock:
            if self._requests.hear(command, now):
                self._bell.ring()

    def woken(self, broker: str) -> None:
        """Administrators do not sleep."""

    def beacon(self, broker: str, beacon: Beacon, now: float) -> None:
        """Administrators do not sleep."""

    def wanted(self) -> Mapping[str, str]:
        with self._bell.lock:
            return self._requests.wanted()

    def needs_another(self, lines: Sequence[str]) -> bool:
        with self._bell.lock:
            return self._requests.needs_another()

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        with self._bell.lock:
            return self._requests.step(now, lines)

    def deadline(self, lines: Sequence[str]) -> float:
        with self._bell.lock:
            return self._requests.deadline()

    def is_quiet(self) -> bool:
        return True

    def fail(self, error: ZmqmqError) -> None:
        self._requests.fail(error)
