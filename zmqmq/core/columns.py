"""A batch's columns: what they weigh, and the part of them that is new."""

from __future__ import annotations

from collections.abc import Sequence

from zmqmq.core.commands import Produce


def without_front(batch: Produce, count: int) -> Produce:
    """The part of a batch that is not in the log yet."""
    cut = slice(count, None)
    return Produce(
        batch.id,
        batch.topic,
        batch.partition,
        batch.epoch,
        batch.producer,
        batch.sequence + count,
        batch.oldest,
        batch.values[cut],
        batch.crcs[cut],
        batch.keys[cut] if batch.keys else None,
        batch.headers[cut] if batch.headers else None,
        batch.delays[cut] if batch.delays else None,
    )


def size_of(values: Sequence[bytes], keys: Sequence[bytes | None] | None, headers: Sequence[str | None] | None) -> int:
    """Bytes of a batch."""
    size = sum(map(len, values))
    if keys:
        size += sum(len(key) for key in keys if key)
    if headers:
        size += sum(len(text.encode()) for text in headers if text)
    return size


def size_undelayed(batch: Produce) -> int:
    """Bytes of those messages of a batch that can be delivered now."""
    chosen = [index for index, delay in enumerate(batch.delays or ()) if not delay]
    return size_of(
        [batch.values[index] for index in chosen],
        [batch.keys[index] for index in chosen] if batch.keys else None,
        [batch.headers[index] for index in chosen] if batch.headers else None,
    )
