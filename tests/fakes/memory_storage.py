"""Storage in memory, for tests of everything above it: the same methods, errors and answers as `zmqmq.shell.storage.Storage`.

What must survive a restart is on a `MemoryDisk`; a new `MemoryStorage.open(disk)` finds it there. `disk.room` bounds the bytes that
may still be appended; `disk.broken` makes the next commit fail the way a failed fsync does.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from tests.fakes.memory_log import MemoryDead, MemoryLog, MemoryRecord
from zmqmq.core import writes as w
from zmqmq.core.model import Kind, Row, TopicRecord
from zmqmq.core.names import folded
from zmqmq.core.peer_commands import Block
from zmqmq.errors import StorageFailed, StorageFull, StorageLocked
from zmqmq.shell.storage import Identity


@dataclass
class MemoryDisk:
    """What a data directory holds."""

    storage_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    cluster_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    incarnation: int = 0
    session: int = 0
    topics: dict[int, TopicRecord] = field(default_factory=dict)
    logs: dict[int, MemoryLog] = field(default_factory=dict)
    room: float = float("inf")
    """Bytes that may still be appended."""
    ballast: int = 1 << 20
    ballast_free: bool = False
    broken: bool = False
    """The next commit fails and its outcome is unknown."""
    locked: bool = False
    clean: bool = True
    file: int = 1
    """Another number: what is here was copied from elsewhere."""
    opened_as: int = 0
    """The file's number at the last opening, 0 before the first."""
    copied: bool = False
    """It was copied while it was in use, and has no identity of its own yet."""


class MemoryStorage:
    """An open store on a MemoryDisk."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk
        self.identity = Identity(disk.storage_id, disk.cluster_id, disk.incarnation, disk.clean, disk.session, disk.copied)
        self.reader = self
        self.commits = 0
        self._failed = False
        self._closed = False

    @classmethod
    def open(cls, disk: MemoryDisk) -> MemoryStorage:
        if disk.locked:
            raise StorageLocked("another broker uses the data directory")
        disk.locked = True
        disk.incarnation += 1
        disk.copied = disk.copied or (not disk.clean and disk.opened_as not in (0, disk.file))
        store = cls(disk)
        disk.clean, disk.opened_as = False, disk.file
        return store

    @property
    def storage_id(self) -> str:
        return self.identity.storage_id

    @property
    def cluster_id(self) -> str:
        return self.identity.cluster_id

    @property
    def incarnation(self) -> int:
        return self.identity.incarnation

    @property
    def has_data(self) -> bool:
        return bool(self.disk.topics)

    def close(self) -> None:
        if not self._closed:
            self._closed, self.disk.locked, self.disk.clean = True, False, True

    def crash(self) -> None:
        """The process is gone; what was committed stays."""
        self._closed, self.disk.locked = True, False

    def maintain(self, idle: bool) -> None:
        """Nothing to do in memory."""

    def free_ballast(self) -> None:
        if not self.disk.ballast_free:
            self.disk.ballast_free = True
            self.disk.room += self.disk.ballast

    def restore_ballast(self) -> bool:
        if self.disk.ballast_free and self.disk.room >= 2 * self.disk.ballast:
            self.disk.ballast_free = False
            self.disk.room -= self.disk.ballast
        return not self.disk.ballast_free

    @property
    def has_ballast(self) -> bool:
        return self.disk.ballast > 0 and not self.disk.ballast_free

    def has_room(self) -> bool:
        return self.restore_ballast()

    def disk_free(self) -> int:
        return int(min(self.disk.room, 1 << 50))

    def storage_bytes(self) -> int:
        return sum(log.size for log in self.disk.logs.values())

    # --- Writing -------------------------------------------------------------------------------------------------

    def commit(self, writes: Sequence[w.Write]) -> None:
        if not writes:
            return
        if self._failed or self._closed:
            raise StorageFailed("the store failed before or is closed")
        if self.disk.broken:
            self._failed, self.disk.broken = True, False
            raise StorageFailed("the store failed: disk I/O error")
        self._take_room(sum(map(_weight, writes)))
        self.commits += 1
        for write in writes:
            getattr(self, f"_{type(write).__name__}")(write)

    def _take_room(self, size: int) -> None:
        if size > self.disk.room:
            raise StorageFull("the broker's disk is full")
        self.disk.room -= size

    def _PutTopic(self, write: w.PutTopic) -> None:
        if any(folded(known.name) == folded(write.topic.name) for number, known in self.disk.topics.items() if number != write.topic.topic_id):
            self._failed = True
            raise StorageFailed("the store failed: a topic of that name is there")
        self.disk.topics[write.topic.topic_id] = write.topic

    def _DropTopic(self, write: w.DropTopic) -> None:
        self.disk.topics.pop(write.topic_id, None)
        self.disk.logs = {number: log for number, log in self.disk.logs.items() if log.created.topic_id != write.topic_id}

    def _CreateLog(self, write: w.CreateLog) -> None:
        self.disk.logs[write.log_id] = MemoryLog(write, w.PutHead(write.log_id, 0, 0, 0, 0, 0, 0))

    def _AppendMessages(self, write: w.AppendMessages) -> None:
        log, nothing = self.disk.logs[write.log_id], [None] * len(write.values)
        columns = zip(write.keys or nothing, write.headers or nothing, write.values, write.crcs, strict=True)
        for index, (key, headers, value, crc) in enumerate(columns):
            record = MemoryRecord(Kind.MESSAGE, write.epoch, write.time, write.producer, write.sequence + index, key, headers, value, crc)
            log.add(write.first + index, record)

    def _AppendDelayed(self, write: w.AppendDelayed) -> None:
        log = self.disk.logs[write.log_id]
        head = (Kind.DELAYED, write.epoch, write.time, write.producer, write.sequence)
        log.add(write.offset, MemoryRecord(*head, write.key, write.headers, write.value, write.crc))
        if write.due is not None:
            log.delayed[write.offset] = write.due

    def _AppendOperation(self, write: w.AppendOperation) -> None:
        record = MemoryRecord(Kind.OPERATION, write.epoch, write.time, text=write.text, crc=crc32(write.text))
        self.disk.logs[write.log_id].add(write.offset, record)

    def _DropDelayed(self, write: w.DropDelayed) -> None:
        log = self.disk.logs[write.log_id]
        for offset in write.offsets:
            log.delayed.pop(offset, None)
        log.forget_unneeded(write.offsets)

    def _PutHead(self, write: w.PutHead) -> None:
        self.disk.logs[write.log_id].head = write

    def _PutEpoch(self, write: w.PutEpoch) -> None:
        self.disk.logs[write.log_id].epochs[write.epoch] = write.start

    def _PutProducers(self, write: w.PutProducers) -> None:
        self.disk.logs[write.log_id].producers.update({row[0]: (row[0], row[1], row[2], row[3]) for row in write.rows})

    def _DropProducers(self, write: w.DropProducers) -> None:
        for producer in write.producers:
            self.disk.logs[write.log_id].producers.pop(producer, None)

    def _PutGroup(self, write: w.PutGroup) -> None:
        self.disk.logs[write.log_id].groups[write.group] = write

    def _DropGroup(self, write: w.DropGroup) -> None:
        log = self.disk.logs[write.log_id]
        log.groups.pop(write.group, None)
        log.members = {name: member for name, member in log.members.items() if name[0] != write.group}
        log.forget_unneeded(list(log.dead.pop(write.group, {})))

    def _PutMember(self, write: w.PutMember) -> None:
        self.disk.logs[write.log_id].members[write.group, write.member] = write

    def _DropMember(self, write: w.DropMember) -> None:
        self.disk.logs[write.log_id].members.pop((write.group, write.member), None)

    def _PutDead(self, write: w.PutDead) -> None:
        letters = self.disk.logs[write.log_id].dead.setdefault(write.group, {})
        for offset, attempts in write.rows:
            letters[offset] = MemoryDead(attempts, write.reason, write.consumer, write.time)

    def _ReviveDead(self, write: w.ReviveDead) -> None:
        letters = self.disk.logs[write.log_id].dead.get(write.group, {})
        for offset in write.offsets:
            if offset in letters:
                letters[offset].revived = True

    def _DropDead(self, write: w.DropDead) -> None:
        log = self.disk.logs[write.log_id]
        for offset in write.offsets:
            log.dead.get(write.group, {}).pop(offset, None)
        log.forget_unneeded(write.offsets)

    def _TrimLog(self, write: w.TrimLog) -> None:
        log = self.disk.logs[write.log_id]
        before = log.size
        log.trim(write.start)
        self.disk.room += before - log.size

    def _TruncateLog(self, write: w.TruncateLog) -> None:
        log = self.disk.logs[write.log_id]
        before = log.size
        log.truncate(write.end)
        self.disk.room += before - log.size

    def _DropLog(self, write: w.DropLog) -> None:
        self.disk.room += self.disk.logs.pop(write.log_id).size

    def _PutPromise(self, write: w.PutPromise) -> None:
        log = self.disk.logs[write.log_id]
        log.promised = max(log.promised, write.epoch)

    def _PutSnapshot(self, write: w.PutSnapshot) -> None:
        self.disk.logs[write.log_id].install(write)

    def _PutMissing(self, write: w.PutMissing) -> None:
        log = self.disk.logs[write.log_id]
        log.missing = max(log.missing, write.below)

    def _PutSession(self, write: w.PutSession) -> None:
        self.disk.session = write.session
        self.identity = self.identity._replace(session=write.session)

    def _RenewStorageId(self, write: w.RenewStorageId) -> None:
        self.disk.storage_id, self.disk.copied = write.storage_id, False
        self.identity = self.identity._replace(storage_id=write.storage_id, copied=False)

    def _PutClusterId(self, write: w.PutClusterId) -> None:
        self.disk.cluster_id = write.cluster_id
        self.identity = self.identity._replace(cluster_id=write.cluster_id)

    # --- Reading -------------------------------------------------------------------------------------------------

    def topics(self) -> Sequence[TopicRecord]:
        return [self.disk.topics[number] for number in sorted(self.disk.topics)]

    def logs(self) -> Sequence[w.LogState]:
        return [self.disk.logs[number].state() for number in sorted(self.disk.logs)]

    def log(self, log_id: int) -> w.LogState:
        return self.disk.logs[log_id].state()

    def blocks(self, log_id: int, start: int, stop: int, max_bytes: int) -> Sequence[Block]:
        return self.disk.logs[log_id].blocks(start, stop, max_bytes)

    def dead_rows(self, log_id: int) -> Sequence[tuple[str, int, int, str, str, float, int]]:
        return self.disk.logs[log_id].dead_rows()

    def last_time(self) -> float:
        return max((log.records[log.offsets[-1]].time for log in self.disk.logs.values() if log.offsets), default=0.0)

    def replay(self, log_id: int, start: int, limit: int) -> Sequence[w.Record]:
        log = self.disk.logs[log_id]
        found = [(offset, log.records[offset]) for offset in log.from_(start)[:limit]]
        return [w.Record(offset, r.kind, r.time, r.producer, r.sequence, r.size, r.text) for offset, r in found]

    def read(self, log_id: int, start: int, limit: int, max_bytes: int) -> Sequence[Row]:
        log, size = self.disk.logs[log_id], 0
        rows: list[Row] = []
        for offset in log.from_(start):
            if len(rows) >= limit or (rows and size >= max_bytes):
                break
            if log.records[offset].kind == Kind.MESSAGE:
                rows.append(log.row(offset))
                size += log.records[offset].size
        return rows

    def read_offsets(self, log_id: int, offsets: Sequence[int]) -> Sequence[Row]:
        log = self.disk.logs[log_id]
        return [log.row(offset) for offset in sorted(set(offsets)) if offset in log.records and log.records[offset].kind != Kind.OPERATION]

    def due(self, log_id: int, until: float, limit: int) -> Sequence[tuple[int, float]]:
        waiting = sorted((due, offset) for offset, due in self.disk.logs[log_id].delayed.items() if due <= until)
        return [(offset, due) for due, offset in waiting[:limit]]

    def count(self, log_id: int, start: int) -> int:
        return len(self.disk.logs[log_id].messages(start))

    def offset_at(self, log_id: int, time: float) -> int | None:
        log = self.disk.logs[log_id]
        return next((offset for offset in log.from_(log.trimmed) if log.records[offset].time >= time), None)

    def weigh(self, log_id: int, start: int, stop: int) -> tuple[int, int]:
        log = self.disk.logs[log_id]
        sizes = [log.records[offset].size for offset in log.messages(start) if offset < stop]
        return len(sizes), sum(sizes)

    def dead(self, log_id: int, group: str, after: int, limit: int) -> Sequence[w.DeadRow]:
        log = self.disk.logs[log_id]
        letters = log.dead.get(group, {})
        found = [offset for offset in sorted(letters) if offset > after and not letters[offset].revived and offset in log.records][:limit]
        return [w.DeadRow(o, letters[o].attempts, letters[o].reason, letters[o].consumer, letters[o].died, log.row(o)) for o in found]

    def dead_offsets(self, log_id: int, group: str, limit: int) -> Sequence[int]:
        letters = self.disk.logs[log_id].dead.get(group, {})
        return [offset for offset in sorted(letters) if not letters[offset].revived][:limit]


def _weight(write: w.Write) -> int:
    """Bytes that a write takes on the simulated disk."""
    if isinstance(write, w.AppendMessages):
        return sum(map(len, write.values))
    return len(write.value) if isinstance(write, w.AppendDelayed) else 0
