"""Leases that consumers bring along from an earlier connection, or from before the broker restarted.

The broker keeps leases in memory only. After a restart it waits for the members that it knows from the log, and each
presents what it still holds: it keeps that, under a new number. Who does not report in time is taken for gone. Who has not heard the
answer presents the same again, and is answered the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zmqmq.core.commands import HeldLease, KeptLease
from zmqmq.core.leases import Holder, Lease
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.writes import Reader


def reclaim(partition: Partition, queue: Queue, holder: Holder, presented: Iterable[HeldLease], reader: Reader, now: float) -> list[KeptLease]:
    """What becomes of the leases that a consumer presents of one partition."""
    presented = list(presented)
    failed = {offset for held in presented if held.epoch < partition.log.epoch for offset in _failed(queue, held)}
    barred: dict[bytes, int] = {}
    for row in reader.read_offsets(partition.log.log_id, sorted(failed)):
        if row.key is not None:
            barred.setdefault(row.key, row.offset)
    return [_reclaim_one(partition, queue, holder, held, barred, reader, now) for held in presented]


def _reclaim_one(partition: Partition, queue: Queue, holder: Holder, held: HeldLease, barred: Mapping[bytes, int], reader: Reader, now: float) -> KeptLease:
    """`barred`: where in its key each failure stands that the consumer may not have heard of: what is behind it went back with it."""
    lease = _find(partition, holder, held)
    offsets = sorted(set(held.offsets))
    if lease is not None:
        kept = [offset for offset in offsets if offset in lease.open]
        return _answer(partition, queue, held, lease.number, kept, offsets)
    taken = {offset for other in queue.book.leases.values() for offset in other.open}.union(_failed(queue, held))
    free = [offset for offset in offsets if offset not in taken and not queue.state.is_settled(offset)]
    is_valid = queue.state.voided < (held.epoch, held.lease) and held.epoch < partition.log.epoch
    rows = reader.read_offsets(partition.log.log_id, free) if is_valid else []
    claimed = [(row.offset, row.key) for row in rows if row.key is None or row.offset < barred.get(row.key, row.offset + 1)]
    pairs = [(offset, key) for offset, key in claimed if _claim(queue, holder, offset, key)]
    if not pairs:
        return _answer(partition, queue, held, 0, [], offsets)
    numbers, keys = zip(*pairs, strict=True)
    granted = queue.book.grant(holder, numbers, keys, now, now + queue.settings.max_processing_time, (held.epoch, held.lease))
    return _answer(partition, queue, held, granted.number, list(numbers), offsets)


def _failed(queue: Queue, held: HeldLease) -> set[int]:
    """Offsets whose delivery under this lease counts as failed already: a nack counts once, however often it is said."""
    attempts = held.attempts or [1] * len(held.offsets)
    uncommitted = {offset for entry in queue.limbo for offset, _ in entry.blocked}
    return {offset for offset, attempt in zip(held.offsets, attempts, strict=True) if queue.state.attempts(offset) >= attempt or offset in uncommitted}


def _find(partition: Partition, holder: Holder, held: HeldLease) -> Lease | None:
    """What goes on here already of a lease that is presented, under its number or under the one that it was brought along with."""
    if held.epoch == partition.log.epoch:
        return holder.leases.get(held.lease)
    return next((lease for lease in holder.leases.values() if lease.brought_as == (held.epoch, held.lease)), None)


def _claim(queue: Queue, holder: Holder, offset: int, key: bytes | None) -> bool:
    """Takes a message for the holder, if nothing stands against it: nobody has been given it, and its key is free or the holder's."""
    revived = offset in queue.state.revived
    if not revived and (offset < queue.cursor or offset in queue.known):
        return False
    if key is None:
        if revived and not queue.take_loose(offset):
            return False
    elif not _claim_key(queue, holder, offset, key, revived):
        return False
    if not revived:
        queue.known.add(offset)
        queue.reached = max(queue.reached, offset + 1)  # so far it was read already: holes below must not hold up the reading
    return True


def _claim_key(queue: Queue, holder: Holder, offset: int, key: bytes, revived: bool) -> bool:
    gate = queue.gates.make(key)
    in_order = all(waiting in queue.state.revived for waiting in gate.behind)  # replayed letters have no place to defend
    if gate.returning or not in_order or (gate.owner is not None and gate.owner is not holder):
        return False
    if revived and not queue.gates.remove(gate, offset):
        return False
    gate.hold(holder)
    queue.gates.review(gate, 0.0)
    return True


def _answer(partition: Partition, queue: Queue, held: HeldLease, number: int, kept: list[int], offsets: list[int]) -> KeptLease:
    in_limbo = {offset for entry in queue.limbo for offset, _ in entry.settled}
    keeping = set(kept)
    settled = [offset for offset in offsets if offset not in keeping and (offset in in_limbo or queue.state.is_settled(offset))]
    failed = sorted(_failed(queue, held).difference(kept, settled))
    return KeptLease(held.partition, held.epoch, held.lease, partition.log.epoch, number, kept, settled, failed)


def release_absent(partition: Partition, queue: Queue, holder: Holder, presented: Iterable[HeldLease], wall: float) -> None:
    """What the consumer held here but does not know of (a delivery that never arrived) goes back at once.

    A message that goes back takes the later ones of its key along, presented or not; so this comes before `reclaim` says what is kept.
    """
    known: dict[int, set[int]] = {}
    for held in presented:
        if (found := _find(partition, holder, held)) is not None:
            known.setdefault(found.number, set()).update(held.offsets)
    for lease in list(holder.leases.values()):
        absent = [offset for offset in lease.open if offset not in known.get(lease.number, ())]
        if absent:
            queue.release(lease, absent, wall)
