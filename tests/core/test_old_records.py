"""ZooKeeper is put back to what it was some leaderships ago: nobody takes that for the truth, and a person can put it right."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import ClusterWorld
from zmqmq.core import layout
from zmqmq.core.cluster_view import Key
from zmqmq.core.following import UNWANTED_INTERVAL
from zmqmq.core.places import Member, Place
from zmqmq.core.tree import Put

WHOLE = 10.0
"""Seconds after which all replicas are whole."""


def the_place(cluster: ClusterWorld) -> tuple[Key, Place]:
    ((key, entry),) = cluster.leader.cluster.view.places.items()
    return key, entry.place


def restart(cluster: ClusterWorld, names: str) -> None:
    for name in names:
        cluster[name].die()
    cluster.pass_time(WHOLE)
    for name in names:
        cluster[name].start()
    cluster.pass_time(WHOLE + UNWANTED_INTERVAL)


def notes(cluster: ClusterWorld) -> list[str]:
    return sorted(machine.name for machine in cluster.living for name, _ in machine.events if name == "old record")


@pytest.fixture
def cluster() -> ClusterWorld:
    """Some leaderships after the first message, with another one that the first leader lacks; then all stop, and the record is as in the beginning."""
    cluster = ClusterWorld("abc")
    Producer(cluster["a"]).send(b"m0")
    cluster.pass_time(WHOLE)
    key, old = the_place(cluster)
    for _ in range(2):
        restart(cluster, "a")
    restart(cluster, "b")
    assert the_place(cluster)[1].epoch >= old.epoch + 4 and notes(cluster) == []
    cluster["a"].die()
    cluster.pass_time(WHOLE)
    Producer(cluster.leader_of(), number=8).send(b"m1")
    for machine in list(cluster.living):
        machine.die()
    cluster.pass_time(WHOLE)
    cluster.ensemble.change(Put(layout.place_path(*key), layout.encode(old)))
    for name in "abc":
        cluster[name].start()
    cluster.pass_time(WHOLE + UNWANTED_INTERVAL)
    return cluster


def test_nobody_leads_by_a_record_from_before_what_was_promised_and_everybody_says_so_once(cluster: ClusterWorld) -> None:
    assert not [machine for machine in cluster.living for replica in machine.cluster.roles if replica.leads]
    cluster.pass_time(3 * UNWANTED_INTERVAL)
    assert notes(cluster) == ["a", "b", "c"]


def test_a_person_can_say_who_has_everything_and_nothing_is_lost(cluster: ClusterWorld) -> None:
    key, place = the_place(cluster)
    epoch = 1 + max(replica.promised for machine in cluster.living for replica in machine.cluster.roles)
    right = Place(replicas=place.replicas, epoch=epoch, elr=[Member("b", 0, "s-b")])
    cluster.ensemble.change(Put(layout.place_path(*key), layout.encode(right)))
    cluster.pass_time(WHOLE)
    assert len(the_place(cluster)[1].isr) == 3
    assert Consumer(cluster.leader_of()).drain() == [b"m0", b"m1"]
