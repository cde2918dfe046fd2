"""The disk of a broker and what can befall it: the store in memory with failures at the moment of a commit.

A commit is atomic, as SQLite's are. A process may die right before or right after one, and an I/O error leaves open which
of the two it was. While `stuffed`, not even operations find room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core import writes as w
from zmqmq.errors import StorageFailed, StorageFull

Fate = Literal["dies before", "dies after", "fails before", "fails after"]
FATES: tuple[Fate, ...] = ("dies before", "dies after", "fails before", "fails after")


class ProcessDied(Exception):
    """The broker's process ended in the middle of a turn."""


@dataclass
class SimDisk(MemoryDisk):
    """A disk with a fate."""

    fate: Fate | None = None
    """What happens at the next commit."""
    stuffed: bool = False
    on_commit: Callable[[Sequence[w.Write]], None] = field(default=lambda writes: None)
    """Hears of everything that is on disk from now on."""


class SimStorage(MemoryStorage):
    """An open store on a SimDisk."""

    disk: SimDisk

    def commit(self, writes: Sequence[w.Write]) -> None:
        if not writes:
            return
        fate, self.disk.fate = self.disk.fate, None
        if fate in (None, "dies after", "fails after"):
            super().commit(writes)
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
