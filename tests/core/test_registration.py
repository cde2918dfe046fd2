"""Tests of registrations: whom one replaces, what becomes of old copies, and of lost answers."""

from __future__ import annotations

import pytest

from tests.core.registering import INFINITE, Broker, T, settings, step_until_registering
from tests.core.small_tree import SmallTree
from zmqmq.core import layout
from zmqmq.core.layout import BrokerEpoch, encode
from zmqmq.core.places import Member
from zmqmq.core.registrar import RETRY_INTERVAL
from zmqmq.core.tree import Answered, Unknown
from zmqmq.errors import BrokerTaken


@pytest.fixture
def tree() -> SmallTree:
    return SmallTree()


# --- whom a registration replaces --------------------------------------------------------------------------------------


def test_after_a_crash_the_own_stale_registration_is_replaced_at_once(tree: SmallTree) -> None:
    Broker(tree).connect(1)
    again = Broker(tree, settings(incarnation=2, has_data=True, previous_session=1))
    again.connect(2)
    assert again.registrar.me == Member("a", 2, "s1")
    assert tree.nodes[layout.broker_path("a")].owner == tree.nodes[layout.heartbeat_path("a")].owner == 2


def test_a_stale_registration_is_known_by_its_store_when_its_session_is_not(tree: SmallTree) -> None:
    Broker(tree).connect(1)
    again = Broker(tree, settings(incarnation=2, has_data=True))
    again.connect(2)
    assert again.registrar.me == Member("a", 2, "s1")


def test_a_wiped_broker_waits_for_its_old_registration_to_go_away(tree: SmallTree) -> None:
    Broker(tree).connect(1)
    wiped = Broker(tree, settings(storage_id="s2"))
    wiped.connect(2)
    wiped.wait(3.0)
    assert wiped.registrar.me is None
    assert "same broker id" in wiped.registrar.reason
    tree.end_session(1)
    wiped.seat.run()
    wiped.wait(0)
    assert wiped.registrar.me == Member("a", 2, "s2")


def test_a_broker_whose_id_is_taken_refuses_after_two_timeouts_and_names_the_other(tree: SmallTree) -> None:
    Broker(tree, settings(endpoint="tcp://elsewhere:7")).connect(1)
    second = Broker(tree, settings(storage_id="s2"))
    second.connect(2)
    second.wait(2 * T - 0.1)
    assert second.registrar.fatal is None
    second.wait(0.2)
    error = second.registrar.fatal
    assert isinstance(error, BrokerTaken)
    assert "tcp://elsewhere:7" in str(error)
    assert "s1" in str(error)
    assert "broker_id" in error.hint
    assert second.registrar.deadline() == INFINITE


def test_damaged_nodes_under_the_own_name_are_repaired_or_named(tree: SmallTree) -> None:
    tree.put(layout.epoch_path("a"), b"rubbish")
    broker = Broker(tree)
    broker.connect(1)
    assert broker.registrar.me == Member("a", 1, "s1")
    tree.put(layout.broker_path("b"), b"rubbish")
    taken = Broker(tree, settings(broker_id="b"))
    taken.connect(2)
    taken.wait(3 * T)
    assert isinstance(taken.registrar.fatal, BrokerTaken)


# --- old copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("incarnation", [4, 5])
def test_an_old_copy_gets_a_new_identity_before_it_registers(tree: SmallTree, incarnation: int) -> None:
    original = Broker(tree, settings(incarnation=5))
    original.connect(1)
    original.seat.expire()
    copy = Broker(tree, settings(incarnation=incarnation, has_data=True))
    copy.connect(2)
    assert copy.registrar.needs_new_storage_id
    assert copy.registrar.me is None
    copy.registrar.renewing()
    assert not copy.registrar.needs_new_storage_id
    copy.seat.cut()
    copy.connect(2)
    copy.wait(1.0)
    assert not copy.registrar.needs_new_storage_id
    assert copy.registrar.me is None
    copy.registrar.renewed("s9")
    copy.wait(0)
    assert copy.registrar.me == Member("a", 2, "s9")
    assert tree.nodes[layout.epoch_path("a")].data == encode(BrokerEpoch("s9", incarnation))


def test_a_copied_store_gets_a_new_identity_before_it_registers_whatever_the_tree_remembers(tree: SmallTree) -> None:
    copy = Broker(tree, settings(copied=True, has_data=True))
    copy.connect(1)
    assert copy.registrar.needs_new_storage_id
    assert copy.registrar.me is None
    copy.registrar.renewing()
    copy.registrar.renewed("s9")
    copy.wait(0)
    assert copy.registrar.me == Member("a", 1, "s9")


def test_an_old_copy_does_not_push_aside_the_original_that_lives(tree: SmallTree) -> None:
    original = Broker(tree, settings(incarnation=5))
    original.connect(1)
    copy = Broker(tree, settings(incarnation=5, has_data=True, previous_session=1))
    copy.connect(2)
    copy.registrar.renewing()
    copy.registrar.renewed("s9")
    copy.wait(3 * T)
    assert isinstance(copy.registrar.fatal, BrokerTaken)
    assert tree.nodes[layout.broker_path("a")].owner == 1


# --- lost answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("applied", [True, False])
def test_a_registration_whose_answer_got_lost_is_looked_up(tree: SmallTree, applied: bool) -> None:
    broker = Broker(tree)
    broker.seat.connect(1)
    step_until_registering(broker)
    broker.seat.cut(applied=applied)
    assert broker.registrar.me is None
    broker.connect(1)
    assert broker.registrar.me == Member("a", 1, "s1")
    broker.wait(0)
    assert broker.registrar.lease_valid(broker.now)
    assert tree.nodes[layout.epoch_path("a")].version == 1


def test_a_registration_that_is_given_up_is_void_at_once_and_replaced_by_another_one_of_the_same_session(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.connect(1)
    broker.registrar.start_over("the disk is full")
    assert broker.registrar.me is None and not broker.registrar.lease_valid(broker.now)
    assert broker.registrar.reason == "the disk is full"
    broker.wait(0)
    assert broker.registrar.me == Member("a", 2, "s1")
    assert tree.nodes[layout.broker_path("a")].owner == 1


def test_a_registration_that_was_carried_out_in_a_lost_session_is_replaced(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.seat.connect(1)
    step_until_registering(broker)
    broker.seat.cut(applied=True)
    broker.connect(2)
    assert broker.registrar.me == Member("a", 2, "s1")
    assert not broker.registrar.needs_new_storage_id


def test_a_step_without_an_answer_is_tried_again_a_little_later(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.seat.connect(1)
    for number, _request in broker.outlet.take():
        broker.outlet.hear(Answered(number, Unknown()))
    assert broker.outlet.take() == []
    assert broker.registrar.deadline() == broker.now + RETRY_INTERVAL
    broker.wait(RETRY_INTERVAL)
    assert broker.registrar.me == Member("a", 1, "s1")


@pytest.mark.parametrize("cut_at", range(1, 24))
def test_wherever_the_connection_breaks_the_broker_registers_in_the_end(tree: SmallTree, cut_at: int) -> None:
    broker = Broker(tree)
    broker.seat.connect(1)
    for _ in range(cut_at):
        for number, request in broker.outlet.take():
            broker.outlet.hear(Answered(number, broker.seat._answer(request)))
    broker.seat.cut(applied=bool(cut_at % 2))
    broker.connect(1)
    broker.wait(1.0)
    assert broker.registrar.me == Member("a", 1, "s1")
    assert broker.registrar.lease_valid(broker.now)


def test_a_rival_that_registers_in_between_makes_the_change_fail(tree: SmallTree) -> None:
    broker = Broker(tree)
    broker.seat.connect(1)
    step_until_registering(broker)
    Broker(tree, settings(storage_id="s2")).connect(2)
    broker.seat.run()
    assert broker.registrar.me is None
    broker.wait(1.0)
    assert broker.registrar.me is None
    assert tree.nodes[layout.broker_path("a")].owner == 2


def test_a_damaged_skeleton_is_made_whole(tree: SmallTree) -> None:
    first = Broker(tree)
    first.connect(1)
    first.seat.expire()
    tree.remove(layout.HEARTBEATS)
    second = Broker(tree, settings(incarnation=2))
    second.connect(2)
    second.wait(1.0)
    assert second.registrar.me == Member("a", 2, "s1")
