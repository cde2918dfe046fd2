"""How a replica that does not lead takes in what is committed: the same effects as at the leader, without anybody who is told.

Messages count as blocks, operations take effect one by one, and offsets without a message join what is settled (`zmqmq.core.gaps`), since
nobody reads here. A restart does the same with what its last snapshot does not say. Two replicas that have absorbed the same log say the
same of every group, but for gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zmqmq.core import operations
from zmqmq.core.appliers import Applier
from zmqmq.core.columns import size_of
from zmqmq.core.gaps import Gaps, skip_gaps
from zmqmq.core.model import Kind
from zmqmq.core.peer_commands import Block
from zmqmq.core.writes import Reader, Record

if TYPE_CHECKING:
    from zmqmq.core.partition import Partition


class Absorber:
    """Applies committed records to one partition, in the order of the log."""

    def __init__(self, partition: Partition, applier: Applier) -> None:
        self.partition = partition
        self.reached = partition.applied
        """Everything below it is absorbed."""
        self.gaps = Gaps()
        self._applier = applier

    def replay(self, records: Sequence[Record]) -> None:
        """Records as they are on disk."""
        for record in records:
            if record.kind == Kind.OPERATION:
                self._operation(record.offset, record.text, record.time)
            else:
                self._messages(record.kind, record.offset, 1, record.size, (record.producer, record.sequence), record.time)
        self._rest()

    def absorb(self, blocks: Sequence[Block]) -> None:
        """Records as the leader has sent them."""
        for block in blocks:
            if block.kind == Kind.OPERATION:
                for index, text in enumerate(block.values):
                    self._operation(block.first + index, text, block.time)
            else:
                size = size_of(block.values, block.keys, block.headers)
                self._messages(block.kind, block.first, len(block.values), size, (block.producer, block.sequence), block.time)
        self._rest()

    def skip_gaps(self, reader: Reader) -> None:
        """Floors pass over gaps that are known to storage only."""
        for queue in self.partition.queues.values():
            skip_gaps(queue.state, self.partition.log.log_id, self.reached, reader)

    def end(self) -> None:
        """From now on a leader reads here."""
        self.gaps = Gaps()

    def _operation(self, offset: int, text: bytes, time: float) -> None:
        operation = operations.decode(text)
        self.partition.time = time
        self._applier.apply(offset, operation)
        self._gap(min(self.reached, offset), offset + 1)
        about = getattr(operation, "group", None)
        for name, queue in self.partition.queues.items():
            self.gaps.reach(queue.state, operation if name == about else None)

    def _messages(self, kind: int, first: int, count: int, size: int, source: tuple[int, int], time: float) -> None:
        """Messages of one kind from one source: (producer, sequence)."""
        partition = self.partition
        partition.time = time
        if first > self.reached:
            self._gap(self.reached, first)
        if source[0]:
            partition.confirmed_producers.note(*source, count, first, time)
        if kind == Kind.MESSAGE:
            partition.count(count, size)
            self.reached = first + count
        else:
            partition.delayed += count
            partition.next_due = float("-inf")  # ask storage
            self._gap(first, first + count)

    def _gap(self, start: int, stop: int) -> None:
        self.gaps.note(start, stop, [queue.state for queue in self.partition.queues.values()])
        self.reached = stop

    def _rest(self) -> None:
        """Nobody is here to be told anything."""
        self.partition.recalls.clear()
        self.partition.revived.clear()
        self.gaps.forget(self.partition.settled_by_all())
