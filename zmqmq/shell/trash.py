"""What is left of deleted topics and dropped partitions: dropped at once when small, swept in bounded steps when large.

Dropping a table visits all of its pages; for a log of many gigabytes that would stall the broker for seconds. So a large log is only renamed
in the turn that deletes its topic, and the broker's upkeep deletes its rows bit by bit. The name says that it is to go, so
a restart in between goes on sweeping. A log with damaged pages cannot be visited: it is set aside for good, under a name that says so.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from zmqmq.shell.log_tables import drop_log, quoted
from zmqmq.shell.sqlite_errors import is_damaged

MAX_DROP = 20_000
"""Offsets between a log's ends up to which its table is dropped at once."""
STEP = 100
"""Rows deleted at a time; the clock is read in between."""
BUSY_BUDGET = 0.002
IDLE_BUDGET = 0.02
"""Seconds per sweep."""
PREFIX = "trash_"
DAMAGED_PREFIX = "damaged_"


def discard(connection: sqlite3.Connection, table: str, log_id: int) -> None:
    """Drops a log's table, or sets it aside for sweeping. Part of the caller's transaction."""
    name = quoted(table)
    ends = f"SELECT (SELECT max(offset) FROM {name}) - (SELECT min(offset) FROM {name})"  # each alone is one descent, both at once a scan
    (width,) = connection.execute(ends).fetchone()
    if (width or 0) <= MAX_DROP:
        drop_log(connection, table)
    else:
        set_aside(connection, table, log_id)


def set_aside(connection: sqlite3.Connection, table: str, log_id: int) -> None:
    """Leaves a log to the sweeper, without a look into it: a transaction that meets a damaged page cannot be committed any more."""
    connection.execute(f"ALTER TABLE {quoted(table)} RENAME TO {PREFIX}{log_id}")


class Sweeper:
    """Deletes what was set aside. Methods raise sqlite3.Error; a failed sweep is rolled back and may be tried again."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known_schema = -1
        self._tables: list[str] = []

    def sweep(self, idle: bool) -> None:
        """Deletes for at most a budget of time; nothing to delete: next to nothing happens."""
        self._look()
        if not self._tables:
            return
        table = self._tables[0]
        until = time.monotonic() + (IDLE_BUDGET if idle else BUSY_BUDGET)
        try:
            with self._transaction():
                self._delete(table, until)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            with self._transaction():
                self._connection.execute(f"ALTER TABLE {quoted(table)} RENAME TO {DAMAGED_PREFIX}{table.removeprefix(PREFIX)}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _look(self) -> None:
        """Lists what was set aside, again only when the schema has changed."""
        schema = self._connection.execute("PRAGMA schema_version").fetchone()[0]
        if schema != self._known_schema:
            found = self._connection.execute(f"SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '{PREFIX}*' ORDER BY rowid")
            self._tables = [name for (name,) in found.fetchall()]
            self._known_schema = schema

    def _delete(self, table: str, until: float) -> None:
        statement = f"DELETE FROM {quoted(table)} WHERE offset IN (SELECT offset FROM {quoted(table)} ORDER BY offset LIMIT {STEP})"
        while self._connection.execute(statement).rowcount == STEP:
            if time.monotonic() >= until:
                return
        drop_log(self._connection, table)
