"""What the storage in memory can do to its users that the real one does only on a bad day."""

from __future__ import annotations

import pytest

from tests.contracts.storage_contract import LOG, log, messages, operation, topic
from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core import writes as w
from zmqmq.errors import StorageFailed, StorageFull


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk(ballast=1000)


@pytest.fixture
def store(disk: MemoryDisk) -> MemoryStorage:
    opened = MemoryStorage.open(disk)
    opened.commit([topic(), log()])
    return opened


def test_a_full_disk_refuses_the_whole_turn_and_the_ballast_lets_it_pass_once(disk: MemoryDisk, store: MemoryStorage) -> None:
    disk.room = 100
    turn: list[w.Write] = [operation(0), messages(1, [b"x" * 60] * 5)]
    with pytest.raises(StorageFull):
        store.commit(turn)
    assert store.reader.logs()[0].end == 0
    assert store.has_ballast
    store.free_ballast()
    assert not store.has_room()
    assert not store.has_ballast
    store.commit(turn)
    assert store.reader.logs()[0].end == 6


def test_a_trim_makes_room_and_the_ballast_comes_back(disk: MemoryDisk, store: MemoryStorage) -> None:
    store.commit([messages(0, [b"x" * 500] * 6)])
    disk.room = 0
    store.free_ballast()
    store.commit([operation(6), w.TrimLog(LOG, 6)])
    assert store.has_room()
    assert disk.room == 3000


def test_a_broken_disk_fails_the_commit_and_everything_after_it(disk: MemoryDisk, store: MemoryStorage) -> None:
    disk.broken = True
    for _ in range(2):
        with pytest.raises(StorageFailed):
            store.commit([messages(0, [b"a"])])
    store.crash()
    again = MemoryStorage.open(disk)
    assert not again.identity.clean
    again.commit([messages(0, [b"a"])])
