"""The writes that only replication needs, as SQL: cutting a log where another leader's differs, taking over its tables, promises.

All of them run inside the turn's transaction and touch the records beyond a cut, or the small tables of one partition.
"""

from __future__ import annotations

import sqlite3

from zmqmq.core import writes as w

_OF_LOG = ("epochs", "producers", "groups", "members", "dead_letters", "delayed", "partitions")


def drop_tables(connection: sqlite3.Connection, log_id: int) -> None:
    """What the small tables say about a log goes, the log itself does not."""
    for table in _OF_LOG:
        connection.execute(f"DELETE FROM {table} WHERE log_id = ?", (log_id,))


def truncate(connection: sqlite3.Connection, table: str, write: w.TruncateLog) -> None:
    """The log ends at `write.end` afterwards, or where it ended before if that was lower. An epoch that begins at the end has no record left and goes."""
    log_id, end = write
    statement = f"UPDATE partitions SET next_offset = min(?1, max(next_offset, (SELECT coalesce(max(offset) + 1, 0) FROM {table}))) WHERE log_id = ?2"
    connection.execute(statement, (end, log_id))
    connection.execute(f"DELETE FROM {table} WHERE offset >= ?", (end,))
    connection.execute("DELETE FROM delayed WHERE log_id = ? AND offset >= ?", (log_id, end))
    connection.execute("DELETE FROM epochs WHERE log_id = ? AND start >= ?", (log_id, end))


def put_promise(connection: sqlite3.Connection, write: w.PutPromise) -> None:
    """A promise only grows."""
    connection.execute("UPDATE partitions SET promised = max(promised, ?) WHERE log_id = ?", (write.epoch, write.log_id))


def put_missing(connection: sqlite3.Connection, write: w.PutMissing) -> None:
    """Nothing is deleted, and a later trim still passes over these offsets."""
    connection.execute("UPDATE partitions SET missing = max(missing, ?) WHERE log_id = ?", (write.below, write.log_id))


def put_snapshot(connection: sqlite3.Connection, write: w.PutSnapshot) -> None:
    """Fills the tables of an empty log. Its end stays 0: the records are still to come, those below `trimmed` that something needs included."""
    log_id = write.log_id
    epoch = max((epoch for epoch, _ in write.epochs), default=0)
    connection.execute(
        "UPDATE partitions SET epoch = ?1, start = ?2, trimmed = ?8, next_offset = 0, applied = ?3, messages = ?4, size = ?5, delayed = ?6 WHERE log_id = ?7",
        (epoch, write.start, write.applied, write.messages, write.size, write.delayed, log_id, max(write.start, write.trimmed)),
    )
    for table, columns, rows in (
        ("epochs", "epoch, start", write.epochs),
        ("producers", "producer, last_sequence, windows, time", write.producers),
        ("groups", "group_name, floor, settled, failures, revived, lag, dead, voided", write.groups),
        ("members", "group_name, member, session_timeout", write.members),
        ("dead_letters", "group_name, offset, attempts, reason, consumer, died, revived", write.dead),
    ):
        marks = ", ?" * (columns.count(",") + 1)
        connection.executemany(f"INSERT OR REPLACE INTO {table} (log_id, {columns}) VALUES (?{marks})", [(log_id, *row) for row in rows])
