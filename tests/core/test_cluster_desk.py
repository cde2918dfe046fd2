"""The desk of a cluster: what any broker answers about topics and brokers, and what becomes of what administrators want."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from msgspec.structs import replace

from tests.core.acts import Consumer, Producer, refused
from tests.core.cluster_world import ClusterWorld, Machine
from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster_admin
from zmqmq.core.commands import Describe, Described, Moved, Refused
from zmqmq.core.layout import encode, place_path
from zmqmq.core.model import TopicSettings
from zmqmq.core.placement import MOVES_MAX
from zmqmq.core.places import Place
from zmqmq.core.tree import Create
from zmqmq.errors import from_code

CALM = 40.0
"""Seconds after which replicas and leaderships have found their places."""


def place(cluster: ClusterWorld, topic: str = "t", partition: int = 0) -> Place:
    view = cluster.leader.cluster.view
    return view.places[view.topics[topic].record.topic_id, partition].place


def create(machine: Machine, address: bytes, partitions: int = 1, replicas: int = 0, topic: str = "t", **settings: Any) -> admin.CreateTopic:
    return admin.CreateTopic(machine.next_id(), topic, partitions, replicas, settings)


def described(machine: Machine, topic: str = "t") -> Described:
    address = machine.connect("who", machine.next_id())
    return machine.ask(address, Describe(machine.next_id(), topic), Described)


# --- topics ----------------------------------------------------------------------------------------------------------


def test_any_broker_makes_a_topic_and_all_of_them_describe_it_alike() -> None:
    cluster = ClusterWorld("abc")
    for name in "abc":
        machine = cluster[name]
        made = machine.topic(machine.connect("p"), f"topic-{name}")
        assert made.replicas == 3 and made.placements[0].leader in "abc"
    for name in "abc":
        answers = [described(cluster[other], f"topic-{name}") for other in "abc"]
        assert len({(answer.topic_id, *answer.placements) for answer in answers}) == 1
        assert answers[0].placements[0].endpoint == f"tcp://{answers[0].placements[0].leader}:7400"


def test_two_brokers_that_are_asked_for_a_topic_at_once_make_one() -> None:
    cluster = ClusterWorld("abc")
    askers = [(cluster[name], cluster[name].connect("p")) for name in "abc"]
    for machine, address in askers:
        machine.frames.append((address, Describe(1, "t", True)))
    cluster.settle()
    cluster.pass_time(1.0)
    answers = [answer for machine, address in askers for answer in machine.take(address)]
    assert len(answers) == 3 and all(isinstance(answer, Described) for answer in answers)
    assert len({answer.topic_id for answer in answers if isinstance(answer, Described)}) == 1


def test_of_two_topics_that_differ_only_in_case_and_are_asked_for_at_once_one_is_made() -> None:
    cluster = ClusterWorld("abc")
    askers = [(cluster[broker], cluster[broker].connect("p"), name) for broker, name in (("a", "Xx"), ("b", "xx"))]
    for machine, address, name in askers:
        machine.frames.append((address, Describe(1, name, True)))
    cluster.settle()
    cluster.pass_time(1.0)
    first, second = [answer for machine, address, _ in askers for answer in machine.take(address)]
    assert isinstance(first, Described) and isinstance(second, Refused)
    assert second.code == "InvalidName" and "differs from 'Xx' only in case" in second.message
    for machine in cluster.living:
        assert list(machine.cluster.view.topics) == ["Xx"]
        assert [record.name for record in machine.disk.topics.values()] == ["Xx"]
    assert cluster["a"].cluster.view.part_topics == {first.topic_id}, "the other one's partitions are removed again"
    ops = cluster["c"].connect("ops")
    cluster["c"].ask(ops, admin.DeleteTopic(2, "Xx"), admin.Done)
    assert cluster["b"].topic(cluster["b"].connect("q"), "xx").topic == "xx", "the name is free again, in whatever case"


def test_a_topic_without_leaders_is_described_at_once_with_nobody() -> None:
    cluster = ClusterWorld("abc")
    asked = cluster["a"]
    address = asked.connect("p")
    asked.ask(address, create(asked, address, replicas=1), Described)
    cluster.leader_of().die()
    cluster.pass_time(2.0)
    answer = described(cluster.living[0])
    assert [placement.leader for placement in answer.placements] == [""]
    assert answer.placements[0].epoch > 1


def test_an_unknown_topic_is_made_only_if_that_is_wanted_and_allowed() -> None:
    cluster = ClusterWorld("ab", auto_create=False)
    machine = cluster["a"]
    address = machine.connect("p")
    assert refused(machine, address, Describe(1, "t", False)).code == "UnknownTopic"
    assert refused(machine, address, Describe(2, "t", True)).code == "UnknownTopic"


def test_a_broker_without_touch_leads_nobody_astray() -> None:
    cluster = ClusterWorld("abc")
    Producer(cluster["a"])
    machine = cluster["b"]
    address = machine.connect("p", timeout=300.0)
    machine.tree.cut()
    cluster.pass_time(5.0)
    for command in (Describe(1, "t"), create(machine, address, topic="u"), admin.DeleteTopic(3, "t")):
        assert refused(machine, address, command).code == "NotLeader"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"partitions": 1001}, "InvalidValue"),
        ({"partitions": -1}, "InvalidValue"),
        ({"replicas": 4}, "InvalidValue"),
        ({"min_in_sync": 3, "replicas": 2}, "InvalidValue"),
        ({"nonsense": 1}, "InvalidValue"),
        ({"topic": "KNOWN"}, "InvalidName"),
        ({"topic": "known", "partitions": 2}, "TopicExists"),
        ({"topic": "a b"}, "InvalidName"),
    ],
)
def test_a_senseless_topic_is_refused_and_nothing_is_made(change: dict[str, Any], code: str) -> None:
    cluster = ClusterWorld("abc")
    machine = cluster["b"]
    address = machine.connect("p")
    machine.topic(address, "known")
    assert refused(machine, address, create(machine, address, **{"topic": "t", **change})).code == code
    assert list(cluster["c"].cluster.view.topics) == ["known"]


def test_a_topic_is_altered_everywhere_and_deleted_everywhere() -> None:
    cluster = ClusterWorld("abc")
    machine = cluster["b"]
    address = machine.connect("p")
    machine.topic(address)
    answer = machine.ask(address, admin.AlterTopic(1, "t", {"max_attempts": 2}), Described)
    assert answer.settings.max_attempts == 2
    assert {described(cluster[name]).settings.max_attempts for name in "abc"} == {2}
    assert machine.ask(address, admin.DeleteTopic(2, "t"), admin.Done).count == 1
    for name in "abc":
        other = cluster[name]
        assert refused(other, other.connect("q"), Describe(1, "t")).code == "UnknownTopic"
        assert not other.disk.topics and not other.disk.logs


def test_whoever_waits_for_a_topic_that_is_deleted_meanwhile_is_told() -> None:
    cluster = ClusterWorld("abc")
    one, other = cluster["a"], cluster["b"]
    first, second = one.connect("p"), other.connect("q")
    one.topic(first)
    one.frames.append((first, admin.AlterTopic(1, "t", {"max_attempts": 2})))
    other.frames.append((second, admin.DeleteTopic(2, "t")))
    cluster.settle()
    cluster.pass_time(11.0)
    answers = [*one.take(first), *other.take(second)]
    assert len(answers) == 2 and all(isinstance(answer, Described | admin.Done | Refused) for answer in answers)


# --- replicas --------------------------------------------------------------------------------------------------------


def test_a_topic_made_on_one_broker_grows_with_the_cluster_and_loses_nothing() -> None:
    cluster = ClusterWorld("a")
    producer = Producer(cluster["a"])
    producer.send(b"1")
    assert (described(cluster["a"]).replicas, place(cluster).replicas) == (3, ["a"])
    cluster.add("b")
    cluster.pass_time(CALM)
    producer.send(b"2")
    assert sorted(place(cluster).replicas) == ["a", "b"]
    cluster.add("c")
    cluster.pass_time(CALM)
    assert sorted(member.broker for member in place(cluster).isr) == ["a", "b", "c"]
    (summary,) = cluster.report().places
    assert (summary.needed, summary.adding, summary.lag) == (2, [], {name: 0 for name in "abc" if name != summary.leader})
    cluster["a"].die()
    cluster.pass_time(10.0)
    assert Consumer(cluster.leader_of()).drain() == [b"1", b"2"]


def test_more_topics_than_may_move_at_once_grow_one_after_another() -> None:
    cluster = ClusterWorld("a", default_partitions=MOVES_MAX + 10)
    Producer(cluster["a"])
    cluster.add("b")
    cluster.pass_time(4 * CALM)
    assert all(len(summary.in_sync) == 2 and not summary.adding for summary in cluster.report().places)


@pytest.mark.parametrize("configured", [0, 2])
def test_replicas_that_somebody_asked_for_are_never_fewer_silently(configured: int) -> None:
    cluster = ClusterWorld("a", default_replicas=configured)
    machine = cluster["a"]
    address = machine.connect("p")
    asked = create(machine, address, replicas=0 if configured else 2)
    assert "replicas is 2, but there are 1 brokers" in refused(machine, address, asked).message


def test_a_topic_that_makes_itself_waits_for_as_many_brokers_as_are_configured() -> None:
    cluster = ClusterWorld("a", default_replicas=2)
    address = cluster["a"].connect("p", timeout=300.0)
    answer = refused(cluster["a"], address, Describe(1, "t", create=True))
    assert answer.code == "NotEnoughReplicas" and from_code(answer.code, "", "", {}).retryable
    cluster.add("b")
    assert cluster["a"].ask(address, Describe(2, "t", create=True), Described).replicas == 2


def test_too_few_replicas_for_min_in_sync_refuse_messages_until_there_are_more() -> None:
    cluster = ClusterWorld("a", defaults=TopicSettings(min_in_sync=2))
    producer = Producer(cluster["a"])
    assert refused(cluster["a"], producer.address, producer.batch(b"x")).code == "NotLeader", "it cannot even begin to lead"
    cluster.add("b")
    cluster.pass_time(CALM)
    leader = cluster.leader_of()
    Producer(leader, "again", number=8).send(b"y")
    assert Consumer(leader).drain() == [b"y"]


def test_a_partition_reassigned_to_more_brokers_makes_the_whole_topic_grow() -> None:
    cluster = ClusterWorld("abc")
    machine = cluster["a"]
    address = machine.connect("p", timeout=300.0)
    machine.ask(address, create(machine, address, partitions=2, replicas=1), Described)
    machine.ask(address, cluster_admin.Reassign(1, "t", 0, ["b", "a"]), admin.Done)
    cluster.pass_time(2 * CALM)
    assert described(machine).replicas == 2
    assert [len(summary.in_sync) for summary in cluster.report().places] == [2, 2]
    machine.ask(address, cluster_admin.Reassign(2, "t", 0, ["c"]), admin.Done)
    cluster.pass_time(2 * CALM)
    assert described(machine).replicas == 1
    assert [len(summary.replicas) for summary in cluster.report().places] == [1, 2]


def test_partitions_are_added_and_consumers_look_again() -> None:
    cluster = ClusterWorld("ab")
    Producer(cluster["a"])
    leader = cluster.leader_of()
    consumer = Consumer(leader)
    admin_address = cluster["b"].connect("p")
    answer = cluster["b"].ask(admin_address, cluster_admin.AddPartitions(1, "t", 3), Described)
    assert len(answer.placements) == 3 and all(placement.leader for placement in answer.placements)
    assert Moved("t") in leader.take(consumer.address)
    assert len(described(leader).placements) == 3
    assert refused(cluster["b"], admin_address, cluster_admin.AddPartitions(2, "t", 2)).code == "InvalidValue"
    assert refused(cluster["b"], admin_address, cluster_admin.AddPartitions(3, "t", 1001)).code == "InvalidValue"


def test_nobody_leads_a_partition_that_its_topic_does_not_count_yet() -> None:
    cluster = ClusterWorld("ab")
    Producer(cluster["a"])
    first = place(cluster)
    topic_id = cluster.leader.cluster.view.topics["t"].record.topic_id
    cluster.ensemble.change(Create(place_path(topic_id, 1), encode(replace(first, nonce="somebody/1/t1"))))
    cluster.pass_time(2.0)
    assert [[replica.key[1] for replica in machine.cluster.roles] for machine in cluster.living] == [[0], [0]]
    machine = cluster["b"]
    machine.ask(machine.connect("p"), cluster_admin.AddPartitions(1, "t", 2), Described)
    cluster.pass_time(2.0)
    assert place(cluster, partition=1).epoch == 2
    Producer(cluster.leader_of(partition=1)).send(b"x", partition=1)


# --- brokers ---------------------------------------------------------------------------------------------------------


def test_a_drained_broker_leads_nothing_and_a_removed_one_holds_nothing() -> None:
    cluster = ClusterWorld("abcd", default_partitions=4)
    machine = cluster["a"]
    address = machine.connect("p", timeout=300.0)
    machine.topic(address)
    cluster.pass_time(2.0)
    machine.ask(address, cluster_admin.DrainBroker(1, "b"), admin.Done)
    cluster.pass_time(10.0)
    assert "b" not in {summary.leader for summary in cluster.report().places}
    machine.ask(address, cluster_admin.RemoveBroker(2, "b"), admin.Done)
    cluster.pass_time(CALM)
    assert all("b" not in summary.replicas and len(summary.in_sync) == 3 for summary in cluster.report().places)
    assert refused(machine, address, cluster_admin.DrainBroker(3, "x")).code == "InvalidValue"
    assert refused(machine, address, cluster_admin.RemoveBroker(4, "a")).code == "InvalidValue"
    assert refused(machine, address, cluster_admin.Reassign(5, "t", 0, ["a", "b"])).code == "InvalidValue"


# --- topics that return ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["apart", "together"])
def test_a_topic_made_again_under_its_old_name_is_another_one(order: Literal["apart", "together"]) -> None:
    cluster = ClusterWorld("abc")
    producer = Producer(cluster["a"])
    leader = cluster.leader_of()
    producer = Producer(leader, "p")
    consumer = Consumer(leader)
    producer.send(b"old")
    before = described(leader).topic_id
    asked = cluster["b"].connect("admin", timeout=300.0)
    if order == "together":
        for name in "ac":
            cluster[name].tree.pause()  # they hear of both at once
    cluster["b"].frames.append((asked, admin.DeleteTopic(1, "t")))
    cluster.settle()
    cluster["b"].frames.append((asked, create(cluster["b"], asked)))
    cluster.settle()
    for name in "ac":
        cluster[name].tree.resume()
    cluster.settle()
    cluster.pass_time(2.0)
    assert {type(answer) for answer in cluster["b"].take(asked)} == {admin.Done, Described}
    assert "UnknownTopic" in [answer.code for answer in leader.take(consumer.address) if isinstance(answer, Refused)]
    after = {described(machine).topic_id for machine in cluster.living}
    assert len(after) == 1 and before not in after
    leader = cluster.leader_of()
    fresh = Producer(leader, "p2", number=9)
    fresh.send(b"new")
    assert Consumer(leader, "d").drain() == [b"new"]
    for machine in cluster.living:
        assert {record.topic_id for record in machine.disk.topics.values()} == after
        assert len(machine.disk.logs) == 1
