"""A broker that stood alone becomes a member of a cluster: what it has is there as before, and lives on when it dies."""

from __future__ import annotations

from collections.abc import Sequence

from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import CLUSTER_ID, ClusterWorld, Machine
from tests.core.small_cluster import a_topic
from tests.core.world import World
from tests.fakes.memory_storage import MemoryDisk
from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster_admin
from zmqmq.core import layout
from zmqmq.core.commands import Described
from zmqmq.core.moving_in import RETRY_INTERVAL
from zmqmq.core.places import Member, Place
from zmqmq.core.tree import Change, Changed, Create, Request


def lived_alone(topics: int = 1, partitions: int = 2) -> MemoryDisk:
    """The disk of a standalone broker that has stopped: a message per topic, and one settled message in the first."""
    disk = MemoryDisk(storage_id="s-a", cluster_id=CLUSTER_ID)
    alone = World(disk=disk, default_partitions=partitions)
    for number in range(topics):
        name = f"t{number}" if number else "t"
        producer = Producer(alone, f"p{number}", topic=name)
        if not number:
            producer.send(b"settled")
            Consumer(alone).drain()
        producer.send(b"kept")
    alone.stop()
    return disk


def moved_in(disk: MemoryDisk) -> ClusterWorld:
    cluster = ClusterWorld("")
    cluster.add("a", disk)
    return cluster


def notes(machine: Machine, event: str) -> list[str]:
    return [str(facts["topic"]) for name, facts in machine.events if name == event]


def test_a_standalone_brokers_topics_are_the_clusters_with_nothing_lost() -> None:
    cluster = moved_in(lived_alone(topics=3))
    assert sorted(cluster["a"].cluster.view.topics) == ["t", "t1", "t2"]
    assert [(place.leader, place.in_sync) for place in cluster.report().places] == [("a", ["a"])] * 6
    assert Consumer(cluster["a"], "c", group="g").drain() == [b"kept"], "what was settled stays settled"
    assert Consumer(cluster["a"], "d", group="g", topic="t1").drain() == [b"kept"]


def test_a_topic_that_moved_in_is_copied_when_it_is_reassigned_and_survives_its_first_home() -> None:
    cluster = moved_in(lived_alone())
    for name in "bc":
        cluster.add(name)
    cluster.pass_time(20.0)
    assert [len(place.replicas) for place in cluster.report().places] == [1, 1], "nobody has asked for more"
    machine = cluster["b"]
    machine.ask(machine.connect("ops"), cluster_admin.Reassign(1, "t", 0, ["c", "b", "a"]), admin.Done)
    cluster.pass_time(40.0)
    assert [sorted(place.in_sync) for place in cluster.report().places] == [["a", "b", "c"]] * 2
    cluster["a"].die()
    cluster.pass_time(3.0)
    assert Consumer(cluster.leader_of()).drain() == [b"kept"]


def test_moving_in_happens_once() -> None:
    cluster = moved_in(lived_alone())
    machine = cluster["a"]
    machine.die()
    machine.start()
    cluster.settle()
    cluster.pass_time(10.0)
    assert notes(machine, "topic moves in") == ["t"], "not again in its second life"
    assert [place.leader for place in cluster.report().places] == ["a", "a"]


def test_a_broker_that_died_while_it_moved_in_goes_on_in_its_next_life() -> None:
    cluster = ClusterWorld("b")
    disk = lived_alone()
    (record,) = disk.topics.values()
    earlier = Place(replicas=["a"], leader="a", leader_be=0, epoch=2, isr=[Member("a", 0, "s-a")])
    places = [Create(layout.place_path(record.topic_id, number), layout.encode(earlier)) for number in range(2)]
    made = cluster.ensemble.commit(cluster["b"].tree.session, [Create(layout.parts_path(record.topic_id)), *places])
    assert isinstance(made, Changed)
    machine = cluster.add("a", disk)
    cluster.pass_time(5.0)
    assert sorted(machine.cluster.view.topics) == ["t"]
    assert all(place.leader and place.in_sync for place in cluster.report().places)
    assert Consumer(cluster.leader_of()).drain() == [b"kept"]


def test_a_topic_whose_name_the_cluster_has_given_away_stays_on_its_disk() -> None:
    cluster = ClusterWorld("b")
    other = cluster["b"]
    other.ask(other.connect("p"), admin.CreateTopic(1, "t", 1, 1, {}), Described)
    machine = cluster.add("a", lived_alone(topics=2))
    cluster.pass_time(5.0)
    assert notes(machine, "topic cannot move in") == ["t"] and notes(machine, "topic moves in") == ["t1"]
    assert len(machine.disk.logs) == 4, "nothing is thrown away"
    assert Consumer(other).drain() == [], "the cluster's own topic is as it was"
    other.ask(other.connect("q"), cluster_admin.Reassign(2, "t", 0, ["a", "b"]), admin.Done)
    cluster.pass_time(5.0)
    names = [record.name for record in machine.disk.topics.values()]
    assert sorted(names) == ["t", "t1"], "a name stands for one topic on a disk"
    assert cluster.leader_of() is other


def test_a_topic_whose_name_differs_only_in_case_from_one_of_the_clusters_stays_on_its_disk() -> None:
    cluster = ClusterWorld("b")
    other = cluster["b"]
    made = other.ask(other.connect("p"), admin.CreateTopic(1, "T", 1, 1, {}), Described)
    machine = cluster.add("a", lived_alone(topics=2))
    cluster.pass_time(5.0)
    assert notes(machine, "topic cannot move in") == ["t"] and notes(machine, "topic moves in") == ["t1"]
    other.ask(other.connect("q"), cluster_admin.Reassign(2, "T", 0, ["a", "b"]), admin.Done)
    cluster.pass_time(5.0)
    assert sorted(record.name for record in machine.disk.topics.values()) == ["t", "t1"], "tables of both would be one table"
    assert machine.cluster.view.topics["T"].record.topic_id == made.topic_id
    other.ask(other.connect("r"), admin.DeleteTopic(3, "T"), admin.Done)
    machine.die()
    machine.start()
    cluster.pass_time(5.0)
    assert sorted(machine.cluster.view.topics) == ["t", "t1"], "when the name is free, it moves in"


def test_a_name_that_is_given_away_at_the_same_moment_is_found_out() -> None:
    cluster = ClusterWorld("b")
    machine = cluster.machines["a"] = Machine(cluster, "a", disk=lived_alone())
    submit, quicker = machine.tree.submit, layout.encode(a_topic(1, 1, topic_id=99))

    def a_moment_later(requests: Sequence[tuple[int, Request]]) -> None:
        wanted = [step for _, request in requests if isinstance(request, Change) for step in request.steps]
        if any(step.path == layout.topic_path("t") for step in wanted):
            cluster.ensemble.commit(cluster["b"].tree.session, [Create(layout.topic_path("t"), quicker)])
        submit(requests)

    machine.tree.submit = a_moment_later  # type: ignore[method-assign]
    cluster.settle()
    cluster.pass_time(2 * RETRY_INTERVAL)
    assert machine.cluster.view.topics["t"].record.topic_id == 99
    assert notes(machine, "topic cannot move in") == ["t"]
    assert len(machine.disk.logs) == 2
