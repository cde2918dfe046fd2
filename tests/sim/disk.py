"""The disk of a broker and what can befall it: the store in memory with failures at the moment of a commit.

A commit is atomic, as SQLite's are. A process may die right before or right after one, and an I/O error leaves open which
of the two it was. While `stuffed`, not even operations find room. A disk can be replaced by an empty one, and by an older copy of itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core import writes as w
from zmqmq.errors import StorageFailed, StorageFull

Fate = Literal["dies before", "dies after", "fails before", "fails after"]
FATES: tuple[Fate, ...] = ("dies before", "dies after", "fails before", "fails after")
ROOM = float(1 << 40)
"""Bytes on an empty disk."""
BALLAST = 300
"""Bytes."""
KEPT = ("room", "ballast", "ballast_free", "locked")
"""What is of the machine, not of the data directory."""
CONTENTS = tuple(part.name for part in fields(MemoryDisk) if part.name not in KEPT)

Image = dict[str, Any]
"""A copy of a data directory."""


class ProcessDied(Exception):
    """The broker's process ended in the middle of a turn."""


@dataclass
class SimDisk(MemoryDisk):
    """A disk with a fate."""

    fate: Fate | None = None
    """What happens at the next commit."""
    stuffed: bool = False
    is_stale: bool = False
    """An older copy was put in its place, and nobody has noticed yet."""
    lives: int = 0
    """How often it was replaced."""
    on_commit: Callable[[Sequence[w.Write]], None] = field(default=lambda writes: None)
    """Hears of everything that is on disk from now on."""
    on_replaced: Callable[[], None] = field(default=lambda: None)
    """Hears that something else is on it."""

    def image(self) -> Image:
        """A copy of the data directory, as a backup would have it."""
        return {name: copy.deepcopy(getattr(self, name)) for name in CONTENTS}

    def restore(self, image: Image) -> None:
        """The data directory is as it was when the image was made; nobody uses it meanwhile."""
        assert not self.locked, "the broker runs"
        for name, value in image.items():
            setattr(self, name, copy.deepcopy(value))
        self.fate = None
        self.is_stale = True
        self._replaced()

    def wipe(self, storage_id: str, cluster_id: str) -> None:
        """An empty data directory with identities of its own."""
        assert not self.locked, "the broker runs"
        empty = MemoryDisk(storage_id=storage_id, cluster_id=cluster_id)
        for name in CONTENTS:
            setattr(self, name, getattr(empty, name))
        self.fate = None
        self.is_stale = False
        self._replaced()

    def _replaced(self) -> None:
        self.lives += 1
        self.on_replaced()


class SimStorage(MemoryStorage):
    """An open store on a SimDisk."""

    disk: SimDisk

    @property
    def has_failed(self) -> bool:
        """A commit has failed: the process must say nothing more."""
        return self._failed

    def commit(self, writes: Sequence[w.Write]) -> None:
        if not writes:
            return
        fate, self.disk.fate = self.disk.fate, None
        if fate in (None, "dies after", "fails after"):
            super().commit(writes)
            if any(isinstance(write, w.RenewStorageId) for write in writes):
                self.disk.is_stale = False
            self.disk.on_commit(writes)
        if fate is not None:
            self._failed = True
            raise ProcessDied(fate) if fate.startswith("dies") else StorageFailed("the store failed: disk I/O error")

    def _take_room(self, size: int) -> None:
        if self.disk.stuffed:
            raise StorageFull("the broker's disk is full")
        super()._take_room(size)

    def has_room(self) -> bool:
        return not self.disk.stuffed and super().has_room()
