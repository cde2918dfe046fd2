"""The office of cluster leader: how it is won and lost, and what its holder does about brokers that die, return, come and go."""

from __future__ import annotations

import dataclasses
from math import inf

import pytest
from msgspec.structs import replace

from tests.core.small_cluster import WALL, SmallCluster, a_broker, a_member
from zmqmq.core import layout
from zmqmq.core.controller import BALANCE_INTERVAL, STEPS_MAX
from zmqmq.core.controller_cleaning import STEP_INTERVAL, SWEEP_INTERVAL, TOMBSTONE_KEPT
from zmqmq.core.controller_election import PAUSE, VACANT_AFTER
from zmqmq.core.layout import ControllerInfo, Tombstone
from zmqmq.core.places import release
from zmqmq.core.tree import Change, Check


def epoch_version(cluster: SmallCluster) -> int:
    return cluster.tree.nodes[layout.CONTROLLER_EPOCH].version


# --- the office ------------------------------------------------------------------------------------------------------


def test_one_broker_wins_the_office() -> None:
    cluster = SmallCluster()
    assert cluster.leader.controller.epoch == (1, 0)
    assert layout.decode(layout.CONTROLLER, cluster.tree.nodes[layout.CONTROLLER].data, ControllerInfo) == ControllerInfo(cluster.leader.name, 0)


def test_when_the_cluster_leader_dies_another_one_follows() -> None:
    cluster = SmallCluster()
    first = cluster.leader
    first.die()
    cluster.wait(PAUSE)
    assert cluster.leader is not first
    assert cluster.leader.controller.epoch == (2, 1)


@pytest.mark.parametrize("applied", [True, False])
def test_a_candidate_whose_answer_was_lost_finds_out_whether_it_has_won(applied: bool) -> None:
    cluster = SmallCluster("a")
    broker = cluster["a"]
    broker.die()
    broker.join()
    broker.seat.run()
    broker.controller.step(broker.mirror.view, broker.me, cluster.now)
    broker.seat.cut(applied=applied)
    broker.seat.connect(broker.seat.session)
    cluster.wait(0)
    cluster.wait(PAUSE)
    cluster.wait(PAUSE)
    assert broker.controller.epoch == (2, 1)
    assert epoch_version(cluster) == 1, "won once, not twice"


def test_a_holder_who_was_replaced_unnoticed_writes_nothing_and_resigns() -> None:
    cluster = SmallCluster(partitions=1)
    holder = cluster.leader
    holder.seat.mute = True
    cluster.tree.put(layout.CONTROLLER_EPOCH, cluster.tree.nodes[layout.CONTROLLER_EPOCH].data)
    before = cluster.place()
    view = dataclasses.replace(holder.mirror.view, brokers={"a": holder.mirror.view.brokers["a"]})
    holder.controller.step(view, holder.me, cluster.now)
    holder.seat.run()
    assert holder.controller.epoch is None
    assert cluster.place() == before


def test_who_is_not_registered_holds_no_office() -> None:
    cluster = SmallCluster()
    holder = cluster.leader
    holder.controller.step(holder.mirror.view, None, cluster.now)
    assert holder.controller.epoch is None


def test_a_holder_that_is_not_registered_any_more_is_replaced_after_a_moment() -> None:
    cluster = SmallCluster()
    first = cluster.leader
    cluster.tree.remove(layout.broker_path(first.name))
    first.me = None
    cluster.wait(0)
    assert [broker.controller.epoch for broker in cluster.live] == [None, None]
    cluster.wait(VACANT_AFTER)
    cluster.wait(PAUSE)
    assert cluster.leader is not first
    assert cluster.leader.controller.epoch == (2, 1)


def test_what_a_broker_left_behind_of_its_own_office_is_replaced_before_its_session_ends() -> None:
    cluster = SmallCluster("a")
    broker = cluster["a"]
    cluster.tree.put(layout.epoch_path("a"), b"{}")
    cluster.tree.put(layout.broker_path("a"), layout.encode(a_broker("a", 1)))
    broker.me = a_member("a", 1)
    cluster.settle()
    cluster.wait(PAUSE)
    assert broker.controller.epoch == (2, 1)


def test_nothing_is_decided_on_a_view_that_may_be_old() -> None:
    cluster = SmallCluster(partitions=1)
    holder = cluster.leader
    holder.seat.cut()
    follower = next(broker for broker in cluster.live if broker is not holder)
    follower.die()
    asked = len(holder.changes)
    holder.controller.step(holder.mirror.view, holder.me, cluster.now)
    assert (len(holder.changes), holder.controller.deadline()) == (asked, inf)
    holder.seat.connect(holder.seat.session)
    cluster.wait(0)
    assert cluster.place().in_sync(follower.name) is None


# --- brokers that die and return -------------------------------------------------------------------------------------


def test_a_dead_leader_is_replaced_and_leaves_the_in_sync_set_in_one_write() -> None:
    cluster = SmallCluster(partitions=3)
    dead = next(broker for broker in cluster.live if broker is not cluster.leader)
    led = [number for number in range(3) if cluster.place(number).leader == dead.name]
    dead.die()
    cluster.wait(0)
    for number in range(3):
        place = cluster.place(number)
        assert place.leader not in ("", dead.name) and place.in_sync(dead.name) is None
        assert place.epoch == (2 if number in led else 1)


def test_a_broker_that_returns_in_another_life_does_not_lead_on() -> None:
    cluster = SmallCluster("ab", partitions=1, replicas=2)
    cluster.write(replace(cluster.place(), leader="b"))
    cluster.settle()
    assert cluster.place().leader == "b"
    cluster["b"].seat.expire()
    cluster["b"].join()
    cluster.settle()
    assert (cluster.place().leader, cluster.place().isr) == ("a", [a_member("a")])
    assert cluster.place().elr == [a_member("b")], "too few are in sync: it was complete"


def test_when_all_have_died_only_who_was_complete_at_last_leads_again() -> None:
    cluster = SmallCluster("abc", partitions=1)
    for name in "abc":
        cluster[name].die()
        cluster.wait(PAUSE)
    cluster["a"].join()
    cluster.wait(PAUSE)
    cluster.wait(PAUSE)
    assert cluster.place().leader == "", "it died while enough others were left, and may have missed something"
    cluster["b"].join()
    cluster.wait(PAUSE)
    place = cluster.place()
    assert (place.leader, place.isr, place.elr) == ("b", [cluster["b"].me], [a_member("c")])


def test_a_wiped_broker_is_not_trusted() -> None:
    cluster = SmallCluster("ab", partitions=1, replicas=1)
    owner = cluster.place().leader
    cluster[owner].die()
    cluster.wait(PAUSE)
    cluster[owner].join(storage="new")
    cluster.wait(PAUSE)
    assert cluster.place().leader == ""
    epoch = cluster.place().epoch
    cluster.wait(BALANCE_INTERVAL)
    assert cluster.place().epoch == epoch, "nobody can lead: nothing is written"


def test_a_leader_that_gave_up_is_followed_by_another() -> None:
    cluster = SmallCluster(partitions=1)
    cluster.write(release(cluster.place()))
    cluster.settle()
    assert (cluster.place().leader, cluster.place().epoch) == (cluster.place().replicas[1], 3)


@pytest.mark.parametrize("partitions", [333, 1000])
def test_fencing_many_partitions_leaves_in_one_go(partitions: int) -> None:
    cluster = SmallCluster(partitions=partitions)
    holder = cluster.leader
    dead = next(broker for broker in cluster.live if broker is not holder)
    dead.me = None
    dead.seat.expire()
    holder.seat.run()
    holder.controller.step(holder.mirror.view, holder.me, cluster.now)
    requests = [request for _, request in holder.outlet.take()]
    changes = [request for request in requests if isinstance(request, Change)]
    assert len(changes) == -(-partitions // (STEPS_MAX - 1))
    assert all(len(change.steps) <= STEPS_MAX and isinstance(change.steps[0], Check) for change in changes)


def test_one_partition_that_has_changed_meanwhile_does_not_hold_up_the_others() -> None:
    cluster = SmallCluster(partitions=20)
    holder = cluster.leader
    dead = next(broker for broker in cluster.live if broker is not holder)
    dead.me = None
    dead.seat.expire()
    holder.seat.run()
    cluster.write(replace(cluster.place(5), nonce="somebody else"), 5)
    holder.controller.step(holder.mirror.view, holder.me, cluster.now)
    holder.turn()
    for number in range(20):
        assert cluster.place(number).in_sync(dead.name) is None


@pytest.mark.parametrize("applied", [True, False])
def test_lost_answers_are_cleared_up_by_reading(applied: bool) -> None:
    cluster = SmallCluster(partitions=20)
    holder = cluster.leader
    dead = next(broker for broker in cluster.live if broker is not holder)
    dead.me = None
    dead.seat.expire()
    holder.seat.run()
    holder.controller.step(holder.mirror.view, holder.me, cluster.now)
    holder.seat.cut(applied=applied)
    holder.seat.connect(holder.seat.session)
    cluster.settle()
    for number in range(20):
        assert cluster.place(number).in_sync(dead.name) is None
        assert cluster.place(number).epoch <= 2


def test_when_nothing_changes_nothing_is_written() -> None:
    cluster = SmallCluster(partitions=30)
    for _ in range(4):
        cluster.wait(BALANCE_INTERVAL)
    asked = [len(broker.changes) for broker in cluster.live]
    for _ in range(4):
        cluster.wait(BALANCE_INTERVAL)
    assert [len(broker.changes) for broker in cluster.live] == asked
    assert cluster.leader.controller.deadline() == inf


# --- topics that go, and strangers -----------------------------------------------------------------------------------


def test_a_deleted_topics_partitions_go_and_its_tombstone_stays() -> None:
    cluster = SmallCluster(partitions=250)
    broker = cluster.live[0]
    broker.jobs.delete(broker.mirror.view, "t", cluster.now, broker.errors.append)
    cluster.settle()
    assert broker.errors == [None]
    assert layout.parts_path(7) not in cluster.tree.nodes
    assert layout.deleted_path(7) in cluster.tree.nodes


def test_tombstones_go_after_a_long_time_unless_they_are_strangers() -> None:
    cluster = SmallCluster("ab")
    for number in range(250):
        cluster.tree.put(layout.deleted_path(1000 + number), layout.encode(Tombstone("old", WALL - TOMBSTONE_KEPT + number)))
    cluster.tree.put(layout.deleted_path(1), layout.encode(Tombstone("undated")))
    cluster.tree.put(layout.deleted_path(2), b"\xff")
    cluster.tree.put(layout.deleted_path(3), b'{"deleted": 5.0, "name": []}')
    cluster.settle()
    assert cluster.leader.controller.deadline() <= cluster.now + SWEEP_INTERVAL
    for _ in range(6):
        cluster.wait(STEP_INTERVAL)
    left = sorted(int(name) for name in cluster.tree.children(layout.DELETED))
    assert left[:3] == [1, 2, 3], "nobody knows how old they are"
    assert 1000 not in left and 1249 in left, "the young ones are still needed"
    cluster.wait(SWEEP_INTERVAL)
    for _ in range(6):
        cluster.wait(STEP_INTERVAL)
    assert [int(name) for name in cluster.tree.children(layout.DELETED)] == [1, 2, 3]


def test_who_has_lost_the_office_removes_no_tombstone() -> None:
    cluster = SmallCluster("ab")
    holder = cluster.leader
    holder.seat.mute = True
    cluster.tree.put(layout.CONTROLLER_EPOCH, cluster.tree.nodes[layout.CONTROLLER_EPOCH].data)
    cluster.tree.put(layout.deleted_path(9), layout.encode(Tombstone("old", 1.0)))
    view = dataclasses.replace(holder.mirror.view, deleted=frozenset({9}))
    holder.controller.step(view, holder.me, cluster.now, WALL)
    holder.seat.run()
    assert layout.deleted_path(9) in cluster.tree.nodes


def test_partitions_without_a_topic_are_left_alone() -> None:
    cluster = SmallCluster(partitions=1)
    stranger = replace(cluster.place(), leader="", isr=[])
    cluster.tree.put(layout.place_path(99, 0), layout.encode(stranger))
    cluster.tree.put(layout.place_path(7, 5), layout.encode(stranger))
    cluster.tree.put(layout.place_path(7, 6), b"\xff")
    cluster.wait(BALANCE_INTERVAL)
    assert cluster.place(0, 99) == stranger
    assert cluster.place(5) == stranger
