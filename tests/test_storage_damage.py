"""Damage of one replica's records: found by checksums, told with its place, never passed on, and no reason to stop the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.contracts.storage_contract import BALLAST, LOG, delayed, log, messages, operation, topic
from zmqmq.core import writes as w
from zmqmq.errors import StorageDamaged, StorageFailed
from zmqmq.shell import trash
from zmqmq.shell.data_directory import DATABASE
from zmqmq.shell.storage import Storage

PAGE = 16384
ALL = 1 << 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed store with ten messages in one block, an operation and a delayed message."""
    store = open_store(tmp_path)
    columns = {"keys": [b"sensor"] * 10, "headers": ['{"unit":"C"}'] * 10, "producer": 7}
    store.commit([topic(), log(), messages(0, [b"value"] * 10, **columns), operation(10), delayed(11, 50.0)])
    store.close()
    return tmp_path


def open_store(directory: Path) -> Storage:
    return Storage.open(directory, ballast_bytes=BALLAST)


def change(directory: Path, statement: str) -> None:
    """What a broken disk or memory would do, by another connection."""
    connection = sqlite3.connect(directory / DATABASE)
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


def spans(store: Storage, start: int = 0) -> list[tuple[int, int]]:
    return [(block.first, len(block.values)) for block in store.reader.blocks(LOG, start, ALL, ALL)]


DAMAGES = {
    "value": "value = x'76616c7566'",
    "key": "key = x'73656e736f73'",
    "headers": 'headers = \'{"unit":"D"}\'',
    "headers that are no text": "headers = CAST(x'ff' AS TEXT)",
    "no value": "value = NULL",
    "no key": "key = NULL",
    "checksum": "crc = crc + 1",
    "kind": "kind = 7",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_reading_stops_before_a_damaged_message_and_beginning_there_is_refused_with_its_place(directory: Path, damage: str) -> None:
    change(directory, f"UPDATE log_temp_1_0 SET {damage} WHERE offset = 4")
    store = open_store(directory)
    assert spans(store) == [(0, 4)]
    with pytest.raises(StorageDamaged) as caught:
        store.reader.blocks(LOG, 4, ALL, ALL)
    assert caught.value.details == {"topic": "temp_1", "partition": "0", "offset": "4"}
    assert spans(store, 5)[0] == (5, 5)
    store.close()


@pytest.mark.parametrize("offset", [10, 11])
def test_damaged_operations_and_delayed_messages_are_found_too(directory: Path, offset: int) -> None:
    change(directory, f"UPDATE log_temp_1_0 SET operation = replace(operation, 'g', 'h'), value = x'00' WHERE offset = {offset}")
    store = open_store(directory)
    with pytest.raises(StorageDamaged, match=f"offset {offset}"):
        store.reader.blocks(LOG, offset, ALL, ALL)
    store.close()


def test_a_store_with_a_damaged_record_goes_on(directory: Path) -> None:
    change(directory, "UPDATE log_temp_1_0 SET value = x'00' WHERE offset = 0")
    store = open_store(directory)
    for _ in range(2):
        with pytest.raises(StorageDamaged):
            store.reader.blocks(LOG, 0, ALL, ALL)
    store.commit([messages(12, [b"after"])])
    assert spans(store, 12) == [(12, 1)]
    store.close()


def test_a_damaged_log_is_dropped_and_written_again(directory: Path) -> None:
    change(directory, "UPDATE log_temp_1_0 SET value = x'00' WHERE offset = 3")
    store = open_store(directory)
    sound = list(store.reader.blocks(LOG, 0, ALL, ALL))
    store.commit([w.DropLog(LOG), log(2), messages(0, [b"value"] * 5, log_id=2)])
    assert len(sound) == 1
    assert [len(block.values) for block in store.reader.blocks(2, 0, ALL, ALL)] == [5]
    store.close()


def test_operations_written_before_they_had_checksums_are_not_checked(directory: Path) -> None:
    change(directory, "UPDATE log_temp_1_0 SET crc = 0 WHERE offset = 10")
    store = open_store(directory)
    (block, _) = store.reader.blocks(LOG, 10, ALL, ALL)
    assert block.crcs != [0]
    store.close()


# --- Pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A closed store with one log of hundreds of pages, of which one in the middle is overwritten."""
    store = open_store(tmp_path)
    store.commit([topic(), log(), *(messages(first, [b"x" * 1000] * 100) for first in range(0, 5000, 100))])
    store.close()
    with (tmp_path / DATABASE).open("r+b") as file:
        pages = (tmp_path / DATABASE).stat().st_size // PAGE
        file.seek(pages * 6 // 10 * PAGE)
        file.write(b"\xa5" * PAGE)
    return tmp_path


def first_damaged(store: Storage) -> int:
    """Reads block by block until there is no more, and says where that was."""
    at = 0
    with pytest.raises(StorageDamaged) as caught:
        while at < 5000:
            for block in store.reader.blocks(LOG, at, ALL, 100_000):
                at = block.first + len(block.values)
    assert int(caught.value.details["offset"]) == at
    return at


def test_a_damaged_page_ends_reading_where_it_begins_and_the_store_goes_on(large: Path) -> None:
    store = open_store(large)
    assert 0 < first_damaged(store) < 5000
    store.commit([messages(5000, [b"after"])])
    assert spans(store, 5000) == [(5000, 1)]
    store.close()


@pytest.mark.parametrize("limit", [10, 1_000_000])
def test_a_partition_with_a_damaged_page_can_be_dropped_and_made_again(large: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(trash, "MAX_DROP", limit)
    store = open_store(large)
    store.commit([w.DropLog(LOG), log(2), messages(0, [b"new"], log_id=2)])
    while any(name.startswith("trash_") for name in tables(store)):
        store.maintain(True)
    assert "damaged_1" in tables(store)
    store.close()
    store = open_store(large)
    assert [row.value for row in store.reader.read(2, 0, 10, ALL)] == [b"new"]
    store.maintain(True)
    store.close()


def tables(store: Storage) -> list[str]:
    return [name for (name,) in store._connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]


def test_an_io_error_while_blocks_are_read_stops_the_store(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(directory)
    store.commit([w.CreateLog(2, 1, "temp_1", 1)])
    store._connection.execute("DROP VIEW topic_temp_1")
    store._connection.execute("DROP TABLE log_temp_1_1")
    with pytest.raises(StorageFailed):
        store.reader.blocks(2, 0, ALL, ALL)
    with pytest.raises(StorageFailed, match="refuses to go on"):
        store.commit([messages(12, [b"x"])])
    store.close()
