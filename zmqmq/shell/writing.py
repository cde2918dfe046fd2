"""The writes of a turn as SQL: one function per write, called in order inside the turn's transaction.

The hot ones (appends) hand whole columns to `executemany`, so that no Python runs per message; each column that need not be
bound makes them faster, hence a statement per combination of columns. Everything else touches a few rows.

A trim deletes a range of offsets, but the records of dead letters, revived ones and delayed messages stay. So that a later trim does
not walk over them again, the log remembers how far it was trimmed (`trimmed`); a record left below that goes when the last one
that needs it lets go.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any
from zlib import crc32

import msgspec

from zmqmq.core import writes as w
from zmqmq.core.model import Kind
from zmqmq.shell.log_tables import create_log, create_view, drop_view, quoted, table_name
from zmqmq.shell.replica_tables import drop_tables, put_missing, put_promise, put_snapshot, truncate
from zmqmq.shell.trash import discard, set_aside

_NEEDED = (
    "SELECT offset FROM dead_letters WHERE log_id = :log AND offset >= :low AND offset < :high"
    " UNION SELECT offset FROM delayed WHERE log_id = :log AND offset >= :low AND offset < :high ORDER BY offset"
)
_UNNEEDED = (
    "DELETE FROM {table} WHERE offset = ?1 AND offset < (SELECT trimmed FROM partitions WHERE log_id = ?2)"
    " AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE log_id = ?2 AND offset = ?1)"
    " AND NOT EXISTS (SELECT 1 FROM delayed WHERE log_id = ?2 AND offset = ?1)"
)


class Writer:
    """Carries writes out on a connection that is inside a transaction. Raises sqlite3.Error, KeyError for an unknown log."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables: dict[int, str] = {}
        self._stale_views: dict[str, None] = {}
        self.identity_changed = False
        """A write said who the store is since somebody last set this to False."""

    def table(self, log_id: int) -> str:
        """The quoted name of a log's table."""
        return self._tables[log_id]

    def reload(self) -> None:
        """Learns the logs from the database again: at the start, and after a rollback."""
        rows = self._connection.execute("SELECT log_id, log_table FROM partitions")
        self._tables = {log_id: quoted(table) for log_id, table in rows}
        self._stale_views = {}

    def apply(self, writes: Iterable[w.Write]) -> None:
        for write in writes:
            _CARRY_OUT[type(write)](self, write)
        if self._stale_views:
            self._refresh_views()

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(statement, rows)

    def _one(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)

    # --- Topics and logs -----------------------------------------------------------------------------------------

    def put_topic(self, write: w.PutTopic) -> None:
        topic = write.topic
        settings = msgspec.json.encode(topic.settings).decode()
        self._one(
            "INSERT INTO topics (topic_id, name, partitions, replicas, settings, created) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (topic_id) DO UPDATE SET name = excluded.name, partitions = excluded.partitions,"
            " replicas = excluded.replicas, settings = excluded.settings, created = excluded.created",
            topic.topic_id, topic.name, topic.partitions, topic.replicas, settings, topic.created,
        )  # fmt: skip

    def drop_topic(self, write: w.DropTopic) -> None:
        logs = self._connection.execute("SELECT log_id, topic, log_table FROM partitions WHERE topic_id = ?", (write.topic_id,)).fetchall()
        for topic in {topic for _, topic, _ in logs}:
            drop_view(self._connection, topic)
        for log_id, _, table in logs:
            discard(self._connection, table, log_id)
            self._forget(log_id)
        self._one("DELETE FROM topics WHERE topic_id = ?", write.topic_id)

    def drop_log(self, write: w.DropLog) -> None:
        topic, table = self._connection.execute("SELECT topic, log_table FROM partitions WHERE log_id = ?", write).fetchone() or self._unknown(write.log_id)
        drop_view(self._connection, topic)
        set_aside(self._connection, table, write.log_id)  # its pages may be what is wrong with it
        self._forget(write.log_id)
        self._stale_views[topic] = None

    def _forget(self, log_id: int) -> None:
        drop_tables(self._connection, log_id)
        del self._tables[log_id]

    def _unknown(self, log_id: int) -> tuple[str, str]:
        raise KeyError(log_id)

    def create_log(self, write: w.CreateLog) -> None:
        table = table_name(write.topic, write.partition)
        create_log(self._connection, table)
        self._one(
            "INSERT INTO partitions (log_id, topic_id, topic, partition, log_table) VALUES (?, ?, ?, ?, ?)",
            write.log_id, write.topic_id, write.topic, write.partition, table,
        )  # fmt: skip
        self._tables[write.log_id] = quoted(table)
        self._stale_views[write.topic] = None

    def _refresh_views(self) -> None:
        """Once per turn, because a topic's partitions are created one by one."""
        for topic in self._stale_views:
            logs = self._connection.execute("SELECT partition, log_table FROM partitions WHERE topic = ? ORDER BY partition", (topic,)).fetchall()
            create_view(self._connection, topic, logs)
        self._stale_views = {}

    # --- Records -------------------------------------------------------------------------------------------------

    def append_messages(self, write: w.AppendMessages) -> None:
        count = len(write.values)
        names = "offset, epoch, time, producer, sequence, crc, value"
        columns: list[Iterable[object]] = [
            range(write.first, write.first + count),
            repeat(write.epoch),
            repeat(write.time),
            repeat(write.producer),
            range(write.sequence, write.sequence + count),
            write.crcs,
            write.values,
        ]
        for name, column in (("key", write.keys), ("headers", write.headers)):
            if column is not None:
                names += f", {name}"
                columns.append(column)
        marks = ", ?" * len(columns)
        self._connection.executemany(f"INSERT INTO {self._tables[write.log_id]} (kind, {names}) VALUES (0{marks})", zip(*columns, strict=False))

    def append_delayed(self, write: w.AppendDelayed) -> None:
        self._one(
            f"INSERT INTO {self._tables[write.log_id]} (offset, kind, epoch, time, producer, sequence, crc, key, headers, value)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            write.offset, int(Kind.DELAYED), write.epoch, write.time, write.producer, write.sequence, write.crc, write.key, write.headers, write.value,
        )  # fmt: skip
        if write.due is not None:
            self._one("INSERT INTO delayed (log_id, offset, due) VALUES (?, ?, ?)", write.log_id, write.offset, write.due)

    def append_operation(self, write: w.AppendOperation) -> None:
        self._one(
            f"INSERT INTO {self._tables[write.log_id]} (offset, kind, epoch, time, crc, operation) VALUES (?, ?, ?, ?, ?, ?)",
            write.offset, int(Kind.OPERATION), write.epoch, write.time, crc32(write.text), write.text.decode(),
        )  # fmt: skip

    def drop_delayed(self, write: w.DropDelayed) -> None:
        self._many("DELETE FROM delayed WHERE log_id = ? AND offset = ?", zip(repeat(write.log_id), write.offsets, strict=False))
        self._delete_unneeded(write.log_id, write.offsets)

    def trim_log(self, write: w.TrimLog) -> None:
        row = self._connection.execute("SELECT trimmed FROM partitions WHERE log_id = ?", (write.log_id,)).fetchone()
        low = row[0]
        if write.start <= low:
            return
        table = self._tables[write.log_id]
        needed = self._connection.execute(_NEEDED, {"log": write.log_id, "low": low, "high": write.start}).fetchall()
        starts = [low, *(offset + 1 for (offset,) in needed)]
        stops = [*(offset for (offset,) in needed), write.start]
        self._many(f"DELETE FROM {table} WHERE offset >= ? AND offset < ?", zip(starts, stops, strict=True))
        self._one("UPDATE partitions SET trimmed = ? WHERE log_id = ?", write.start, write.log_id)

    def truncate_log(self, write: w.TruncateLog) -> None:
        truncate(self._connection, self._tables[write.log_id], write)

    def _delete_unneeded(self, log_id: int, offsets: Iterable[int]) -> None:
        """Deletes those of the records that lie below the trim and that nothing needs any more."""
        self._many(_UNNEEDED.format(table=self._tables[log_id]), zip(offsets, repeat(log_id), strict=False))

    # --- State of a partition ------------------------------------------------------------------------------------

    def put_head(self, write: w.PutHead) -> None:
        self._one(
            "UPDATE partitions SET epoch = ?, start = ?, next_offset = ?, applied = ?, messages = ?, size = ?, delayed = ?"
            " WHERE log_id = ?",
            write.epoch, write.start, write.end, write.applied, write.messages, write.size, write.delayed, write.log_id,
        )  # fmt: skip

    def put_epoch(self, write: w.PutEpoch) -> None:
        self._one("INSERT OR REPLACE INTO epochs (log_id, epoch, start) VALUES (?, ?, ?)", *write)

    def put_producers(self, write: w.PutProducers) -> None:
        rows = ((write.log_id, *row) for row in write.rows)
        self._many("INSERT OR REPLACE INTO producers (log_id, producer, last_sequence, windows, time) VALUES (?, ?, ?, ?, ?)", rows)

    def drop_producers(self, write: w.DropProducers) -> None:
        self._many("DELETE FROM producers WHERE log_id = ? AND producer = ?", zip(repeat(write.log_id), write.producers, strict=False))

    def put_promise(self, write: w.PutPromise) -> None:
        put_promise(self._connection, write)

    def put_snapshot(self, write: w.PutSnapshot) -> None:
        put_snapshot(self._connection, write)

    def put_missing(self, write: w.PutMissing) -> None:
        put_missing(self._connection, write)

    # --- The store itself ----------------------------------------------------------------------------------------

    def put_session(self, write: w.PutSession) -> None:
        self._put_meta("session", str(write.session))

    def renew_storage_id(self, write: w.RenewStorageId) -> None:
        self._put_meta("storage_id", write.storage_id)
        self._put_meta("copied", "0")

    def put_cluster_id(self, write: w.PutClusterId) -> None:
        self._put_meta("cluster_id", write.cluster_id)

    def _put_meta(self, name: str, value: str) -> None:
        self._one("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", name, value)
        self.identity_changed = True

    # --- State of a group ----------------------------------------------------------------------------------------

    def put_group(self, write: w.PutGroup) -> None:
        columns = "log_id, group_name, floor, settled, failures, revived, lag, dead, voided"
        self._one(f"INSERT OR REPLACE INTO groups ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *write)

    def drop_group(self, write: w.DropGroup) -> None:
        rows = self._connection.execute("SELECT offset FROM dead_letters WHERE log_id = ? AND group_name = ?", write).fetchall()
        for table in ("groups", "members", "dead_letters"):
            self._one(f"DELETE FROM {table} WHERE log_id = ? AND group_name = ?", *write)
        self._delete_unneeded(write.log_id, [offset for (offset,) in rows])

    def put_member(self, write: w.PutMember) -> None:
        self._one("INSERT OR REPLACE INTO members (log_id, group_name, member, session_timeout) VALUES (?, ?, ?, ?)", *write)

    def drop_member(self, write: w.DropMember) -> None:
        self._one("DELETE FROM members WHERE log_id = ? AND group_name = ? AND member = ?", *write)

    # --- Dead letters --------------------------------------------------------------------------------------------

    def put_dead(self, write: w.PutDead) -> None:
        self._many(
            "INSERT OR REPLACE INTO dead_letters (log_id, group_name, offset, attempts, reason, consumer, died) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(write.log_id, write.group, offset, attempts, write.reason, write.consumer, write.time) for offset, attempts in write.rows],
        )

    def revive_dead(self, write: w.ReviveDead) -> None:
        self._each_dead("UPDATE dead_letters SET revived = 1", write)

    def drop_dead(self, write: w.DropDead) -> None:
        self._each_dead("DELETE FROM dead_letters", write)
        self._delete_unneeded(write.log_id, write.offsets)

    def _each_dead(self, action: str, write: w.ReviveDead | w.DropDead) -> None:
        rows = zip(repeat(write.log_id), repeat(write.group), write.offsets, strict=False)
        self._many(f"{action} WHERE log_id = ? AND group_name = ? AND offset = ?", rows)


_CARRY_OUT: dict[type, Callable[[Writer, Any], None]] = {
    w.PutTopic: Writer.put_topic,
    w.DropTopic: Writer.drop_topic,
    w.CreateLog: Writer.create_log,
    w.AppendMessages: Writer.append_messages,
    w.AppendDelayed: Writer.append_delayed,
    w.AppendOperation: Writer.append_operation,
    w.DropDelayed: Writer.drop_delayed,
    w.PutHead: Writer.put_head,
    w.PutEpoch: Writer.put_epoch,
    w.PutProducers: Writer.put_producers,
    w.DropProducers: Writer.drop_producers,
    w.PutGroup: Writer.put_group,
    w.DropGroup: Writer.drop_group,
    w.PutMember: Writer.put_member,
    w.DropMember: Writer.drop_member,
    w.PutDead: Writer.put_dead,
    w.ReviveDead: Writer.revive_dead,
    w.DropDead: Writer.drop_dead,
    w.TrimLog: Writer.trim_log,
    w.TruncateLog: Writer.truncate_log,
    w.DropLog: Writer.drop_log,
    w.PutPromise: Writer.put_promise,
    w.PutSnapshot: Writer.put_snapshot,
    w.PutMissing: Writer.put_missing,
    w.PutSession: Writer.put_session,
    w.RenewStorageId: Writer.renew_storage_id,
    w.PutClusterId: Writer.put_cluster_id,
}
