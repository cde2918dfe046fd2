"""What a follower does with news of one partition: cut where the logs differ, append what comes, remember what is committed.

Only an answer that fits is taken: in this leadership, about exactly the end that the log here has. Everything else is late or doubled
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar
from zlib import crc32

from zmqmq.core.model import Kind
from zmqmq.core.peer_commands import Block, FetchedPart, FetchPart
from zmqmq.core.replica import Replica, Role
from zmqmq.core.writes import AppendDelayed, AppendMessages, AppendOperation, PutEpoch, PutMissing, Write

T = TypeVar("T")


def question(replica: Replica) -> FetchPart:
    """What to ask the leader about this partition: what comes after that which is on disk here."""
    log = replica.partition.log
    return FetchPart(*replica.key, replica.epoch, log.durable, log.epoch_at(log.durable - 1), replica.install_applied if replica.installing else -1)


def is_current(replica: Replica, part: FetchedPart) -> bool:
    """Whether the answer is to the question that would be asked now."""
    return replica.role is Role.FOLLOWER and part.epoch == replica.epoch and part.offset == replica.partition.log.end


def take(replica: Replica, part: FetchedPart) -> None:
    """Takes news that are current (`diverged` or `data`)."""
    if part.state == "diverged":
        _, end = replica.partition.log.end_of_epoch(part.diverged_epoch)
        replica.truncate(min(end, part.diverged_end, part.offset))
        return
    log = replica.partition.log
    if replica.installing and part.start > log.trimmed:  # what is gone there is not among the records: no other replica may take this copy for whole
        log.trimmed = part.start
        replica.write(PutMissing(log.log_id, part.start))
    for block in part.blocks:
        if block.first < log.end or block.epoch < log.epoch_at(log.end - 1):
            replica.fail(f"the leader of epoch {part.epoch} sent offset {block.first} of epoch {block.epoch}, but the log ends at {log.end}")
            return
        if block.epoch > log.last_epoch:
            log.begin_epoch(block.epoch, block.first)
            replica.write(PutEpoch(log.log_id, block.epoch, block.first))
        for write in writes_of(log.log_id, block):
            replica.write(write)
        replica.unapplied.add(block)
        log.end = block.first + len(block.values)
    log.end = max(log.end, part.next)
    replica.told_committed = max(replica.told_committed, part.committed)


def writes_of(log_id: int, block: Block) -> Iterator[Write]:
    """The appends that make a block part of the log."""
    head = (block.epoch, block.time)
    if block.kind == Kind.OPERATION:
        for index, text in enumerate(block.values):
            yield AppendOperation(log_id, block.first + index, *head, text)
    elif block.kind == Kind.DELAYED:
        key = block.keys[0] if block.keys else None
        headers = block.headers[0] if block.headers else None
        yield AppendDelayed(log_id, block.first, *head, block.producer, block.sequence, block.values[0], block.crcs[0], key, headers, block.due)
    else:
        yield AppendMessages(log_id, block.first, *head, block.producer, block.sequence, block.values, block.crcs, block.keys, block.headers)


def block_of(write: Write) -> Block | None:
    """The block that an append makes; None for other writes. The opposite of `writes_of`."""
    if isinstance(write, AppendMessages):
        columns = (_listed(write.values) or [], _listed(write.crcs) or [], _listed(write.keys), _listed(write.headers))
        return Block(Kind.MESSAGE, write.first, write.epoch, write.time, write.producer, write.sequence, *columns)
    if isinstance(write, AppendOperation):
        return Block(Kind.OPERATION, write.offset, write.epoch, write.time, 0, 0, [write.text], [crc32(write.text)], None, None)
    if isinstance(write, AppendDelayed):
        head = (Kind.DELAYED, write.offset, write.epoch, write.time, write.producer, write.sequence)
        return Block(*head, [write.value], [write.crc], [write.key], [write.headers], write.due)
    return None


def _listed(column: Sequence[T] | None) -> list[T] | None:
    return column if column is None or isinstance(column, list) else list(column)
