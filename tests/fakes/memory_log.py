"""One partition's records and tables in memory, for the storage in memory."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

from zmqmq.core import writes as w
from zmqmq.core.checksum import checksum
from zmqmq.core.model import Kind, Row
from zmqmq.core.peer_commands import Block
from zmqmq.errors import StorageDamaged, StorageFailed
from zmqmq.shell.blocks import RECORD_BYTES


@dataclass
class MemoryRecord:
    kind: int
    epoch: int
    time: float
    producer: int = 0
    sequence: int = 0
    key: bytes | None = None
    headers: str | None = None
    value: bytes = b""
    crc: int = 0
    text: bytes = b""

    @property
    def size(self) -> int:
        return len(self.value) + len(self.key or b"") + len((self.headers or "").encode())

    @property
    def is_sound(self) -> bool:
        return self.crc == (crc32(self.text) if self.kind == Kind.OPERATION else checksum(self.value, self.key, self.headers))


@dataclass
class MemoryDead:
    attempts: int
    reason: str
    consumer: str
    died: float
    revived: bool = False


@dataclass
class MemoryLog:
    created: w.CreateLog
    head: w.PutHead
    promised: int = 0
    trimmed: int = 0
    missing: int = 0
    offsets: list[int] = field(default_factory=list)
    records: dict[int, MemoryRecord] = field(default_factory=dict)
    delayed: dict[int, float] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    producers: dict[int, tuple[int, int, str, float]] = field(default_factory=dict)
    groups: dict[str, w.PutGroup] = field(default_factory=dict)
    members: dict[tuple[str, str], w.PutMember] = field(default_factory=dict)
    dead: dict[str, dict[int, MemoryDead]] = field(default_factory=dict)

    def add(self, offset: int, record: MemoryRecord) -> None:
        if offset in self.records:
            raise StorageFailed(f"offset {offset} is taken")
        insort(self.offsets, offset)
        self.records[offset] = record

    @property
    def size(self) -> int:
        return sum(record.size for record in self.records.values())

    def needed(self, offset: int) -> bool:
        return offset in self.delayed or any(offset in letters for letters in self.dead.values())

    def forget_unneeded(self, offsets: Sequence[int]) -> None:
        for offset in offsets:
            if offset < self.trimmed and offset in self.records and not self.needed(offset):
                del self.records[offset]
                self.offsets.remove(offset)

    def trim(self, start: int) -> None:
        below = self.offsets[bisect_left(self.offsets, self.trimmed) : bisect_left(self.offsets, start)]
        self.trimmed = max(self.trimmed, start)
        self.forget_unneeded(below)

    def truncate(self, end: int) -> None:
        self.head = self.head._replace(end=min(end, self.end))
        for offset in self.from_(end):
            del self.records[offset]
        self.offsets = self.offsets[: bisect_left(self.offsets, end)]
        self.delayed = {offset: due for offset, due in self.delayed.items() if offset < end}
        self.epochs = {epoch: start for epoch, start in self.epochs.items() if start < end}

    def install(self, write: w.PutSnapshot) -> None:
        epoch = max((epoch for epoch, _ in write.epochs), default=0)
        self.head = w.PutHead(write.log_id, epoch, write.start, 0, write.applied, write.messages, write.size, write.delayed)
        self.trimmed = max(write.start, write.trimmed)
        self.epochs.update((epoch, start) for epoch, start in write.epochs)
        self.producers.update({row[0]: (row[0], row[1], row[2], row[3]) for row in write.producers})
        self.groups.update({row[0]: w.PutGroup(write.log_id, *row) for row in write.groups})
        self.members.update({(row[0], row[1]): w.PutMember(write.log_id, *row) for row in write.members})
        for group, offset, attempts, reason, consumer, died, revived in write.dead:
            self.dead.setdefault(group, {})[offset] = MemoryDead(attempts, reason, consumer, died, bool(revived))

    # --- Reading -------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        return max(self.head.end, self.offsets[-1] + 1 if self.offsets else 0)

    def from_(self, start: int) -> list[int]:
        return self.offsets[bisect_left(self.offsets, start) :]

    def row(self, offset: int) -> Row:
        record = self.records[offset]
        return Row(offset, record.time, record.key, record.headers, record.value, record.crc)

    def messages(self, start: int) -> list[int]:
        return [offset for offset in self.from_(start) if self.records[offset].kind == Kind.MESSAGE]

    def blocks(self, start: int, stop: int, max_bytes: int) -> list[Block]:
        found: list[Block] = []
        size = 0
        for offset in self.from_(start):
            if offset >= stop or (found and size >= max_bytes):
                break
            record = self.records[offset]
            if not record.is_sound:
                if not found:
                    raise StorageDamaged("a record is damaged", topic=self.created.topic, partition=self.created.partition, offset=offset)
                break
            if found and self._continues(found[-1], offset, record):
                self._extend(found[-1], record)
            else:
                found.append(self._single(offset, record))
            size += RECORD_BYTES + record.size + len(record.text)
        return [_tidy(block) for block in found]

    def _continues(self, block: Block, offset: int, record: MemoryRecord) -> bool:
        count = len(block.values)
        same = (block.kind, block.first + count, block.epoch, block.time, block.producer) == (record.kind, offset, record.epoch, record.time, record.producer)
        return same and (record.kind == Kind.OPERATION or record.kind == Kind.MESSAGE and block.sequence + count == record.sequence)

    def _single(self, offset: int, r: MemoryRecord) -> Block:
        block = Block(r.kind, offset, r.epoch, r.time, r.producer, r.sequence, [], [], [], [], self.delayed.get(offset) if r.kind == Kind.DELAYED else None)
        self._extend(block, r)
        return block

    def _extend(self, block: Block, record: MemoryRecord) -> None:
        assert block.keys is not None and block.headers is not None, "columns are tidied at the end"
        block.values.append(record.text if record.kind == Kind.OPERATION else record.value)
        block.crcs.append(record.crc)
        block.keys.append(record.key)
        block.headers.append(record.headers)

    def state(self) -> w.LogState:
        head = self.head
        gone = max(self.trimmed, self.missing)
        return w.LogState(
            head.log_id, self.created.topic_id, self.created.partition, head.epoch, head.start, self.end, head.applied, head.messages, head.size, head.delayed,
            sorted(self.epochs.items()), [self.producers[producer] for producer in sorted(self.producers)],
            [self.groups[group] for group in sorted(self.groups)], [self.members[member] for member in sorted(self.members)], self.promised, gone,
        )  # fmt: skip

    def dead_rows(self) -> list[tuple[str, int, int, str, str, float, int]]:
        letters = ((group, offset, self.dead[group][offset]) for group in sorted(self.dead) for offset in sorted(self.dead[group]))
        return [(group, offset, one.attempts, one.reason, one.consumer, one.died, int(one.revived)) for group, offset, one in letters]


def _tidy(block: Block) -> Block:
    """Columns that are all NULL are None."""
    keys = block.keys if block.keys and any(key is not None for key in block.keys) else None
    headers = block.headers if block.headers and any(text is not None for text in block.headers) else None
    return Block(
        block.kind, block.first, block.epoch, block.time, block.producer, block.sequence, block.values, block.crcs, keys, headers, block.due
    )  # fmt: skip
