"""What lies on each broker's disk, record by record: kept from the transactions, apart from the store.

A copy is one partition on one disk. Whoever judges hears of everything that changes a copy. Copies survive crashes, as what was committed
does; they go with the disk, and come back with an older image of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

from zmqmq.core import writes as w
from zmqmq.core.model import Kind, TopicRecord

Key = tuple[int, int]
"""(topic_id, partition)"""
Append = w.AppendMessages | w.AppendDelayed | w.AppendOperation


class Entry(NamedTuple):
    """One record: two with the same epoch and digest at the same offset are the same."""

    epoch: int
    digest: bytes
    write: Append | None = None
    """The record alone, in a log of number 0."""

    def same(self, other: Entry | None) -> bool:
        """Whether the other one is this record."""
        return other is not None and (self.epoch, self.digest) == (other.epoch, other.digest)


class Copy:
    """One partition on one disk."""

    def __init__(self, broker: str, storage_id: str, key: Key) -> None:
        self.broker = broker
        self.storage_id = storage_id
        self.key = key
        self.entries: dict[int, Entry] = {}
        self.start = 0
        """Records below may have been deleted."""
        self.end = 0
        self.promised = 0

    def holds(self, offset: int, entry: Entry) -> bool:
        """Whether this very record is here, or was and has been deleted in good order."""
        return offset < self.start or entry.same(self.entries.get(offset))

    def clone(self) -> Copy:
        """As it is now."""
        other = Copy(self.broker, self.storage_id, self.key)
        other.entries = dict(self.entries)
        other.start, other.end, other.promised = self.start, self.end, self.promised
        return other


class Judge(Protocol):
    """Who hears what happens to copies."""

    def appended(self, copy: Copy, offset: int, entry: Entry, before: tuple[int, Entry] | None) -> None:
        """A record was added; `before` is the one below it, if that is known."""
        ...

    def truncated(self, copy: Copy, end: int, gone: dict[int, Entry]) -> None:
        """Records from `end` on were forgotten."""
        ...

    def dropped(self, copy: Copy, again: bool) -> None:
        """All of it was deleted; `again`: the same transaction makes it anew, from a snapshot."""
        ...

    def promise(self, copy: Copy, before: int) -> None:
        """The transaction had to do with a promise that was `before` until then."""
        ...

    def trimmed(self, copy: Copy, start: int) -> None:
        """Records below `start` were deleted because nobody needs them."""
        ...


class Shelf:
    """All copies on one broker's disk."""

    def __init__(self, broker: str, storage_id: str, judge: Judge) -> None:
        self.broker = broker
        self.storage_id = storage_id
        self.is_stale = False
        """It is an older image of the disk, and the broker has not noticed yet."""
        self.topics: dict[int, TopicRecord] = {}
        self.logs: dict[int, Copy] = {}
        self.lost: dict[Key, Copy] = {}
        """What was on the disk before this one, when it was taken away."""
        self._judge = judge

    def copy(self, key: Key) -> Copy | None:
        """The copy of a partition, if there is one."""
        return next((copy for copy in self.logs.values() if copy.key == key), None)

    # --- images of the disk ------------------------------------------------------------------------------------------

    def image(self) -> Shelf:
        """As it is now."""
        other = Shelf(self.broker, self.storage_id, self._judge)
        other.topics = dict(self.topics)
        other.logs = {number: copy.clone() for number, copy in self.logs.items()}
        return other

    def restore(self, image: Shelf) -> None:
        """The disk is as it was then."""
        before = image.image()
        self._lose()
        self.storage_id, self.topics, self.logs, self.is_stale = before.storage_id, before.topics, before.logs, True

    def wipe(self, storage_id: str) -> None:
        """An empty disk."""
        self._lose()
        self.storage_id, self.topics, self.logs, self.is_stale = storage_id, {}, {}, False

    def _lose(self) -> None:
        self.lost = {copy.key: copy for copy in self.logs.values()}

    # --- transactions ------------------------------------------------------------------------------------------------

    def committed(self, writes: Sequence[w.Write]) -> None:
        """A transaction is on disk."""
        promises = {copy.key: copy.promised for copy in self.logs.values()}
        created = {(write.topic_id, write.partition) for write in writes if isinstance(write, w.CreateLog)}
        for write in writes:
            if isinstance(write, Append):
                self._append(self.logs[write.log_id], write)
            elif isinstance(write, w.TruncateLog):
                self._truncate(self.logs[write.log_id], write.end)
            elif isinstance(write, w.PutPromise):
                self.logs[write.log_id].promised = write.epoch
            elif isinstance(write, w.TrimLog):
                self._trim(self.logs[write.log_id], write.start)
            elif isinstance(write, w.DropLog):
                copy = self.logs.pop(write.log_id)
                self._judge.dropped(copy, copy.key in created)
            else:
                self._rare(write)
        for copy in self.logs.values():
            self._judge.promise(copy, promises.get(copy.key, 0))

    def _rare(self, write: w.Write) -> None:
        if isinstance(write, w.PutTopic):
            self.topics[write.topic.topic_id] = write.topic
        elif isinstance(write, w.CreateLog):
            self.logs[write.log_id] = Copy(self.broker, self.storage_id, (write.topic_id, write.partition))
        elif isinstance(write, w.PutSnapshot):
            copy = self.logs[write.log_id]
            copy.start = max(write.start, write.trimmed)
            copy.end = max(copy.end, copy.start)
        elif isinstance(write, w.PutMissing):
            copy = self.logs[write.log_id]
            copy.start = max(copy.start, write.below)
        elif isinstance(write, w.DropTopic):
            self.topics.pop(write.topic_id, None)
            for number in [number for number, copy in self.logs.items() if copy.key[0] == write.topic_id]:
                self._judge.dropped(self.logs.pop(number), False)
        elif isinstance(write, w.RenewStorageId):
            self.storage_id, self.is_stale = write.storage_id, False
            for copy in self.logs.values():
                copy.storage_id = write.storage_id

    def _append(self, copy: Copy, write: Append) -> None:
        for offset, entry in entries(write):
            last = copy.end - 1
            before = (last, copy.entries[last]) if offset >= copy.end and last >= copy.start and last in copy.entries else None
            copy.entries[offset] = entry
            copy.end = max(copy.end, offset + 1)
            self._judge.appended(copy, offset, entry, before)

    def _truncate(self, copy: Copy, end: int) -> None:
        gone = {offset: entry for offset, entry in copy.entries.items() if offset >= end}
        for offset in gone:
            del copy.entries[offset]
        # the predecessor of what comes next is the last record that is left: offsets may have gaps
        copy.end = max((offset + 1 for offset in copy.entries), default=min(copy.end, end))
        self._judge.truncated(copy, end, gone)

    def _trim(self, copy: Copy, start: int) -> None:
        if start > copy.start:
            copy.start = start
            self._judge.trimmed(copy, start)


def entries(write: Append) -> Iterator[tuple[int, Entry]]:
    """The records of a write, one by one. When a delayed message becomes due is no part of its record: a later copy need not know it."""
    if isinstance(write, w.AppendOperation):
        yield write.offset, Entry(write.epoch, _digest(Kind.OPERATION, write.time, write.text), write._replace(log_id=0))
    elif isinstance(write, w.AppendDelayed):
        facts = (write.time, write.producer, write.sequence, write.value, write.crc, write.key, write.headers)
        yield write.offset, Entry(write.epoch, _digest(Kind.DELAYED, *facts), write._replace(log_id=0))
    else:
        keys, headers = write.keys or [None] * len(write.values), write.headers or [None] * len(write.values)
        for index, (value, crc, key, header) in enumerate(zip(write.values, write.crcs, keys, headers, strict=True)):
            offset = write.first + index
            sequence = write.sequence + index if write.producer else 0
            digest = _digest(Kind.MESSAGE, write.time, write.producer, sequence, value, crc, key, header)
            alone = w.AppendMessages(0, offset, write.epoch, write.time, write.producer, sequence, [value], [crc], [key], [header])
            yield offset, Entry(write.epoch, digest, alone)


def _digest(*facts: object) -> bytes:
    return blake2b(repr(facts).encode(), digest_size=8).digest()
