"""What opening and reading cost, counted in steps of SQLite's machine rather than in time: never in proportion to the backlog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection

import pytest
from sqlite_utils import Database

from tests.contracts.storage_contract import LOG, dead, delayed, log, messages, topic
from zmqmq.core import writes as w
from zmqmq.shell import schema, storage
from zmqmq.shell.storage import Storage

SMALL, LARGE = 200, 40_000
STRIDE = 10
"""Machine steps per count."""


class Steps:
    """Counts the machine's steps on every connection that is opened while it is installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(storage, "connect", self._connect)

    def _connect(self, path: Path) -> Database:
        database = schema.connect(path)
        database.conn.set_progress_handler(self._step, STRIDE)
        return database

    def _step(self) -> int:
        self.count += STRIDE
        return 0

    def of(self, action: Callable[[], object]) -> int:
        before = self.count
        action()
        return self.count - before


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def filled(directory: Path, count: int) -> Path:
    """A store that was left unclean, with this many messages, and a tenth as many delayed ones and dead letters."""
    store = Storage.open(directory, ballast_bytes=1 << 20)
    store.commit([topic(), log()])
    for first in range(0, count, 200):
        store.commit([messages(first, [b"x" * 20] * 200, time=float(first))])
    store.commit([delayed(count + index, 9.0, time=float(count)) for index in range(count // 10)])
    store.commit([dead(*range(0, count, 10)), w.PutHead(LOG, 1, 0, count, 0, count, 0, count // 10)])
    store._connection.close()
    store._directory.close()
    return directory


def _open_and_list(directory: Path) -> None:
    store = Storage.open(directory, ballast_bytes=1 << 20)
    state = store.reader.logs()[0]
    assert state.delayed == (state.end - state.delayed) // 10
    assert not store.identity.clean
    store.has_room()
    store.close()


def test_opening_does_not_depend_on_the_backlog(steps: Steps, tmp_path: Path) -> None:
    small, large = filled(tmp_path / "small", SMALL), filled(tmp_path / "large", LARGE)
    few = steps.of(lambda: _open_and_list(small))
    many = steps.of(lambda: _open_and_list(large))
    assert many <= few + 10 * STRIDE


def test_reading_costs_what_is_read(steps: Steps, tmp_path: Path) -> None:
    store = Storage.open(filled(tmp_path / "large", LARGE), ballast_bytes=1 << 20)
    reader = store.reader
    assert steps.of(lambda: reader.read(LOG, LARGE // 2, 10, 1 << 20)) < 500
    assert steps.of(lambda: reader.read(LOG, 0, LARGE, 100)) < 500
    assert steps.of(lambda: reader.read_offsets(LOG, [5, 30_000])) < 500
    assert steps.of(lambda: reader.due(LOG, float("inf"), 5)) < 500
    assert steps.of(lambda: reader.blocks(LOG, LARGE // 2, 1 << 40, 500)) < 500
    assert steps.of(lambda: reader.blocks(LOG, LARGE + 5, 1 << 40, 100)) < 1000
    assert steps.of(lambda: reader.log(LOG)) < 1500
    assert steps.of(lambda: reader.dead(LOG, "g", 20_000, 5)) < 500
    assert steps.of(lambda: reader.offset_at(LOG, 33_333.0)) < 1500
    store.close()


def test_a_trim_costs_what_it_deletes_and_never_walks_over_kept_records_again(steps: Steps, tmp_path: Path) -> None:
    store = Storage.open(filled(tmp_path / "large", LARGE), ballast_bytes=1 << 20)
    store.commit([w.TrimLog(LOG, LARGE // 2)])
    assert steps.of(lambda: store.commit([w.TrimLog(LOG, LARGE // 2 + 20)])) < 1500
    assert steps.of(lambda: store.commit([w.DropDead(LOG, "g", [0, 10])])) < 500
    store.close()


def test_cutting_and_dropping_a_log_cost_what_is_cut_off_whatever_remains(steps: Steps, tmp_path: Path) -> None:
    store = Storage.open(filled(tmp_path / "large", LARGE), ballast_bytes=1 << 20)
    end = store.reader.log(LOG).end
    assert steps.of(lambda: store.commit([w.TruncateLog(LOG, end - 10)])) < 1500
    store.commit([w.DropDead(LOG, "g", range(LARGE)), w.DropDelayed(LOG, range(LARGE, 2 * LARGE))])
    assert steps.of(lambda: store.commit([w.DropLog(LOG), log(2)])) < 3000
    store.close()


def test_deleting_a_large_topic_is_bounded_and_the_rest_is_swept_over_restarts(steps: Steps, tmp_path: Path) -> None:
    directory = filled(tmp_path / "large", LARGE)
    store = Storage.open(directory, ballast_bytes=1 << 20)
    connection = store._connection
    connection.execute("CREATE VIEW of_somebody AS SELECT * FROM no_such_table")
    store.commit([w.DropDead(LOG, "g", range(LARGE)), w.DropDelayed(LOG, range(LARGE, 2 * LARGE))])
    assert steps.of(lambda: store.commit([w.DropTopic(1), topic(2), log(2, 2), messages(0, [b"new"], log_id=2)])) < 3000
    assert [row.value for row in store.reader.read(2, 0, 10, 100)] == [b"new"]
    assert _trash(connection) == ["trash_1"]
    store.maintain(False)
    store.close()
    store = Storage.open(directory, ballast_bytes=1 << 20)
    while _trash(store._connection):
        store.maintain(True)
    assert store._connection.execute("PRAGMA freelist_count").fetchone()[0] > 50
    assert steps.of(lambda: store.maintain(True)) < 500
    assert [state.log_id for state in store.reader.logs()] == [2]
    store.close()


def _trash(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'trash_*'")]
