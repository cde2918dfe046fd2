"""Topics that bear the name of another one: which of them are over, and which have to wait."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import ClusterWorld, Machine
from zmqmq.core import admin_commands as admin
from zmqmq.core import layout
from zmqmq.core.commands import Described
from zmqmq.core.namesakes import held_up, over
from zmqmq.core.tree import Change, Create, Delete


def make(machine: Machine, replicas: int = 3) -> int:
    """Makes the topic "t" and returns its id."""
    address = machine.connect("ops", machine.next_id())
    return machine.ask(address, admin.CreateTopic(machine.next_id(), "t", 1, replicas, {}), Described).topic_id


def delete(machine: Machine) -> None:
    address = machine.connect("ops", machine.next_id())
    machine.ask(address, admin.DeleteTopic(machine.next_id(), "t"), admin.Done)


def clear(cluster: ClusterWorld, topic_id: int) -> None:
    """The tombstone goes, as after thirty days."""
    steps = [Delete(layout.deleted_path(topic_id))]
    cluster.ensemble.commit(cluster.living[0].tree.session, Change(steps).steps)
    cluster.settle()


@pytest.mark.parametrize("is_late", [False, True])
def test_a_broker_that_was_away_while_a_topic_was_made_anew_takes_the_new_one(is_late: bool) -> None:
    cluster = ClusterWorld("abc")
    first = make(cluster["a"])
    Producer(cluster.leader_of(), "p").send(b"old")
    cluster["c"].die()
    cluster.pass_time(2.0)
    delete(cluster["a"])
    second = make(cluster["a"], replicas=2)
    if is_late:
        clear(cluster, first)
    cluster["c"].start()
    cluster.settle()
    cluster.pass_time(2.0)
    assert not [record for record in cluster["c"].disk.topics.values() if record.topic_id == first]
    Producer(cluster.leader_of(), "q", number=9).send(b"new")
    assert Consumer(cluster.leader_of()).drain() == [b"new"]
    assert {machine.cluster.view.topics["t"].record.topic_id for machine in cluster.living} == {second}


def test_a_topic_that_is_only_missing_is_never_over() -> None:
    cluster = ClusterWorld("abc")
    topic_id = make(cluster["a"])
    cluster.ensemble.commit(cluster["a"].tree.session, [Delete(layout.topic_path("t"))])
    cluster.settle()
    cluster.pass_time(5.0)
    for machine in cluster.living:
        assert over(machine.cluster.roles, machine.node.catalogue, machine.cluster.view) == set()
        assert list(machine.disk.topics) == [topic_id] and len(machine.disk.logs) == 1


def test_a_stranger_under_its_name_is_no_reason_while_the_partitions_are_there() -> None:
    cluster = ClusterWorld("abc")
    topic_id = make(cluster["a"])
    machine = cluster["b"]
    record = machine.cluster.view.topics["t"].record
    stranger = layout.encode(record.__class__(99, "t", 1, 1, record.settings, 0.0))
    cluster.ensemble.commit(machine.tree.session, [Delete(layout.topic_path("t")), Create(layout.topic_path("t"), stranger)])
    cluster.settle()
    cluster.pass_time(5.0)
    for machine in cluster.living:
        assert held_up(machine.cluster.roles, machine.node.catalogue, machine.cluster.view) == {99}
        assert list(machine.disk.topics) == [topic_id]
