"""A producer's batch as writes: one for all messages, or one for each where some are delayed."""

from __future__ import annotations

from collections.abc import Iterator

from zmqmq.core.commands import Produce
from zmqmq.core.log import Log
from zmqmq.core.writes import AppendDelayed, AppendMessages, Write


def writes_of_batch(log: Log, batch: Produce, first: int, wall: float) -> Iterator[Write]:
    """What puts the batch into the log at the offsets from `first` on."""
    if not batch.delays or not any(batch.delays):
        head = (log.log_id, first, log.epoch, wall, batch.producer, batch.sequence)
        yield AppendMessages(*head, batch.values, batch.crcs, batch.keys, batch.headers)
        return
    for index, delay in enumerate(batch.delays):
        yield _write_of_one(log, batch, index, delay, first + index, wall)


def _write_of_one(log: Log, batch: Produce, index: int, delay: float | None, offset: int, wall: float) -> Write:
    """One message of a batch in which some are delayed."""
    key = batch.keys[index] if batch.keys else None
    headers = batch.headers[index] if batch.headers else None
    head = (log.log_id, offset, log.epoch, wall, batch.producer, batch.sequence + index)
    if delay:
        return AppendDelayed(*head, batch.values[index], batch.crcs[index], key, headers, wall + delay)
    return AppendMessages(*head, [batch.values[index]], [batch.crcs[index]], [key], [headers])
