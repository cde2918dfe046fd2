"""What a delivery is made of: rows of one partition as columns, under one lease."""

from __future__ import annotations

from collections.abc import Sequence

from zmqmq.core.commands import Lot, Settlement
from zmqmq.core.model import Row
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue


def with_offsets(settlement: Settlement, offsets: list[int] | None) -> Settlement:
    """The settlement, about these offsets only."""
    return Settlement(
        settlement.queue, settlement.partition, settlement.epoch, settlement.lease, settlement.outcome, offsets, settlement.delay, settlement.reason
    )


def lot_of(number: int, partition: Partition, queue: Queue, lease: int, rows: Sequence[Row]) -> Lot:
    """Rows as columns; columns without content travel as None."""
    offsets, times, keys, headers, values, crcs = map(list, zip(*rows, strict=True))
    count = len(rows)
    state = queue.state
    attempts = [state.attempts(offset) + 1 for offset in offsets] if state.failures else None
    return Lot(
        number,
        partition.number,
        partition.log.epoch,
        lease,
        offsets,
        times,
        values,
        crcs,
        keys if keys.count(None) < count else None,
        headers if headers.count(None) < count else None,
        attempts,
    )
