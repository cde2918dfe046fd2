"""Living on a full disk, and coming back from it without a restart.

All sizes follow from one, the ballast: a *turn* is an eighth of it (8 MiB of 64 MiB; less on a small disk), and the write-ahead log
is kept below a few turns. When a commit meets a full disk the ballast is given up; what that frees must carry the log, a checkpoint and the
operations (acks, trims) that empty the store. Deleting rows gives no byte back to the disk: it frees pages *inside* the file. So
messages are accepted again when there are enough of those, and the ballast takes what the disk has beyond the log's reserve.
From then on the file may not grow (`ceiling`), otherwise each round of full and empty would eat a piece of the reserve; that
ends when somebody has made room on the disk itself.
"""

from __future__ import annotations

import sqlite3

from zmqmq.shell.data_directory import Ballast, DataDirectory

MIN_TURN = 128 << 10
SHARE_OF_DISK = 8
"""The ballast takes at most this part of the free disk."""
NO_CEILING = 1 << 30
"""Pages; SQLite's own limit is above it with our page size."""


class DiskRoom:
    """Ballast, reserve and page ceiling of one open database. `ballast_bytes` is the wish; a small disk gets less."""

    def __init__(self, directory: DataDirectory, ballast_bytes: int) -> None:
        self._directory = directory
        self._ballast = Ballast(directory.path)
        self._wanted = min(ballast_bytes, directory.capacity() // SHARE_OF_DISK)
        self._page_size = 0
        self.full = False
        """The ballast was given up and there is no room yet."""
        self._tight = False
        self._size = 0
        """Of the ballast, in bytes."""

    @property
    def has_ballast(self) -> bool:
        """There is something to give up, and the file may grow then: a turn of usual size that meets a full disk will fit all the same."""
        return self._size > self.turn and not self.full and not self._tight

    @property
    def turn(self) -> int:
        """Bytes that one turn of the broker may be expected to write."""
        return max(self._wanted // 8, MIN_TURN)

    def claim(self, *, new: bool) -> None:
        """Makes the ballast at the start, as large as the disk allows now, and keeps one that is there.

        A store that is not new and has none gave it up on a disk that was full: it goes on waiting for room."""
        size = self._ballast.size()
        affordable = (self._directory.free() + size) // SHARE_OF_DISK
        if not new and not size and affordable < self._wanted:
            self.full = True
            return
        target = min(self._wanted, max(size, affordable))
        self._size = target if size == target or self._ballast.resize(target) else 0
        self._wanted = max(target, MIN_TURN)

    def attend(self, connection: sqlite3.Connection) -> None:
        """Takes charge of the opened database's size."""
        self._page_size = _number(connection, "page_size")
        if self.full:
            self.hold_size(connection)

    def give_up_ballast(self) -> None:
        """Frees the ballast's bytes."""
        self.full, self._size = True, 0
        self._ballast.release()

    def hold_size(self, connection: sqlite3.Connection) -> None:
        """Lets the file grow by one more turn, for operations, and then no further. Keeps a ceiling that is there."""
        if not self._tight:
            self._tight = True
            self._set_ceiling(connection, _number(connection, "page_count") + self.turn // self._page_size)

    def has_room(self, connection: sqlite3.Connection) -> bool:
        """Whether messages may be accepted; takes the ballast back when there is room. Constant time."""
        if not self.full and not self._tight:
            return True
        free = self._directory.free()
        if free + self._ballast.size() >= self._wanted + 5 * self.turn:
            self._tight = False
            self._set_ceiling(connection, NO_CEILING)
            return self.restore_ballast()
        if not self.full:
            return True
        reusable = _number(connection, "freelist_count") * self._page_size
        return free >= 5 * self.turn and reusable >= 2 * self.turn and self.restore_ballast()

    def restore_ballast(self) -> bool:
        """Takes back what the disk has beyond the write-ahead log's reserve of three turns; False when that is nothing."""
        spare = self._directory.free() + self._ballast.size() - 3 * self.turn
        if spare < self.turn:
            return False
        size = min(self._wanted, spare)
        self._size = size if self._ballast.resize(size) else 0
        if not self._size:
            return False
        self.full = False
        return True

    def _set_ceiling(self, connection: sqlite3.Connection, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}").fetchall()


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value
