"""Topics that bear the name of another one: which of them are over, and which have to wait."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import ClusterWorld, Machine
from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster_admin
from zmqmq.core import layout
from zmqmq.core.commands import Describe, Described
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


def lose(cluster: ClusterWorld, topic_id: int) -> None:
    """The tree forgets the topic, while the brokers are down."""
    for machine in list(cluster.living):
        machine.die()
    cluster.ensemble.change(Delete(layout.topic_path("t")), Delete(layout.place_path(topic_id, 0)), Delete(layout.parts_path(topic_id)))
    for machine in cluster.machines.values():
        machine.start()
    cluster.settle()
    cluster.pass_time(2.0)


def test_a_broker_that_was_away_while_a_topic_was_made_anew_takes_the_new_one() -> None:
    cluster = ClusterWorld("abc")
    first = make(cluster["a"])
    Producer(cluster.leader_of(), "p").send(b"old")
    cluster["c"].die()
    cluster.pass_time(2.0)
    delete(cluster["a"])
    second = make(cluster["a"], replicas=2)
    cluster["c"].start()
    cluster.settle()
    cluster.pass_time(2.0)
    assert not [record for record in cluster["c"].disk.topics.values() if record.topic_id == first]
    Producer(cluster.leader_of(), "q", number=9).send(b"new")
    assert Consumer(cluster.leader_of()).drain() == [b"new"]
    assert {machine.cluster.view.topics["t"].record.topic_id for machine in cluster.living} == {second}


def test_a_broker_that_was_away_for_longer_than_tombstones_are_kept_asks_the_operator_and_serves_the_rest() -> None:
    cluster = ClusterWorld("abc")
    first = make(cluster["a"])
    Producer(cluster.leader_of(), "p").send(b"old")
    cluster["a"].topic(cluster["a"].connect("r"), "other")
    late = cluster["c"]
    late.die()
    cluster.pass_time(2.0)
    delete(cluster["a"])
    second = make(cluster["a"], replicas=2)
    clear(cluster, first)
    late.start()
    cluster.settle()
    cluster.pass_time(60.0)
    told = [facts for event, facts in late.events if event == "topic held up"]
    assert [(facts["topic"], facts["topic_id"], facts["on_disk"]) for facts in told] == [("t", second, str(first))], "once"
    assert first in late.disk.topics and second not in late.disk.topics
    places = {place.topic: place for place in cluster.report().places}
    assert "c" in places["other"].in_sync and "c" not in places["t"].in_sync
    Producer(cluster.leader_of(), "q", number=9).send(b"new")
    assert Consumer(cluster.leader_of()).drain() == [b"new"]
    cluster.ensemble.change(Create(layout.deleted_path(first)))
    cluster.settle()
    ops = cluster["a"].connect("ops", cluster["a"].next_id())
    cluster["a"].ask(ops, cluster_admin.Reassign(5, "t", 0, ["a", "b", "c"]), admin.Done)
    cluster.pass_time(20.0)
    assert first not in late.disk.topics and second in late.disk.topics, "whoever knows that it may go makes its tombstone"


def test_brokers_before_a_tree_that_was_lost_keep_everything_when_a_producer_makes_its_topic_anew() -> None:
    cluster = ClusterWorld("abc")
    first = make(cluster["a"])
    Producer(cluster.leader_of(), "p").send(b"kept")
    cluster.pass_time(2.0)
    lose(cluster, first)
    before = {machine.name: dict(machine.disk.logs) for machine in cluster.living}
    machine = cluster["a"]
    machine.turn((machine.connect("q", 9), Describe(machine.next_id(), "t", True)))
    cluster.settle()
    second = machine.cluster.view.topics["t"].record.topic_id
    cluster.pass_time(60.0)
    for machine in cluster.living:
        assert list(machine.disk.topics) == [first] and machine.disk.logs.keys() == before[machine.name].keys()
        (told,) = [facts for event, facts in machine.events if event == "topic held up"]
        assert (told["topic_id"], told["on_disk"]) == (second, str(first))


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
        assert held_up(machine.cluster.roles, machine.node.catalogue, machine.cluster.view) == {99: {topic_id}}
        assert list(machine.disk.topics) == [topic_id]
