"""What administrators are told of a cluster: brokers and their offices, partitions and their replicas, by any broker and truly."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer, refused
from tests.core.cluster_world import ClusterWorld, Machine
from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster_admin
from zmqmq.core.cluster_commands import ClusterReport
from zmqmq.core.cluster_report import LEADER, MEMBER, figures_of
from zmqmq.core.commands import Described


@pytest.fixture
def cluster() -> ClusterWorld:
    """Three brokers, and the topic "t" with three partitions led by one each."""
    cluster = ClusterWorld("abc", default_partitions=3)
    Producer(cluster["a"])
    cluster.pass_time(2.0)
    return cluster


def ask(machine: Machine, topic: str = "") -> ClusterReport:
    return machine.ask(machine.connect("ops", machine.next_id()), cluster_admin.AskCluster(machine.next_id(), topic), ClusterReport)


def status(machine: Machine) -> admin.BrokerStatus:
    return machine.ask(machine.connect("ops", machine.next_id()), admin.AskStatus(machine.next_id()), admin.BrokerStatus)


def partitions(machine: Machine) -> list[admin.PartitionSummary]:
    address = machine.connect("ops", machine.next_id())
    return machine.ask(address, admin.DescribePartitions(machine.next_id(), "t"), admin.PartitionList).partitions


def test_every_broker_tells_the_same_of_the_cluster(cluster: ClusterWorld) -> None:
    reports = [ask(machine) for machine in cluster.living]
    for report in reports:
        assert (report.cluster_id, report.leader, report.epoch, report.connected) == ("cluster", cluster.leader.name, 1, True)
        assert [(member.broker_id, member.live, member.leads, member.replicas, member.in_sync) for member in report.members] == [
            (name, True, 1, 3, 3) for name in "abc"
        ]
    assert [report.broker for report in reports] == ["a", "b", "c"]
    facts = {tuple((place.topic, place.partition, place.leader, place.epoch, tuple(place.in_sync)) for place in report.places) for report in reports}
    assert len(facts) == 1


def test_only_the_leader_knows_how_far_its_followers_are(cluster: ClusterWorld) -> None:
    leader = cluster.leader_of(partition=1)
    Producer(leader, "p").send(b"x", partition=1)
    other = next(machine for machine in cluster.living if machine is not leader)
    (told,) = [place for place in ask(leader).places if place.partition == 1]
    (guessed,) = [place for place in ask(other).places if place.partition == 1]
    assert told.end == told.committed == 2 and told.lag == {name: 0 for name in "abc" if name != leader.name}
    assert (guessed.end, guessed.committed, guessed.lag) == (-1, -1, {})


def test_a_report_can_be_about_one_topic(cluster: ClusterWorld) -> None:
    Producer(cluster["a"], "p", topic="other")
    assert {place.topic for place in ask(cluster["b"]).places} == {"t", "other"}
    assert {place.topic for place in ask(cluster["b"], "other").places} == {"other"}
    assert ask(cluster["b"], "nothing").places == []


def test_a_dead_broker_is_still_named_as_long_as_it_holds_something(cluster: ClusterWorld) -> None:
    dead = next(machine for machine in cluster.living if machine is not cluster.leader)
    dead.die()
    cluster.pass_time(3.0)
    for machine in cluster.living:
        (member,) = [member for member in ask(machine).members if member.broker_id == dead.name]
        assert (member.live, member.leads, member.replicas, member.in_sync, member.endpoint) == (False, 0, 3, 0, "")
        assert all(place.leader != dead.name and dead.name not in place.in_sync for place in ask(machine).places)


def test_a_broker_that_was_started_again_neither_leads_nor_is_in_sync_before_it_is_appointed_anew(cluster: ClusterWorld) -> None:
    back = next(machine for machine in cluster.living if machine is not cluster.leader)
    for machine in cluster.living:
        machine.die()
    back.start()
    cluster.pass_time(0.5)
    report = ask(back)
    assert [(member.live, member.leads, member.in_sync) for member in report.members if member.broker_id == back.name] == [(True, 0, 0)]
    (place,) = [place for place in report.places if place.replicas[0] == back.name]
    assert (place.leader, back.name in place.in_sync, place.epoch) == ("", False, 1)
    assert figures_of(back.cluster).offline == 1


def test_a_partition_that_nobody_leads_is_told_so(cluster: ClusterWorld) -> None:
    asked = cluster["a"]
    address = asked.connect("p")
    asked.ask(address, admin.CreateTopic(1, "lonely", 1, 1, {}), Described)
    owner = cluster.leader_of("lonely")
    owner.die()
    cluster.pass_time(2.0)
    (place,) = ask(cluster.living[0], "lonely").places
    assert (place.leader, place.in_sync, place.eligible, place.needed) == ("", [], [owner.name], 1)


def test_replicas_that_are_missing_for_want_of_brokers_are_told() -> None:
    cluster = ClusterWorld("a")
    Producer(cluster["a"])
    (place,) = ask(cluster["a"]).places
    assert (place.replicas, place.wanted, place.needed) == (["a"], 3, 1)


def test_wishes_are_told(cluster: ClusterWorld) -> None:
    machine = cluster["a"]
    machine.ask(machine.connect("p"), cluster_admin.DrainBroker(1, "b"), admin.Done)
    cluster.pass_time(1.0)
    assert [(member.draining, member.removing) for member in ask(cluster["c"]).members] == [(False, False), (True, False), (False, False)]


def test_a_broker_that_is_cut_off_says_so() -> None:
    cluster = ClusterWorld("abc")
    machine = cluster["b"]
    address = machine.connect("ops", timeout=300.0)
    machine.tree.cut()
    cluster.pass_time(5.0)
    assert not machine.ask(address, cluster_admin.AskCluster(1), ClusterReport).connected


# --- what single brokers tell ------------------------------------------------------------------------------------------


def test_a_members_status_tells_its_office_and_what_it_holds_and_leads(cluster: ClusterWorld) -> None:
    for machine in cluster.living:
        told = status(machine)
        assert told.role == (LEADER if machine is cluster.leader else MEMBER)
        assert (told.topics, told.partitions, told.partitions_led) == (1, 3, 1)


def test_brokers_are_listed_with_their_offices(cluster: ClusterWorld) -> None:
    machine = cluster["b"]
    told = machine.ask(machine.connect("ops"), admin.ListBrokers(1), admin.BrokerList)
    assert told.leader == cluster.leader.name
    assert [(broker.broker_id, broker.endpoint, broker.partitions_led) for broker in told.brokers] == [(name, f"tcp://{name}:7400", 1) for name in "abc"]
    assert sorted(broker.role for broker in told.brokers) == [LEADER, MEMBER, MEMBER]


def test_the_office_of_a_dead_cluster_leader_is_told_of_its_successor(cluster: ClusterWorld) -> None:
    cluster.leader.die()
    cluster.pass_time(3.0)
    assert status(cluster.leader).role == LEADER
    assert {ask(machine).leader for machine in cluster.living} == {cluster.leader.name}


def test_partitions_are_described_by_who_leads_them_with_their_replicas(cluster: ClusterWorld) -> None:
    producer = Producer(cluster.leader_of(partition=2), "p")
    producer.send(b"abc", partition=2)
    told = {part.partition: part for machine in cluster.living for part in partitions(machine)}
    assert sorted(told) == [0, 1, 2], "together they know everything, and each partition once"
    assert sum(len(partitions(machine)) for machine in cluster.living) == 3
    for number, part in told.items():
        assert part.leader == cluster.leader_of(partition=number).name
        assert sorted(part.replicas) == sorted(part.in_sync) == ["a", "b", "c"]
    assert (told[2].messages, told[2].size, told[2].epoch) == (1, 3, 1)


def test_a_follower_that_is_gone_is_not_described_as_in_sync(cluster: ClusterWorld) -> None:
    dead = next(machine for machine in cluster.living if machine is not cluster.leader)
    dead.die()
    cluster.pass_time(2.0)
    for machine in cluster.living:
        assert all(dead.name in part.replicas and dead.name not in part.in_sync for part in partitions(machine))


def test_figures_of_topics_and_groups_add_up_over_the_brokers(cluster: ClusterWorld) -> None:
    for number in range(3):
        leader = cluster.leader_of(partition=number)
        Producer(leader, "p").send(b"x", b"y", partition=number)
        Consumer(leader, "c")
    asked = [(machine, machine.connect("ops", 900)) for machine in cluster.living]
    topics = [machine.ask(address, admin.ListTopics(1), admin.TopicList).topics for machine, address in asked]
    assert [(entry.partitions, entry.messages) for (entry,) in topics] == [(3, 2)] * 3
    groups = [machine.ask(address, admin.ListGroups(2), admin.GroupList).groups for machine, address in asked]
    assert [(entry.group, entry.lag) for (entry,) in groups] == [("g", 2)] * 3


def test_a_topic_that_nobody_knows_is_described_by_nobody(cluster: ClusterWorld) -> None:
    machine = cluster["c"]
    assert refused(machine, machine.connect("ops"), admin.DescribePartitions(1, "no")).code == "UnknownTopic"
