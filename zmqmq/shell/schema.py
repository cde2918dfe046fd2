"""The tables, how they came to be, and how an older file becomes a current one.

`PRAGMA user_version` holds the schema's version; `MIGRATIONS[n]` leads from version n to n + 1, so a new file goes through
all of them and there is one description only. A file of a newer version is refused untouched. `application_id` tells our
files from other people's databases.

Each partition's log is a table of its own (see `log_tables`): an append-only B-tree with the offset as its rowid. The small
tables are keyed by `log_id`, a number that is never used twice, so that a topic deleted and made again shares nothing with its
predecessor. The counts of delayed messages and dead letters come with the heads: counting would take time that grows with a backlog.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlite_utils import Database

from zmqmq.errors import StorageTooNew
from zmqmq.shell.sqlite_errors import damaged

APPLICATION_ID = 0x7A6D716D
"""The letters zmqm."""
PAGE_SIZE = 16384
CACHE_BYTES = 24 << 20
"""Page cache: what SQLite may keep in memory, however large the store is."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait for a write lock that only a meddling program can hold."""
CACHED_STATEMENTS = 512

Migration = Callable[[sqlite3.Connection], None]

_TABLES_1 = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT",
    "CREATE TABLE topics (topic_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, replicas INTEGER NOT NULL,"
    " settings TEXT NOT NULL, created REAL NOT NULL) STRICT",
    "CREATE TABLE partitions (log_id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,"
    " log_table TEXT NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, start INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0,"
    " applied INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,"
    " trimmed INTEGER NOT NULL DEFAULT 0, delayed INTEGER NOT NULL DEFAULT 0) STRICT",
    "CREATE INDEX partitions_by_topic ON partitions (topic_id, partition)",
    "CREATE TABLE epochs (log_id INTEGER NOT NULL, epoch INTEGER NOT NULL, start INTEGER NOT NULL, PRIMARY KEY (log_id, epoch)) WITHOUT ROWID, STRICT",
    "CREATE TABLE producers (log_id INTEGER NOT NULL, producer INTEGER NOT NULL, last_sequence INTEGER NOT NULL, windows TEXT NOT NULL,"
    " time REAL NOT NULL, PRIMARY KEY (log_id, producer)) WITHOUT ROWID, STRICT",
    "CREATE TABLE groups (log_id INTEGER NOT NULL, group_name TEXT NOT NULL, floor INTEGER NOT NULL, settled TEXT NOT NULL, failures TEXT NOT NULL,"
    " revived TEXT NOT NULL, lag INTEGER NOT NULL, dead INTEGER NOT NULL, PRIMARY KEY (log_id, group_name)) WITHOUT ROWID, STRICT",
    "CREATE TABLE members (log_id INTEGER NOT NULL, group_name TEXT NOT NULL, member TEXT NOT NULL, session_timeout REAL NOT NULL,"
    " PRIMARY KEY (log_id, group_name, member)) WITHOUT ROWID, STRICT",
    "CREATE TABLE dead_letters (log_id INTEGER NOT NULL, group_name TEXT NOT NULL, offset INTEGER NOT NULL, attempts INTEGER NOT NULL,"
    " reason TEXT NOT NULL, consumer TEXT NOT NULL, died REAL NOT NULL, revived INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (log_id, group_name, offset)) WITHOUT ROWID, STRICT",
    "CREATE INDEX dead_letters_by_offset ON dead_letters (log_id, offset)",
    "CREATE TABLE delayed (log_id INTEGER NOT NULL, offset INTEGER NOT NULL, due REAL NOT NULL, PRIMARY KEY (log_id, offset)) WITHOUT ROWID, STRICT",
    "CREATE INDEX delayed_by_due ON delayed (log_id, due, offset)",
)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    for statement in _TABLES_1:
        connection.execute(statement)


def _replicate(connection: sqlite3.Connection) -> None:
    """What a replica remembers besides its log. Checksums of operations need no new column: rows written before have 0, which is not checked."""
    connection.execute("ALTER TABLE partitions ADD COLUMN promised INTEGER NOT NULL DEFAULT 0")


def _take_over(connection: sqlite3.Connection) -> None:
    """Of a copy that was taken over: below which offset records may be missing although nothing was deleted here."""
    connection.execute("ALTER TABLE partitions ADD COLUMN missing INTEGER NOT NULL DEFAULT 0")


def _void(connection: sqlite3.Connection) -> None:
    """Which leases a seek has taken back."""
    connection.execute("ALTER TABLE groups ADD COLUMN voided TEXT NOT NULL DEFAULT '[0,0]'")


MIGRATIONS: tuple[Migration, ...] = (_create, _replicate, _take_over, _void)
VERSION = len(MIGRATIONS)
"""The schema version that this code writes."""


def connect(path: Path) -> Database:
    """Opens the one connection that writes, checkpoints and reads. Raises sqlite3.Error; StorageTooNew and StorageDamaged come from `prepare`."""
    connection = sqlite3.connect(str(path), timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=CACHED_STATEMENTS, check_same_thread=False)
    _leave_log_at_close(connection)
    return Database(connection, execute_plugins=False, recursive_triggers=False)


def _leave_log_at_close(connection: sqlite3.Connection) -> None:
    """Keeps SQLite from checkpointing when the connection is closed: after a failure nothing may be written any more.

    Only Python 3.12 and newer can say so; before, closing copies what was committed, never what failed."""
    configure = getattr(connection, "setconfig", None)
    if configure is not None:
        configure(getattr(sqlite3, "SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE"), True)  # noqa: B009 - unknown to Python 3.11's types


def prepare(database: Database, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Brings the file to the current version. Raises StorageTooNew, StorageDamaged (no file of ours) or sqlite3.Error."""
    version = _version(database, path, len(migrations))
    _tune(database.conn)
    for step in range(version, len(migrations)):
        _migrate(database.conn, migrations[step], step + 1)


def _version(database: Database, path: Path, newest: int) -> int:
    """The file's version, read before anything is changed; 0 for an empty file."""
    version = _number(database.conn, "user_version")
    if version > newest:
        raise StorageTooNew(f"the database has schema version {version}, this zmqmq knows up to {newest}", hint="run the newer zmqmq that wrote it", path=path)
    if _number(database.conn, "application_id") != APPLICATION_ID and database.table_names():
        raise damaged(path, "it was not written by zmqmq")
    return version


def _tune(connection: sqlite3.Connection) -> None:
    for setting in (
        f"page_size={PAGE_SIZE}",  # has an effect on a new file only, and only before WAL
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=0",
        "secure_delete=OFF",
        f"cache_size={-CACHE_BYTES // 1024}",
        "mmap_size=0",  # a mapped file would turn an I/O error into a signal
        "temp_store=MEMORY",
        "foreign_keys=OFF",
        "legacy_alter_table=ON",  # renaming a log must not stumble over views that people made
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()


def _migrate(connection: sqlite3.Connection, migration: Migration, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        migration(connection)
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value
