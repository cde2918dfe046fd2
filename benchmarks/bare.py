"""The bare limit: how many rows per second one SQLite connection inserts with the broker's own file, table, statement and fsync.

Nothing else happens in this process: no socket, no decoding, no decision; values and checksums are made beforehand. It commits as many
rows at a time as the broker did on average in the produce run beside it. It is measured twice: inserts and commits only, and with
checkpoints, which cost time but let the write-ahead log be written in place instead of growing. The better of the two is the limit.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

from zmqmq.core.checksum import checksums
from zmqmq.shell.log_tables import create_log, quoted
from zmqmq.shell.schema import connect, prepare

TABLE = "log_bare_0"
INSERT = f"INSERT INTO {quoted(TABLE)} (kind, offset, epoch, time, producer, sequence, crc, value) VALUES (0, ?, ?, ?, ?, ?, ?, ?)"
CHECKPOINT_BYTES = 16 << 20
"""Write-ahead log at which the second measurement checkpoints, as the broker does under load."""


def rows_per_second(directory: Path, values: Sequence[bytes], batch: int, *, checkpoints: bool) -> float:
    """Inserts the values in commits of `batch` rows into a new database below `directory`."""
    with TemporaryDirectory(prefix="bare-", dir=directory) as where:
        path = Path(where) / "bare.db"
        database = connect(path)
        with closing(database.conn) as connection:
            prepare(database, path)
            create_log(connection, TABLE)
            crcs = checksums(values, None, None)
            began = time.monotonic()
            _insert(connection, values, crcs, batch, Path(f"{path}-wal") if checkpoints else None)
            return len(values) / (time.monotonic() - began)


def commit_seconds(directory: Path, value: bytes, count: int) -> list[float]:
    """How long each of `count` commits of one row takes."""
    taken = []
    with TemporaryDirectory(prefix="bare-", dir=directory) as where:
        path = Path(where) / "bare.db"
        database = connect(path)
        with closing(database.conn) as connection:
            prepare(database, path)
            create_log(connection, TABLE)
            for offset in range(count):
                began = time.monotonic()
                _commit(connection, offset, [value], [0])
                taken.append(time.monotonic() - began)
    return taken


def _insert(connection: sqlite3.Connection, values: Sequence[bytes], crcs: Sequence[int], batch: int, log: Path | None) -> None:
    for first in range(0, len(values), batch):
        _commit(connection, first, values[first : first + batch], crcs[first : first + batch])
        if log is not None and log.stat().st_size > CHECKPOINT_BYTES:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _commit(connection: sqlite3.Connection, first: int, values: Sequence[bytes], crcs: Sequence[int]) -> None:
    count = len(values)
    columns = (range(first, first + count), repeat(1), repeat(1.7e9), repeat(1 << 62), range(first, first + count), crcs, values)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(INSERT, zip(*columns, strict=False))
    connection.execute("COMMIT")
