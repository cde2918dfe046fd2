"""The broker's two clocks, read once per turn.

`now` is monotonic and goes on while the machine is suspended: it measures silence and leases. `wall` is broker time, seconds since 1970
UTC: it stamps messages and decides when a delay is over. It follows the system's clock except backwards: when that is set
back, broker time goes on at its own pace from where it was, so nothing is stamped out of order and no delay becomes an hour longer.
A broker that starts goes on from what its log was last stamped with (`not_before`).
"""

from __future__ import annotations

import time
from typing import NamedTuple

STEP_MIN = 1.0
"""Seconds by which the system's clock must fall behind to count as set back; less is the usual slewing."""

_MONOTONIC: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Moment(NamedTuple):
    now: float
    wall: float


class Clock:
    """Reads the time. `monotonic` and `system` are the sources, for tests."""

    def __init__(self) -> None:
        self._last = Moment(self.monotonic(), self.system())

    @staticmethod
    def monotonic() -> float:
        return time.clock_gettime(_MONOTONIC)

    @staticmethod
    def system() -> float:
        return time.time()

    def not_before(self, wall: float) -> None:
        """Broker time goes on from `wall` if it is behind: what an earlier process has stamped stays in the past."""
        self._last = Moment(self._last.now, max(self._last.wall, wall))

    def read(self) -> Moment:
        """The moment; neither part is ever less than the one before."""
        now = max(self.monotonic(), self._last.now)
        expected = self._last.wall + (now - self._last.now)
        system = self.system()
        wall = expected if system < expected - STEP_MIN else max(system, self._last.wall)
        self._last = Moment(now, wall)
        return self._last
