"""Offsets that hold no message, as a replica that only follows sees them: operations, delayed messages' acceptance, what was never written.

    log:      m m O m O O m m m         (m: a message, O: a gap)
    settled:  ─────────────  ─          gaps join the settled messages that they touch, so that these form long ranges

A leader reads the log and so passes over gaps. A follower does not read: without this the floor of its groups would stop at the first gap, and
every settled stretch would be a range of its own. A gap that touches nothing settled is left alone; it would be a range of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from zmqmq.core.group import GroupState
from zmqmq.core.operations import Acked, Died, Operation
from zmqmq.core.ranges import RangeSet
from zmqmq.core.writes import Reader

GAPS_MAX = 100_000
"""Ranges of gaps remembered per partition; beyond that the lowest are forgotten, and found in storage when a floor stops there."""


class Gaps:
    """The gaps beyond the lowest floor of all groups."""

    def __init__(self) -> None:
        self._ranges = RangeSet()

    def __len__(self) -> int:
        """The number of ranges."""
        return len(self._ranges)

    def note(self, start: int, stop: int, states: Iterable[GroupState]) -> None:
        """There are no messages in [start, stop)."""
        self._ranges.add(start, stop)
        if len(self._ranges) > GAPS_MAX and (lowest := self._ranges.first()):
            self._ranges.remove_below(lowest[1])
        gap = self._ranges.find(start)
        for state in states if gap else ():
            if gap and (gap[0] <= state.settled.floor or gap[0] - 1 in state.settled):
                state.settled.add(*gap)

    def reach(self, state: GroupState, operation: Operation | None) -> None:
        """What the operation has settled for the group takes the gaps along that it touches; None: it was about another group."""
        if isinstance(operation, Acked):
            for start, stop in operation.ranges:
                self._join(state, start, stop)
        elif isinstance(operation, Died):
            for offset in operation.offsets:
                self._join(state, offset, offset + 1)
        self.raise_floor(state)

    def raise_floor(self, state: GroupState) -> None:
        """A floor that stands at a gap goes on behind it."""
        while gap := self._ranges.find(state.settled.floor):
            state.settled.add(state.settled.floor, gap[1])

    def _join(self, state: GroupState, start: int, stop: int) -> None:
        if before := self._ranges.find(start - 1):
            state.settled.add(before[0], start)
        if behind := self._ranges.find(stop):
            state.settled.add(stop, behind[1])

    def forget(self, floor: int) -> None:
        """Every group has settled everything below `floor`."""
        self._ranges.remove_below(floor)


def skip_gaps(state: GroupState, log_id: int, reached: int, reader: Reader) -> None:
    """Lets the floor pass over a gap that nobody remembers, by looking for the next message below `reached` in storage."""
    floor = state.settled.floor
    if floor >= reached:
        return
    rows = reader.read(log_id, floor, 1, 1)
    stop = min(rows[0].offset, reached) if rows else reached
    if stop > floor:
        state.settled.add(floor, stop)
        state.changed = True
