"""Tests of the registrar: who may join, how long the lease lasts, and who is buried."""

from __future__ import annotations

import pytest

from tests.core.registering import INFINITE, Broker, T, settings
from tests.core.small_tree import SmallTree
from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView, EpochEntry
from zmqmq.core.layout import ClusterIdentity, ControllerInfo, encode
from zmqmq.core.places import Member
from zmqmq.core.tree import Answered, Create, Delete, Node, Put, Refusal
from zmqmq.errors import BrokerTaken, ClusterMismatch, ConfigError


@pytest.fixture
def tree() -> SmallTree:
    return SmallTree()


def test_the_first_broker_founds_the_cluster_and_registers(tree: SmallTree) -> None:
    broker = Broker(tree, settings(rack="r1", software="zmqmq 0.1", wake_endpoint="tcp://a:2"))
    assert broker.registrar.me is None
    broker.connect(1)
    assert broker.registrar.me == Member("a", 1, "s1")
    assert broker.registrar.session == 1
    assert broker.registrar.reason == ""
    assert tree.nodes[layout.CLUSTER].data == encode(ClusterIdentity("c1"))
    assert all(path in tree.nodes for path in layout.SKELETON)
    info = broker.shown()
    assert info is not None
    assert (info.be, info.incarnation, info.endpoint, info.wake_endpoint, info.rack) == (1, 1, "tcp://a:1", "tcp://a:2", "r1")
    assert tree.nodes[layout.broker_path("a")].owner == tree.nodes[layout.heartbeat_path("a")].owner == 1
    assert tree.nodes[layout.epoch_path("a")].version == 1


def test_two_founders_at_the_same_time_found_one_cluster(tree: SmallTree) -> None:
    brokers = [Broker(tree, settings(broker_id=name, storage_id=name, cluster_id=name)) for name in ("a", "b")]
    for session, broker in enumerate(brokers, 1):
        broker.seat.connect(session)
    for _ in range(50):
        for broker in brokers:
            for number, request in broker.outlet.take():
                broker.outlet.hear(Answered(number, broker.seat._answer(request)))
    assert [broker.registrar.me for broker in brokers] == [Member("a", 1, "a"), Member("b", 1, "b")]
    assert [broker.registrar.adopted_cluster_id for broker in brokers] == ["", "a"]


def test_a_broker_without_data_joins_the_cluster_that_is_there(tree: SmallTree) -> None:
    Broker(tree).connect(1)
    late = Broker(tree, settings(broker_id="b", storage_id="s2", cluster_id="own"))
    late.connect(2)
    assert late.registrar.adopted_cluster_id == "c1"
    assert late.registrar.me == Member("b", 1, "s2")


def test_a_broker_with_data_of_another_cluster_refuses_and_names_both(tree: SmallTree) -> None:
    Broker(tree).connect(1)
    stranger = Broker(tree, settings(broker_id="b", cluster_id="own", has_data=True))
    stranger.connect(2)
    error = stranger.registrar.fatal
    assert isinstance(error, ClusterMismatch)
    assert "own" in str(error)
    assert "c1" in str(error)
    assert "chroot" in error.hint
    assert stranger.registrar.me is None
    assert stranger.shown() is None
    assert stranger.registrar.deadline() == INFINITE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encode(ClusterIdentity("c1", layout=2)), "layout 2"),
        (encode(ClusterIdentity("c1", protocol=99)), "protocol 99"),
        (b"kafka", "not one of zmqmq"),
        (b'{"cluster_id":""}', "cluster id is empty"),
    ],
)
def test_a_tree_of_something_else_is_refused(tree: SmallTree, data: bytes, words: str) -> None:
    tree.put(layout.CLUSTER, data)
    broker = Broker(tree)
    broker.connect(1)
    assert isinstance(broker.registrar.fatal, ClusterMismatch)
    assert words in str(broker.registrar.fatal)
    assert set(tree.nodes) == {"", layout.CLUSTER}


def test_a_member_does_not_change_over_to_another_cluster_later(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.seat.expire()
    tree.put(layout.CLUSTER, encode(ClusterIdentity("c2")))
    broker.connect(2)
    assert isinstance(broker.registrar.fatal, ClusterMismatch)


@pytest.mark.parametrize("granted", [2.0, 8.0])
def test_another_session_timeout_than_the_configured_one_is_refused(tree: SmallTree, granted: float) -> None:
    broker = Broker(tree)
    broker.connect(1, granted)
    error = broker.registrar.fatal
    assert isinstance(error, ConfigError)
    assert f"{granted:g} s" in str(error)
    assert "4 s" in str(error)
    assert "tickTime" in error.hint


def test_a_session_timeout_that_is_nearly_the_configured_one_is_the_one_that_counts(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1, 3.8)
    assert broker.registrar.lease_valid(broker.now + 1.89)
    assert not broker.registrar.lease_valid(broker.now + 1.9)


# --- the lease -------------------------------------------------------------------------------------------------------


def test_the_lease_lasts_half_a_timeout_from_when_the_heartbeat_was_sent(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.wait(0)
    sent = broker.now = broker.registrar.deadline()
    assert sent == pytest.approx(100 + T / 6)
    broker.registrar.tick(sent)
    broker.now += 1.0
    broker.seat.run()
    assert broker.registrar.lease_valid(sent + T / 2 - 0.01)
    assert not broker.registrar.lease_valid(sent + T / 2)


def test_heartbeats_keep_the_lease_for_ever(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    for _ in range(100):
        broker.wait(0.5)
        assert broker.registrar.lease_valid(broker.now)
    assert 70 <= tree.nodes[layout.heartbeat_path("a")].version <= 80


def test_an_unanswered_heartbeat_is_sent_again_and_a_late_answer_counts_for_its_own_time(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    sent = broker.now = broker.registrar.deadline()
    broker.registrar.tick(sent)
    ((number, request),) = broker.outlet.take()
    assert broker.registrar.deadline() == pytest.approx(sent + T / 3)
    broker.now = broker.registrar.deadline()
    broker.registrar.tick(broker.now)
    assert len(broker.outlet.take()) == 1
    broker.outlet.hear(Answered(number, broker.seat._answer(request)))
    assert broker.registrar.lease_valid(sent + T / 2 - 0.01)
    assert not broker.registrar.lease_valid(sent + T / 2)


def test_without_a_connection_the_lease_runs_out_and_the_registration_stays(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.seat.cut()
    assert broker.registrar.lease_valid(broker.now + T / 2 - 0.01)
    assert not broker.registrar.lease_valid(broker.now + T / 2)
    assert broker.registrar.me == Member("a", 1, "s1")
    broker.wait(3.0)
    broker.connect(1)
    broker.wait(0)
    assert broker.registrar.lease_valid(broker.now)
    assert broker.registrar.me == Member("a", 1, "s1")


def test_a_heartbeat_whose_answer_got_lost_proves_nothing(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.now = broker.registrar.deadline()
    broker.registrar.tick(broker.now)
    broker.seat.cut(applied=True)
    assert not broker.registrar.lease_valid(100 + T / 2)


def test_after_its_session_a_broker_has_no_role_until_it_is_registered_anew(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.seat.expire()
    assert broker.registrar.me is None
    assert "expired" in broker.registrar.reason
    assert not broker.registrar.lease_valid(broker.now)
    broker.connect(2)
    assert broker.registrar.me == Member("a", 2, "s1")
    assert broker.registrar.lease_valid(broker.now)
    assert broker.registrar.fatal is None


def test_a_new_session_replaces_what_the_old_one_left(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.seat.cut()
    broker.connect(2)
    assert broker.registrar.me == Member("a", 2, "s1")
    assert tree.nodes[layout.broker_path("a")].owner == 2
    tree.end_session(1)
    assert broker.shown() is not None


def test_a_wrong_obituary_is_noticed_and_answered_by_a_new_registration(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    tree.remove(layout.broker_path("a"))
    tree.remove(layout.heartbeat_path("a"))
    broker.now = broker.registrar.deadline()
    broker.registrar.tick(broker.now)
    requests = broker.outlet.take()
    for number, request in requests:
        broker.outlet.hear(Answered(number, broker.seat._answer(request)))
    assert broker.registrar.me is None
    assert "removed" in broker.registrar.reason
    broker.seat.run()
    assert broker.registrar.me == Member("a", 2, "s1")


def test_a_heartbeat_does_not_live_on_in_the_registration_of_somebody_else(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    tree.remove(layout.broker_path("a"))
    tree.remove(layout.heartbeat_path("a"))
    Broker(tree, settings(storage_id="other")).connect(9)
    broker.wait(1.0)
    assert broker.registrar.me is None
    broker.wait(20.0)
    assert isinstance(broker.registrar.fatal, BrokerTaken)


def test_a_touched_registration_is_checked_at_once(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    tree.remove(layout.heartbeat_path("a"))
    tree.remove(layout.broker_path("a"))
    broker.seat.run()
    assert broker.registrar.deadline() == broker.now


# --- the end ---------------------------------------------------------------------------------------------------------------


def test_a_broker_that_resigns_sends_nothing_more(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.registrar.resign()
    assert broker.registrar.me is None
    assert not broker.registrar.lease_valid(broker.now)
    assert broker.registrar.deadline() == INFINITE
    broker.seat.cut()
    broker.connect(1)
    assert broker.outlet.take() == []
    assert broker.registrar.fatal is None


def view_of(*brokers: Broker, leader: Broker | None = None) -> ClusterView:
    infos = {info.broker_id: info for broker in brokers if (info := broker.shown())}
    me = leader.registrar.me if leader else None
    return ClusterView(brokers=infos, controller=ControllerInfo(me.broker, me.be) if me else None, controller_epoch=EpochEntry(1, 0))


@pytest.fixture
def pair(tree: SmallTree) -> tuple[Broker, Broker]:
    """Two members; the second is the cluster leader."""
    a, b = Broker(tree), Broker(tree, settings(broker_id="b", storage_id="s2"))
    a.connect(1)
    b.connect(2)
    assert b.registrar.me is not None
    tree.put(layout.CONTROLLER_EPOCH, b"{}")
    tree.apply((Create(layout.CONTROLLER, encode(ControllerInfo("b", b.registrar.me.be)), ephemeral=True),), 2)
    return a, b


def bury(a: Broker, b: Broker, view: ClusterView) -> None:
    a.registrar.bury(view.brokers["b"], view)
    a.seat.run()


def test_a_dead_brokers_registration_is_removed_and_its_office_too(tree: SmallTree, pair: tuple[Broker, Broker]) -> None:
    a, b = pair
    bury(a, b, view_of(a, b, leader=b))
    assert not {layout.broker_path("b"), layout.heartbeat_path("b"), layout.CONTROLLER} & set(tree.nodes)
    assert tree.nodes[layout.epoch_path("b")].version == 1


def test_a_dead_broker_that_was_not_the_cluster_leader_leaves_that_office_alone(tree: SmallTree, pair: tuple[Broker, Broker]) -> None:
    a, b = pair
    bury(a, b, view_of(a, b, leader=a))
    assert layout.broker_path("b") not in tree.nodes
    assert layout.CONTROLLER in tree.nodes


def test_a_later_registration_is_not_buried(tree: SmallTree, pair: tuple[Broker, Broker]) -> None:
    a, b = pair
    view = view_of(a, b, leader=b)
    Broker(tree, settings(broker_id="b", storage_id="s2", incarnation=2)).connect(3)
    bury(a, b, view)
    assert tree.nodes[layout.broker_path("b")].owner == 3
    assert layout.CONTROLLER in tree.nodes


def test_a_later_cluster_leader_is_not_removed(tree: SmallTree, pair: tuple[Broker, Broker]) -> None:
    a, b = pair
    view = view_of(a, b, leader=b)
    tree.apply((Put(layout.CONTROLLER_EPOCH, b"{}"), Delete(layout.CONTROLLER), Create(layout.CONTROLLER, b"{}", ephemeral=True)), 3)
    bury(a, b, view)
    assert layout.broker_path("b") not in tree.nodes
    assert layout.CONTROLLER in tree.nodes


def test_the_same_obituary_is_asked_for_once_at_a_time(tree: SmallTree, pair: tuple[Broker, Broker]) -> None:
    a, b = pair
    view = view_of(a, b)
    for _ in range(3):
        a.registrar.bury(view.brokers["b"], view)
    assert len(a.outlet.take()) == 1


def test_nobody_buries_itself(tree: SmallTree, pair: tuple[Broker, Broker]) -> None:
    a, b = pair
    view = view_of(a, b)
    a.registrar.bury(view.brokers["a"], view)
    assert a.outlet.take() == []


def test_a_heartbeat_that_is_refused_for_another_reason_is_only_late(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.now = broker.registrar.deadline()
    broker.registrar.tick(broker.now)
    ((number, _request),) = broker.outlet.take()
    broker.outlet.hear(Answered(number, Refusal("other", 0, "NoAuth")))
    assert broker.registrar.me == Member("a", 1, "s1")
    assert not broker.registrar.lease_valid(100 + T / 2)
    broker.wait(T / 3)
    assert broker.registrar.lease_valid(broker.now)
    assert isinstance(tree.nodes[layout.heartbeat_path("a")], Node)
