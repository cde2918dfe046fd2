"""A full disk at a leader: what it refuses is not on any replica."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.core.acts import Consumer, Producer, queue_of
from tests.core.cluster_world import ClusterWorld, Machine
from zmqmq.core.admin_commands import CreateTopic
from zmqmq.core.commands import Produced, Refused
from zmqmq.core.writes import AppendOperation, PutPromise, PutSession, Write
from zmqmq.errors import StorageFull

CATCH_UP = 10.0
"""Seconds after which all replicas are whole."""
GIVES_UP = 60.0
"""Seconds after which a leader that gets nothing committed lets another one try."""


def records(machine: Machine) -> list[tuple[int, int, bytes, bytes]]:
    (log,) = machine.disk.logs.values()
    return [(offset, record.epoch, record.value, record.text) for offset, record in sorted(log.records.items())]


def led(ballast: int = 0) -> tuple[ClusterWorld, Machine]:
    """Three brokers with a topic of one partition, and its leader. Without a ballast nothing goes ahead to followers."""
    cluster = ClusterWorld("abc")
    for machine in cluster.living:
        machine.disk.ballast = ballast
    cluster["a"].topic(cluster["a"].connect("maker"))
    cluster.pass_time(CATCH_UP)
    return cluster, cluster.leader_of()


def stuff(machine: Machine) -> Callable[[], None]:
    """From now on not even operations fit on its disk, until what this gives is called."""
    commit, is_stuffed = machine.storage.commit, True

    def refuse(writes: Sequence[Write]) -> None:
        if writes and is_stuffed:
            raise StorageFull("nothing fits")
        commit(writes)

    def has_room() -> None:
        nonlocal is_stuffed
        is_stuffed = False

    machine.storage.commit = refuse  # type: ignore[method-assign]
    return has_room


def test_what_a_full_disk_refuses_is_not_sent_to_followers_either() -> None:
    cluster, leader = led()
    producer, consumer = Producer(leader), Consumer(leader)
    producer.send(b"first")
    lot = consumer.take()
    leader.disk.room = 100.0
    leader.turn((producer.address, producer.batch(b"x" * 1000)), (consumer.address, leader.settle(lot, "ack")))
    assert [answer.code for answer in leader.take(producer.address) if isinstance(answer, Refused)] == ["StorageFull"]
    leader.disk.room = 1e9
    leader.node.set_storage_full(False)
    producer.sequence[0] -= 1
    producer.send(b"second")
    cluster.pass_time(CATCH_UP)
    assert records(cluster["a"]) == records(cluster["b"]) == records(cluster["c"])
    assert [value for _, _, value, _ in records(leader) if value] == [b"second"], "the first one was consumed"


def test_what_was_written_without_a_lease_is_not_taken_back_by_a_disk_that_fills_later() -> None:
    cluster, leader = led()
    producer, consumer = Producer(leader), Consumer(leader)
    cluster.ensemble.down()
    cluster.pass_time(CATCH_UP)
    leader.turn((producer.address, producer.batch(b"written")))
    leader.disk.room = 100.0
    leader.turn((producer.address, producer.batch(b"x" * 1000)))
    leader.disk.room = 1e9
    leader.node.set_storage_full(False)
    cluster.ensemble.up()
    cluster.pass_time(CATCH_UP)
    answers = leader.take(producer.address)
    assert [type(answer).__name__ for answer in answers if isinstance(answer, Produced | Refused)] == ["Refused", "Produced"]
    assert queue_of(leader).state.lag == 1
    assert consumer.values() == [b"written"]


def test_a_leader_that_gives_up_before_it_could_even_begin_its_log_begins_it_when_there_is_room() -> None:
    cluster = ClusterWorld("abc")
    full, others = cluster["a"], [cluster["b"], cluster["c"]]
    has_room = stuff(full)
    address = others[0].connect("maker", timeout=300.0)
    others[0].turn((address, CreateTopic(others[0].next_id(), "t", 3, 3, {})))
    for other in others:
        other.die()
    cluster.pass_time(1.0)
    for other in others:
        other.start()
    cluster.pass_time(GIVES_UP)
    assert not full.disk.logs, "nothing fits"
    has_room()
    full.node.set_storage_full(False)
    cluster.pass_time(CATCH_UP)
    leaders = [cluster.leader_of(partition=number) for number in range(3)]
    assert len(full.disk.logs) == 3
    for number, leader in enumerate(leaders):
        Producer(leader, f"p{number}", number=number + 1).send(b"x", partition=number)


def test_of_a_leadership_that_ends_while_nothing_fits_the_promise_alone_is_still_written() -> None:
    cluster, leader = led()
    (replica,) = leader.cluster.roles
    promise, elsewhere = PutPromise(replica.log_id, 1), PutPromise(replica.log_id + 100, 1)
    operation = AppendOperation(replica.log_id, 9, 1, 0.0, b"")
    leader.cluster.roles.closed = {promise.log_id, elsewhere.log_id}
    assert leader.cluster.still_wanted([promise, elsewhere, operation, PutSession(5)]) == [promise, PutSession(5)]
