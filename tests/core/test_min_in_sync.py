"""`min_in_sync` is changed while replicas are missing: what was enough, and who was complete, is another question then."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import ClusterWorld, Machine
from zmqmq.core.admin_commands import AlterTopic, CreateTopic, Done
from zmqmq.core.cluster_commands import DrainBroker
from zmqmq.core.commands import Command, Described, Produced, Refused
from zmqmq.core.places import Place

NOTICED = 6.0
"""Seconds after which what happened to a broker is in the record of a place."""


def asking(machine: Machine, build: Callable[[int], Command], answer: type[Command]) -> None:
    """An administrator asks, and time passes."""
    machine.ask(machine.connect("administrator", 1, timeout=3000.0), build(machine.next_id()), answer)
    machine.pass_time(NOTICED)


def alter(machine: Machine, **changes: int) -> None:
    asking(machine, lambda id: AlterTopic(id, "t", dict(changes)), Described)


def made(brokers: str = "abc", **settings: int) -> ClusterWorld:
    """A topic of one partition on all brokers, led by a."""
    cluster = ClusterWorld(brokers)
    asking(cluster["a"], lambda id: CreateTopic(id, "t", 1, len(brokers), dict(settings)), Described)
    assert cluster.leader_of() is cluster["a"]
    return cluster


def place_of(machine: Machine) -> Place:
    (entry,) = machine.cluster.view.places.values()
    return entry.place


def test_messages_are_confirmed_again_when_fewer_are_asked_for() -> None:
    cluster = made(min_in_sync=3)
    cluster["c"].die()
    cluster.pass_time(NOTICED)
    alter(cluster["a"], min_in_sync=2)
    producer = Producer(cluster["a"])
    assert producer.send(b"x") == 1
    assert [member.broker for member in place_of(cluster["a"]).isr] == ["a", "b"] and not place_of(cluster["a"]).elr


def test_who_was_eligible_when_more_were_asked_for_is_not_elected_once_fewer_have_confirmed() -> None:
    cluster = made(min_in_sync=3)
    cluster["c"].die()
    cluster.pass_time(NOTICED)
    alter(cluster["a"], min_in_sync=2)
    asking(cluster["a"], lambda id: DrainBroker(id, "a", True), Done)
    Producer(cluster["b"]).send(b"x")
    for name in "ab":
        cluster[name].die()
        cluster.pass_time(NOTICED)
    cluster["c"].start()
    cluster.pass_time(NOTICED)
    assert not place_of(cluster["c"]).leader, "it does not have what was confirmed without it"
    cluster["b"].start()
    cluster.pass_time(NOTICED)
    assert Consumer(cluster.leader_of(), timeout=300.0).values() == [b"x"]


def test_messages_are_refused_when_more_are_asked_for_than_are_there() -> None:
    cluster = made(min_in_sync=2)
    alter(cluster["a"], min_in_sync=3)
    cluster["c"].die()
    cluster.pass_time(NOTICED)
    producer = Producer(cluster["a"])
    cluster["a"].turn((producer.address, producer.batch(b"x")))
    assert [answer.code for answer in cluster["a"].take(producer.address) if isinstance(answer, Refused)] == ["NotEnoughReplicas"]
    cluster["c"].start()
    cluster.pass_time(NOTICED)
    assert producer.send(b"y") == 1


def test_another_setting_does_not_change_how_many_replicas_a_message_needs() -> None:
    cluster = ClusterWorld("a")
    producer = Producer(cluster["a"])
    producer.send(b"x")
    assert place_of(cluster["a"]).replicas == ["a"], "the topic shall have three, and there is one broker"
    alter(cluster["a"], max_attempts=9)
    cluster["a"].turn((producer.address, producer.batch(b"y")))
    cluster.pass_time(NOTICED)
    assert [type(answer) for answer in cluster["a"].take(producer.address)] == [Produced]


def test_a_changed_setting_is_on_the_disk_of_the_leader_too() -> None:
    cluster = made()
    alter(cluster["a"], max_attempts=9)
    for machine in cluster.living:
        (record,) = machine.disk.topics.values()
        assert record.settings.max_attempts == 9


def hear_of_three(machine: Machine) -> None:
    """The tree has other settings: three replicas are needed from now on."""
    (replica,) = machine.cluster.roles
    machine.cluster.roles.set_topic(replace(replica.topic, settings=replace(replica.topic.settings, min_in_sync=3)))


def on_disk(machine: Machine) -> list[int]:
    """What is asked for as the disk has it, when the turn is over."""
    machine.turn()
    return [record.settings.min_in_sync for record in machine.node.context.reader.topics()]


def test_settings_that_a_leader_hears_of_as_it_ceases_to_lead_are_on_its_disk() -> None:
    leader = made()["a"]
    hear_of_three(leader)
    leader.cluster.roles.step_down()
    assert on_disk(leader) == [3]


def test_settings_that_a_replica_hears_of_as_it_begins_anew_are_on_its_disk() -> None:
    follower = made()["b"]
    (replica,) = follower.cluster.roles
    follower.cluster.roles._begin(replica)
    hear_of_three(follower)
    assert on_disk(follower) == [3]
