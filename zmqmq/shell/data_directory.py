"""The data directory: one broker's, private, locked, and never quite full.

Two brokers on one directory would be the worst bug of all, so a lock (`flock` on the file `lock`, released by the kernel when
the process ends, however it ends) comes before anything else is touched. A *ballast* file keeps a piece of the disk back: a full
disk lets SQLite neither delete rows nor checkpoint, so without something to give up a full store could never get empty again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from zmqmq.errors import StorageError, StorageLocked

DATABASE = "zmqmq.db"
LOCK = "lock"
BALLAST = "ballast"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
NETWORK_FILE_SYSTEMS = frozenset(("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs"))
"""Where SQLite's write-ahead log, which needs memory shared between processes, and locks cannot be relied upon."""
MOUNTS = Path("/proc/self/mountinfo")
MAX_PID_TEXT = 32
"""Bytes of the lock file that are read to name its holder."""


class DataDirectory:
    """A data directory that this process holds, from construction to `close()`.

    Raises StorageLocked when another process holds it, and StorageError when it cannot be made or written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _make(path)
        _refuse_network(path)
        self._lock = _acquire(path)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / DATABASE

    @property
    def write_ahead_log(self) -> Path:
        return self.path / f"{DATABASE}-wal"

    def touch_database(self) -> None:
        """Makes the database file readable by its owner only; SQLite gives its own further files the same permissions.

        Call it before SQLite opens the file: a process that closes any descriptor of a file loses its locks on it."""
        try:
            os.close(os.open(self.database, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, FILE_MODE))
        except OSError as error:
            raise _unusable(self.path, error) from error

    def free(self) -> int:
        """Bytes that this user may still write on the disk."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def capacity(self) -> int:
        """Bytes that the disk has in all."""
        disk = os.statvfs(self.path)
        return disk.f_blocks * disk.f_frsize

    def used(self) -> int:
        """Bytes of the database and its write-ahead log."""
        return size_of(self.database) + size_of(self.write_ahead_log)

    def close(self) -> None:
        """Gives the directory up. May be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Ballast:
    """The file that is given up when the disk is full."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / BALLAST

    def size(self) -> int:
        """Bytes that it holds back now."""
        return size_of(self._path)

    def resize(self, size: int) -> bool:
        """Makes it `size` bytes of really allocated disk; False, and no ballast at all, when the disk has not got them."""
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
        try:
            os.ftruncate(descriptor, min(size, self.size()))
            if size:
                os.posix_fallocate(descriptor, 0, size)
            os.fsync(descriptor)  # some file systems hand freed blocks out again only after this
            return True
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.ftruncate(descriptor, 0)
            return False
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Gives all of it back to the disk."""
        if self.size():
            self.resize(0)


def size_of(path: Path) -> int:
    """The file's size in bytes, 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if path.stat().st_uid == os.geteuid() and (path / DATABASE).exists():
            path.chmod(DIRECTORY_MODE)  # ours already; a foreign directory (say /tmp) keeps its permissions
    except FileExistsError as error:
        raise StorageError("the data directory is a file", hint="give the path of a directory", path=path) from error
    except OSError as error:
        raise _unusable(path, error) from error


def _refuse_network(path: Path) -> None:
    kind = file_system_of(path.resolve(), MOUNTS.read_text(errors="replace") if MOUNTS.exists() else "")
    if kind in NETWORK_FILE_SYSTEMS:
        raise StorageError("the data directory lies on a network file system", hint="use a local disk", path=path, file_system=kind)


def file_system_of(path: Path, mounts: str) -> str:
    """The type of the file system that holds `path`, by the text of Linux's mountinfo; "" if it does not say."""
    found, depth = "", 0
    for line in mounts.splitlines():
        mounted, _, kind = line.partition(" - ")
        fields = mounted.split(" ")
        if len(fields) < 5 or not kind:
            continue
        point = Path(fields[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= depth:  # the last of several mounts at one place is the visible one
            found, depth = kind.split(" ")[0], len(point.parts)
    return found


def _acquire(path: Path) -> int:
    try:
        descriptor = os.open(path / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, MAX_PID_TEXT).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise _locked(path, error, holder) from error
    with contextlib.suppress(OSError):  # the pid is for people only; a full disk must not keep a broker from starting
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _locked(path: Path, error: OSError, holder: str) -> StorageError:
    if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
        return StorageError(f"the data directory cannot be locked: {error.strerror}", hint="use a local disk", path=path)
    return StorageLocked(
        "another broker uses the data directory",
        hint=f"stop process {holder or '(unknown)'} first, or give this broker its own directory",
        path=path,
        pid=holder or None,
    )


def _unusable(path: Path, error: OSError) -> StorageError:
    hints = {
        errno.EROFS: "the file system is mounted read-only; mount it read-write or choose another directory",
        errno.ENOTDIR: "part of the path is a file; choose another directory",
        errno.ENOSPC: "the disk is full; make room or choose another directory",
    }
    fallback = "let the broker's user own the directory, with read, write and search permission"
    return StorageError(f"the data directory cannot be used: {error.strerror}", hint=hints.get(error.errno or 0, fallback), path=path)
