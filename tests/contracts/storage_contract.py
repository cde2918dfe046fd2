"""What the storage contract's tests share: the two implementations behind one way to open them, and short names for writes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core import writes as w
from zmqmq.core.checksum import checksum, checksums
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.shell.storage import Storage

LOG = 1
BALLAST = 1 << 20


class Stores:
    """Opens stores of one kind on one disk, and closes them all at the end."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self._directory = directory
        self._disk = MemoryDisk()
        self._open: list[Any] = []

    def open(self) -> Any:
        store = MemoryStorage.open(self._disk) if self.kind == "memory" else Storage.open(self._directory / "data", ballast_bytes=BALLAST)
        self._open.append(store)
        return store

    def reopen(self, store: Any) -> Any:
        store.close()
        return self.open()

    def crash(self, store: Any) -> None:
        """The broker is gone without having closed its store."""
        if self.kind == "memory":
            store.crash()
        else:
            store._connection.close()
            store._directory.close()
            store._closed = True

    def copy(self) -> None:
        """A copy takes the place of the data directory, which nobody has open."""
        if self.kind == "memory":
            self._disk.file += 1
            return
        data = self._directory / "data"
        shutil.copytree(data, self._directory / "copy")
        shutil.rmtree(data)
        shutil.copytree(self._directory / "copy", data)
        shutil.rmtree(self._directory / "copy")

    def close(self) -> None:
        for store in self._open:
            store.close()


def stores(kind: str, directory: Path) -> Iterator[Stores]:
    opened = Stores(kind, directory)
    try:
        yield opened
    finally:
        opened.close()


def topic(topic_id: int = 1, name: str = "temp_1", partitions: int = 1, **settings: Any) -> w.PutTopic:
    return w.PutTopic(TopicRecord(topic_id, name, partitions, 1, TopicSettings(**settings), 1000.0 + topic_id))


def log(log_id: int = LOG, topic_id: int = 1, name: str = "temp_1", partition: int = 0) -> w.CreateLog:
    return w.CreateLog(log_id, topic_id, name, partition)


def messages(first: int, values: Sequence[bytes], *, time: float = 5.0, log_id: int = LOG, epoch: int = 1, **columns: Any) -> w.AppendMessages:
    keys, headers = columns.get("keys"), columns.get("headers")
    producer, sequence = columns.get("producer", 0), columns.get("sequence", 0)
    return w.AppendMessages(log_id, first, epoch, time, producer, sequence, values, checksums(values, keys, headers), keys, headers)


def delayed(offset: int, due: float | None, *, value: bytes = b"later", time: float = 5.0) -> w.AppendDelayed:
    return w.AppendDelayed(LOG, offset, 1, time, 7, offset, value, checksum(value, b"k"), b"k", None, due)


def operation(offset: int, text: bytes = b'{"op":"acked","group":"g","ranges":[]}', *, time: float = 5.0) -> w.AppendOperation:
    return w.AppendOperation(LOG, offset, 1, time, text)


def dead(*offsets: int, group: str = "g", attempts: int = 5) -> w.PutDead:
    return w.PutDead(LOG, group, [(offset, attempts) for offset in offsets], "sensor gone", "controller-1", 9.0)


def offsets(rows: Sequence[Any]) -> list[int]:
    return [row.offset for row in rows]


def everything(store: Any, groups: Sequence[str] = ("g", "h")) -> list[object]:
    """All that a store answers, as one comparable value."""
    reader = store.reader
    found: list[object] = [[tuple(reader.topics())]]
    for state in reader.logs():
        number = state.log_id
        found.append([list(part) if isinstance(part, list) else part for part in state])
        found.append([list(reader.replay(number, 0, 10_000)), list(reader.read(number, 0, 10_000, 1 << 30))])
        found.append([list(reader.due(number, float("inf"), 10_000)), reader.count(number, 0), reader.weigh(number, 0, 1 << 40)])
        found.append([list(reader.blocks(number, 0, 1 << 40, 1 << 30)), list(reader.dead_rows(number))])
        found.append([(list(reader.dead(number, group, -1, 10_000)), list(reader.dead_offsets(number, group, 10_000))) for group in groups])
    return found
