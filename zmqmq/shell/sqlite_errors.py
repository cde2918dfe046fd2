"""What SQLite's errors mean to a broker: full (wait for room), damaged (restore), failed (stop).

A failed write or fsync leaves open whether the transaction is on disk: it was seen to reappear after a crash. So nothing
but a full disk is ever tried again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from zmqmq.errors import StorageDamaged, StorageError, StorageFailed, StorageFull

_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the second: no room for the index of the write-ahead log
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_CLOSED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk (or the page limit that stands for it) is full."""
    return _name(error).startswith(_FULL)


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file's pages are not what SQLite wrote."""
    return _name(error).startswith(_DAMAGED) or "malformed" in str(error)


def translated(error: Exception, path: Path) -> StorageError | StorageFull:
    """The error of zmqmq that stands for this failure of the database at `path`; anything unknown is a StorageFailed."""
    name = _name(error)
    if name.startswith(_FULL):
        return StorageFull("the broker's disk is full", hint="make room on the disk; the broker goes on by itself", path=path)
    if isinstance(error, sqlite3.Error) and is_damaged(error):
        return damaged(path, str(error))
    if name.startswith(_BUSY):
        return StorageFailed("another program holds the database's write lock", hint="only the broker may write to it", path=path)
    if name.startswith(_CLOSED):
        return StorageError(f"the database cannot be opened for writing: {error}", hint="check owner and permissions", path=path)
    return StorageFailed(f"the store failed: {error} [{name or type(error).__name__}]", hint="check the disk, then start again", path=path)


def damaged(path: Path, what: str) -> StorageDamaged:
    """The files are not what zmqmq wrote."""
    return StorageDamaged(f"the database is damaged: {what}", hint="keep a copy, restore a backup or start on an empty directory", path=path)


def _name(error: Exception) -> str:
    name: str = getattr(error, "sqlite_errorname", "") or ""
    return name
