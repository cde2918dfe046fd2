"""Tests of founding a cluster: who may make one before an empty tree, and what a member that may not still has."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import ClusterWorld
from tests.core.registering import Broker, settings
from tests.core.small_tree import SmallTree
from tests.core.world import World
from tests.fakes.memory_tree import MemoryTree, instant
from zmqmq.core import admin_commands as admin
from zmqmq.core import layout
from zmqmq.core.commands import Described
from zmqmq.core.places import Member
from zmqmq.core.registrar import REFUSED_INTERVAL
from zmqmq.core.tree import Answered, Refusal, Request, Sync, Synced
from zmqmq.errors import ClusterMismatch


@pytest.fixture
def tree() -> SmallTree:
    return SmallTree()


@pytest.mark.parametrize("has_data", [True, False])
def test_a_broker_that_has_been_a_member_founds_no_cluster_before_an_empty_tree(tree: SmallTree, has_data: bool) -> None:
    broker = Broker(tree, settings(incarnation=2, has_data=has_data, previous_session=7))
    broker.connect(8)
    error = broker.registrar.fatal
    assert isinstance(error, ClusterMismatch)
    assert "c1" in str(error)
    assert "chroot" in error.hint and "docs/cluster.md" in error.hint
    assert set(tree.nodes) == {""}


def test_a_member_whose_tree_is_lost_while_it_runs_founds_no_cluster(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.seat.expire()
    tree.nodes = {"": tree.nodes[""]}
    broker.connect(2)
    assert isinstance(broker.registrar.fatal, ClusterMismatch)
    assert set(tree.nodes) == {""}


def test_a_broker_that_stood_alone_founds_a_cluster_with_its_data(tree: SmallTree) -> None:
    broker = Broker(tree, settings(incarnation=5, has_data=True))
    broker.connect(1)
    assert broker.registrar.me == Member("a", 1, "s1")
    assert layout.CLUSTER in tree.nodes


REFUSED = Refusal("other", 0, "NoAuthError")


def refuse(tree: MemoryTree, requests: Sequence[tuple[int, Request]]) -> None:
    """As servers do that know neither the broker's name nor its password."""
    for number, request in requests:
        tree._say(Answered(number, Synced() if isinstance(request, Sync) else REFUSED))


@pytest.mark.parametrize("refused", [layout.CLUSTER, layout.SKELETON[-1], layout.epoch_path("a"), layout.broker_path("a")])
def test_a_tree_that_refuses_a_broker_is_told_and_asked_again_now_and_then(tree: SmallTree, refused: str) -> None:
    Broker(tree).connect(1)
    broker = Broker(tree, settings(incarnation=2))
    broker.seat.refused[refused] = REFUSED
    broker.connect(2)
    broker.wait(60.0)
    assert broker.registrar.me is None and broker.registrar.fatal is None
    assert refused in broker.registrar.trouble and "NoAuthError" in broker.registrar.trouble and "password" in broker.registrar.trouble
    assert broker.registrar.reason == broker.registrar.trouble
    assert len(broker.seat.log) < 100
    broker.seat.refused.clear()
    broker.wait(REFUSED_INTERVAL)
    assert broker.registrar.me == Member("a", 2, "s1")
    assert broker.registrar.trouble == ""


def test_a_broker_that_is_not_let_in_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ClusterWorld("a")
    monkeypatch.setattr(MemoryTree, "submit", refuse)
    late = cluster.add("b")
    cluster.pass_time(30.0)
    troubles = [facts["trouble"] for event, facts in late.events if event == "coordination" and "trouble" in facts]
    assert len(troubles) == 1 and "NoAuthError" in str(troubles[0])


def all_dead() -> ClusterWorld:
    """Three members that have confirmed a message, and are killed."""
    cluster = ClusterWorld("abc")
    Producer(cluster["a"]).send(b"confirmed")
    cluster.pass_time(2.0)
    for machine in cluster.living:
        machine.die()
    return cluster


def test_brokers_that_are_restarted_before_an_empty_tree_keep_what_they_have() -> None:
    cluster = all_dead()
    timeline, ensemble = cluster.timeline, cluster.ensemble
    for name in "abc":
        cluster.timeline, cluster.ensemble = instant()
        cluster.timeline.advance(timeline.now())
        with pytest.raises(AssertionError, match="member of cluster"):
            cluster[name].start()
            cluster.settle()
        cluster[name].die()
    cluster.timeline, cluster.ensemble = timeline, ensemble
    cluster.pass_time(10.0)
    for name in "abc":
        cluster[name].start()
    cluster.settle()
    cluster.pass_time(5.0)
    assert Consumer(cluster.leader_of()).values() == [b"confirmed"]


def test_without_its_cluster_a_member_serves_alone_once_it_needs_no_other_replica() -> None:
    cluster = all_dead()
    alone = World(disk=cluster["b"].disk)
    operator = alone.connect("operator", 1, timeout=300.0)
    alone.ask(operator, admin.AlterTopic(alone.next_id(), "t", {"min_in_sync": 1}), Described)
    assert Consumer(alone).drain() == [b"confirmed"]
