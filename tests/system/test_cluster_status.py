"""The status of a cluster tells the truth while brokers are killed and come back: who is alive, who leads, what is offline, refusing or under-replicated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.cluster import ClusterProcesses
from tests.system.cluster_status import StatusWatch
from zmqmq import Admin, Producer

TOPICS = {"one": 1, "two": 2, "three": 3}
"""Topics and their replicas. Each has three partitions: whoever is killed leads some, follows in some, and has nothing to do with others."""


@pytest.fixture
def watch(whole: ClusterProcesses) -> Iterator[StatusWatch]:
    """From the status of a cluster that is whole on."""
    with Admin(whole.brokers) as admin:
        known = {topic.topic for topic in admin.topics()}
        for topic, replicas in TOPICS.items():
            if topic not in known:
                admin.create_topic(topic, partitions=3, replicas=replicas)
    whole.wait_whole()
    with StatusWatch(whole, TOPICS) as started:
        yield started


def send(cluster: ClusterProcesses, topic: str) -> None:
    """Something that those who are away have to catch up with."""
    with Producer(cluster.brokers) as producer:
        for number in range(300):
            producer.send(topic, bytes(1000), key=f"k{number}")


def test_while_a_leader_is_dead_and_when_it_is_back(watch: StatusWatch) -> None:
    office = watch.cluster.cluster_leader()
    victim = next(name for number in range(3) if (name := watch.cluster.leader_of("three", number)) != office)
    watch.kill(victim)
    send(watch.cluster, "three")
    watch.becomes_true()
    watch.start(victim)
    watch.becomes_true()


def test_while_the_cluster_leader_is_started_again_at_once(watch: StatusWatch) -> None:
    victim = watch.cluster.cluster_leader()
    watch.kill(victim)
    watch.start(victim)
    watch.becomes_true()


def test_while_leader_and_follower_are_dead_and_come_back_one_by_one(watch: StatusWatch) -> None:
    leader = watch.cluster.leader_of("three")
    follower = next(name for name in watch.cluster.members if name != leader)
    watch.kill(leader, follower)
    watch.becomes_true()
    watch.start(follower)
    send(watch.cluster, "three")
    watch.becomes_true()
    watch.start(leader)
    watch.becomes_true()


def test_while_all_brokers_are_dead_and_come_back_one_by_one(watch: StatusWatch) -> None:
    watch.kill(*watch.cluster.members)
    for name in sorted(watch.cluster.members):
        watch.start(name)
    watch.becomes_true()
