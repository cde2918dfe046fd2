"""Opening a data directory: who may have it, what is refused and why, and what an unclean end leaves behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contracts.storage_contract import BALLAST, LOG, everything, log, messages, topic
from zmqmq.core import writes as w
from zmqmq.errors import StorageDamaged, StorageError, StorageFailed, StorageLocked, StorageTooNew
from zmqmq.shell import data_directory, schema
from zmqmq.shell.data_directory import DATABASE, file_system_of
from zmqmq.shell.sqlite_errors import translated
from zmqmq.shell.storage import Storage

ROOT = Path(__file__).resolve().parent.parent
HOLD = "import sys; from pathlib import Path; from zmqmq.shell.storage import Storage; s = Storage.open(Path(sys.argv[1])); print('open', flush=True); input()"
WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tests.contracts.storage_contract import log, messages, topic
from zmqmq.shell.storage import Storage
store = Storage.open(Path(sys.argv[1]), ballast_bytes=1 << 20)
store.commit([topic(), log()])
for first in range(0, 1 << 40, 10):
    store.commit([messages(first, [b"x" * 500] * 10)])
    store.maintain(False)
    print(first + 10, flush=True)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def filled(directory: Path) -> Path:
    """A data directory with a few thousand messages, properly closed."""
    store = open_store(directory)
    store.commit([topic(), log(), *(messages(first, [b"x" * 100] * 100) for first in range(0, 5000, 100))])
    store.close()
    return directory


def open_store(directory: Path) -> Storage:
    return Storage.open(directory, ballast_bytes=BALLAST)


def child(script: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    process = child(HOLD, directory)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.communicate()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_and_its_files_are_private(directory: Path) -> None:
    store = open_store(directory)
    store.commit([topic()])
    assert mode(directory) == 0o700
    assert {path.name: mode(path) for path in directory.iterdir()} == dict.fromkeys(("zmqmq.db", "zmqmq.db-wal", "zmqmq.db-shm", "lock", "ballast"), 0o600)
    store.close()


def test_a_directory_that_was_not_made_by_zmqmq_keeps_its_permissions(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    open_store(directory).close()
    assert mode(directory) == 0o755
    open_store(directory).close()
    assert mode(directory) == 0o700


def test_a_directory_held_by_another_process_is_refused_with_its_pid(holder: subprocess.Popen[str], directory: Path) -> None:
    with pytest.raises(StorageLocked, match=f"stop process {holder.pid}"):
        open_store(directory)


def test_a_directory_is_free_again_when_its_holder_was_killed(holder: subprocess.Popen[str], directory: Path) -> None:
    holder.kill()
    holder.wait()
    store = open_store(directory)
    assert store.incarnation == 2
    assert not store.identity.clean
    store.close()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        open_store(tmp_path / "file")
    with pytest.raises(StorageError, match="part of the path is a file"):
        open_store(tmp_path / "file" / "data")


def test_a_directory_that_cannot_be_written_is_refused_with_a_hint() -> None:
    with pytest.raises(StorageError, match="the data directory cannot be used"):
        open_store(Path("/sys/zmqmq-data"))


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /srv rw - nfs4 server:/export rw
31 30 0:26 / /srv/my\\040disk rw - xfs /dev/vdb rw
nonsense
"""


@pytest.mark.parametrize(("path", "kind"), [("/home/me", "ext4"), ("/srv/data", "nfs4"), ("/srvx", "ext4"), ("/srv/my disk/data", "xfs")])
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind


def test_a_network_file_system_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 0:25 / / rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(data_directory, "MOUNTS", mounts)
    with pytest.raises(StorageError, match="use a local disk"):
        open_store(directory)


def test_a_database_that_is_a_directory_is_refused(directory: Path) -> None:
    (directory / DATABASE).mkdir(parents=True)
    with pytest.raises(StorageError, match="Is a directory"):
        open_store(directory)


def overwrite(at: float, size: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(int(path.stat().st_size * at) // 16384 * 16384)
            file.write(b"\xa5" * size)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "overwritten header": overwrite(0, 100),
    "first page overwritten": overwrite(0, 16384),
    "every page but the first overwritten": lambda path: path.write_bytes(path.read_bytes()[:16384] + b"\xa5" * (path.stat().st_size - 16384)),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut within the first page": lambda path: os.truncate(path, 5000),
    "a text file": lambda path: path.write_text("hello " * 1000),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_database_is_refused_when_it_is_opened_or_read(filled: Path, damage: Callable[[Path], object]) -> None:
    damage(filled / DATABASE)
    with pytest.raises(StorageDamaged, match="restore a backup"):
        _open_and_read(filled)


def _open_and_read(directory: Path) -> None:
    store = open_store(directory)
    try:
        everything(store)
    finally:
        store.close()


def test_damage_within_a_log_is_found_by_reading_it_and_then_everything_is_refused(filled: Path) -> None:
    overwrite(0.6, 16384)(filled / DATABASE)
    store = open_store(filled)
    with pytest.raises(StorageDamaged):
        store.reader.read(LOG, 0, 5000, 1 << 30)
    with pytest.raises(StorageFailed, match="refuses to go on"):
        store.commit([messages(5000, [b"x"])])
    store.close()


def test_after_an_unclean_stop_damaged_tables_are_found_at_once(filled: Path) -> None:
    with sqlite3.connect(filled / DATABASE) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'groups'").fetchone()
        connection.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")
    connection.close()
    with (filled / DATABASE).open("r+b") as file:
        file.seek((page - 1) * 16384)
        file.write(b"\xa5" * 16384)
    with pytest.raises(StorageDamaged):
        open_store(filled)


def test_somebody_elses_database_is_refused(directory: Path) -> None:
    directory.mkdir()
    connection = sqlite3.connect(directory / DATABASE)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StorageDamaged, match="not written by zmqmq"):
        open_store(directory)


def test_a_newer_schema_is_refused_and_left_alone(filled: Path) -> None:
    connection = sqlite3.connect(filled / DATABASE)
    connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    connection.close()
    before = (filled / DATABASE).read_bytes()
    with pytest.raises(StorageTooNew, match="run the newer zmqmq"):
        open_store(filled)
    assert (filled / DATABASE).read_bytes() == before


def test_a_refused_directory_is_not_held(filled: Path) -> None:
    original = (filled / DATABASE).read_bytes()
    overwrite(0, 100)(filled / DATABASE)
    with pytest.raises(StorageDamaged):
        open_store(filled)
    (filled / DATABASE).write_bytes(original)
    open_store(filled).close()


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_data(filled: Path) -> None:
    def add_colour(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE topics ADD COLUMN colour TEXT")

    database = schema.connect(filled / DATABASE)
    schema.prepare(database, filled / DATABASE, (*schema.MIGRATIONS, add_colour))
    assert list(database.query("SELECT name, colour FROM topics")) == [{"name": "temp_1", "colour": None}]
    assert database.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION + 1
    database.conn.close()


def test_a_migration_that_fails_changes_nothing(filled: Path) -> None:
    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE topics")
        connection.execute("SELECT no_such_column FROM meta")

    database = schema.connect(filled / DATABASE)
    with pytest.raises(sqlite3.OperationalError):
        schema.prepare(database, filled / DATABASE, (*schema.MIGRATIONS, spoil))
    database.conn.close()
    store = open_store(filled)
    assert [record.name for record in store.reader.topics()] == ["temp_1"]
    store.close()


def test_what_was_committed_before_a_kill_is_there_and_nothing_torn(directory: Path) -> None:
    process = child(WRITE_FOR_EVER, directory)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 3000:
            break
    process.send_signal(signal.SIGKILL)
    confirmed = max([3000, *(int(line) for line in process.communicate()[0].split("\n")[:-1])])
    store = open_store(directory)
    end = store.reader.logs()[0].end
    assert end >= confirmed
    assert end % 10 == 0
    assert len(store.reader.read(LOG, 0, end, 1 << 40)) == end
    store.close()


def test_a_failed_turn_leaves_nothing_and_stops_the_store(directory: Path) -> None:
    store = open_store(directory)
    store.commit([topic(), log()])
    with pytest.raises(StorageFailed):
        store.commit([messages(0, [b"a"]), messages(0, [b"b"], log_id=99)])
    for attempt in (lambda: store.commit([messages(0, [b"a"])]), store.has_room, lambda: store.maintain(True)):
        with pytest.raises(StorageFailed, match="refuses to go on"):
            attempt()
    store.close()
    store = open_store(directory)
    assert store.reader.logs()[0].end == 0
    store.close()


def test_a_program_that_holds_the_write_lock_is_named_as_the_cause(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.05)
    store = open_store(directory)
    meddler = sqlite3.connect(directory / DATABASE, isolation_level=None)
    meddler.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFailed, match="only the broker may write"):
        store.commit([topic()])
    meddler.close()
    store.close()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SQLITE_FULL", "StorageFull"),
        ("SQLITE_IOERR_SHMSIZE", "StorageFull"),
        ("SQLITE_IOERR_FSYNC", "StorageFailed"),
        ("SQLITE_IOERR_WRITE", "StorageFailed"),
        ("SQLITE_CORRUPT_VTAB", "StorageDamaged"),
        ("SQLITE_NOTADB", "StorageDamaged"),
        ("SQLITE_READONLY", "StorageError"),
        ("SQLITE_CONSTRAINT_PRIMARYKEY", "StorageFailed"),
        ("", "StorageFailed"),
    ],
)
def test_every_error_of_sqlite_becomes_one_of_zmqmq(name: str, code: str) -> None:
    error = sqlite3.OperationalError("it went wrong")
    error.sqlite_errorname = name
    assert translated(error, Path("zmqmq.db")).code == code


def test_a_store_may_be_written_by_a_thread_other_than_its_opener(directory: Path) -> None:
    from threading import Thread

    store = open_store(directory)
    worker = Thread(target=lambda: store.commit([topic(), log(), w.PutHead(LOG, 1, 0, 5, 5, 0, 0)]))
    worker.start()
    worker.join()
    assert store.reader.logs()[0].end == 5
    store.close()
