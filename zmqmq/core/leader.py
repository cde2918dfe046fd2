"""What a partition's leader knows of its followers, and the two decisions that rest on it: what is committed, and who is in sync.

    committed = what is on the disks of this broker and of every member of the maximal in-sync set

The maximal set is the in-sync set as last agreed plus the one that is proposed: while nobody knows whether a proposal has succeeded, both
must hold a message. With fewer than `needed` agreed members nothing more is committed, nor while the record names others as eligible, whatever
`needed` has become meanwhile. Only fetches of this very leadership count, and a follower is taken in only when it has everything that this leader
began with. (Kafka's rules for its in-sync replicas; the model of them is KIP-966 with the "maximal ISR".)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from zmqmq.core.places import Member, Place, with_in_sync


class Proposal(NamedTuple):
    """A change of the in-sync set that was sent and not answered yet."""

    nonce: str
    version: int
    """Version of the record that it replaces."""
    members: frozenset[str]


class Progress:
    """How far one follower has come in this leadership."""

    __slots__ = ("be", "caught_up", "end_before", "heard", "offset")

    def __init__(self, be: int, offset: int, now: float, end: int) -> None:
        self.be = be
        self.offset = offset
        self.heard = now
        self.end_before = end
        """End of the log at its last fetch: who has come that far by the next one was caught up then."""
        self.caught_up = now if offset >= end else float("-inf")


class Leader:
    """One leadership of one partition. Times are monotonic seconds."""

    def __init__(self, broker: str, start: int, now: float, needed: int, max_lag: float) -> None:
        """`start` is the end of the log when it began; `needed` members confirm a message; `max_lag` seconds is how long an in-sync follower may be behind."""
        self.broker = broker
        self.start = start
        self.began = now
        self.needed = needed
        self.max_lag = max_lag
        self.isr: dict[str, Member] = {}
        self.has_eligible = False
        """Others, out of sync, may be elected in its place: they are complete only as long as nothing is committed."""
        self.pending: Proposal | None = None
        self.followers: dict[str, Progress] = {}
        self.durable = start
        """End of what was on this broker's disk at the last look."""

    def agreed(self, place: Place, version: int) -> None:
        """The record as it is now; a newer version than the proposal's settles the proposal, one way or the other."""
        self.isr = {member.broker: member for member in place.isr}
        self.has_eligible = bool(place.elr)
        if self.pending is not None and version > self.pending.version:
            self.pending = None

    def refused(self, nonce: str) -> None:
        """The proposal of that name was surely not carried out; an answer to any other one means nothing."""
        if self.pending is not None and self.pending.nonce == nonce:
            self.pending = None

    @property
    def maximal(self) -> set[str]:
        """All who must hold a message before it is committed."""
        return set(self.isr) | (set(self.pending.members) if self.pending else set())

    def advanced(self, durable: int, heard: Callable[[str], float]) -> None:
        """More is on this broker's disk. Who had everything before was caught up when it was heard last: a follower that has nothing new to
        report does not name the partition in its fetches."""
        for follower, progress in self.followers.items():
            if progress.offset >= self.durable:
                progress.caught_up = max(progress.caught_up, heard(follower))
        self.durable = durable

    # --- committed -------------------------------------------------------------------------------------------------

    def fetched(self, follower: str, be: int, offset: int, end: int, now: float) -> None:
        """The follower has everything below `offset` on its disk; the log here ends at `end`."""
        progress = self.followers.get(follower)
        if progress is None or progress.be != be:
            self.followers[follower] = Progress(be, offset, now, end)
            return
        if offset >= end:
            progress.caught_up = now
        elif offset >= progress.end_before:
            progress.caught_up = max(progress.caught_up, progress.heard)
        progress.offset = offset
        progress.heard = now
        progress.end_before = end

    def committed(self, durable: int) -> int:
        """What is on every disk that counts, -1 if nobody can say."""
        if len(self.isr) < self.needed or self.has_eligible:
            return -1
        lowest = durable
        for follower in self.maximal:
            if follower != self.broker:
                progress = self.followers.get(follower)
                if progress is None:
                    return -1
                lowest = min(lowest, progress.offset)
        return lowest

    # --- the in-sync set -------------------------------------------------------------------------------------------

    def behind(self, now: float, heard: Callable[[str], float]) -> list[str]:
        """In-sync followers that have not been caught up for too long. `heard` tells when a broker's last fetch came."""
        return [follower for follower in self.isr if follower != self.broker and now - self._caught_up(follower, heard) > self.max_lag]

    def _caught_up(self, follower: str, heard: Callable[[str], float]) -> float:
        progress = self.followers.get(follower)
        if progress is None:
            return self.began
        now = heard(follower) if progress.offset >= self.durable else progress.caught_up
        return max(self.began, progress.caught_up, now)

    def ready(self, committed: int, place: Place, lives: Iterable[Member], now: float, heard: Callable[[str], float]) -> list[Member]:
        """Replicas that may be taken in: registered, and in this leadership seen with all that is committed and all that it began with."""
        names = set(place.replicas) - set(self.isr)
        return [member for member in lives if member.broker in names and self._is_ready(member, committed, now, heard)]

    def _is_ready(self, member: Member, committed: int, now: float, heard: Callable[[str], float]) -> bool:
        progress = self.followers.get(member.broker)
        if progress is None or progress.be != member.be:
            return False
        return progress.offset >= max(committed, self.start) and now - self._caught_up(member.broker, heard) <= self.max_lag

    def propose(self, place: Place, version: int, members: Iterable[Member], nonce: str) -> Place:
        """The record with another in-sync set; from now on both sets count."""
        assert self.pending is None, "one proposal at a time"
        chosen = list(members)
        self.pending = Proposal(nonce, version, frozenset(member.broker for member in chosen))
        return with_in_sync(place, chosen, self.needed)
