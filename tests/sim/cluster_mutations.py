"""Rules of replication, removed one at a time: each must be missed by the simulated cluster.

They are the rules that the model of the protocol has shown to be needed: whichever of them is gone, something confirmed can be lost, or come to two
at a time. Some are needed very rarely, and take many seeds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tests.sim.mutations import Mutation, Patch
from zmqmq.broker import Broker
from zmqmq.core import agreements, fetching, following, leader, places, replication
from zmqmq.core.agreements import Agreements
from zmqmq.core.feeding import Feeder
from zmqmq.core.fetching import Fetcher
from zmqmq.core.leader import Leader
from zmqmq.core.node import Node
from zmqmq.core.peer_commands import Fetch
from zmqmq.core.places import Member, Place
from zmqmq.core.queue import Queue
from zmqmq.core.registrar import Registrar
from zmqmq.core.replica import Replica, Role
from zmqmq.core.roles import Roles
from zmqmq.core.tree import ANY_VERSION, Put
from zmqmq.core.writes import PutPromise, Write

# --- what is committed ---------------------------------------------------------------------------------------------------


def too_few_are_enough() -> list[Patch]:
    """A leader commits with whoever is in sync, however few."""
    committed = Leader.committed

    def careless(self: Leader, durable: int) -> int:
        before, (self.needed, self.has_eligible) = (self.needed, self.has_eligible), (1, False)
        try:
            return committed(self, durable)
        finally:
            self.needed, self.has_eligible = before

    return [(Leader, "committed", careless)]


def a_leader_commits_while_others_are_eligible() -> list[Patch]:
    """Enough are in sync, so a leader commits, whoever else may still be elected."""
    committed = Leader.committed

    def careless(self: Leader, durable: int) -> int:
        has_eligible, self.has_eligible = self.has_eligible, False
        try:
            return committed(self, durable)
        finally:
            self.has_eligible = has_eligible

    return [(Leader, "committed", careless)]


def a_proposed_member_does_not_count() -> list[Patch]:
    """While a change of the in-sync set is on its way, only the old set counts."""
    return [(Leader, "maximal", property(lambda self: set(self.isr)))]


def reported_before_it_is_on_disk() -> list[Patch]:
    """Followers report, and leaders count, what a crash can still take away."""

    def late(self: Broker, writes: list[Write]) -> bool:
        before = getattr(self, "_late", [])
        self._late = writes  # type: ignore[attr-defined]
        self.storage.commit(before)
        return True

    return [(Broker, "_commit", late)]


def keys_go_on_before_the_settling_is_committed() -> list[Patch]:
    """A key's next message is given as soon as the settling of the one before is in the log."""
    committed = Queue.committed
    return [(Queue, "committed", lambda self, upto, wall: committed(self, 1 << 60, wall))]


# --- who is in sync, who leads --------------------------------------------------------------------------------------------


def who_was_eligible_stays_so() -> list[Patch]:
    """Enough are in sync again, and those that were complete once may still lead."""
    with_in_sync = places.with_in_sync

    def keeping(place: Place, isr: Any, needed: int) -> Place:
        after = with_in_sync(place, isr, needed)
        names = {member.broker for member in after.isr}
        return msgspec.structs.replace(after, elr=[member for member in [*place.elr, *place.isr] if member.broker not in names])

    return [(owner, "with_in_sync", keeping) for owner in (places, leader)]


def a_follower_is_ready_with_what_is_committed() -> list[Patch]:
    """It need not have what its leader began with."""

    def hasty(self: Leader, member: Member, committed: int, now: float, heard: Any) -> bool:
        progress = self.followers.get(member.broker)
        return progress is not None and progress.be == member.be and progress.offset >= committed

    return [(Leader, "_is_ready", hasty)]


def an_earlier_life_is_resumed() -> list[Patch]:
    """A broker leads because a life of it was appointed, whichever."""
    begin = Replica._begin

    def bold(self: Replica, place: Place, me: Member, now: float, max_lag: float) -> None:
        begin(self, place, msgspec.structs.replace(me, be=place.leader_be), now, max_lag)

    return [(Replica, "_begin", bold)]


def places_are_written_whatever_they_are() -> list[Patch]:
    """A leader changes the record without naming the version that it has read."""
    return [(agreements, "Put", lambda path, data, version=ANY_VERSION: Put(path, data))]


def roles_outlive_registrations() -> list[Patch]:
    """A broker whose session is over goes on as what it was."""
    return [(Roles, "step_down", lambda self: None)]


def leases_last_for_ever() -> list[Patch]:
    """A broker speaks as long as it believes to be registered."""
    return [(Registrar, "lease_valid", lambda self, now: self.me is not None)]


# --- fetching ------------------------------------------------------------------------------------------------------------


def fetches_of_any_epoch_count() -> list[Patch]:
    """What a follower reported in another leadership is taken for progress in this one."""
    fetch = Feeder.fetch

    def lax(self: Feeder, address: bytes, command: Fetch, now: float) -> Any:
        parts = fetch(self, address, command, now)
        return [part if (found := self._find((part.topic_id, part.partition))) is None else msgspec.structs.replace(part, epoch=found.epoch) for part in parts]

    return [(Feeder, "fetch", lax)]


def logs_are_not_compared() -> list[Patch]:
    """What a follower has counts, whether it is the same or not."""
    fetch = Feeder.fetch

    def blind(self: Feeder, address: bytes, command: Fetch, now: float) -> Any:
        parts = fetch(self, address, command, now)
        logs = {(part.topic_id, part.partition): found.partition.log for part in parts if (found := self._find((part.topic_id, part.partition))) is not None}
        return [
            msgspec.structs.replace(part, last_epoch=log.epoch_at(part.offset - 1)) if (log := logs.get((part.topic_id, part.partition))) is not None else part
            for part in parts
        ]

    return [(Feeder, "fetch", blind)]


def followers_cut_at_what_they_know_to_be_committed() -> list[Patch]:
    """A new leadership makes followers forget everything of which they have not heard that it is committed."""
    begin = Replica._begin

    def hasty(self: Replica, place: Place, me: Member, now: float, max_lag: float) -> None:
        begin(self, place, me, now, max_lag)
        if self.role is Role.FOLLOWER and self.partition.log.committed < self.partition.log.end and not self.installing:
            self.truncate(self.partition.log.committed)

    return [(Replica, "_begin", hasty)]


def any_answer_is_taken() -> list[Patch]:
    """A follower takes an answer to whatever question."""

    def lax(self: Fetcher, be: int, answer: Any, mine: int) -> bool:
        self._out = 0
        return True

    def current(replica: Replica, part: Any) -> bool:
        return replica.role is Role.FOLLOWER and part.offset <= replica.partition.log.end

    return [(fetching.Fetcher, "is_answer", lax), (replication, "is_current", current)]


def any_refusal_is_taken() -> list[Patch]:
    """A proposal is given up whichever answer comes, and also when nobody knows what became of it."""

    def lax(self: Leader, nonce: str) -> None:
        self.pending = None

    def void(self: Agreements, key: Any, then: Any) -> None:
        for call in then:
            call()

    return [(Leader, "refused", lax), (Agreements, "_find_out", void)]


def promises_are_not_written() -> list[Patch]:
    """A restart forgets the highest epoch that was heard of."""
    write = Replica.write

    def forgetful(self: Replica, what: Write) -> None:
        if not isinstance(what, PutPromise):
            write(self, what)

    return [(Replica, "write", forgetful)]


def any_snapshot_is_taken() -> list[Patch]:
    """Tables are taken over although the records have come meanwhile, and were reported."""
    return [(replication, "is_wanted", lambda replica, answer: True)]


def records_go_on_a_stale_picture() -> list[Patch]:
    """What is not wanted by the picture at hand, however old, is deleted at once."""

    def eager(self: following.Following) -> None:
        cluster, me = self._cluster, self._cluster.me()
        for replica in list(cluster.roles):
            if me is not None and replica.version >= 0 and me.broker not in replica.place.replicas:
                cluster.roles.drop(replica.key)

    return [(following.Following, "_drop_unwanted", eager)]


def what_went_ahead_is_taken_back() -> list[Patch]:
    """A full disk takes back what followers may have written already, and its place is given to others."""
    drop_appends = Node.drop_appends

    def forgetful(self: Node, writes: list[Write]) -> list[Write]:
        self._ahead.clear()
        return drop_appends(self, writes)

    return [(Node, "drop_appends", forgetful)]


CLUSTER_MUTATIONS: list[Mutation] = [
    too_few_are_enough,
    a_leader_commits_while_others_are_eligible,
    a_proposed_member_does_not_count,
    reported_before_it_is_on_disk,
    keys_go_on_before_the_settling_is_committed,
    who_was_eligible_stays_so,
    a_follower_is_ready_with_what_is_committed,
    an_earlier_life_is_resumed,
    places_are_written_whatever_they_are,
    roles_outlive_registrations,
    leases_last_for_ever,
    fetches_of_any_epoch_count,
    logs_are_not_compared,
    followers_cut_at_what_they_know_to_be_committed,
    any_answer_is_taken,
    any_refusal_is_taken,
    promises_are_not_written,
    any_snapshot_is_taken,
    records_go_on_a_stale_picture,
    what_went_ahead_is_taken_back,
]
