"""The outbox: a bounded SQLite file that keeps a sensor's readings until a broker has confirmed them.

A reading is on disk before `send` returns, leaves in order, and is deleted when it is confirmed. Before a batch is sent for the
first time, its partition and sequence are written down, with the producer's id: after a reboot the same batches go out under the same
sequences, and the broker recognises those that it has. What has to be dropped is counted and logged with its reason.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from zmqmq.client.values import positive
from zmqmq.errors import BufferFull, InvalidValue, StorageDamaged, StorageFailed, StorageLocked, StorageTooNew

MAX_BYTES = 64 << 20
READING_OVERHEAD = 64
"""Bytes that a reading counts beside its value, key and headers."""
SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS producer (id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS lane (topic TEXT, partition INTEGER, next INTEGER NOT NULL, PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS reading (
  id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, due REAL, topic TEXT NOT NULL, key BLOB, headers TEXT, value BLOB NOT NULL,
  size INTEGER NOT NULL, partition INTEGER, batch INTEGER);
CREATE INDEX IF NOT EXISTS reading_batch ON reading (topic, partition, batch) WHERE batch IS NOT NULL;
"""
WhenFull = Literal["drop_oldest", "raise"]

log = logging.getLogger("zmqmq.outbox")


class Reading(NamedTuple):
    """One message in the outbox. Times are seconds since 1970 UTC."""

    id: int
    due: float | None
    topic: str
    key: bytes | None
    headers: str | None
    value: bytes
    size: int


class Numbered(NamedTuple):
    """A batch that got its sequences in an earlier life."""

    topic: str
    partition: int
    sequence: int
    readings: list[Reading]


class Outbox:
    """One file, used by one producer at a time. Thread-safe."""

    def __init__(self, path: str | Path, max_bytes: int = MAX_BYTES, max_age: float | None = None, when_full: WhenFull = "drop_oldest") -> None:
        """max_bytes: bound of what waits; max_age: readings that waited longer, in seconds, are dropped; when_full: the oldest reading goes, or
        `send` raises BufferFull. Raises StorageLocked if another process uses the file, StorageDamaged, StorageTooNew, InvalidValue."""
        if when_full not in ("drop_oldest", "raise"):
            raise InvalidValue(f"outbox_when_full is {when_full!r}", hint='allowed are "drop_oldest" and "raise"')
        self.dropped: Counter[str] = Counter()
        """Readings dropped since the start, by reason."""
        self._max_bytes = int(positive("outbox_max_bytes", max_bytes, 1 << 40))
        self._max_age = None if max_age is None else positive("outbox_max_age", max_age)
        self._when_full = when_full
        self._path = Path(path)
        self._lock = threading.Lock()
        self._handed = 0
        self._lock_file = _locked(self._path)
        try:
            self._db = _opened(self._path)
            self.size = int(self._one("SELECT coalesce(sum(size), 0) FROM reading"))
            self.count = int(self._one("SELECT count(*) FROM reading"))
            self.producer = self._producer()
        except sqlite3.DatabaseError as error:
            os.close(self._lock_file)
            raise StorageDamaged(f"the outbox {self._path} cannot be used: {error}", hint="move it away to begin with an empty one") from error

    def put(self, topic: str, value: bytes, key: bytes | None, headers: str | None, delay: float | None) -> int:
        """Writes a reading to disk and gives its number. Raises BufferFull, StorageFailed."""
        now = time.time()
        size = len(value) + len(key or b"") + len((headers or "").encode()) + READING_OVERHEAD
        with self._lock:
            self._drop_old(now)
            self._make_room(size)
            row = (now, None if delay is None else now + delay, topic, key, headers, value, size)
            try:
                with closing(self._db.execute("INSERT INTO reading (time, due, topic, key, headers, value, size) VALUES (?,?,?,?,?,?,?)", row)) as done:
                    number = int(done.lastrowid or 0)
            except sqlite3.Error as error:
                raise StorageFailed(f"the outbox {self._path} did not take the reading: {error}", hint="is its disk full?") from error
            self.size += size
            self.count += 1
            return number

    def take(self, limit: int) -> list[Reading]:
        """The next readings that were neither taken nor numbered before, in order."""
        with self._lock:
            self._drop_old(time.time())
            readings = self._readings("batch IS NULL AND id > ? ORDER BY id LIMIT ?", (self._handed, limit))
            if readings:
                self._handed = readings[-1].id
            return readings

    def lanes(self) -> list[tuple[str, int, int]]:
        """(topic, partition, next sequence) of all partitions ever sent to."""
        with self._lock:
            return self._db.execute("SELECT topic, partition, next FROM lane").fetchall()

    def numbered(self) -> list[Numbered]:
        """The batches of an earlier life that were not confirmed, in order."""
        with self._lock:
            keys = self._db.execute("SELECT DISTINCT topic, partition, batch FROM reading WHERE batch IS NOT NULL ORDER BY 1, 2, 3").fetchall()
            where = "topic = ? AND partition = ? AND batch = ? ORDER BY id"
            return [Numbered(topic, partition, first, self._readings(where, (topic, partition, first))) for topic, partition, first in keys]

    def number(self, topic: str, partition: int, batches: Iterable[tuple[int, Sequence[int]]], next_sequence: int) -> None:
        """Writes down, before they are sent, which sequence each batch (its first sequence, its readings) begins with."""
        with self._lock:
            with self._transaction():
                for sequence, ids in batches:
                    self._db.executemany("UPDATE reading SET partition = ?, batch = ? WHERE id = ?", [(partition, sequence, id) for id in ids])
                lane = (topic, partition, next_sequence)
                self._db.execute("INSERT INTO lane VALUES (?,?,?) ON CONFLICT DO UPDATE SET next = excluded.next", lane)

    def remove(self, ids: Sequence[int], reason: str | None = None) -> None:
        """Forgets readings: they are confirmed, or dropped for a reason."""
        with self._lock:
            self._delete(ids, reason)

    def close(self) -> None:
        """Closes the file; what is in it stays for the next start."""
        with self._lock:
            self._db.close()
            os.close(self._lock_file)

    # --- Details, under the lock ---------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it on disk, or nothing and StorageFailed."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StorageFailed(f"the outbox {self._path} cannot be written: {error}", hint="is its disk full?") from error

    def _one(self, query: str) -> int:
        found = self._db.execute(query).fetchone()
        return int(found[0]) if found is not None else 0

    def _producer(self) -> int:
        known = self._one("SELECT id FROM producer")
        if not known:
            known = random.getrandbits(62) + 1
            self._db.execute("INSERT INTO producer VALUES (?)", (known,))
        return known

    def _readings(self, where: str, values: tuple[object, ...]) -> list[Reading]:
        rows = self._db.execute(f"SELECT id, due, topic, key, headers, value, size FROM reading WHERE {where}", values)
        return [Reading(*row) for row in rows]

    def _make_room(self, size: int) -> None:
        if size > self._max_bytes:
            raise BufferFull(f"a reading of {size} bytes does not fit into the outbox", hint=f"outbox_max_bytes is {self._max_bytes}")
        while self.size + size > self._max_bytes:
            oldest = None
            if self._when_full == "drop_oldest":
                oldest = self._db.execute("SELECT id FROM reading WHERE batch IS NULL AND id > ? ORDER BY id LIMIT 1", (self._handed,)).fetchone()
            if oldest is None:
                raise BufferFull(f"the outbox holds {self.count} readings, {self.size} bytes", hint=f"outbox_max_bytes is {self._max_bytes}")
            self._delete(oldest, "the outbox was full")

    def _drop_old(self, now: float) -> None:
        if self._max_age is not None:
            oldest = (self._handed, now - self._max_age)
            old = self._db.execute("SELECT id FROM reading WHERE batch IS NULL AND id > ? AND time < ? LIMIT 1000", oldest).fetchall()
            if old:
                self._delete([row[0] for row in old], f"older than {self._max_age:g} s")

    def _delete(self, ids: Sequence[int], reason: str | None) -> None:
        with self._transaction():
            sizes = [row[0] for id in ids for row in self._db.execute("DELETE FROM reading WHERE id = ? RETURNING size", (id,)).fetchall()]
        self.size -= sum(sizes)
        self.count -= len(sizes)
        if reason is not None:
            self.dropped[reason] += len(ids)
            log.warning("%d readings dropped from the outbox %s: %s", len(ids), self._path, reason)


def _locked(path: Path) -> int:
    """Takes the file for this process alone. Raises StorageLocked or StorageFailed."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(f"the outbox {path} cannot be opened: {error.strerror}", hint="its directory must exist and be writable") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StorageLocked(f"the outbox {path} is in use", hint="one producer at a time; give each its own file") from error
    return descriptor


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        db.close()
        raise StorageTooNew(f"the outbox {path} has version {version}", hint=f"this zmqmq reads up to {SCHEMA_VERSION}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(_SCHEMA)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    return db
