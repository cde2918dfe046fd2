"""Where a partition lives, as the cluster agrees on it: one small record per partition, changed by compare-and-set only.

The record says who leads in which epoch, who is in sync (may lead without loss), and, while too few are in sync, who was the
last to be complete (`elr`, the eligible replicas). Whoever changes it (the leader: its in-sync set; the cluster leader: everything else) reads
a version, computes the next record by one of the functions here and writes it on condition that the version is still the same.
There is no other way to change it, so leader and cluster leader cannot disagree. Rules: Kafka's in-sync replicas with eligible
leader replicas (KIP-966), where members are incarnations, not broker names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One life of a replica: a broker in one registration (`be`, the broker epoch) on one store."""

    broker: str
    be: int
    storage: str
    """Identity of the store at that time; a wiped or replaced one has another."""


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one partition."""

    replicas: list[str]
    """Brokers that shall hold it; the first is preferred as leader."""
    leader: str = ""
    """"" while there is none."""
    leader_be: int = 0
    epoch: int = 0
    """Grows with every change of leader, to none included, and when a reassignment ends."""
    isr: list[Member] = []
    elr: list[Member] = []
    adding: list[str] = []
    removing: list[str] = []
    target: str = ""
    """Who the leader is asked to hand over to."""
    weary: str = ""
    """Who has given up leading because it could not reach enough of the others: anybody else leads rather. Until it leads all the same, or has rested."""
    nonce: str = ""
    """Names the write, so that its author can tell after a lost answer whether it succeeded."""

    def in_sync(self, broker: str) -> Member | None:
        """The broker's entry in the in-sync set."""
        return next((member for member in self.isr if member.broker == broker), None)


def needed_of(place: Place, min_in_sync: int) -> int:
    """In-sync replicas that a message of this partition needs."""
    return quorum(counted(place), min_in_sync)


def counted(place: Place) -> int:
    """Replicas of which so many must be in sync. While a partition moves, those that come do not count yet."""
    return len(place.replicas) - len(place.adding)


def quorum(replicas: int, min_in_sync: int) -> int:
    """In-sync replicas that a message needs: as set, or the majority (0)."""
    return min_in_sync or replicas // 2 + 1


def with_in_sync(place: Place, isr: Iterable[Member], needed: int) -> Place:
    """The record with another in-sync set. Members that leave while fewer than `needed` remain stay eligible: they are as complete
    as those that remain, since nothing is committed any more."""
    members = sorted(set(isr), key=lambda member: member.broker)
    if len(members) >= needed:
        return replace(place, isr=members, elr=[])
    names = {member.broker for member in members}
    gone = [member for member in place.isr if member not in members]
    kept = {member.broker: member for member in [*place.elr, *gone] if member.broker not in names}
    return replace(place, isr=members, elr=[kept[name] for name in sorted(kept)])


def without(place: Place, broker: str, needed: int) -> Place:
    """The record without a replica whose records are damaged: it is neither in sync nor eligible any more."""
    kept = with_in_sync(place, [member for member in place.isr if member.broker != broker], needed)
    return replace(kept, elr=[member for member in kept.elr if member.broker != broker])


def leave(place: Place, broker: str, needed: int) -> Place:
    """A follower whose records are damaged leaves the in-sync set by itself. The epoch grows although the leader stays: what it remembers of that
    follower is void, so it cannot be taken in again for what it once reported."""
    return replace(without(place, broker, needed), epoch=place.epoch + 1)


def elect(place: Place, lives: Callable[[str], Member | None], needed: int, avoid: Iterable[str] = ()) -> Place:
    """A new leader, or none: the epoch grows.

    `lives` gives a broker's present registration (None: not registered or its store is not to be trusted). Candidates are in-sync members
    whose registration is still the same one; while too few are in sync also eligible ones on the same store, which then are in sync
    alone: both are complete, since nothing has been committed without them. Brokers in `avoid` (draining ones) lead only if nobody else can;
    so does one that is weary, even if it is the only one in sync. Preferred is the order of `replicas`."""
    avoided = set(avoid)
    order = {broker: rank for rank, broker in enumerate(place.replicas)}

    def rank(member: Member) -> tuple[bool, bool, int]:
        return member.broker == place.weary, member.broker in avoided, order.get(member.broker, len(order))

    alive = [member for member in place.isr if lives(member.broker) == member]
    eligible: list[Member] = []
    if len(place.isr) < needed:
        eligible = [life for member in place.elr if (life := lives(member.broker)) is not None and life.storage == member.storage]
    if alive and not (eligible and all(member.broker == place.weary for member in alive)):
        return _led_by(place, min(alive, key=rank))
    if eligible:
        best = min(eligible, key=rank)
        others = {member.broker: member for member in [*place.elr, *place.isr] if member.broker != best.broker}
        elr = [] if needed <= 1 else [others[name] for name in sorted(others)]
        return replace(_led_by(place, best), isr=[best], elr=elr)
    return replace(place, leader="", leader_be=0, epoch=place.epoch + 1, target="")


def _led_by(place: Place, member: Member) -> Place:
    weary = place.weary if place.weary != member.broker else ""
    return replace(place, leader=member.broker, leader_be=member.be, epoch=place.epoch + 1, target="", weary=weary)


def release(place: Place) -> Place:
    """The leader gives up because it cannot reach enough of the others; the cluster leader elects another one if there is one."""
    return replace(place, leader="", leader_be=0, epoch=place.epoch + 1, target="", weary=place.leader)


def hand_over(place: Place, successor: Member) -> Place:
    """The leader names its successor, an in-sync member."""
    assert successor in place.isr, "only a replica that is in sync may lead"
    return _led_by(place, successor)


def begin_move(place: Place, replicas: list[str]) -> Place:
    """Asks for another set of replicas: first those that come catch up, then those that go leave. During a move it changes the goal: who still had to
    catch up has to as before, or, if it is not wanted any more, goes at once: it must not count among those of which a majority is needed. The epoch grows
    then, as at the end of a move."""
    complete = {member.broker for member in [*place.isr, *place.elr]}
    unwanted = {broker for broker in place.adding if broker not in replicas and broker not in complete}
    adding = [broker for broker in replicas if broker not in place.replicas or broker in place.adding]
    removing = [broker for broker in place.replicas if broker not in replicas and broker not in unwanted]
    return replace(place, replicas=[*replicas, *removing], adding=adding, removing=removing, epoch=place.epoch + bool(unwanted))


def is_moved(place: Place, needed: int) -> bool:
    """Whether a move can be ended: all that come are in sync, enough remain, and the leader is one of them."""
    names = {member.broker for member in place.isr}
    remaining = names - set(place.removing)
    return set(place.adding) <= names and len(remaining) >= min(needed, len(place.replicas) - len(place.removing)) and place.leader in remaining


def end_move(place: Place, needed: int) -> Place:
    """Those that go leave. The epoch grows although the leader stays: what it remembers of followers that may come back later is void."""
    gone = set(place.removing)
    isr = [member for member in place.isr if member.broker not in gone]
    kept = with_in_sync(place, isr, needed)
    return replace(
        kept,
        replicas=[broker for broker in place.replicas if broker not in gone],
        elr=[member for member in kept.elr if member.broker not in gone],
        adding=[],
        removing=[],
        epoch=place.epoch + 1,
    )
