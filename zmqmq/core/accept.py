"""Whether a batch may be appended at all: the checks before anything changes. Each raises a typed error that says what was wrong.

That the columns are of one length and the numbers fit is the codec's business (`zmqmq.wire`).
"""

from __future__ import annotations

from operator import add

from zmqmq.core.checksum import checksums
from zmqmq.core.commands import Produce
from zmqmq.core.model import Limits
from zmqmq.core.names import check_key
from zmqmq.core.partition import Partition
from zmqmq.core.places import quorum
from zmqmq.errors import BadFrame, InvalidValue, MessageTooLarge, NotEnoughReplicas, Overloaded, TopicFull


def check_batch(batch: Produce, limits: Limits) -> None:
    """Raises BadFrame, MessageTooLarge, InvalidName or InvalidValue."""
    if batch.producer <= 0:
        raise BadFrame(f"the producer id is {batch.producer}", hint="it is a positive number of 63 bits")
    _check_sizes(batch, limits)
    for key in set(batch.keys or ()):
        if key is not None:
            check_key(key, limits.max_key_bytes)
    for delay in batch.delays or ():
        if delay is not None and not 0 <= delay <= limits.max_delay:  # also catches NaN
            raise InvalidValue(f"the delay is {delay} s", hint=f"allowed are 0 to {limits.max_delay:g} s")
    if checksums(batch.values, batch.keys, batch.headers) != batch.crcs:
        raise BadFrame("a message's checksum does not match its bytes", hint="it was damaged on its way, or the client computes it wrongly")


def _check_sizes(batch: Produce, limits: Limits) -> None:
    count = len(batch.values)
    if count > limits.max_batch_messages:
        raise MessageTooLarge(f"the batch has {count} messages", hint=f"at most {limits.max_batch_messages} are allowed")
    sizes = list(map(len, batch.values))
    if batch.keys:
        sizes = [size + len(key or b"") for size, key in zip(sizes, batch.keys, strict=True)]
    if batch.headers:
        lengths = [len(text.encode()) if text else 0 for text in batch.headers]
        if max(lengths) > limits.max_headers_bytes:
            raise MessageTooLarge(f"the headers have {max(lengths)} bytes", hint=f"at most {limits.max_headers_bytes} are allowed")
        sizes = list(map(add, sizes, lengths))
    largest = max(sizes)
    if largest > limits.max_message_bytes:
        raise MessageTooLarge(f"a message has {largest} bytes", hint=f"at most {limits.max_message_bytes} are allowed")
    total = sum(sizes)
    if count > 1 and total > limits.max_batch_bytes:
        raise MessageTooLarge(f"the batch has {total} bytes", hint=f"at most {limits.max_batch_bytes} are allowed, unless it is a single message")


def check_room(partition: Partition, batch: Produce, max_uncommitted: int) -> None:
    """Raises NotEnoughReplicas, Overloaded when `max_uncommitted` records wait for followers, or TopicFull when max_bytes is reached and nothing
    may be deleted."""
    settings = partition.topic.settings
    needed = quorum(partition.replicas, settings.min_in_sync)
    if partition.in_sync < needed:
        are = "replica is" if partition.in_sync == 1 else "replicas are"
        raise NotEnoughReplicas(
            f"{partition.in_sync} {are} in sync, {needed} are asked for",
            hint="start more brokers or lower min_in_sync",
            topic=batch.topic,
            partition=batch.partition,
        )
    waiting = partition.log.durable - partition.log.committed
    if waiting >= max_uncommitted:
        hint = "send again in a moment; if it stays so, look at the followers"
        raise Overloaded(f"{waiting} records wait for the followers", hint=hint, topic=batch.topic, partition=batch.partition)
    if settings.max_bytes is None or settings.keep == "log":
        return
    size = sum(map(len, batch.values))
    if partition.size + partition.pending.size + size > settings.max_bytes:
        raise TopicFull(
            f"the partition holds {partition.size} bytes of at most {settings.max_bytes}",
            hint="consume, or raise max_bytes",
            topic=batch.topic,
            partition=batch.partition,
        )
