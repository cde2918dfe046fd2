"""Records as a leader passes them on: in columns, checked against the checksums that they were written with.

A block is what one write appended, or a piece of it: consecutive offsets and sequences of one kind, epoch, time and producer. A
record that does not match its checksum is never passed on. One bad record, or one bad page below a log, is the trouble of one
replica of one partition, so it is told as such and the store goes on; only the caller knows that other replicas have the record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from zlib import crc32

from zmqmq.core.checksum import checksums
from zmqmq.core.model import Kind
from zmqmq.core.peer_commands import Block
from zmqmq.errors import StorageDamaged
from zmqmq.shell.sqlite_errors import is_damaged

RECORD_BYTES = 32
"""What a record counts besides its key, headers and value, so that a block of empty messages is bounded too."""

_COLUMNS = "offset, kind, epoch, time, producer, sequence, crc, key, CAST(headers AS BLOB), coalesce(value, CAST(operation AS BLOB), x'')"
_Stored = tuple[int, int, int, float, int, int, int, bytes | None, bytes | None, bytes]
_HEAD_TYPES = (int, int, float, int, int, int)
_NULL = type(None)


def read_blocks(connection: sqlite3.Connection, table: str, log_id: int, start: int, stop: int, max_bytes: int) -> list[Block]:
    """The sound records in [start, stop) up to the first damaged one, about `max_bytes`, one record at least.

    Raises StorageDamaged if the first record is damaged, sqlite3.Error if reading failed otherwise."""
    rows, damage = _rows(connection, table, start, stop, max_bytes)
    dues = _dues(connection, log_id, rows)
    blocks: list[Block] = []
    for group in _groups(rows):
        sound = _sound(group)
        if sound:
            blocks.append(_block(sound, dues))
        if len(sound) < len(group):
            damage = damage or "its checksum does not match"
            break
    if damage and not blocks:
        raise _damaged(connection, log_id, rows[0][0] if rows else start, damage)
    return blocks


def _rows(connection: sqlite3.Connection, table: str, start: int, stop: int, max_bytes: int) -> tuple[list[_Stored], str]:
    """The records as they are stored, and what ended them too early, "" if nothing did."""
    rows: list[_Stored] = []
    size = 0
    statement = f"SELECT {_COLUMNS} FROM {table} WHERE offset >= ? AND offset < ? ORDER BY offset"
    try:
        with closing(connection.execute(statement, (start, stop))) as cursor:
            for row in cursor:
                rows.append(row)
                _, _, _, _, _, _, _, key, headers, value = row
                size += RECORD_BYTES + _length(key) + _length(headers) + _length(value)
                if size >= max_bytes:
                    break
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise
        return rows, str(error)
    return rows, ""


def _length(column: object) -> int:
    return len(column) if isinstance(column, bytes) else 0


def _dues(connection: sqlite3.Connection, log_id: int, rows: Sequence[_Stored]) -> dict[int, float]:
    """When the delayed messages among the rows are due; matured ones are missing."""
    offsets = [row[0] for row in rows if row[1] == Kind.DELAYED]
    if not offsets:
        return {}
    statement = "SELECT offset, due FROM delayed WHERE log_id = ? AND offset BETWEEN ? AND ?"
    return dict(connection.execute(statement, (log_id, offsets[0], offsets[-1])).fetchall())


def _groups(rows: Sequence[_Stored]) -> Iterator[list[_Stored]]:
    """Runs of records that make one block each."""
    for _, run in groupby(enumerate(rows), _run):
        yield [row for _, row in run]


def _run(indexed: tuple[int, _Stored]) -> tuple[object, ...]:
    """Equal for neighbours that belong together: offset minus index stays the same as long as offsets are consecutive."""
    index, (offset, kind, epoch, time, producer, sequence, *_) = indexed
    if kind == Kind.MESSAGE:
        place = _difference(sequence, offset)
    else:
        place = offset if kind == Kind.DELAYED else None
    return (kind, epoch, time, producer, place, offset - index)


def _difference(sequence: object, offset: int) -> object:
    return sequence - offset if isinstance(sequence, int) else sequence


def _sound(rows: list[_Stored]) -> list[_Stored]:
    """The rows before the first damaged one. The columns are looked at as wholes, one by one only if something is wrong with them."""
    if _are_sound(rows):
        return rows
    for index, row in enumerate(rows):
        if not _are_sound([row]):
            return rows[:index]
    return rows


def _are_sound(rows: list[_Stored]) -> bool:
    """Whether the columns have the types that were written and the checksums match."""
    _, kind, epoch, time, producer, sequence, crc, *_ = rows[0]
    if tuple(map(type, (kind, epoch, time, producer, sequence, crc))) != _HEAD_TYPES:
        return False
    _, _, _, _, _, _, crcs, keys, headers, values = zip(*rows, strict=True)
    if not (_all_bytes(values) and _all_bytes(keys, _NULL) and _all_bytes(headers, _NULL)):
        return False
    if kind == Kind.OPERATION:
        return all(stored in (0, found) for stored, found in zip(crcs, map(crc32, values), strict=True))  # 0: written before operations had any
    try:
        return kind in (Kind.MESSAGE, Kind.DELAYED) and list(crcs) == checksums(values, _column(keys), _texts(headers))
    except UnicodeDecodeError:
        return False


def _all_bytes(column: Sequence[object], *others: type) -> bool:
    return set(map(type, column)) <= {bytes, *others}


def _column(column: Sequence[bytes | None]) -> list[bytes | None] | None:
    """None for a column that is all NULL, as in the write."""
    return list(column) if any(field is not None for field in column) else None


def _texts(headers: Sequence[bytes | None]) -> list[str | None] | None:
    return [None if text is None else text.decode() for text in headers] if _column(headers) is not None else None


def _block(rows: list[_Stored], dues: dict[int, float]) -> Block:
    offset, kind, epoch, time, producer, sequence, *_ = rows[0]
    _, _, _, _, _, _, crcs, keys, headers, values = zip(*rows, strict=True)
    found = list(map(crc32, values)) if kind == Kind.OPERATION else list(crcs)
    return Block(kind, offset, epoch, time, producer, sequence, list(values), found, _column(keys), _texts(headers), dues.get(offset))


def _damaged(connection: sqlite3.Connection, log_id: int, offset: int, what: str) -> StorageDamaged:
    topic, partition = connection.execute("SELECT topic, partition FROM partitions WHERE log_id = ?", (log_id,)).fetchone()
    hint = "other replicas still have it; without them restore a backup"
    return StorageDamaged(f"a record is damaged: {what}", hint=hint, topic=topic, partition=partition, offset=offset)
