"""When the write-ahead log is copied into the database, and how long a turn may stall for it.

SQLite's own policy (every 1,000 pages, inside whatever commit meets the mark) is off. Ours: when the broker is idle and the log
has passed a small mark, copy it; when it passes a large mark, copy it anyway. Both are PASSIVE: they wait for nobody. After a
complete copy the next commit starts the log over, and SQLite cuts the file back to the small mark (`journal_size_limit`): so the file's
size says how full the log is, and the first part of it is overwritten in place, which is the cheaper way to fsync.

A program that reads for long keeps the log from starting over. Past the highest mark the log is emptied with a bounded wait for such
readers, and if that is in vain again when it has doubled: the broker must not stall in each turn because somebody reads.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from zmqmq.shell.data_directory import size_of

READER_WAIT = 0.1
"""Seconds that emptying the log may wait for readers."""


class Checkpointer:
    """The checkpoint policy of one connection. Methods raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection, log: Path) -> None:
        self._connection = connection
        self._log = log
        self._small = self._large = self._highest = 0
        self._patience = 0  # the size at which readers are waited for
        self._copied = -1  # the file's size when all of it had been copied
        self._next = 0  # after an incomplete copy: the size at which to try again
        self.longest_stall = 0.0
        """Seconds."""

    def set_turn(self, turn: int) -> None:
        """Derives the marks from the size of a turn: half of one when idle (4 MiB), two in any case (16 MiB), eight at the most (64 MiB)."""
        self._small, self._large, self._highest = turn // 2, 2 * turn, 8 * turn
        self._patience = self._highest
        self._connection.execute(f"PRAGMA journal_size_limit={self._small}").fetchall()

    def run(self, idle: bool) -> None:
        """Does what the policy asks for now; mostly nothing."""
        size = size_of(self._log)
        if size <= (self._small if idle else self._large) or size == self._copied or size < self._next:
            return
        if size >= self._patience:
            self._patience = 2 * size
            self.empty()
        else:
            self._checkpoint("PASSIVE")

    def empty(self) -> None:
        """Copies everything and cuts the log to nothing, unless readers keep it from that longer than READER_WAIT."""
        before = self._connection.execute("PRAGMA busy_timeout").fetchone()[0]
        self._connection.execute(f"PRAGMA busy_timeout={int(READER_WAIT * 1000)}").fetchall()
        try:
            self._checkpoint("TRUNCATE")
        finally:
            self._connection.execute(f"PRAGMA busy_timeout={before}").fetchall()

    def _checkpoint(self, mode: str) -> None:
        began = time.monotonic()
        blocked, frames, copied = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        self.longest_stall = max(self.longest_stall, time.monotonic() - began)
        size = size_of(self._log)
        complete = not blocked and frames == copied
        self._copied = size if complete else -1
        self._next = 0 if complete else size + self._small  # trying again without anything new would copy nothing
        if complete:
            self._patience = self._highest
