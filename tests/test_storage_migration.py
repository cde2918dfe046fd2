"""A data directory of the first schema, as a single broker left it, opens as what a cluster's broker needs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.contracts.storage_contract import BALLAST, LOG, everything, log, messages, operation, topic
from zmqmq.core import writes as w
from zmqmq.shell import schema, storage
from zmqmq.shell.data_directory import DATABASE
from zmqmq.shell.storage import Storage


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What a version-1 broker leaves: tables of version 1, operations without checksums, no session."""
    store = Storage.open(tmp_path, ballast_bytes=BALLAST)
    store.commit([topic(), log(), messages(0, [b"a", b"b"], producer=7), operation(2), w.PutHead(LOG, 1, 0, 3, 3, 2, 2), w.PutEpoch(LOG, 1, 0)])
    store.close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    with connection:
        for later in ("promised", "missing"):
            connection.execute(f"ALTER TABLE partitions DROP COLUMN {later}")
        connection.execute("ALTER TABLE groups DROP COLUMN voided")
        connection.execute("INSERT INTO groups VALUES (?, 'g', 3, '[[5,6]]', '{}', '[]', 4, 0)", (LOG,))
        connection.execute("UPDATE log_temp_1_0 SET crc = 0 WHERE kind = 2")
        connection.execute("PRAGMA user_version=1")
    connection.close()
    return tmp_path


def columns(directory: Path) -> list[str]:
    connection = sqlite3.connect(directory / DATABASE)
    try:
        return [name for _, name, *_ in connection.execute("PRAGMA table_info(partitions)")]
    finally:
        connection.close()


def test_the_first_schema_is_what_the_first_migration_still_makes(old: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("first") / DATABASE
    database = schema.connect(path)
    schema.prepare(database, path, schema.MIGRATIONS[:1])
    database.conn.close()
    assert columns(path.parent) == columns(old)
    assert "promised" not in columns(old)


def test_a_store_of_the_first_schema_opens_with_everything_in_it(old: Path) -> None:
    store = Storage.open(old, ballast_bytes=BALLAST)
    state = store.reader.log(LOG)
    assert (state.end, state.applied, state.promised, list(state.epochs)) == (3, 3, 0, [(1, 0)])
    assert [(group.floor, group.lag, group.voided) for group in state.groups] == [(3, 4, "[0,0]")]
    assert [(block.first, len(block.values)) for block in store.reader.blocks(LOG, 0, 10, 1000)] == [(0, 2), (2, 1)]
    assert (store.identity.session, store.identity.incarnation, store.has_data) == (0, 2, True)
    store.close()


def test_a_store_that_was_brought_up_to_date_takes_the_new_writes(old: Path) -> None:
    store = Storage.open(old, ballast_bytes=BALLAST)
    store.commit([w.PutPromise(LOG, 4), w.PutSession(77), messages(3, [b"c"], epoch=4), w.TruncateLog(LOG, 3), operation(3)])
    before = everything(store)
    store.close()
    store = Storage.open(old, ballast_bytes=BALLAST)
    assert everything(store) == before
    assert (store.reader.log(LOG).promised, store.identity.session) == (4, 77)
    store.close()


def test_a_migration_cut_short_is_done_at_the_next_opening(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "_identify", fail)
        with pytest.raises(Exception, match="the power went"):
            Storage.open(old, ballast_bytes=BALLAST)
    store = Storage.open(old, ballast_bytes=BALLAST)
    assert store.reader.log(LOG).end == 3
    store.close()
