"""A full disk: the turn is rolled back, operations go on from the ballast, and messages go on once there is room, without a restart.

The story is told twice: with a page limit in the place of the disk's end, which works everywhere, and on a real small file system in a mount
namespace of its own, where the machine lets us have one.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.storage_contract import LOG, dead, log, messages, operation, topic
from zmqmq.core import writes as w
from zmqmq.errors import StorageError, StorageFull
from zmqmq.shell import disk_room
from zmqmq.shell.data_directory import DataDirectory, size_of
from zmqmq.shell.storage import Storage

ROOT = Path(__file__).resolve().parent.parent
BATCH = 50
VALUES = [b"x" * 1000] * BATCH
MAX_TURNS = 1000
CYCLES = 5
DISK_MIB = 16
DISK_PAGES = 850
"""Where the pretended disk ends for the database: what the ballast and the write-ahead log leave of 16 MiB."""


class Tenant:
    """A broker in miniature: it knows what it has appended and what it has trimmed."""

    def __init__(self, directory: Path, *, ballast_bytes: int = 64 << 20) -> None:
        self.store = Storage.open(directory, ballast_bytes=ballast_bytes)
        self.start = 0
        self.next = 0
        if not self.store.reader.topics():
            self.store.commit([topic(), log()])

    def produce(self) -> None:
        self.store.commit([messages(self.next, VALUES)])
        self.next += BATCH
        self.store.maintain(False)

    def fill(self) -> int:
        """Produces until the disk is full; the number of messages that were accepted."""
        before = self.next
        with contextlib.suppress(StorageFull):
            for _ in range(MAX_TURNS):
                self.produce()
            raise AssertionError("the disk never gets full")
        return self.next - before

    def acknowledge(self, times: int) -> None:
        for _ in range(times):
            self.store.commit([operation(self.next), w.PutHead(LOG, 1, self.start, self.next + 1, self.next, 0, 0)])
            self.next += 1
            self.store.maintain(True)

    def trim(self, records: int) -> None:
        self.start = min(self.start + records, self.next)
        self.store.commit([w.TrimLog(LOG, self.start)])
        self.store.maintain(True)

    def trim_until_room(self) -> None:
        while not self.store.has_room():
            assert self.start < self.next, "an empty store must have room"
            self.trim(200)


def live_on_a_full_disk(directory: Path) -> None:
    """Fills the disk several times; each time operations still work, and messages again after a trim."""
    tenant = Tenant(directory)
    accepted = []
    for cycle in range(CYCLES):
        assert tenant.store.has_ballast == (cycle == 0), "while the file may not grow a ballast does not carry a turn"
        accepted.append(tenant.fill())
        assert tenant.store.reader.logs()[0].end == tenant.next  # nothing of the refused turn is there
        tenant.store.free_ballast()
        assert not tenant.store.has_room()
        assert not tenant.store.has_ballast
        tenant.acknowledge(40)
        assert not tenant.store.has_room()
        tenant.trim_until_room()
        tenant.produce()
    assert accepted[0] > 5000
    assert min(accepted[1:]) >= BATCH
    _restart_and_go_on(tenant, directory)


def _restart_and_go_on(tenant: Tenant, directory: Path) -> None:
    """A restart in the middle of a full disk changes nothing."""
    tenant.fill()
    tenant.store.free_ballast()
    tenant.store.close()
    again = Tenant(directory)
    again.start, again.next = tenant.start, tenant.next
    assert not again.store.has_room()
    assert not again.store.has_ballast
    again.acknowledge(10)
    again.trim_until_room()
    again.produce()
    again.store.close()


def make_room_from_outside(directory: Path) -> None:
    """Another program fills the disk and goes away again."""
    tenant = Tenant(directory)
    tenant.produce()
    _fill_from_outside(directory)
    tenant.fill()
    tenant.store.free_ballast()
    assert not tenant.store.has_room()
    tenant.acknowledge(5)
    (directory.parent / "intruder").unlink()
    assert tenant.store.has_room()
    assert tenant.store.has_ballast
    assert tenant.fill() > 5000
    tenant.store.close()


def start_on_a_full_disk(directory: Path) -> None:
    """A broker starts on a disk that is full to the last byte as long as it has its ballast, and says what is wrong when that is used up too."""
    Tenant(directory).store.close()
    _fill_from_outside(directory)
    tenant = Tenant(directory)
    assert not tenant.store.has_room()
    tenant.acknowledge(5)
    tenant.store.close()
    _fill_from_outside(directory)
    _expect_full(directory)
    (directory.parent / "intruder").unlink()
    tenant = Tenant(directory)
    tenant.next = 10
    assert tenant.store.has_room()
    assert tenant.fill() > 5000
    tenant.store.close()


def refuse_a_disk_without_any_room(directory: Path) -> None:
    """A new store on a full disk says so."""
    _fill_from_outside(directory)
    _expect_full(directory)


def _fill_from_outside(directory: Path) -> None:
    with contextlib.suppress(OSError), (directory.parent / "intruder").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def _expect_full(directory: Path) -> None:
    try:
        Storage.open(directory)
    except (StorageFull, StorageError) as error:
        assert "make room" in error.hint, error
    else:
        raise AssertionError("a store cannot be opened on a disk without any room")


REAL_DISK_STORIES = [live_on_a_full_disk, make_room_from_outside, start_on_a_full_disk, refuse_a_disk_without_any_room]


def _namespace() -> list[str] | None:
    """The command that gives a process mounts of its own, None where that is not allowed."""
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        command = ["unshare", *options, "sh", "-c"]
        if shutil.which("unshare") and subprocess.run([*command, "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False).returncode == 0:
            return command
    return None


NAMESPACE = _namespace()

if NAMESPACE is not None:

    @pytest.mark.parametrize("story", [story.__name__ for story in REAL_DISK_STORIES])
    def test_on_a_real_small_disk(story: str, tmp_path: Path) -> None:
        assert NAMESPACE is not None
        script = f'mount -t tmpfs -o size={DISK_MIB}m tmpfs "$1" && exec "$2" -m tests.test_storage_disk_full {story} "$1"'
        done = subprocess.run([*NAMESPACE, script, "sh", str(tmp_path), sys.executable], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr


def pretend_small_disk(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Makes every data directory believe in a disk of `size` bytes, of which its own files take what they take."""

    def free(directory: DataDirectory) -> int:
        return max(0, size - directory.used() - size_of(directory.path / "ballast"))

    monkeypatch.setattr(DataDirectory, "free", free)
    monkeypatch.setattr(DataDirectory, "capacity", lambda directory: size)


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Tenant]:
    pretend_small_disk(monkeypatch, DISK_MIB << 20)
    opened = Tenant(tmp_path / "data")
    opened.store._connection.execute(f"PRAGMA max_page_count={DISK_PAGES}").fetchall()
    yield opened
    opened.store.close()


def test_a_full_disk_refuses_the_whole_turn(tenant: Tenant) -> None:
    tenant.fill()
    before = tenant.next
    with pytest.raises(StorageFull):
        tenant.store.commit([operation(before), *(messages(first, VALUES) for first in range(before + 1, before + 1 + 10 * BATCH, BATCH))])
    assert tenant.store.reader.logs()[0].end == before
    assert list(tenant.store.reader.replay(LOG, before, 10)) == []


def test_reading_goes_on_while_the_disk_is_full(tenant: Tenant) -> None:
    tenant.fill()
    assert len(tenant.store.reader.read(LOG, 0, 100, 1 << 20)) == 100


def test_the_ballast_lets_operations_and_trims_go_on_and_a_trim_makes_room(tenant: Tenant) -> None:
    tenant.fill()
    tenant.store.free_ballast()
    assert not tenant.store.has_room()
    tenant.acknowledge(20)
    tenant.store.commit([dead(1, 2), w.PutGroup(LOG, "g", 5, "[]", "{}", "[]", 1)])
    assert not tenant.store.has_room()
    tenant.trim_until_room()
    tenant.produce()
    assert list(tenant.store.reader.dead_offsets(LOG, "g", 9)) == [1, 2]


def test_being_full_again_and_again_does_not_eat_the_reserve(tenant: Tenant) -> None:
    sizes = []
    for _ in range(CYCLES):
        tenant.fill()
        tenant.store.free_ballast()
        tenant.acknowledge(20)
        tenant.trim_until_room()
        sizes.append(tenant.store._connection.execute("PRAGMA page_count").fetchone()[0])
    allowance = tenant.store._room.turn // 16384 + 1
    assert max(sizes) - sizes[0] <= allowance


def test_the_ballast_is_at_most_an_eighth_of_the_free_disk(tenant: Tenant) -> None:
    ballast = tenant.store._directory.path / "ballast"
    assert 0 < ballast.stat().st_size <= (DISK_MIB << 20) // disk_room.SHARE_OF_DISK


def test_a_small_ballast_is_kept_from_one_start_to_the_next(tmp_path: Path) -> None:
    sizes = []
    for _ in range(2):
        Storage.open(tmp_path / "data", ballast_bytes=3 << 20).close()
        sizes.append((tmp_path / "data" / "ballast").stat().st_size)
    assert sizes == [3 << 20] * 2


if __name__ == "__main__":
    {story.__name__: story for story in REAL_DISK_STORIES}[sys.argv[1]](Path(sys.argv[2]) / "data")
