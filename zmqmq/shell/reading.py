"""What the core reads from disk: the Reader port over SQLite.

Every call is a statement or a few on the writer's own connection, so it sees what was committed and leaves no snapshot open: a
cursor that is not run to its end is closed, because an open one would keep the write-ahead log from starting over.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import msgspec

from zmqmq.core.model import Kind, Row, TopicRecord, TopicSettings
from zmqmq.core.peer_commands import Block
from zmqmq.core.writes import DeadRow, LogState, PutGroup, PutMember, Record
from zmqmq.shell.blocks import read_blocks
from zmqmq.shell.log_tables import ROW, SIZE

_RECORD = f"offset, kind, time, producer, sequence, CASE kind WHEN {int(Kind.OPERATION)} THEN 0 ELSE {SIZE} END, coalesce(CAST(operation AS BLOB), x'')"
_as_row: Callable[[Any], Row] = partial(tuple.__new__, Row)  # half the price of Row._make; the columns are Row's

_settings = msgspec.json.Decoder(TopicSettings)


class SqliteReader:
    """Implements `zmqmq.core.writes.Reader`. `table` gives the quoted name of a log's table.

    `failed` turns an error of SQLite (or of what was stored) into one of zmqmq, which is raised."""

    def __init__(self, connection: sqlite3.Connection, table: Callable[[int], str], failed: Callable[[Exception], Exception]) -> None:
        self._connection = connection
        self._table = table
        self._failed = failed

    def _all(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    # --- At the start --------------------------------------------------------------------------------------------

    def topics(self) -> Sequence[TopicRecord]:
        """All topics by topic_id."""
        rows = self._all("SELECT topic_id, name, partitions, replicas, settings, created FROM topics ORDER BY topic_id")
        try:
            return [TopicRecord(topic_id, name, parts, replicas, _settings.decode(text), made) for topic_id, name, parts, replicas, text, made in rows]
        except msgspec.DecodeError as error:
            raise self._failed(error) from error

    def logs(self) -> Sequence[LogState]:
        """All partitions by log_id. Reads the heads and the last offset of each: never a backlog."""
        return self._states("")

    def log(self, log_id: int) -> LogState:
        """One partition's state. Raises KeyError if there is none."""
        found = self._states("WHERE log_id = ?", log_id)
        if not found:
            raise KeyError(log_id)
        return found[0]

    def _states(self, which: str, *values: object) -> list[LogState]:
        """The partitions that meet a condition on the column that all the tables have, `log_id`."""

        def by_log(table: str, columns: str, order: str) -> defaultdict[int, list[Any]]:
            found: defaultdict[int, list[Any]] = defaultdict(list)
            for log_id, *row in self._all(f"SELECT log_id, {columns} FROM {table} {which} ORDER BY log_id, {order}", *values):
                found[log_id].append(tuple(row))
            return found

        epochs = by_log("epochs", "epoch, start", "epoch")
        producers = by_log("producers", "producer, last_sequence, windows, time", "producer")
        groups = by_log("groups", "group_name, floor, settled, failures, revived, lag, dead, voided", "group_name")
        members = by_log("members", "group_name, member, session_timeout", "group_name, member")
        head = "log_id, topic_id, partition, epoch, start, next_offset, applied, messages, size, delayed, promised, max(trimmed, missing)"
        return [
            LogState(
                log_id, topic_id, partition, epoch, start, max(end, self._end(log_id)), applied, messages, size, delayed, epochs[log_id], producers[log_id],
                [PutGroup(log_id, *row) for row in groups[log_id]], [PutMember(log_id, *row) for row in members[log_id]], promised, trimmed,
            )
            for log_id, topic_id, partition, epoch, start, end, applied, messages, size, delayed, promised, trimmed in self._all(
                f"SELECT {head} FROM partitions {which} ORDER BY log_id", *values
            )
        ]  # fmt: skip

    def _end(self, log_id: int) -> int:
        end: int = self._all(f"SELECT coalesce(max(offset) + 1, 0) FROM {self._table(log_id)}")[0][0]
        return end

    def last_time(self) -> float:
        """When the newest record of all logs was written, 0 if there is none."""
        newest = [self._all(f"SELECT time FROM {self._table(log_id)} ORDER BY offset DESC LIMIT 1") for (log_id,) in self._all("SELECT log_id FROM partitions")]
        return max((float(rows[0][0]) for rows in newest if rows), default=0.0)

    def replay(self, log_id: int, start: int, limit: int) -> Sequence[Record]:
        """Records from `start` on, ascending, at most `limit`."""
        rows = self._all(f"SELECT {_RECORD} FROM {self._table(log_id)} WHERE offset >= ? ORDER BY offset LIMIT ?", start, limit)
        return list(map(Record._make, rows))

    def blocks(self, log_id: int, start: int, stop: int, max_bytes: int) -> Sequence[Block]:
        """Records of any kind in [start, stop) with their checksums verified. Raises StorageDamaged if the first one is damaged; the store goes on."""
        try:
            return read_blocks(self._connection, self._table(log_id), log_id, start, stop, max_bytes)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    # --- Messages ------------------------------------------------------------------------------------------------

    def read(self, log_id: int, start: int, limit: int, max_bytes: int) -> Sequence[Row]:
        """Messages from `start` on, ascending: at most `limit`, and none once `max_bytes` are reached."""
        statement = f"SELECT {ROW} FROM {self._table(log_id)} WHERE offset >= ? AND kind = 0 ORDER BY offset LIMIT ?"
        rows: list[Any] = []
        size = 0
        try:
            with closing(self._connection.execute(statement, (start, limit))) as cursor:
                for row in cursor:
                    rows.append(row)
                    _, _, key, headers, value, _ = row
                    size += len(value)
                    if key is not None:
                        size += len(key)
                    if headers is not None:
                        size += len(headers)
                    if size >= max_bytes:
                        break
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return list(map(_as_row, rows))

    def read_offsets(self, log_id: int, offsets: Sequence[int]) -> Sequence[Row]:
        """The messages (delayed ones too) with these offsets, ascending; those that exist."""
        statement = f"SELECT {ROW} FROM {self._table(log_id)} WHERE offset IN (SELECT value FROM json_each(?)) AND kind < 2 ORDER BY offset"
        return list(map(_as_row, self._all(statement, _json(offsets))))

    def due(self, log_id: int, until: float, limit: int) -> Sequence[tuple[int, float]]:
        """(offset, due) of delayed messages due by `until`, earliest first."""
        return self._all("SELECT offset, due FROM delayed WHERE log_id = ? AND due <= ? ORDER BY due, offset LIMIT ?", log_id, until, limit)

    # --- Positions -----------------------------------------------------------------------------------------------

    def count(self, log_id: int, start: int) -> int:
        """How many messages have offsets from `start` on. Scans."""
        number: int = self._all(f"SELECT count(*) FROM {self._table(log_id)} WHERE offset >= ? AND kind = 0", start)[0][0]
        return number

    def offset_at(self, log_id: int, time: float) -> int | None:
        """First offset accepted at or after `time`, None if there is none: binary search, since times ascend with offsets."""
        table = self._table(log_id)
        probe = f"SELECT offset, time FROM {table} WHERE offset >= ? ORDER BY offset LIMIT 1"
        low, high = self._all(f"SELECT trimmed, (SELECT coalesce(max(offset) + 1, 0) FROM {table}) FROM partitions WHERE log_id = ?", log_id)[0]
        found = None
        while low < high:
            middle = (low + high) // 2
            row = self._all(probe, middle)
            if row and row[0][1] < time:
                low = row[0][0] + 1
            else:
                high = middle
                found = row[0][0] if row else found
        return found

    def weigh(self, log_id: int, start: int, stop: int) -> tuple[int, int]:
        """(messages, bytes) of the messages in [start, stop). Scans that range."""
        statement = f"SELECT count(*), coalesce(sum({SIZE}), 0) FROM {self._table(log_id)} WHERE offset >= ? AND offset < ? AND kind = 0"
        messages, size = self._all(statement, start, stop)[0]
        return messages, size

    # --- Dead letters --------------------------------------------------------------------------------------------

    def dead(self, log_id: int, group: str, after: int, limit: int) -> Sequence[DeadRow]:
        """Dead letters with offsets beyond `after`, ascending."""
        statement = (
            "SELECT d.attempts, d.reason, d.consumer, d.died, l.offset, l.time, l.key, l.headers, l.value, l.crc"
            f" FROM dead_letters d CROSS JOIN {self._table(log_id)} l ON l.offset = d.offset"
            " WHERE d.log_id = ? AND d.group_name = ? AND d.revived = 0 AND d.offset > ? ORDER BY d.offset LIMIT ?"
        )
        return [_dead_row(*row) for row in self._all(statement, log_id, group, after, limit)]

    def dead_rows(self, log_id: int) -> Sequence[tuple[str, int, int, str, str, float, int]]:
        """All rows of dead letters, replayed ones too, by group and offset."""
        columns = "group_name, offset, attempts, reason, consumer, died, revived"
        return self._all(f"SELECT {columns} FROM dead_letters WHERE log_id = ? ORDER BY group_name, offset", log_id)

    def dead_offsets(self, log_id: int, group: str, limit: int) -> Sequence[int]:
        """Offsets of the oldest dead letters, ascending."""
        statement = "SELECT offset FROM dead_letters WHERE log_id = ? AND group_name = ? AND revived = 0 ORDER BY offset LIMIT ?"
        return [offset for (offset,) in self._all(statement, log_id, group, limit)]


def _dead_row(attempts: int, reason: str, consumer: str, died: float, *row: Any) -> DeadRow:
    return DeadRow(row[0], attempts, reason, consumer, died, Row(*row))


def _json(offsets: Iterable[int]) -> str:
    return msgspec.json.encode(list(offsets)).decode()
