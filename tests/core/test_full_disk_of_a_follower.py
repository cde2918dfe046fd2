"""A full disk at a follower: what it could not write it does not say that it has, whatever else happens in the same turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.core.acts import Producer
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_full_disk_of_a_leader import CATCH_UP, led, records
from zmqmq.core import admin_commands as admin
from zmqmq.core.cluster_commands import Reassign
from zmqmq.core.replica import Role
from zmqmq.core.tree import Answered, Event, Node
from zmqmq.core.writes import AppendDelayed, AppendMessages, Write
from zmqmq.errors import StorageFull


def takes_no_messages(machine: Machine) -> Callable[[], None]:
    """From now on only what is small fits on its disk, until what this gives is called."""
    commit, is_full = machine.storage.commit, True

    def refuse(writes: Sequence[Write]) -> None:
        if is_full and any(isinstance(write, AppendMessages | AppendDelayed) for write in writes):
            raise StorageFull("full")
        commit(writes)

    def has_room() -> None:
        nonlocal is_full
        is_full = False
        machine.node.set_storage_full(False)

    machine.storage.commit = refuse  # type: ignore[method-assign]
    return has_room


def follower_of(cluster: ClusterWorld, leader: Machine) -> Machine:
    return next(machine for machine in cluster.living if machine not in (leader, cluster.leader))


def send_unheard(leader: Machine, producer: Producer, *values: bytes) -> None:
    """The leader has written them; its followers have not looked yet what lies in front of them."""
    leader.frames.append((producer.address, producer.batch(*values)))
    leader.one_turn(())


def is_told_of(epoch: int, events: Sequence[Event]) -> bool:
    """Whether the record of the partition that begins this epoch is among them."""
    records = [event.answer.data for event in events if isinstance(event, Answered) and isinstance(event.answer, Node)]
    return any(b'"epoch":%d,' % epoch in record and b'"isr"' in record for record in records)


def take_with_the_news(cluster: ClusterWorld, follower: Machine, epoch: int) -> None:
    """What lies in front of the follower is taken in the very turn in which it is told of another epoch."""
    held, follower.answers = follower.answers, []
    for _ in range(100):
        cluster.timeline.advance(0.01)
        for machine in cluster.living:
            machine.now = cluster.timeline.now()
            events = machine.tree.take_events()
            if machine is follower and is_told_of(epoch, events):
                follower.answers += held
                follower.one_turn(events)
                return
            machine.one_turn(events)
    raise AssertionError("it was never told")


def assert_alike(cluster: ClusterWorld) -> None:
    assert len(cluster.report("t").places[0].in_sync) == 3
    assert records(cluster["a"]) == records(cluster["b"]) == records(cluster["c"])


def test_what_a_follower_writes_down_counts_nothing_that_its_disk_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zmqmq.core.partition.SNAPSHOT_RECORDS", 5)
    cluster, leader = led()
    producer, follower = Producer(leader), follower_of(cluster, leader)
    for number in range(6):
        producer.send(b"m%d" % number)
    has_room = takes_no_messages(follower)
    send_unheard(leader, producer, b"x", b"y")
    cluster.timeline.advance(1.0)  # what is committed is applied in the turn that brings more
    for machine in cluster.living:
        machine.now = cluster.timeline.now()
    follower.one_turn(())
    (log,) = follower.disk.logs.values()
    assert log.head.applied > 0 and log.head.end == log.offsets[-1] + 1
    has_room()
    follower.die()
    follower.start()
    cluster.pass_time(CATCH_UP)
    assert_alike(cluster)


def fetching_with_a_full_disk(rank: int) -> tuple[ClusterWorld, Machine, Machine, Callable[[], None], int]:
    """The leader, the replica of that rank, which has not yet taken what lies in front of it and has no room for it, what gives it room, and the epoch."""
    cluster, leader = led()
    producer = Producer(leader)
    producer.send(b"before")
    (replica,) = leader.cluster.roles
    follower = cluster[replica.place.replicas[rank]]
    has_room = takes_no_messages(follower)
    send_unheard(leader, producer, b"x", b"y")
    return cluster, leader, follower, has_room, replica.epoch


def test_a_follower_that_is_to_lead_begins_with_what_is_on_its_disk() -> None:
    cluster, leader, follower, has_room, epoch = fetching_with_a_full_disk(1)
    leader.cluster.registrar.start_over("for a test")
    take_with_the_news(cluster, follower, epoch + 1)
    (heir,) = follower.cluster.roles
    assert heir.role is Role.OPENING
    has_room()
    cluster.pass_time(CATCH_UP)
    assert_alike(cluster)


def test_a_follower_that_is_no_replica_any_more_has_what_is_on_its_disk() -> None:
    cluster, leader, follower, has_room, epoch = fetching_with_a_full_disk(2)
    (copy,) = follower.cluster.roles
    operator, names = leader.connect("operator", timeout=300.0), list(copy.place.replicas)
    leader.frames.append((operator, Reassign(1, "t", 0, names[:2])))
    take_with_the_news(cluster, follower, epoch + 1)
    assert copy.role is Role.NONE
    has_room()
    cluster.pass_time(CATCH_UP)
    leader.take(operator)
    leader.ask(operator, Reassign(2, "t", 0, names), admin.Done)
    cluster.pass_time(CATCH_UP)
    assert_alike(cluster)


def test_a_follower_that_loses_its_registration_has_what_is_on_its_disk() -> None:
    cluster, leader = led()
    producer, follower = Producer(leader), follower_of(cluster, leader)
    producer.send(b"before")
    has_room = takes_no_messages(follower)
    send_unheard(leader, producer, b"x", b"y")
    answers, follower.answers = follower.answers, []
    for broker, answer in answers:
        follower.node.answered(broker, answer)
    follower.cluster.registrar.start_over("for a test")
    follower.one_turn(())
    has_room()
    cluster.pass_time(CATCH_UP)
    assert_alike(cluster)
