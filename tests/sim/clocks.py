"""Clocks of machines: each has its own offset and drift; a wall clock can be set forwards and backwards.

The broker's clock is the production class on other sources, so what it makes of a clock that was set back is under test too.
"""

from __future__ import annotations

from tests.sim.scheduler import Scheduler
from zmqmq.shell.clock import Clock

WALL = 1_700_000_000.0
TICK = 1e-4
"""Seconds by which a sleep is longer than asked for, as every real one is."""
DRIFT_MAX = 0.001
"""Share by which a machine's clock may run fast or slow."""


class MachineTime:
    """One machine's monotonic clock and wall clock."""

    def __init__(self, scheduler: Scheduler, offset: float, drift: float) -> None:
        assert abs(drift) <= DRIFT_MAX
        self._scheduler = scheduler
        self._offset = offset
        self._rate = 1.0 + drift
        self.set_by = 0.0
        """Seconds by which somebody has set the wall clock."""

    def monotonic(self) -> float:
        """What the machine's monotonic clock shows."""
        return self._offset + self._scheduler.now * self._rate

    def system(self) -> float:
        """What its wall clock shows."""
        return WALL + self._scheduler.now * self._rate + self.set_by

    def virtual(self, monotonic: float) -> float:
        """The virtual moment at which the monotonic clock will surely show this."""
        return (monotonic - self._offset) / self._rate + TICK


class SimClock(Clock):
    """The production clock on a simulated machine."""

    def __init__(self, machine: MachineTime) -> None:
        self.monotonic = machine.monotonic  # type: ignore[method-assign]
        self.system = machine.system  # type: ignore[method-assign]
        super().__init__()
