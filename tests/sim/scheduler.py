"""Virtual time: a heap of what happens when. Equal moments happen in the order in which they were planned, so a seed has one history."""

from __future__ import annotations

import heapq
from collections.abc import Callable

MAX_EVENTS = 400_000
"""Events of one run; more means that something is busy without end."""


class Scheduler:
    """The only clock that goes by itself."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self.now = 0.0
        self.max_events = max_events
        """Virtual seconds since the start of the world."""
        self.count = 0
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._planned = 0

    def at(self, time: float, act: Callable[[], object]) -> None:
        """Plans `act`; what lies in the past happens next."""
        self._planned += 1
        heapq.heappush(self._heap, (max(time, self.now), self._planned, act))

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Plans `act` for later."""
        self.at(self.now + seconds, act)

    def run(self, until: float, is_over: Callable[[], bool] = lambda: False) -> bool:
        """Lets everything up to `until` happen; ends early, and gives True, when `is_over` says so."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self._heap)
            self.count += 1
            assert self.count <= self.max_events, "the world never comes to rest"
            act()
            if is_over():
                return True
        self.now = max(self.now, until)
        return is_over()


class Alarm:
    """At most one planned event of its kind: an earlier time replaces a later one."""

    def __init__(self, scheduler: Scheduler, act: Callable[[], object]) -> None:
        self._scheduler = scheduler
        self._act = act
        self._generation = 0
        self._set_for: float | None = None

    def set(self, time: float) -> None:
        """Rings at `time`, or earlier if that was planned before."""
        time = max(time, self._scheduler.now)
        if self._set_for is not None and self._set_for <= time:
            return
        self._generation += 1
        self._set_for = time
        generation = self._generation
        self._scheduler.at(time, lambda: self._ring(generation))

    def cancel(self) -> None:
        """Does not ring until it is set again."""
        self._generation += 1
        self._set_for = None

    def _ring(self, generation: int) -> None:
        if generation == self._generation:
            self._set_for = None
            self._act()
