"""The checksum that goes with each message from its producer to its consumer.

crc32 over key, then headers, then value. It guards against damage on disk and in memory on the way, not against malice.
Columns go through `map`, which keeps the loop in C.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32


def checksum(value: bytes, key: bytes | None = None, headers: str | None = None) -> int:
    """The checksum of one message."""
    return crc32(value, crc32((headers or "").encode(), crc32(key or b"")))


def checksums(
    values: Sequence[bytes], keys: Sequence[bytes | None] | None = None, headers: Sequence[str | None] | None = None
) -> list[int]:
    """The checksums of a batch in columns; equal to `checksum` of each message."""
    if keys is None and headers is None:
        return list(map(crc32, values))
    seeds = [crc32(key) if key else 0 for key in keys] if keys is not None else [0] * len(values)
    if headers is not None and any(headers):
        seeds = [crc32(text.encode(), seed) if text else seed for text, seed in zip(headers, seeds, strict=True)]
    return list(map(crc32, values, seeds))
