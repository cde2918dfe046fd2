"""Parcels: the messages that an application sent to one topic while the client was busy, in columns, and what became of them.

A parcel is filled by `send`, then cut into *parts*, one or more for each partition it touches. A part is the unit that
succeeds or fails; a receipt is only (parcel, index) and is looked up when somebody asks. So a message costs a list
append, not an object.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from zlib import crc32

from zmqmq.core.model import Limits
from zmqmq.errors import MessageTooLarge, ZmqmqError


class Parcel:
    """Messages of one topic in columns. A column that is None is empty for all messages so far."""

    __slots__ = ("count", "created", "delays", "error", "headers", "keys", "note", "parts", "size", "topic", "unresolved", "values")

    def __init__(self, topic: str, created: float) -> None:
        """`created` is the monotonic time of the first message: the delivery timeout counts from it."""
        self.topic = topic
        self.created = created
        self.values: list[bytes] = []
        self.keys: list[bytes | None] | None = None
        self.headers: list[str | None] | None = None
        self.delays: list[float | None] | None = None
        self.size = 0
        """Bytes of values, keys and headers."""
        self.count = 0
        """Messages; set when the parcel is closed."""
        self.parts: list[Part] = []
        self.unresolved = 0
        self.error: ZmqmqError | None = None
        """Set when the parcel failed as a whole, before it was cut."""
        self.note: Sequence[int] | None = None
        """What a keeper of these messages (an outbox) knows them by."""

    def close(self) -> None:
        """Nothing is added any more."""
        self.count = self.unresolved = len(self.values)

    def part_of(self, index: int) -> Part | None:
        """The part in which a message travels; None before the parcel is cut."""
        for part in self.parts:
            if part.indices[0] <= index <= part.indices[-1]:
                position = part.position(index)
                if position is not None:
                    return part
        return None

    def is_resolved(self, index: int) -> bool:
        """Whether it is known what became of the message."""
        if self.error is not None:
            return True
        part = self.part_of(index)
        return part is not None and part.done

    def fail(self, error: ZmqmqError) -> None:
        """The parcel fails as a whole; only before it is cut."""
        self.error = error
        self.unresolved = 0
        self.release()

    def release(self) -> None:
        """Lets the columns go; receipts need them no more."""
        self.values = []
        self.keys = self.headers = self.delays = None


class Part:
    """The messages of a parcel that go to one partition together."""

    __slots__ = ("done", "error", "indices", "offset", "parcel", "partition", "size", "time")

    def __init__(self, parcel: Parcel, partition: int, indices: Sequence[int], size: int) -> None:
        self.parcel = parcel
        self.partition = partition
        self.indices = indices
        """Ascending indices into the parcel's columns."""
        self.size = size
        self.offset = -1
        """Offset of the first message, once accepted; the others follow densely."""
        self.time = 0.0
        self.error: ZmqmqError | None = None
        self.done = False

    def position(self, index: int) -> int | None:
        """Where in this part a message of the parcel is; None if it is in another one."""
        indices = self.indices
        if isinstance(indices, range):
            return index - indices.start if index in indices else None
        place = bisect_left(indices, index)
        return place if place < len(indices) and indices[place] == index else None

    def accept(self, offset: int, time: float) -> bool:
        """The part is safe at the broker, from `offset` on. True if that completes the parcel."""
        self.offset = offset
        self.time = time
        return self._resolve()

    def fail(self, error: ZmqmqError) -> bool:
        """The part failed. True if that completes the parcel."""
        self.error = error
        return self._resolve()

    def _resolve(self) -> bool:
        if self.done:
            return False
        self.done = True
        parcel = self.parcel
        parcel.unresolved -= len(self.indices)
        if parcel.unresolved:
            return False
        parcel.release()
        return True


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key: the same everywhere and for ever, or order per key is gone."""
    return crc32(key) % partitions


def cut(parcel: Parcel, partitions: int, keyless: int, limits: Limits) -> None:
    """Cuts a closed parcel into parts within the broker's limits; messages without a key go to partition `keyless`.

    A message that is over `max_message_bytes` becomes a part of its own that has failed already.
    """
    parts: list[Part] = []
    for partition, indices in _by_partition(parcel, partitions, keyless):
        if parcel.size <= limits.max_batch_bytes and parcel.size <= limits.max_message_bytes and len(indices) <= limits.max_batch_messages:
            parts.append(Part(parcel, partition, indices, parcel.size))
        else:
            parts.extend(_within(parcel, partition, indices, limits))
    parcel.parts = parts


def _by_partition(parcel: Parcel, partitions: int, keyless: int) -> Iterator[tuple[int, Sequence[int]]]:
    keys = parcel.keys
    if partitions == 1 or keys is None:
        yield (0 if partitions == 1 else keyless), range(parcel.count)
        return
    chosen: dict[int, list[int]] = {}
    known: dict[bytes | None, list[int]] = {}
    for index, key in enumerate(keys):
        indices = known.get(key)
        if indices is None:
            indices = chosen.setdefault(keyless if key is None else partition_of(key, partitions), [])
            known[key] = indices
        indices.append(index)
    yield from sorted(chosen.items())


def _within(parcel: Parcel, partition: int, indices: Sequence[int], limits: Limits) -> Iterator[Part]:
    start = size = 0
    for place, index in enumerate(indices):
        weight = size_of(parcel, index)
        too_large = weight > limits.max_message_bytes
        if place > start and (size + weight > limits.max_batch_bytes or place - start >= limits.max_batch_messages or too_large):
            yield Part(parcel, partition, indices[start:place], size)
            start, size = place, 0
        size += weight
        if too_large:
            yield _oversized(parcel, partition, indices[place : place + 1], weight, limits)
            start, size = place + 1, 0
    if start < len(indices):
        yield Part(parcel, partition, indices[start:], size)


def _oversized(parcel: Parcel, partition: int, indices: Sequence[int], size: int, limits: Limits) -> Part:
    part = Part(parcel, partition, indices, size)
    part.error = too_large(parcel.topic, size, limits)
    return part


def too_large(topic: str, size: int, limits: Limits) -> MessageTooLarge:
    """The error for a message of `size` bytes."""
    return MessageTooLarge(f"a message of {size} bytes is over the limit of {limits.max_message_bytes}", hint="value, key and headers count", topic=topic)


def size_of(parcel: Parcel, index: int) -> int:
    """Bytes of value, key and headers of one message."""
    size = len(parcel.values[index])
    if parcel.keys is not None:
        size += len(parcel.keys[index] or b"")
    if parcel.headers is not None:
        size += len((parcel.headers[index] or "").encode())
    return size
