"""What a leader proposes, and how it finds out what became of a write whose answer got lost."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.core.cluster_world import ClusterWorld
from zmqmq.core.agreements import Agreements
from zmqmq.core.cluster import Cluster
from zmqmq.core.layout import place_path
from zmqmq.core.replica import Replica
from zmqmq.core.tree import Answered, Change, Read, Request, Unknown

WHOLE = 10.0
"""Seconds after which all replicas are whole."""


class Bench(NamedTuple):
    """A leader whose followers have all fallen behind, and the tree that it asks; nothing is submitted by itself."""

    world: ClusterWorld
    cluster: Cluster
    replica: Replica

    @property
    def agreements(self) -> Agreements:
        return self.cluster.agreements

    def review(self) -> None:
        self.agreements.review(self.replica, self.cluster.view)

    def asked(self, kind: type[Request]) -> int:
        """The number of the one request of this kind."""
        (number,) = [number for number, request in self.cluster.outlet.take() if isinstance(request, kind)]
        return number

    def loses(self, number: int) -> None:
        """The answer to a request gets lost."""
        self.cluster.outlet.hear(Answered(number, Unknown()))

    def reads(self, number: int) -> None:
        """The record is as it was."""
        node = self.world.ensemble.read(place_path(*self.replica.key))
        assert node is not None
        self.cluster.outlet.hear(Answered(number, node))


@pytest.fixture
def bench() -> Bench:
    world = ClusterWorld("abc")
    world["a"].topic(world["a"].connect("maker"))
    world.pass_time(WHOLE)
    cluster = world.leader_of().cluster
    (replica,) = cluster.roles
    assert replica.leader is not None
    cluster.agreements.heard = lambda broker: float("-inf")
    for progress in replica.leader.followers.values():
        progress.offset, progress.caught_up = 0, float("-inf")
    return Bench(world, cluster, replica)


def test_a_leader_whose_followers_are_behind_proposes_a_smaller_set(bench: Bench) -> None:
    bench.review()
    bench.asked(Change)


def test_nothing_is_proposed_while_a_hand_over_is_not_answered(bench: Bench) -> None:
    bench.agreements.resign(bench.replica, bench.replica.place.isr[-1])
    bench.loses(bench.asked(Change))
    bench.review()
    lost = bench.asked(Read)
    bench.loses(lost)
    bench.review()
    assert not bench.cluster.outlet.take()
    bench.agreements.retry()
    bench.reads(bench.asked(Read))
    bench.review()
    bench.asked(Change)


def test_every_write_whose_answer_got_lost_is_found_out(bench: Bench) -> None:
    found: list[str] = []
    for name in ("one", "two"):
        bench.agreements._find_out(bench.replica.key, [lambda name=name: found.append(name)])  # type: ignore[misc]
    for number, request in bench.cluster.outlet.take():
        if isinstance(request, Read):
            bench.loses(number)
    bench.agreements.retry()
    bench.reads(bench.asked(Read))
    assert sorted(found) == ["one", "two"]
