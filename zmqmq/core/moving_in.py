"""A broker that stood alone moves into a cluster: its topics become the cluster's, with nothing lost.

A partition that never had a place in a cluster has never promised anything (`promised` 0). When such a broker registers in a tree that does not know its
topics, it writes them there: partitions first, with itself as the one replica that is in sync, then the topic. If the broker dies in between,
the next life begins again. Such a topic has one replica until one of its partitions is reassigned to more brokers. A topic whose name the cluster
has given to another one, in whatever case, stays on this broker's disk, and the operator is told.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from zmqmq.core.layout import encode, parts_path, place_path, topic_path
from zmqmq.core.names import folded
from zmqmq.core.places import Member, Place
from zmqmq.core.replica import Replica
from zmqmq.core.tree import Answer, Change, Changed, Create, Step

if TYPE_CHECKING:
    from zmqmq.core.cluster import Cluster

STEPS_MAX = 100
"""Partitions written by one change."""
RETRY_INTERVAL = 1.0
"""Seconds until a topic that was not taken is looked at again."""


class MovingIn:
    """Done once per registration, and again for what was not clear."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._done_for: Member | None = None
        self._again_at = inf
        self._taken: set[int] = set()
        """Topics whose names are taken, as the operator knows."""

    def step(self) -> None:
        """Looks for topics that only this broker knows, as soon as it is registered and knows all that there is."""
        me, view, now = self._cluster.me(), self._cluster.view, self._cluster.context.now
        if me is None or not view.is_fresh or (me == self._done_for and now < self._again_at):
            return
        self._done_for, self._again_at = me, inf
        topics: dict[int, list[Replica]] = {}
        for replica in self._cluster.roles:
            topics.setdefault(replica.key[0], []).append(replica)
        given = {folded(name) for name in view.topics}
        for topic_id, replicas in topics.items():
            known = topic_id in view.topics_by_id or topic_id in view.deleted
            if not known and all(replica.promised == 0 and self._is_alone(me, replica) for replica in replicas):
                self._consider(me, replicas, given)

    def _is_alone(self, me: Member, replica: Replica) -> bool:
        """Nobody has a place for the partition, or an earlier attempt has made one."""
        entry = self._cluster.view.places.get(replica.key)
        return entry is None or entry.place.replicas == [me.broker]

    def _consider(self, me: Member, replicas: list[Replica], given: set[str]) -> None:
        record = replicas[0].topic
        if folded(record.name) not in given:
            self._move(me, replicas)
        elif record.topic_id not in self._taken:
            self._taken.add(record.topic_id)
            effect = "the cluster has another topic of that name; what this broker has of its own stays on its disk"
            self._cluster.context.note("topic cannot move in", topic=record.name, partitions=len(replicas), effect=effect)

    def _move(self, me: Member, replicas: list[Replica]) -> None:
        record = replicas[0].topic
        ask = self._cluster.outlet.ask
        ask(Change([Create(parts_path(record.topic_id))]), self._quiet)
        steps: list[Step] = [Create(place_path(*replica.key), encode(_alone(me, replica))) for replica in replicas]
        for first in range(0, len(steps), STEPS_MAX):
            ask(Change(steps[first : first + STEPS_MAX]), self._quiet)
        ask(Change([Create(topic_path(record.name), encode(record))]), self._moved)
        self._cluster.context.note("topic moves in", topic=record.name, partitions=len(replicas))

    def _quiet(self, answer: Answer) -> None:
        """What is there already was written by an earlier attempt."""

    def _moved(self, answer: Answer) -> None:
        """Whatever else than success: the view will show what is there."""
        if not isinstance(answer, Changed):
            self._again_at = self._cluster.context.now + RETRY_INTERVAL


def _alone(me: Member, replica: Replica) -> Place:
    epoch = replica.partition.log.epoch + 1
    return Place(replicas=[me.broker], leader=me.broker, leader_be=me.be, epoch=epoch, isr=[me])
