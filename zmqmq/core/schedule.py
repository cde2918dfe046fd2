"""When a failed message comes back, and a heap of things that become due."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from zmqmq.core.model import TopicSettings

JITTER = 0.2
"""Share by which a retry's wait is spread, so that what failed together does not come back together."""

Item = TypeVar("Item")


def retry_due(settings: TopicSettings, attempts: int, wall: float, random: Callable[[], float], delay: float | None = None) -> float:
    """When the message is delivered again after `attempts` failed ones: retry_delay · 2^(attempts-1), capped, jittered; an explicit delay is taken as it is."""
    if delay is not None:
        return wall + delay
    wait = min(settings.retry_delay * 2.0 ** min(attempts - 1, 60), settings.max_retry_delay)
    return wall + wait * (1.0 + JITTER * (2.0 * random() - 1.0))


class DueHeap(Generic[Item]):
    """Items by the time at which they become due; equal times in order of arrival."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, due: float, item: Item) -> None:
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, item))

    def next_due(self) -> float | None:
        """The earliest time, or None."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[Item]:
        """Removes and returns everything due by `now`."""
        due: list[Item] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due
