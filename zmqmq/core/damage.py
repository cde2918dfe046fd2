"""What becomes of a partition whose records turn out to be damaged on this broker's disk, while other replicas have them.

    leader    hands over and leaves the in-sync set in one write  ─┐
                                                                   ├──► begins from nothing and follows
    follower  leaves the in-sync set, in a new epoch              ─┘

A damaged record is never delivered, applied or passed on; it is had again from a replica where it is sound. Before the copy here may go, nobody may
rely on it. That is so as soon as the partition is in an epoch in which this replica has fetched nothing and the record of the partition does not
name it: only a replica that has reported in an epoch can be taken in, and from the discovery on this one reports nothing.

A replica that has failed (its log contradicts what is committed, or an operation in it cannot be read) leaves in the same way, if anybody else has
everything, and keeps what it has: it would be waited for, or elected, and do nothing. If it is all that there is, it stays where it is named.

A damaged copy counts as a lost disk: with it gone fewer replicas than needed may be in sync until it is fetched, and it is not eligible meanwhile,
since what it holds will go. Without another replica in sync nothing is dropped: what can be read is served, and what cannot becomes a dead letter,
as on a broker that stands alone.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zmqmq.core.agreements import Agreements
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.context import Context
from zmqmq.core.partition import Partition
from zmqmq.core.places import Member
from zmqmq.core.replica import Key, Replica, Role
from zmqmq.core.roles import Roles

RETRY_INTERVAL = 0.25
"""Seconds until it is looked again at what could not be done."""
RENEW_INTERVAL = 30.0
"""Seconds between two copies of one partition: a disk that damages whatever it gets must not keep the cluster busy."""
NOTE_INTERVAL = 60.0
"""Seconds between two notes of damage in one partition that cannot be repaired."""


class Damages:
    """Replicas of this broker that have damaged records."""

    def __init__(self, context: Context, roles: Roles, agreements: Agreements, view: Callable[[], ClusterView], me: Callable[[], Member | None]) -> None:
        self.context = context
        self.roles = roles
        self.agreements = agreements
        self._view = view
        self._me = me
        self._spoiled: dict[Key, None] = {}
        """Failed ones too."""
        self._noted: dict[Key, float] = {}
        self._renewed: dict[Key, float] = {}
        self._next = inf

    def found(self, partition: Partition, reason: str) -> bool:
        """A record was read that is damaged. True: it will be had from another replica, so it must only be left alone; False: this is the only one.

        A follower of nobody cannot tell, and need not: whoever leads next has the record, or it is this replica, which then looks for others."""
        replica = self.roles.of(partition)
        if replica is None:
            return False
        if replica.spoiled:
            return True
        if not replica.leads and not replica.place.leader:
            return True
        if not self._has_others(replica):
            self._note_alone(replica, reason)
            return False
        replica.spoil(reason)
        self._spoiled[replica.key] = None
        self.roles.changed[replica.key] = None  # nothing more is fetched
        self._next = self.context.now
        self._note(replica, reason, "another replica leads, and this one begins from nothing")
        return True

    def _has_others(self, replica: Replica) -> bool:
        """Whether somebody else has all that this replica has, and is there."""
        if replica.leads:
            return self.agreements.successor(replica, self._view(), self._own_name) is not None
        return replica.place.leader not in self._own_name

    @property
    def _own_name(self) -> tuple[str]:
        return (self.context.settings.broker_id,)

    def _note(self, replica: Replica, reason: str, effect: str) -> None:
        self.context.note("damaged replica", topic=replica.topic.name, partition=replica.key[1], error=reason, effect=effect)

    def _note_alone(self, replica: Replica, reason: str) -> None:
        if self.context.now >= self._noted.get(replica.key, -inf) + NOTE_INTERVAL:
            self._noted[replica.key] = self.context.now
            self._note(replica, reason, "no other replica is in sync: nothing is dropped, and what cannot be read becomes a dead letter")

    # --- turn by turn ----------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Does what can be done now."""
        if self.roles.failed:
            self._spoiled.update(self.roles.failed)
            self.roles.failed.clear()
            self._next = self.context.now
        if not self._spoiled or self.context.now < self._next:
            return
        self._next = self.context.now + RETRY_INTERVAL
        for key in list(self._spoiled):
            replica = self.roles.get(key)
            if replica is not None and (replica.spoiled or replica.damage):
                self._step(replica)
            if replica is None or not self._is_pending(replica):
                del self._spoiled[key]
        if not self._spoiled:
            self._next = inf

    def learned(self) -> None:
        """Records of partitions have changed."""
        if self._spoiled:
            self._next = self.context.now

    def deadline(self) -> float:
        """When there may be something to do."""
        return self.context.now if self.roles.failed else self._next

    def _is_pending(self, replica: Replica) -> bool:
        return replica.is_listed(*self._own_name) if replica.damage else replica.spoiled != ""

    def _step(self, replica: Replica) -> None:
        me = self._me()
        if me is None or replica.version < 0:
            return
        if replica.damage:
            self._withdraw(replica, me)
        elif replica.leads:
            self._resign(replica)
        elif replica.is_unlisted(me.broker):
            self._renew(replica)
        elif replica.place.leader not in ("", me.broker):
            self.agreements.leave(replica, me)

    def _withdraw(self, replica: Replica, me: Member) -> None:
        """Nobody is to rely on a replica that takes part in nothing."""
        if replica.place.leader == me.broker:
            self.agreements.give_up(replica, me, self._view())
        elif replica.place.leader and replica.is_listed(me.broker):
            self.agreements.leave(replica, me)

    def _resign(self, replica: Replica) -> None:
        """A leader lets somebody else lead; one that has nobody any more goes on with what it has."""
        if replica.role is Role.RELEASING:
            return
        heir = self.agreements.successor(replica, self._view(), self._own_name)
        if heir is None:
            self._note_alone(replica, replica.spoiled)
            replica.spoiled = ""
            self.roles.touch(replica)
        elif replica.role is Role.LEADER:
            self.agreements.release(replica)
        else:
            self.agreements.resign(replica, heir)

    def _renew(self, replica: Replica) -> None:
        """Nobody relies on the copy here any more: it goes, and another one is fetched."""
        if self.context.now >= self._renewed.get(replica.key, -inf) + RENEW_INTERVAL:
            self._renewed[replica.key] = self.context.now
            self.roles.begin_anew(replica)
            self._note(replica, "", "it is fetched anew from the leader")
