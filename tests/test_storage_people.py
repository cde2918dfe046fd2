"""People read the database while the broker writes it: with sqlite-utils, in their own words, and without doing it any harm."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.storage_contract import LOG, dead, delayed, log, messages, operation, topic
from zmqmq.core import writes as w
from zmqmq.shell.log_tables import MAX_CHECKED_TEXT, MAX_TERMS
from zmqmq.shell.storage import Storage


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage.open(tmp_path / "data", ballast_bytes=1 << 20)
    opened.commit([topic(partitions=2), log(), log(2, partition=1)])
    yield opened
    opened.close()


@pytest.fixture
def database(store: Storage, tmp_path: Path) -> Path:
    return tmp_path / "data" / "zmqmq.db"


def sqlite_utils(*arguments: object) -> list[dict[str, object]]:
    done = subprocess.run([sys.executable, "-m", "sqlite_utils", *map(str, arguments)], capture_output=True, text=True, check=True, timeout=60)
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


def test_sqlite_utils_counts_the_tables_while_the_store_is_being_written(store: Storage, database: Path) -> None:
    store.commit([messages(0, [b"21.5"] * 300)])
    command = [sys.executable, "-m", "sqlite_utils", "tables", str(database), "--counts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        first = 300
        while reader.poll() is None:
            store.commit([messages(first, [b"21.5"])])
            store.maintain(False)
            first += 1
        assert reader.stdout is not None
        counts = {row["table"]: row["count"] for row in json.loads(reader.stdout.read())}
    assert reader.returncode == 0
    assert 300 <= counts["log_temp_1_0"] <= first
    assert counts["topics"] == 1


def test_sqlite_utils_queries_messages_of_a_topic_as_text(store: Storage, database: Path) -> None:
    store.commit([messages(0, ["21.5 °C".encode()], keys=[b"sensor-1"], headers=['{"unit":"C"}'], time=1700000000.25), operation(1)])
    store.commit([messages(0, [b"\xff\x00"], log_id=2)])
    rows = sqlite_utils("query", database, "SELECT * FROM topic_temp_1 ORDER BY partition")
    message = {"partition": 0, "offset": 0, "time": "2023-11-14T22:13:20.250Z", "key": "sensor-1", "headers": '{"unit":"C"}', "value": "21.5 °C"}
    assert rows[0] == message
    assert rows[1]["value"] == {"$base64": True, "encoded": "/wA="}


def test_sqlite_utils_queries_operations_dead_letters_and_delayed_messages(store: Storage, database: Path) -> None:
    store.commit([messages(0, [b"a"]), operation(1, b'{"op":"died","group":"g"}'), delayed(2, 99.0), dead(0)])
    found = sqlite_utils("query", database, "SELECT offset, operation ->> 'op' AS op FROM log_temp_1_0 WHERE operation IS NOT NULL")
    assert found == [{"offset": 1, "op": "died"}]
    assert sqlite_utils("rows", database, "dead_letters", "-c", "reason") == [{"reason": "sensor gone"}]
    assert sqlite_utils("rows", database, "delayed", "-c", "due") == [{"due": 99.0}]


def test_a_reader_that_closes_last_but_the_broker_neither_checkpoints_nor_removes_the_log(store: Storage, database: Path) -> None:
    store.commit([messages(0, [b"x" * 1000] * 1000)])
    log_file = database.with_name("zmqmq.db-wal")
    before = (os.stat(log_file).st_ino, log_file.read_bytes())
    assert sqlite_utils("query", database, "SELECT count(*) AS messages FROM topic_temp_1") == [{"messages": 1000}]
    assert (os.stat(log_file).st_ino, log_file.read_bytes()) == before


def test_the_log_stays_bounded_under_load_and_goes_on_growing_only_as_long_as_somebody_reads(store: Storage, database: Path) -> None:
    turn = 1 << 17
    values = [b"x" * 1000] * 64
    for first in range(0, 6400, 64):
        store.commit([messages(first, values)])
        store.maintain(False)
    assert _size(database) < 4 * turn
    reader = sqlite3.connect(database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM topics").fetchall()
    for first in range(6400, 19200, 64):
        store.commit([messages(first, values)])
        store.maintain(False)
    assert _size(database) > 8 * turn
    reader.close()
    store.commit([messages(19200, values)])
    store.maintain(False)
    store.commit([messages(20000, values)])
    assert _size(database) < 4 * turn


def test_an_idle_store_copies_its_log_soon(store: Storage, database: Path) -> None:
    store.maintain(True)
    store.commit([messages(0, [b"x" * 1000] * 80)])
    before = database.stat().st_size
    store.maintain(False)
    assert database.stat().st_size == before
    store.maintain(True)
    assert database.stat().st_size > before
    assert store.longest_stall > 0


def _size(database: Path) -> int:
    return database.with_name("zmqmq.db-wal").stat().st_size


@pytest.mark.parametrize(
    "value",
    [b"", b"21.5", "°µäß€😀\n\t".encode(), b"\xc3", b"\xe3\x80", b"\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"a\xff", bytes(range(128, 256))],
)
def test_the_view_shows_text_where_it_is_valid_and_bytes_elsewhere(store: Storage, database: Path, value: bytes) -> None:
    store.commit([messages(0, [value], keys=[value])])
    try:
        expected: str | bytes = value.decode()
    except UnicodeDecodeError:
        expected = value
    assert _view(database, "topic_temp_1", "key, value") == [(expected, expected)]


def test_the_view_shows_long_or_zero_bytes_as_they_are_and_long_ascii_as_text(store: Storage, database: Path) -> None:
    long = "é".encode() * MAX_CHECKED_TEXT
    store.commit([messages(0, [long, b"a\0b", b"x" * 100_000])])
    assert _view(database, "topic_temp_1", "value") == [(long,), (b"a\0b",), ("x" * 100_000,)]


def test_the_view_covers_many_partitions_and_follows_deletion(store: Storage, database: Path) -> None:
    count = 2 * MAX_TERMS + 50
    numbers = range(100, 100 + count)
    store.commit([topic(5, "wide.one", count), *(log(number, 5, "wide.one", number - 100) for number in numbers)])
    store.commit([messages(0, [b"v"], log_id=number) for number in numbers])
    assert _view(database, '"topic_wide.one"', "count(DISTINCT partition)") == [(count,)]
    store.commit([w.DropTopic(5)])
    assert _view(database, "sqlite_schema", "count(*)", "WHERE name LIKE '%wide%'") == [(0,)]


def _view(database: Path, name: str, columns: str, rest: str = "") -> list[tuple[object, ...]]:
    connection = sqlite3.connect(database)
    rows = connection.execute(f"SELECT {columns} FROM {name} {rest}").fetchall()
    connection.close()
    return rows


def test_the_names_of_the_tables_tell_topic_and_partition(store: Storage, database: Path) -> None:
    assert _view(database, "partitions", "topic, partition, log_table", f"WHERE log_id = {LOG}") == [("temp_1", 0, "log_temp_1_0")]
