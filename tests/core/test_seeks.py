"""A seek that waits for its commit: what is said meanwhile about what was held before is about nothing any more."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, done, partition_of, queue_of, reasons
from tests.core.cluster_world import ClusterWorld
from tests.core.test_min_in_sync import NOTICED, made
from tests.core.test_partitions_elsewhere import hold_back, hold_each, mail
from tests.core.world import World
from zmqmq.core.admin_commands import Done, Seek
from zmqmq.core.commands import Lot, Recalled, Settle, Settled, Settlement, Subscribed

VALUES = [b"1", b"2", b"3"]


def seeking() -> tuple[ClusterWorld, Consumer, Lot, bytes]:
    """A consumer holds three messages, the group is to have everything again, and too few replicas are in sync to confirm that."""
    cluster = made(min_in_sync=2)
    leader = cluster["a"]
    Producer(leader).send(*VALUES, key=b"k")
    consumer = Consumer(leader, timeout=300.0)
    lot = consumer.take()
    for name in "bc":
        cluster[name].die()
    cluster.pass_time(NOTICED)
    operator = leader.connect("operator", timeout=300.0)
    leader.turn((operator, Seek(leader.next_id(), "t", "g", "earliest")))
    return cluster, consumer, lot, operator


def go_on(cluster: ClusterWorld) -> None:
    cluster["b"].start()
    cluster.pass_time(NOTICED)


def test_what_is_settled_before_a_seek_is_committed_is_delivered_again() -> None:
    cluster, consumer, lot, operator = seeking()
    leader = cluster["a"]
    leader.turn((consumer.address, Settle(5, [Settlement(lot.queue, lot.partition, lot.epoch, lot.lease, "ack", lot.offsets)])))
    go_on(cluster)
    answers = leader.take(consumer.address)
    (settled,) = [answer for answer in answers if isinstance(answer, Settled)]
    assert [one.offsets for one in settled.lost] == [lot.offsets]
    assert any(isinstance(answer, Recalled) and answer.offsets == lot.offsets for answer in answers)
    assert [answer.count for answer in leader.take(operator) if isinstance(answer, Done)] == [len(VALUES)]
    assert consumer.values() == VALUES


def test_who_is_lost_before_a_seek_is_committed_has_failed_nothing_that_comes_after_it() -> None:
    cluster, consumer, lot, operator = seeking()
    leader = cluster["a"]
    session = leader.node.context.sessions.at(consumer.address)
    assert session is not None
    session.heard -= 1e6
    leader.pass_time(1.0)
    assert leader.node.context.sessions.at(consumer.address) is None
    go_on(cluster)
    again = Consumer(leader, "other").take()
    assert again.values == VALUES and not again.attempts


def test_until_a_seek_is_committed_nothing_is_given_out_and_explain_says_so() -> None:
    cluster, consumer, lot, operator = seeking()
    leader = cluster["a"]
    assert consumer.values() == [] and queue_of(leader).offer(partition_of(leader).log.committed) == 0
    assert "until that is confirmed" in reasons(leader, operator)["seeking"].text
    leader.turn((operator, Seek(leader.next_id(), "t", "g", "latest")))
    go_on(cluster)
    assert "seeking" not in reasons(leader, operator)
    assert consumer.values() == [] and queue_of(leader).state.lag == 0


def test_what_a_seek_takes_back_while_the_answer_about_it_waits_for_another_partition_is_not_kept() -> None:
    world = World(default_partitions=2)
    consumer, lots = hold_each(world)
    partition = hold_back(world, 1)
    address = world.connect(consumer.name, 2, timeout=200.0)
    world.turn((address, world.subscribe(address, "g", "t", [consumer.holding(lots[number]) for number in range(2)])))
    done(world, world.connect("operator"), Seek(world.next_id(), "t", "g", "latest", partition=0))
    assert mail(world, address, Subscribed) == []
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    assert [lease.kept for answer in mail(world, address, Subscribed) for lease in answer.leases] == [[], lots[1].offsets]
