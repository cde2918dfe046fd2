"""What may be deleted of a partition, and what must be: pure planning, in bounded steps.

    keep: consumed   everything below the lowest floor of all groups (nothing while there is no group)
    keep: log        nothing by itself
    max_age          whatever is older, settled or not
    max_bytes        with keep: log the oldest beyond the size

Only records that the snapshot covers are deleted: a restart still needs the later ones.
"""

from __future__ import annotations

from typing import NamedTuple

from zmqmq.core.operations import Trimmed
from zmqmq.core.partition import Partition
from zmqmq.core.writes import Reader

STEP_RECORDS = 5_000
"""Records deleted in one step; bounds the stall of one turn to some milliseconds."""
WORTH_RECORDS = 1_000
"""Settled records worth a deletion while the broker is busy; when it is idle every message is."""


def is_behind(partition: Partition) -> bool:
    """So much is settled and not deleted yet that the next turn should see to it, however busy the broker is."""
    return partition.topic.settings.keep == "consumed" and partition.settled_by_all() - partition.log.start >= 2 * STEP_RECORDS


class Limit(NamedTuple):
    """Records below `offset` may go; `forced` ones go even if not settled by every group."""

    offset: int
    forced: bool


def plan_trim(partition: Partition, reader: Reader, wall: float, idle: bool, most_bytes: int = 1 << 62) -> Trimmed | None:
    """The next deletion, of about `most_bytes` of messages (a transaction writes as much to the disk as it deletes), or None."""
    log = partition.log
    limit = _limit(partition, reader, wall)
    stop = min(limit.offset, partition.applied, log.committed, log.start + STEP_RECORDS)
    if stop <= log.start or (not idle and not limit.forced and limit.offset - log.start < WORTH_RECORDS):
        return None
    whole = stop
    stop, messages, size = _within(partition, reader, whole, most_bytes)
    if messages == 0 and stop == whole and stop - log.start < WORTH_RECORDS:
        return None  # a trim is a record itself: do not trim trims
    return Trimmed(stop, messages, size, _dropped(partition, reader, stop) if limit.forced else {})


def is_cut(partition: Partition, trim: Trimmed, most_bytes: int) -> bool:
    """Whether the deletion was probably cut short by a bound, so that more is to follow at once."""
    return trim.size * 4 >= most_bytes or trim.start - partition.log.start >= STEP_RECORDS


def _within(partition: Partition, reader: Reader, stop: int, most: int) -> tuple[int, int, int]:
    """The last stop, at least one record on, below which are at most `most` bytes; with the messages and bytes below it.

    Operations weigh nothing: however many follow each other, the next messages are reached."""
    start = partition.log.start
    messages, size = reader.weigh(partition.log.log_id, start, stop)
    if size <= most:
        return stop, messages, size
    low, high = start, stop
    while high - low > 1:
        middle = (low + high) // 2
        _, size = reader.weigh(partition.log.log_id, start, middle)
        low, high = (middle, high) if size <= most else (low, middle)
    stop = max(low, start + 1)
    return stop, *reader.weigh(partition.log.log_id, start, stop)


def _limit(partition: Partition, reader: Reader, wall: float) -> Limit:
    settings = partition.topic.settings
    limit = partition.log.start
    if settings.keep == "consumed":
        limit = partition.settled_by_all()
    forced = partition.log.start
    if settings.max_age is not None:
        young = reader.offset_at(partition.log.log_id, wall - settings.max_age)
        forced = partition.log.committed if young is None else young
    if settings.keep == "log" and settings.max_bytes is not None and partition.size > settings.max_bytes:
        forced = max(forced, _stop_for_bytes(partition, reader, partition.size - settings.max_bytes))
    return Limit(forced, True) if forced > limit else Limit(limit, False)


def _stop_for_bytes(partition: Partition, reader: Reader, excess: int) -> int:
    """Offset below which the oldest messages sum up to the excess, one step at the most."""
    stop = partition.log.start
    for row in reader.read(partition.log.log_id, partition.log.start, STEP_RECORDS, excess):
        excess -= len(row.value) + len(row.key or b"") + len((row.headers or "").encode())
        stop = row.offset + 1
        if excess <= 0:
            break
    return stop


def _dropped(partition: Partition, reader: Reader, stop: int) -> dict[str, int]:
    """How many messages below `stop` each group has not settled."""
    behind = {name: queue.state for name, queue in partition.queues.items() if queue.state.settled.floor < stop}
    if not behind:
        return {}
    dropped = dict.fromkeys(behind, 0)
    start = partition.log.start
    while rows := reader.read(partition.log.log_id, start, STEP_RECORDS, 1 << 24):
        for row in rows:
            if row.offset >= stop:
                break
            for name, state in behind.items():
                dropped[name] += row.offset not in state.settled
        start = rows[-1].offset + 1
        if start >= stop:
            break
    return {name: count for name, count in dropped.items() if count}
