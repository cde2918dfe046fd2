"""Sets of offsets as half-open ranges: the memory of what is settled.

`RangeSet` is the plain algebra. `Settled` adds the *floor*: everything below it is settled, and the ranges say what is settled
beyond it. The floor swallows a range as soon as it touches it, so a group that settles in order holds no range at all.

Invariant: starts and stops ascend, ranges are not empty and never touch: stops[i] < starts[i + 1].
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """A set of integers, cheap when they cluster."""

    __slots__ = ("_starts", "_stops", "total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.total = 0
        """How many integers the set has."""
        for start, stop in ranges:
            self.add(start, stop)

    def __contains__(self, item: int) -> bool:
        index = bisect_right(self._starts, item) - 1
        return index >= 0 and item < self._stops[index]

    def __len__(self) -> int:
        """The number of ranges (not of integers)."""
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._stops, strict=True))

    def add(self, start: int, stop: int) -> int:
        """Adds [start, stop) and returns how many integers of it are new."""
        if start >= stop:
            return 0
        if self._stops and self._stops[-1] == start:  # the common case: the next ones in order
            self._stops[-1] = stop
            self.total += stop - start
            return stop - start
        first = bisect_left(self._stops, start)  # the first range that touches or follows
        last = bisect_right(self._starts, stop)  # one past the last range that touches
        covered = sum(self._stops[i] - self._starts[i] for i in range(first, last))
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        new = stop - start - covered
        self.total += new
        return new

    def remove_below(self, limit: int) -> None:
        """Removes every integer below `limit`."""
        while self._starts and self._starts[0] < limit:
            removed = min(self._stops[0], limit) - self._starts[0]
            self.total -= removed
            if self._stops[0] > limit:
                self._starts[0] = limit
                return
            del self._starts[0], self._stops[0]

    def find(self, item: int) -> tuple[int, int] | None:
        """The range that the integer is in, or None."""
        index = bisect_right(self._starts, item) - 1
        return (self._starts[index], self._stops[index]) if index >= 0 and item < self._stops[index] else None

    def first(self) -> tuple[int, int] | None:
        """The lowest range, or None."""
        return (self._starts[0], self._stops[0]) if self._starts else None

    @property
    def end(self) -> int:
        """One past the highest integer, 0 if there is none."""
        return self._stops[-1] if self._stops else 0

    def covered(self, start: int, stop: int) -> int:
        """How many integers of [start, stop) are in the set."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        count = 0
        while index < len(self._starts) and self._starts[index] < stop:
            count += max(0, min(stop, self._stops[index]) - max(start, self._starts[index]))
            index += 1
        return count


class Settled:
    """What a group has settled of one log: everything below `floor`, and `ranges` beyond it."""

    __slots__ = ("floor", "ranges")

    def __init__(self, floor: int, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.floor = floor
        self.ranges = RangeSet(ranges)
        self._raise_floor()

    def __contains__(self, offset: int) -> bool:
        return offset < self.floor or offset in self.ranges

    def add(self, start: int, stop: int) -> int:
        """Settles [start, stop) and returns how many offsets were not settled before."""
        if stop <= self.floor:
            return 0
        if start <= self.floor and not self.ranges:  # in order: no range is ever made
            new = stop - self.floor
            self.floor = stop
            return new
        new = self.ranges.add(max(start, self.floor), stop)
        self._raise_floor()
        return new

    def _raise_floor(self) -> None:
        first = self.ranges.first()
        if first and first[0] <= self.floor:
            self.floor = max(self.floor, first[1])
            self.ranges.remove_below(self.floor)


def to_ranges(offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending offsets as half-open ranges."""
    ranges: list[tuple[int, int]] = []
    start = stop = -1
    for offset in offsets:
        if offset == stop:
            stop += 1
            continue
        if stop >= 0:
            ranges.append((start, stop))
        start, stop = offset, offset + 1
    if stop >= 0:
        ranges.append((start, stop))
    return ranges
