"""Which file is this? Its number and, where the file system tells it, the time at which it was made.

A copy has another number than the original, but the number of a file that was deleted is soon given to the next one: a copy that took the place of its
original often has the same. The time of birth tells them apart; no program can set it. Python asks for it on some systems only, so on Linux the
C library is asked (`statx`). Where nobody tells it, the number alone has to do.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from typing import NamedTuple, Self

AT_FDCWD = -100
STATX_BTIME = 0x800
STATX_BYTES = 256
BIRTH_AT = 80
"""Where the time of birth stands in what statx answers: seconds (64 bits), nanoseconds (32 bits)."""


class FileBirth(NamedTuple):
    """What tells a file from any copy of it."""

    number: int
    born: int
    """Nanoseconds since 1970; 0 if nobody tells."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises OSError if there is no such file."""
        status = os.stat(path)
        return cls(status.st_ino, _born(path, status))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The opposite of `str`. Raises ValueError."""
        number, _, born = text.partition("/")
        return cls(int(number), int(born))

    def __str__(self) -> str:
        return f"{self.number}/{self.born}"

    def is_same(self, other: FileBirth) -> bool:
        """Whether both may be one file."""
        return self.number == other.number and (self.born == other.born or not (self.born and other.born))


def _born(path: Path, status: os.stat_result) -> int:
    seconds = getattr(status, "st_birthtime", None)
    return round(seconds * 1e9) if seconds is not None else _ask_library(path)


def _ask_library(path: Path) -> int:
    """Nanoseconds, 0 if the library, the kernel or the file system do not know."""
    try:
        statx = ctypes.CDLL(None).statx
    except (AttributeError, OSError):
        return 0
    answer = ctypes.create_string_buffer(STATX_BYTES)
    if statx(AT_FDCWD, os.fsencode(path), 0, STATX_BTIME, answer) != 0:
        return 0
    (known,) = struct.unpack_from("=I", answer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", answer, BIRTH_AT)
    return int(seconds * 1_000_000_000 + nanoseconds) if known & STATX_BTIME else 0
