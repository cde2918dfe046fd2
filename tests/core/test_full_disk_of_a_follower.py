"""A full disk at a follower: what it could not write it does not say that it has, whatever else happens in the same turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.core.acts import Producer
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_full_disk_of_a_leader import CATCH_UP, led, records
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
