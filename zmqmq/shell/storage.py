"""The broker's store: one SQLite database, one connection, one transaction and one fsync per turn of the loop.

    storage = Storage.open(Path("data"))
    storage.commit(writes)          # all of them on disk, or StorageFull and none of them
    storage.reader.read(log_id, start, limit, max_bytes)
    storage.maintain(idle=True)     # checkpoints, when there is something to do
    storage.close()

The same connection writes, checkpoints and reads: two that write or checkpoint can corrupt the file (SQLite before
3.51.3). Anybody else may read while the broker runs. After any failure but a full disk the outcome of the last transaction is
unknown, so the store refuses everything from then on and the broker stops; at the next start the database tells what is true.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from sqlite_utils import Database

from zmqmq.core.writes import Write
from zmqmq.errors import StorageFailed, StorageFull
from zmqmq.shell.checkpointing import Checkpointer
from zmqmq.shell.data_directory import DataDirectory, size_of
from zmqmq.shell.disk_room import DiskRoom
from zmqmq.shell.file_birth import FileBirth
from zmqmq.shell.log_tables import quoted
from zmqmq.shell.reading import SqliteReader
from zmqmq.shell.schema import connect, prepare
from zmqmq.shell.sqlite_errors import damaged, translated
from zmqmq.shell.trash import Sweeper
from zmqmq.shell.writing import Writer

BALLAST_BYTES = 64 << 20
_SMALL_TABLES = ("meta", "topics", "partitions", "epochs", "groups", "members")
_T = TypeVar("_T")


class Identity(NamedTuple):
    """Who this store is: the two ids are made at its first start; `incarnation` grows by one with every opening."""

    storage_id: str
    cluster_id: str
    incarnation: int
    clean: bool
    """The last broker closed it properly."""
    session: int = 0
    """The coordination session of the life that last had one; 0: none ever had."""
    copied: bool = False
    """The database is another file than at the last opening, and nobody had closed it properly: it was copied while a broker used it. Stays so until
    the store gets another storage id."""


class Storage:
    """An open store. Make it with `open`; not for use by two threads at a time."""

    def __init__(self, directory: DataDirectory, database: Database, ballast_bytes: int) -> None:
        self._directory = directory
        self._connection = database.conn
        self._room = DiskRoom(directory, ballast_bytes)
        self._writer = Writer(self._connection)
        self._checkpointer = Checkpointer(self._connection, directory.write_ahead_log)
        self._sweeper = Sweeper(self._connection)
        self._failure: Exception | None = None
        self._closed = False
        self.reader = SqliteReader(self._connection, self._writer.table, self._fail)
        self.identity = Identity("", "", 0, True)

    @classmethod
    def open(cls, directory: Path, *, ballast_bytes: int = BALLAST_BYTES) -> Storage:
        """Opens the store in `directory`, which is made if it is missing.

        Raises StorageLocked, StorageDamaged, StorageTooNew, StorageFull, or StorageError with a hint for anything else."""
        held = DataDirectory(directory)
        database = None
        try:
            held.touch_database()
            database = connect(held.database)
            storage = cls(held, database, ballast_bytes)
            storage._start(database)
            return storage
        except BaseException as error:
            if database is not None:
                database.conn.close()
            held.close()
            if isinstance(error, (sqlite3.Error, OSError, ValueError)):
                raise translated(error, held.database) from error
            raise

    def _start(self, database: Database) -> None:
        self._room.claim(new=size_of(self._directory.database) == 0)
        self._with_ballast(lambda: prepare(database, self._directory.database))
        self.identity = self._with_ballast(lambda: _identify(database, FileBirth.of(self._directory.database)))
        if not self.identity.clean:
            _check(self._connection, self._directory.database)
        self._writer.reload()
        self._room.attend(self._connection)
        self._checkpointer.set_turn(self._room.turn)

    def _with_ballast(self, step: Callable[[], _T]) -> _T:
        """Does a step of the start, on a full disk once more without the ballast: a broker must be able to start there."""
        try:
            return step()
        except sqlite3.Error as error:
            if not isinstance(translated(error, self._directory.database), StorageFull):
                raise
            self._room.give_up_ballast()
            return step()

    @property
    def storage_id(self) -> str:
        return self.identity.storage_id

    @property
    def cluster_id(self) -> str:
        return self.identity.cluster_id

    @property
    def incarnation(self) -> int:
        return self.identity.incarnation

    @property
    def has_data(self) -> bool:
        """Whether any topic is stored here, be it empty."""
        return self._guarded(lambda: self._connection.execute("SELECT 1 FROM topics LIMIT 1").fetchone()) is not None

    @property
    def longest_stall(self) -> float:
        """Seconds of the longest checkpoint so far."""
        return self._checkpointer.longest_stall

    def commit(self, writes: Sequence[Write]) -> None:
        """Carries the writes out in order, in one transaction that is fsynced when this returns. Nothing to write: nothing happens.

        Raises StorageFull when the disk is full: nothing of the turn is there, and the same writes may be committed again after
        `free_ballast()`. Raises StorageFailed or StorageDamaged for everything else: the broker must stop."""
        if not writes:
            return
        self._raise_failure()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._writer.apply(writes)
            self._connection.execute("COMMIT")
            if self._writer.identity_changed:
                self._learn_identity()
        except BaseException as error:
            self._roll_back()
            if not isinstance(error, Exception):
                raise
            raise self._fail(error) from error

    def _learn_identity(self) -> None:
        known = _meta(self._connection)
        self.identity = self.identity._replace(
            storage_id=known["storage_id"], cluster_id=known["cluster_id"], session=int(known.get("session", 0)), copied=known.get("copied") == "1"
        )
        self._writer.identity_changed = False

    def _roll_back(self) -> None:
        """A full disk rolls back by itself; everything else is rolled back here if SQLite can still do it."""
        with contextlib.suppress(sqlite3.Error):  # the failure that brought us here is the one to report
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._writer.reload()

    def _fail(self, error: Exception) -> Exception:
        """The error to raise for this one; all but a full disk are remembered, so that nothing is tried after them."""
        failure = translated(error, self._directory.database)
        if not isinstance(failure, StorageFull):
            self._failure = failure
        return failure

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StorageFailed("the store failed before and refuses to go on", hint="start the broker again") from self._failure
        if self._closed:
            raise StorageFailed("the store is closed")

    # --- Room ----------------------------------------------------------------------------------------------------

    def free_ballast(self) -> None:
        """After StorageFull: gives the ballast up and empties the write-ahead log, so that one more turn, and then operations, fit."""
        self._guarded(self._room.give_up_ballast)
        self._checkpoint_fully()
        self._guarded(lambda: self._room.hold_size(self._connection))

    def has_room(self) -> bool:
        """Whether messages may be accepted. While the disk is full, this makes what room can be made; call it about once a second then."""
        if self._room.full:
            self._checkpoint_fully()
        return self._guarded(lambda: self._room.has_room(self._connection))

    def restore_ballast(self) -> bool:
        """Takes the ballast back if there is room for it. `has_room` does so by itself."""
        return self._guarded(self._room.restore_ballast)

    def _checkpoint_fully(self) -> None:
        try:
            self._guarded(self._checkpointer.empty)
        except StorageFull:
            return  # what could be copied was; the log stays until there is room

    @property
    def has_ballast(self) -> bool:
        """Whether a turn that meets a full disk will fit all the same, once the ballast is given up."""
        return self._room.has_ballast

    @property
    def turn_bytes(self) -> int:
        """Bytes that one turn may write so that the ballast can carry it when the disk is full; small on a small disk."""
        return self._room.turn

    def disk_free(self) -> int:
        """Bytes that may still be written to the disk."""
        return self._directory.free()

    def storage_bytes(self) -> int:
        """Bytes of the database and its write-ahead log on disk."""
        return self._directory.used()

    # --- Upkeep --------------------------------------------------------------------------------------------------

    def maintain(self, idle: bool) -> None:
        """Checkpoints if the write-ahead log has grown enough, and sweeps deleted logs; call it after each turn. A full disk is no error here."""
        try:
            self._guarded(lambda: self._sweeper.sweep(idle))
            self._guarded(lambda: self._checkpointer.run(idle))
        except StorageFull:
            return  # the log keeps growing until a commit meets the full disk, and is answered there

    def _guarded(self, step: Callable[[], _T]) -> _T:
        self._raise_failure()
        try:
            return step()
        except (sqlite3.Error, OSError) as error:
            raise self._fail(error) from error

    def close(self) -> None:
        """Empties the write-ahead log, notes that all is well, and gives the directory up. May be called twice; raises nothing."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(sqlite3.Error):  # the next start finds the write-ahead log and takes it from there
            if self._failure is None:
                self._connection.execute("UPDATE meta SET value = '1' WHERE name = 'clean'")
                self._checkpointer.empty()
        self._connection.close()
        self._directory.close()


def _identify(database: Database, file: FileBirth) -> Identity:
    """Reads who the store is and notes durably that it was opened once more, and as which file."""
    connection = database.conn
    connection.execute("BEGIN IMMEDIATE")
    try:
        made = (("storage_id", str(uuid.uuid4())), ("cluster_id", str(uuid.uuid4())), ("incarnation", "0"), ("clean", "1"))
        connection.executemany("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)", made)
        known = _meta(connection)
        incarnation = int(known["incarnation"]) + 1
        clean = known["clean"] == "1"
        moved = not file.is_same(FileBirth.parse(known.get("file", str(file))))
        copied = known.get("copied") == "1" or (moved and not clean)
        now = (("incarnation", str(incarnation)), ("clean", "0"), ("file", str(file)), ("copied", str(int(copied))))
        connection.executemany("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", now)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return Identity(known["storage_id"], known["cluster_id"], incarnation, clean, int(known.get("session", 0)), copied)


def _meta(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM meta").fetchall())


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """After an unclean stop: checks the small tables and both ends of each log. Bounded by topics and groups, not by the backlog."""
    for table in _SMALL_TABLES:
        verdict = connection.execute(f"PRAGMA quick_check('{table}')").fetchone()[0]
        if verdict != "ok":
            raise damaged(path, f"table {table}: {verdict}")
    for (table,) in connection.execute("SELECT log_table FROM partitions").fetchall():
        for order in ("ASC", "DESC"):
            connection.execute(f"SELECT * FROM {quoted(table)} ORDER BY offset {order} LIMIT 1").fetchall()
