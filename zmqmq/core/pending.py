"""What a partition has appended and what is not committed yet: batches, operations, and who waits.

    appended ──► on disk here (`durable`) ──► on every in-sync replica (`committed`) ──► confirmed, applied, told

Things leave in the order of the log, as far as it is committed. Until a turn is on disk its messages can be taken back; what is on
disk stays and waits, and if the leadership ends before it is committed nobody here knows what becomes of it: whoever waits is told so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from zmqmq.core.dedup import ProducerState
from zmqmq.core.operations import Acked, Buried, Died, Failed, GroupCreated, GroupDeleted, GroupMoved, Matured, Operation, Revived, Trimmed
from zmqmq.errors import ZmqmqError

Confirm = Callable[[int, float], None]
"""Called with (first offset, time) when a batch is committed."""
Refuse = Callable[[ZmqmqError], None]
"""Called when what was accepted cannot be confirmed any more."""


class Asker:
    """Who is told what becomes of a batch: whoever asked last. Who asked before has either no use for an answer any more or asks again."""

    __slots__ = ("confirm", "question", "refuse")

    def __init__(self, question: tuple[int, int, int], confirm: Confirm, refuse: Refuse) -> None:
        self.question = question
        """(producer, sequence, messages) as they were sent: by these a repeat is known."""
        self.confirm = confirm
        self.refuse = refuse


class Batch(NamedTuple):
    """Messages that wait for the commit."""

    end: int
    messages: int
    size: int
    first: int
    """Offset to confirm."""
    time: float
    producer: int
    sequence: int
    """Of the first message that is new here."""
    before: ProducerState | None
    asker: Asker | None
    delayed: int


class Entry(NamedTuple):
    """An operation in the log."""

    offset: int
    operation: Operation
    time: float
    """When it was appended (broker time)."""


class Waiter(NamedTuple):
    """Who wants to know when everything below `end` is committed, or that nobody will know here."""

    end: int
    then: Callable[[], None]
    lost: Refuse


def _reaches_below(stop: int, operation: Operation) -> bool:
    if isinstance(operation, Trimmed | GroupCreated | GroupMoved | GroupDeleted):
        return True
    if isinstance(operation, Acked):
        return any(start < stop for start, _ in operation.ranges)
    return isinstance(operation, Failed | Died | Revived | Buried) and min(operation.offsets, default=stop) < stop


class Pending:
    """Everything of one partition that waits for a commit."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes of the messages."""
        self._batches: deque[Batch] = deque()
        self._operations: deque[Entry] = deque()
        self._waiters: deque[Waiter] = deque()
        self._askers: dict[tuple[int, int, int], Asker] = {}

    def add_batch(self, batch: Batch) -> None:
        self.size += batch.size
        self._batches.append(batch)
        if batch.asker:
            self._askers[batch.asker.question] = batch.asker

    def ask_again(self, asker: Asker) -> bool:
        """If that very question waits already, `asker` is told instead of who asked it before. A batch that is repeated for hours takes no room by that."""
        earlier = self._askers.get(asker.question)
        if earlier is None:
            return False
        earlier.confirm, earlier.refuse = asker.confirm, asker.refuse
        return True

    def add_operation(self, offset: int, operation: Operation, time: float) -> None:
        self._operations.append(Entry(offset, operation, time))

    def add_waiter(self, waiter: Waiter) -> None:
        self._waiters.append(waiter)

    def messages(self, since: int) -> int:
        """Messages from offset `since` on that can be delivered when they are committed."""
        return sum(min(batch.messages - batch.delayed, batch.end - since) for batch in self._batches if batch.end > since)

    def unwritten_from(self, producer: int, durable: int) -> float:
        """The first sequence of the producer that is not on disk."""
        return min((batch.sequence for batch in self._batches if batch.end > durable and batch.producer == producer), default=float("inf"))

    def deaths(self, group: str) -> list[int]:
        """Offsets that operations make dead letters of the group."""
        operations = [entry.operation for entry in self._operations]
        return [offset for died in operations if isinstance(died, Died) and died.group == group for offset in died.offsets]

    def disturbs(self, stop: int) -> bool:
        """Whether an operation that waits has to do with messages below `stop`, or with a whole group: what is counted there now will be wrong."""
        return any(_reaches_below(stop, entry.operation) for entry in self._operations)

    # --- leaving ---------------------------------------------------------------------------------------------------

    def committed(self, committed: int) -> Iterator[Batch | Entry]:
        """Takes what lies below `committed`, in the order of the log."""
        batches, operations = self._batches, self._operations
        while True:
            if operations and (not batches or operations[0].offset < batches[0].end):
                if operations[0].offset >= committed:
                    return
                yield operations.popleft()
            elif batches and batches[0].end <= committed:
                yield self._take(batches.popleft())
            else:
                return

    def is_behind(self, committed: int) -> bool:
        """Whether something of which a record is committed is still here: a batch counts as a whole, when its last record is committed."""
        operations, batches = self._operations, self._batches
        return bool(operations and operations[0].offset < committed) or bool(batches and batches[0].first < committed)

    def _take(self, batch: Batch) -> Batch:
        self.size -= batch.size
        if batch.asker and self._askers.get(batch.asker.question) is batch.asker:
            del self._askers[batch.asker.question]
        return batch

    def waiters(self, committed: int) -> Iterator[Waiter]:
        """Takes those whose wait is over."""
        while self._waiters and self._waiters[0].end <= committed:
            yield self._waiters.popleft()

    def drop_batches(self, durable: int) -> list[Batch]:
        """Takes back the batches that are not on disk, the latest first."""
        dropped = [self._take(batch) for batch in reversed(self._batches) if batch.end > durable]
        self._batches = deque(batch for batch in self._batches if batch.end <= durable)
        return dropped

    def drop_matured(self, durable: int) -> list[tuple[int, Matured]]:
        """Takes back the entries into the log of delayed messages that are not on disk."""
        dropped = [(offset, operation) for offset, operation, _ in self._operations if offset >= durable and isinstance(operation, Matured)]
        gone = {offset for offset, _ in dropped}
        self._operations = deque(entry for entry in self._operations if entry.offset not in gone)
        return dropped

    def end(self, durable: int) -> int:
        """Where the log ends when what was taken back leaves no empty offsets at its end; nobody waits for more than that."""
        end = max(durable, self._operations[-1].offset + 1) if self._operations else durable
        self._waiters = deque(waiter._replace(end=min(waiter.end, end)) for waiter in self._waiters)
        return end

    def take_waiters(self) -> list[Waiter]:
        """Takes all who wait."""
        waiters, self._waiters = list(self._waiters), deque()
        return waiters

    def abandon(self, error: ZmqmqError) -> None:
        """Nothing of this will be committed here: tells everybody who waits."""
        batches, self._batches = self._batches, deque()
        self._operations.clear()
        for batch in map(self._take, batches):
            if batch.asker:
                batch.asker.refuse(error)
        for waiter in self.take_waiters():
            waiter.lost(error)
