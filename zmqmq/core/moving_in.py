"""A broker that stood alone moves into a cluster: its topics become the cluster's, with nothing lost.

A partition that never had a place in a cluster has never promised anything (`promised` 0). When such a broker registers in a tree that does not know its
topics, it writes them there: partitions first, with itself as the one replica that is in sync, then the topic. More replicas are
given to them afterwards by reassigning. If the broker dies in between, the next life begins again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmqmq.core.layout import encode, parts_path, place_path, topic_path
from zmqmq.core.places import Member, Place
from zmqmq.core.replica import Replica
from zmqmq.core.tree import Answer, Change, Changed, Create, Refusal, Step

if TYPE_CHECKING:
    from zmqmq.core.cluster import Cluster

STEPS_MAX = 100
"""Partitions written by one change."""


class MovingIn:
    """Done once per registration."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._done_for: Member | None = None

    def step(self) -> None:
        """Looks for topics that only this broker knows, as soon as it is registered and knows all that there is."""
        me, view = self._cluster.me(), self._cluster.view
        if me is None or not view.is_fresh or me == self._done_for:
            return
        self._done_for = me
        topics: dict[int, list[Replica]] = {}
        for replica in self._cluster.roles:
            topics.setdefault(replica.key[0], []).append(replica)
        for topic_id, replicas in topics.items():
            known = topic_id in view.topics_by_id or topic_id in view.deleted
            if not known and all(replica.promised == 0 for replica in replicas):
                self._move(me, replicas)

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
        if not isinstance(answer, Changed | Refusal):
            self._done_for = None  # nobody knows: look again


def _alone(me: Member, replica: Replica) -> Place:
    epoch = replica.partition.log.epoch + 1
    return Place(replicas=[me.broker], leader=me.broker, leader_be=me.be, epoch=epoch, isr=[me])
