"""The rules of replication, each as a function over plain data that raises Violation: so that hand-made bad histories can show that it sees.

The letters are those of the rules: R1 one leader per epoch, R2 conditional changes of places, R3 logs match, R5/R6 who is in sync is
complete, R7 who leads is complete, R8 what is committed is not cut off, R9 what is confirmed is on enough disks, R10 nothing is said after
the end of a session, R11 no role without a registration and no broken promise, R12 nothing is deleted that is still wanted, R13 silence after
a failure of the disk.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from tests.sim.clocks import DRIFT_MAX
from tests.sim.copies import Copy, Entry, Key
from tests.sim.history import demand
from zmqmq.core.places import Place
from zmqmq.core.tree import ANY_VERSION

EPOCHS_AT_ONCE = 2
"""One change may elect a leader and end a move."""
Life = tuple[str, int]
"""(broker, be): one registration."""
Stamps = MutableMapping[tuple[Key, int, int], tuple[bytes, tuple[int, int] | None]]
"""(key, offset, epoch) -> (digest, (offset, epoch) of the record below, if somebody knew it)."""


def one_leader(leaders: MutableMapping[tuple[Key, int], Life], key: Key, epoch: int, life: Life) -> None:
    """R1: an epoch of a partition belongs to one life of one broker."""
    known = leaders.setdefault((key, epoch), life)
    demand(known == life, "R1: an epoch has two leaders", key, epoch, known, life)


# --- places ----------------------------------------------------------------------------------------------------------


def conditional(key: Key, expected: int, before: int, after: int) -> None:
    """R2: who changes a place names the version that it has read, and replaces exactly that one."""
    demand(expected != ANY_VERSION, "R2: a place was written without a version", key, before)
    demand(expected == before, "R2: a write replaced a version that its writer has not read", key, expected, before)
    demand(after == before + 1, "R2: the version of a place does not grow by one", key, before, after)


def lawful(key: Key, place: Place) -> None:
    """A place makes sense in itself."""
    names = [member.broker for member in place.isr]
    eligible = [member.broker for member in place.elr]
    demand(len(set(names)) == len(names) and len(set(eligible)) == len(eligible), "a broker is twice in a set", key, place)
    demand(set(names) | set(eligible) <= set(place.replicas), "who is in sync is no replica", key, place)
    demand(not set(names) & set(eligible), "a broker is in sync and eligible too", key, place)
    leader = place.in_sync(place.leader)
    demand(not place.leader or (leader is not None and leader.be == place.leader_be), "the leader is not in sync", key, place)
    demand(set(place.adding) <= set(place.replicas) and set(place.removing) <= set(place.replicas), "a move concerns no replicas", key, place)


def follows(key: Key, before: Place, after: Place, fewest: int, most: int) -> None:
    """R2: what a place may become; whoever has written it may have asked for any number of in-sync members between these."""
    demand(before.epoch <= after.epoch <= before.epoch + EPOCHS_AT_ONCE, "R2: an epoch jumps", key, before.epoch, after.epoch)
    if after.epoch == before.epoch:
        same = (before.leader, before.leader_be) == (after.leader, after.leader_be)
        demand(same, "R2: a leader changes within an epoch", key, before, after)
    if len(after.isr) >= most:
        demand(not after.elr, "R2: others are eligible while enough are in sync", key, after)
    if len(after.isr) >= fewest:
        return
    kept = {member.broker for member in [*after.isr, *after.elr]}
    lost = [member for member in [*before.isr, *before.elr] if member.broker not in kept and member.broker in after.replicas]
    demand(not lost, "R2: who was complete is forgotten while too few are in sync", key, before, after, lost)


# --- logs ------------------------------------------------------------------------------------------------------------


def matching(stamps: Stamps, key: Key, offset: int, entry: Entry, before: tuple[int, Entry] | None) -> None:
    """R3: a record with the same offset and epoch is the same everywhere and stands on the same record; by induction all below is the same."""
    below = (before[0], before[1].epoch) if before is not None else None
    known = stamps.get((key, offset, entry.epoch))
    if known is None:
        stamps[key, offset, entry.epoch] = (entry.digest, below)
        return
    demand(known[0] == entry.digest, "R3: two records of one offset and epoch differ", key, offset, entry.epoch, entry.write)
    demand(below is None or known[1] is None or below == known[1], "R3: a record stands on different ones", key, offset, entry.epoch, below, known[1])
    if known[1] is None:
        stamps[key, offset, entry.epoch] = (entry.digest, below)


def complete(rule: str, who: str, copy: Copy | None, committed: Mapping[int, Entry], since: int = 0) -> None:
    """The copy holds every committed record from `since` on."""
    if copy is None:
        demand(not any(offset >= since for offset in committed), f"{rule}: {who} has no copy", len(committed))
        return
    for offset, entry in committed.items():
        if offset >= since:
            demand(copy.holds(offset, entry), f"{rule}: {who} misses what is committed", copy.broker, copy.key, offset, entry, copy.entries.get(offset))


def members_are_complete(place: Place, copies: Mapping[str, Copy], disks: Mapping[str, str], committed: Mapping[int, Entry], since: int = 0) -> None:
    """R5, R6: every member of the in-sync set and every eligible one holds all that is committed.

    `disks`: broker -> identity of its store, "" if it is an older image of itself. A member whose disk was lost or exchanged is excused: that is the
    worst that a machine can do, and no fault of the protocol as long as it does not open as leader."""
    for member in [*place.isr, *place.elr]:
        if disks.get(member.broker) == member.storage:
            complete("R6", f"{member.broker}, which is in sync or eligible,", copies.get(member.broker), committed, since)


def confirmed(key: Key, offset: int, entry: Entry, replicas: list[str], disks: Sequence[Mapping[str, Copy]], needed: int) -> None:
    """R4, R9: what is committed is on enough disks at that moment. `disks`: those of now, and those taken away since, of which the leader has heard before."""
    holders = [broker for broker in replicas if any(broker in copies and copies[broker].holds(offset, entry) for copies in disks)]
    demand(len(holders) >= needed, "R9: a record is committed on too few disks", key, offset, entry, holders, needed)


def truncation(copy: Copy, gone: Mapping[int, Entry], committed: Mapping[int, Entry]) -> None:
    """R8: a record that is committed is not cut off."""
    for offset, entry in gone.items():
        demand(not entry.same(committed.get(offset)), "R8: what is committed was cut off", copy.broker, copy.key, offset, entry)


# --- roles and sessions ----------------------------------------------------------------------------------------------


def in_session(broker: str, session: int, expired: Mapping[int, float], now: float, what: str) -> None:
    """R10: nothing with an effect leaves a broker when its session is over."""
    end = expired.get(session)
    demand(end is None or now <= end, "R10: a broker goes on after the end of its session", broker, session, end, now, what)


def in_lease(life: Life, buried: Mapping[Life, float], lease: float, now: float, what: str) -> None:
    """R10: who is declared dead and lives may not know it, but no longer than the lease lasts that it had then."""
    end = buried.get(life, now) + lease * (1.0 + DRIFT_MAX)
    demand(now <= end, "R10: a broker that was declared dead goes on after its lease", *life, end, now, what)


def in_order_of_epochs(newest: MutableMapping[Key, int], key: Key, epoch: int, excused: bool) -> None:
    """R10: when a newer leader has delivered, older ones are silent; one that was wrongly taken for dead may still be speaking."""
    demand(excused or epoch >= newest.get(key, 0), "R10: a deposed leader delivers", key, epoch, newest.get(key))
    newest[key] = max(epoch, newest.get(key, 0))


def registered(broker: str, key: Key, role: str, be: int | None) -> None:
    """R11: no role without a registration."""
    demand(role == "none" or be is not None, "R11: a broker without registration has a role", broker, key, role)


def promise_kept(copy: Copy, before: int) -> None:
    """R11: the highest epoch ever heard of never goes back on disk."""
    demand(copy.promised >= before, "R11: a promise is forgotten", copy.broker, copy.key, before, copy.promised)


def deletion_is_right(copy: Copy, again: bool, place: Place | None) -> None:
    """R12: a copy goes only when the tree, as it is, does not count on it."""
    if place is None:
        return
    members = [member.broker for member in [*place.isr, *place.elr] if member.storage == copy.storage_id]
    demand(copy.broker not in members, "R12: a copy is deleted that counts", copy.broker, copy.key, place)
    comes = copy.broker in place.adding  # it was gone for long, and comes back at this very moment: it begins anew
    demand(again or comes or copy.broker not in place.replicas, "R12: a replica is deleted", copy.broker, copy.key, place)


def silent(broker: str, has_failed: bool, what: str) -> None:
    """R13: after a failed commit the process says nothing more."""
    demand(not has_failed, "R13: a broker speaks after its disk has failed", broker, what)
