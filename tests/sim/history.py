"""What is known to be true, kept apart from the product: every record that was ever committed, and what it says about each message.

A broker that stands alone fills it by its disk at each commit; in a cluster each partition has one truth, filled with records when they become
committed. It never forgets, whatever brokers delete. The checkers compare with it what brokers send, count and remember. It knows the
rules of the log, not the way in which brokers follow them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from zmqmq.core import operations as op
from zmqmq.core import writes as w


class Violation(AssertionError):
    """A promise was broken, or the simulator is wrong."""


def demand(good: object, what: str, *facts: object) -> None:
    """Raises Violation with the facts if the promise does not hold."""
    if not good:
        raise Violation(f"{what}: {', '.join(map(repr, facts))}")


class Place(NamedTuple):
    """Where a message is."""

    log: int
    offset: int


class GroupTruth:
    """What the committed operations say of one group on one partition."""

    def __init__(self, position: int, life: int = 0) -> None:
        self.position = position
        self.life = life
        """Groups of that name that have been deleted before it."""
        self.concluded: set[int] = set()
        """Acknowledged or dead."""
        self.acked: set[int] = set()
        self.failures: dict[int, int] = defaultdict(int)
        """Failed deliveries by offset."""
        self.dead: dict[int, int] = {}
        """Attempts of the dead letters."""
        self.replayed: set[int] = set()
        """Letters that have lost their place in their keys' order."""
        self.members: set[str] = set()
        self.unsettled = 0
        """Messages that the group still has to settle."""
        self.ever_concluded: set[int] = set()
        """What was concluded at some time, whatever a seek has made of it since."""
        self.moves = 0
        """Seeks so far."""
        self.voided = (-1, -1)
        """Leases up to this token do not count any more."""


class LogTruth:
    """One partition's records."""

    def __init__(self, created: w.CreateLog) -> None:
        self.topic_id = created.topic_id
        self.partition = created.partition
        self.end = 0
        self.messages: dict[int, tuple[bytes | None, bytes]] = {}
        """(key, value) by offset of what can be delivered."""
        self.delayed: dict[int, tuple[bytes, float]] = {}
        """(value, due) by offset of acceptance."""
        self.due: dict[bytes, float] = {}
        self.offset_of: dict[bytes, int] = {}
        """Where a value was accepted."""
        self.copies: dict[bytes, int] = {}
        """Where a value can be delivered from."""
        self.sequences: dict[tuple[int, int], int] = {}
        self.by_key: dict[bytes, list[int]] = defaultdict(list)
        self.groups: dict[str, GroupTruth] = {}
        self.former: dict[str, int] = {}
        """How many groups of a name have been deleted."""
        self.start = 0

    def earlier(self, key: bytes, offset: int) -> list[int]:
        """Messages of the key before this one."""
        offsets = self.by_key[key]
        return offsets[: bisect_left(offsets, offset)]


class History:
    """All logs."""

    def __init__(self) -> None:
        self.logs: dict[int, LogTruth] = {}
        self.topics: dict[int, str] = {}
        self.deleted: set[int] = set()
        """Topics that are gone, and with them whatever was confirmed there."""
        self.commits = 0
        self._numbers: dict[tuple[int, int], int] = {}
        """Of the logs of a cluster's partitions."""

    def log(self, topic_id: int, partition: int) -> LogTruth:
        """The log of a partition."""
        for log in self.logs.values():
            if log.topic_id == topic_id and log.partition == partition:
                return log
        raise Violation(f"nobody knows {topic_id}/{partition}")

    def where(self, topic: str, value: bytes) -> list[tuple[int, int]]:
        """(partition, offset) of every acceptance of the value, also by topics of that name that have been deleted."""
        return [(log.partition, log.offset_of[value]) for log in self.logs.values() if self.topics[log.topic_id] == topic and value in log.offset_of]

    def living(self) -> list[LogTruth]:
        """The logs of all topics that are not deleted."""
        return [log for log in self.logs.values() if log.topic_id not in self.deleted]

    def committed(self, writes: Sequence[w.Write]) -> None:
        """Takes note of a transaction."""
        self.commits += 1
        for write in writes:
            if isinstance(write, w.PutTopic):
                self.topics[write.topic.topic_id] = write.topic.name
            elif isinstance(write, w.CreateLog):
                self.logs[write.log_id] = LogTruth(write)
            elif isinstance(write, w.AppendMessages):
                self._messages(self.logs[write.log_id], write)
            elif isinstance(write, w.AppendDelayed):
                self._delayed(self.logs[write.log_id], write)
            elif isinstance(write, w.AppendOperation):
                self._operation(self.logs[write.log_id], write)
            elif isinstance(write, w.TrimLog):
                self._trimmed(self.logs[write.log_id], write.start)

    def adopt(self, key: tuple[int, int], topic: str, records: Sequence[w.AppendMessages | w.AppendDelayed | w.AppendOperation]) -> None:
        """Records of a cluster's partition have become committed, whoever leads it."""
        number = self._numbers.setdefault(key, len(self._numbers) + 1)
        if number not in self.logs:
            self.topics[key[0]] = topic
            self.logs[number] = LogTruth(w.CreateLog(number, key[0], topic, key[1]))
        self.committed([record._replace(log_id=number) for record in records])

    def deleted(self, key: tuple[int, int], start: int) -> None:
        """Some replica of a cluster's partition has deleted its records below `start`."""
        if key in self._numbers:
            self._trimmed(self.logs[self._numbers[key]], start)

    def _grow(self, log: LogTruth, offset: int) -> None:
        demand(offset >= log.end, "an offset was given twice or out of order", offset, log.end)
        log.end = offset + 1

    def _messages(self, log: LogTruth, write: w.AppendMessages) -> None:
        keys = write.keys or [None] * len(write.values)
        for index, (key, value) in enumerate(zip(keys, write.values, strict=True)):
            offset = write.first + index
            self._grow(log, offset)
            demand(value not in log.copies, "a message is in the log twice", value, offset, log.copies.get(value))
            demand(write.time >= log.due.get(value, 0.0), "a delayed message is delivered early", value, write.time)
            log.copies[value] = offset
            log.messages[offset] = (key, value)
            for group in log.groups.values():
                group.unsettled += offset >= group.position
            if key is not None:
                log.by_key[key].append(offset)
            if write.producer:
                self._accepted(log, write.producer, write.sequence + index, value, offset)

    def _delayed(self, log: LogTruth, write: w.AppendDelayed) -> None:
        self._grow(log, write.offset)
        due = 0.0 if write.due is None else write.due  # None: it had matured before this copy of it was made
        log.delayed[write.offset] = (write.value, due)
        log.due[write.value] = due
        self._accepted(log, write.producer, write.sequence, write.value, write.offset)

    def _accepted(self, log: LogTruth, producer: int, sequence: int, value: bytes, offset: int) -> None:
        demand((producer, sequence) not in log.sequences, "a sequence is in the log twice", producer, sequence, value)
        demand(value not in log.offset_of, "a message was accepted twice", value, offset)
        log.sequences[producer, sequence] = offset
        log.offset_of[value] = offset

    # --- operations --------------------------------------------------------------------------------------------------

    def _operation(self, log: LogTruth, write: w.AppendOperation) -> None:
        self._grow(log, write.offset)
        operation = op.decode(write.text)
        if isinstance(operation, op.GroupCreated):
            if operation.group in log.groups:
                return  # two consumers have met in one turn
            group = log.groups[operation.group] = GroupTruth(max(operation.position, log.start), log.former.get(operation.group, 0))
            group.unsettled = sum(offset >= group.position for offset in log.messages)
        elif isinstance(operation, op.GroupDeleted):
            if (gone := log.groups.pop(operation.group, None)) is not None:
                demand(not gone.members, "a group was deleted under its consumers", operation.group, gone.members)
                log.former[operation.group] = gone.life + 1
        elif isinstance(operation, op.Trimmed):
            self._trimmed(log, operation.start)
        elif isinstance(operation, op.Matured):
            for offset in operation.offsets:
                demand(offset in log.delayed, "a message matured that was not delayed, or twice", offset)
                del log.delayed[offset]
        elif (known := log.groups.get(getattr(operation, "group", ""))) is not None:
            self._group(log, known, operation)

    def _group(self, log: LogTruth, group: GroupTruth, operation: op.Operation) -> None:
        if isinstance(operation, op.Acked):
            for start, stop in operation.ranges:
                self._conclude(log, group, range(start, stop))
                group.acked.update(range(start, stop))
        elif isinstance(operation, op.Failed):
            for offset in operation.offsets:
                demand(offset not in group.concluded, "a delivery failed of what was settled", offset)
                group.failures[offset] += 1
        elif isinstance(operation, op.Died):
            self._conclude(log, group, operation.offsets)
            group.dead.update(zip(operation.offsets, operation.attempts, strict=True))
        elif isinstance(operation, op.Revived):
            for offset in operation.offsets:
                demand(offset in group.dead, "what is replayed was not dead", offset)
                del group.dead[offset]
                group.concluded.discard(offset)
                group.unsettled += 1
                group.failures.pop(offset, None)
                group.replayed.add(offset)
        elif isinstance(operation, op.Buried):
            for offset in operation.offsets:
                demand(offset in group.dead, "what is purged was not dead", offset)
                del group.dead[offset]
        elif isinstance(operation, op.GroupMoved):
            self._move(log, group, operation)
        elif isinstance(operation, op.MemberJoined):
            group.members.add(operation.member)
        elif isinstance(operation, op.MemberLeft):
            group.members.discard(operation.member)

    def _conclude(self, log: LogTruth, group: GroupTruth, offsets: Sequence[int]) -> None:
        for offset in offsets:
            demand(offset in log.messages, "what was settled is no message", offset)
            demand(offset not in group.concluded, "a message was settled twice", offset)
            group.unsettled -= 1
            group.concluded.add(offset)
            group.ever_concluded.add(offset)

    def _move(self, log: LogTruth, group: GroupTruth, operation: op.GroupMoved) -> None:
        """A seek: what is below the position, or deleted, is over; all else is to be delivered, as if it never had been."""
        group.position, group.voided = max(operation.position, log.start), (operation.epoch, operation.lease)
        group.moves += 1
        group.concluded = {offset for offset in log.messages if offset < group.position}
        group.ever_concluded |= group.concluded
        group.failures.clear()
        group.replayed.clear()
        group.unsettled = len(log.messages) - len(group.concluded)

    def _trimmed(self, log: LogTruth, start: int) -> None:
        for offset in log.messages:
            if log.start <= offset < start:
                for name, group in log.groups.items():
                    demand(
                        offset < group.position or offset in group.concluded or offset in group.replayed,
                        "a message was deleted before a group had settled it",
                        offset,
                        name,
                    )
        log.start = max(log.start, start)
