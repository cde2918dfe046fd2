"""Leases that consumers bring along from an earlier connection, or from before the broker restarted.

The broker keeps leases in memory only. After a restart it waits for the members that it knows from the log, and each
presents what it still holds: it keeps that, under a new number. Who does not report in time is taken for gone. Who has not heard the
answer presents the same again, and is answered the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from zmqmq.core.commands import HeldLease, KeptLease
from zmqmq.core.leases import Holder, Lease, Token
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.writes import Reader


class _Presented(NamedTuple):
    """What is looked up for each lease of one consumer: gathered once, for there may be thousands."""

    partition: Partition
    queue: Queue
    holder: Holder
    brought: dict[Token, Lease]
    """What it has brought along already, by what that was called then."""
    settling: frozenset[int]
    """Offsets whose settling is in the log and not committed."""
    failing: frozenset[int]
    """Offsets of which a delivery has failed, which is in the log and not committed."""

    def find(self, held: HeldLease) -> Lease | None:
        """What goes on here already of a lease that is presented, under its number or under the one that it was brought along with."""
        if held.epoch == self.partition.log.epoch:
            return self.holder.leases.get(held.lease)
        return self.brought.get((held.epoch, held.lease))

    def failed(self, held: HeldLease) -> set[int]:
        """Offsets whose delivery under this lease counts as failed already: a nack counts once, however often it is said."""
        attempts = held.attempts or [1] * len(held.offsets)
        told = zip(held.offsets, attempts, strict=True)
        return {offset for offset, attempt in told if self.queue.state.attempts(offset) >= attempt or offset in self.failing}


def _gather(partition: Partition, queue: Queue, holder: Holder) -> _Presented:
    brought = {lease.brought_as: lease for lease in holder.leases.values() if lease.brought_as is not None}
    settling = frozenset(offset for entry in queue.limbo for offset, _ in entry.settled)
    failing = frozenset(offset for entry in queue.limbo for offset, _ in entry.blocked)
    return _Presented(partition, queue, holder, brought, settling, failing)


def reclaim(partition: Partition, queue: Queue, holder: Holder, presented: Sequence[HeldLease], reader: Reader, now: float) -> list[KeptLease]:
    """What becomes of the leases that a consumer presents of one partition."""
    known = _gather(partition, queue, holder)
    failed = {offset for held in presented if held.epoch < partition.log.epoch for offset in known.failed(held)}
    barred: dict[bytes, int] = {}
    for row in reader.read_offsets(partition.log.log_id, sorted(failed)):
        if row.key is not None:
            barred.setdefault(row.key, row.offset)
    return [_reclaim_one(known, held, barred, reader, now) for held in presented]


def _reclaim_one(known: _Presented, held: HeldLease, barred: Mapping[bytes, int], reader: Reader, now: float) -> KeptLease:
    """`barred`: where in its key each failure stands that the consumer may not have heard of: what is behind it went back with it."""
    partition, queue, holder = known.partition, known.queue, known.holder
    lease = known.find(held)
    offsets = sorted(set(held.offsets))
    if lease is not None:
        kept = [offset for offset in offsets if offset in lease.open]
        return _answer(known, held, lease.number, kept, offsets)
    failed = known.failed(held)
    free = [offset for offset in offsets if offset not in failed and not queue.state.is_settled(offset)]
    is_valid = not queue.seeks and queue.state.voided < (held.epoch, held.lease) and held.epoch < partition.log.epoch
    rows = reader.read_offsets(partition.log.log_id, free) if is_valid else []
    claimed = [(row.offset, row.key) for row in rows if row.key is None or row.offset < barred.get(row.key, row.offset + 1)]
    pairs = [(offset, key) for offset, key in claimed if _claim(queue, holder, offset, key)]
    if not pairs:
        return _answer(known, held, 0, [], offsets)
    numbers, keys = zip(*pairs, strict=True)
    token = (held.epoch, held.lease)
    granted = known.brought[token] = queue.book.grant(holder, numbers, keys, now, now + queue.settings.max_processing_time, token)
    return _answer(known, held, granted.number, list(numbers), offsets)


def _claim(queue: Queue, holder: Holder, offset: int, key: bytes | None) -> bool:
    """Takes a message for the holder, if nothing stands against it: nobody has been given it (then it was read or claimed, and if it is a replayed letter
    it waits no more), and its key is free or the holder's."""
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


def _answer(known: _Presented, held: HeldLease, number: int, kept: list[int], offsets: list[int]) -> KeptLease:
    keeping = set(kept)
    over = [offset for offset in offsets if offset not in keeping]
    settled = [offset for offset in over if offset in known.settling or known.queue.state.is_settled(offset)]
    failed = sorted(known.failed(held).difference(kept, settled))
    return KeptLease(held.partition, held.epoch, held.lease, known.partition.log.epoch, number, kept, settled, failed)


def release_absent(partition: Partition, queue: Queue, holder: Holder, presented: Iterable[HeldLease], wall: float) -> None:
    """What the consumer held here but does not know of (a delivery that never arrived) goes back at once.

    A message that goes back takes the later ones of its key along, presented or not; so this comes before `reclaim` says what is kept.
    """
    gathered = _gather(partition, queue, holder)
    known: dict[int, set[int]] = {}
    for held in presented:
        if (found := gathered.find(held)) is not None:
            known.setdefault(found.number, set()).update(held.offsets)
    for lease in list(holder.leases.values()):
        absent = [offset for offset in lease.open if offset not in known.get(lease.number, ())]
        if absent:
            queue.release(lease, absent, wall)
