"""What becomes of leases that consumers bring along."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.acts import Consumer, Producer, done, lag, letters, partition_of, queue_of, refused, settings
from tests.core.world import World
from zmqmq.core.admin_commands import DeleteTopic, Seek
from zmqmq.core.commands import HeldLease, Settle, Settled, Settlement, Subscribe
from zmqmq.core.model import GroupLimits


def restarted(count: int = 4, key: bytes | None = None, **settings: Any) -> tuple[World, Producer, Consumer, list[int], HeldLease]:
    """A broker that has restarted while a consumer held everything."""
    world = World(**settings)
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[f"{index}".encode() for index in range(count)], key=key)
    lot = consumer.take()
    world.crash()
    producer.connect()
    return world, producer, consumer, lot.offsets, consumer.holding(lot)


def test_what_is_presented_twice_is_kept_once() -> None:
    world, producer, consumer, offsets, held = restarted()
    kept = consumer.join([held, held])
    assert kept[0] == kept[1]
    assert kept[0].kept == offsets
    assert queue_of(world).book.held == len(offsets)


def test_holes_among_what_was_brought_along_do_not_stop_the_reading_below_them() -> None:
    world, producer, consumer, offsets, held = restarted(group_limits=GroupLimits(max_holes=1))
    assert consumer.join([HeldLease(0, held.epoch, held.lease, offsets[2:3])])[0].kept == offsets[2:3]
    (lease,) = queue_of(world).book.leases.values()
    queue_of(world).ack(lease, offsets[2:3])
    world.node.context.touch(partition_of(world))
    world.turn()
    assert consumer.values() == [b"0", b"1", b"3"]


def kept_log() -> tuple[World, Producer, Consumer]:
    """A topic that keeps what is settled, so that a seek finds something."""
    world = World(defaults=settings(keep="log"))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", b"2", b"3", key=b"k")
    return world, producer, consumer


@pytest.mark.parametrize("is_written_down", [False, True])
def test_what_a_seek_took_back_is_not_kept_by_who_could_not_be_told(is_written_down: bool) -> None:
    world, producer, consumer = kept_log()
    for _ in range(2):
        consumer.ack(consumer.take(1))
    held = consumer.holding(consumer.take(1))
    done(world, producer.address, Seek(world.next_id(), "t", "g", "earliest", 0.0, None))
    if is_written_down:
        world.node.context.touch(partition_of(world)).snapshot()
        world.turn()
    world.crash()
    producer.connect()
    assert consumer.join([held])[0].kept == []
    assert consumer.values() == [b"1", b"2", b"3"]


def test_nothing_is_kept_or_given_out_while_a_seek_waits_for_its_commit() -> None:
    world, producer, consumer, offsets, held = restarted()
    queue = queue_of(world)
    queue.begin_seek()
    assert consumer.join([held])[0].kept == []
    queue.put_loose(offsets[0], world.wall)
    assert consumer.values() == []
    queue.end_seek()
    assert len(consumer.values()) == len(offsets)


def test_what_was_given_out_after_a_seek_is_kept() -> None:
    world, producer, consumer = kept_log()
    consumer.take(1)
    done(world, producer.address, Seek(world.next_id(), "t", "g", "earliest", 0.0, None))
    lot = consumer.take()
    world.crash()
    producer.connect()
    assert consumer.join([consumer.holding(lot)])[0].kept == lot.offsets


def test_offsets_that_are_no_messages_are_not_kept() -> None:
    world, producer, consumer, offsets, held = restarted()
    kept = consumer.join([HeldLease(0, held.epoch, held.lease, [*offsets, 0, 10_000])])[0]
    assert kept.kept == offsets


def test_a_lease_of_an_epoch_that_never_was_is_not_kept() -> None:
    world, producer, consumer, offsets, held = restarted()
    epoch = partition_of(world).log.epoch
    assert consumer.join([HeldLease(0, epoch + 5, held.lease, offsets)])[0].kept == []
    assert len(consumer.drain()) == len(offsets)


def test_two_consumers_that_present_the_same_message_do_not_both_keep_it() -> None:
    world, producer, consumer, offsets, held = restarted()
    thief = Consumer(world, "thief")
    assert thief.join([held])[0].kept == offsets
    assert consumer.join([held])[0].kept == []
    assert consumer.values() == []


def test_a_key_is_reclaimed_from_its_first_message_and_goes_on_in_order() -> None:
    world, producer, consumer, offsets, held = restarted(key=b"k")
    other = Consumer(world, "other")
    kept = consumer.join([HeldLease(0, held.epoch, held.lease, offsets[:2])])[0]
    assert kept.kept == offsets[:2]
    assert other.values() == []
    assert consumer.values() == [b"2", b"3"]


def test_a_message_that_was_brought_along_and_returned_waits_for_earlier_ones_of_its_key() -> None:
    world, producer, consumer, offsets, held = restarted(key=b"k")
    kept = consumer.join([HeldLease(0, held.epoch, held.lease, offsets[2:3])])[0]
    queue_of(world).release(queue_of(world).book.leases[kept.lease], offsets[2:3], world.wall)
    assert consumer.take(credit=1).values == [b"0"]


@pytest.mark.parametrize("key", [None, b"k"], ids=["without a key", "with a key"])
def test_what_is_presented_again_because_no_answer_came_is_answered_the_same(key: bytes | None) -> None:
    world, producer, consumer, offsets, held = restarted(key=key)
    other = Consumer(world, "other")
    kept = consumer.join([held])
    producer.send(b"later", key=b"another")
    assert other.values() == [b"later"], "reading goes on behind what is held"
    assert consumer.join([held]) == kept
    assert other.values() == []
    consumer.join()
    assert other.values() == [b"0", b"1", b"2", b"3"], "what is not presented goes back"


def test_what_was_settled_before_it_is_presented_again_is_not_kept_again() -> None:
    world, producer, consumer, offsets, held = restarted()
    (kept,) = consumer.join([held])
    world.ask(consumer.address, Settle(world.next_id(), [Settlement(consumer.queue, 0, kept.epoch, kept.lease, "ack", offsets[:1])]), Settled)
    (again,) = consumer.join([held])
    assert (again.lease, again.kept, again.settled) == (kept.lease, offsets[1:], offsets[:1])


def test_what_others_were_given_meanwhile_is_lost() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world, timeout=5.0)
    other = Consumer(world, "other")
    producer.send(b"a", b"b")
    lot = consumer.take(1)
    world.crash()
    producer.connect()
    other.join()
    world.pass_time(6.0)
    assert sorted(other.values()) == [b"a", b"b"]
    kept = consumer.join([consumer.holding(lot)])[0]
    assert (kept.kept, kept.settled, kept.lease) == ([], [], 0)


def test_what_is_kept_can_be_nacked_and_counts_as_one_attempt() -> None:
    world, producer, consumer, offsets, held = restarted(1)
    kept = consumer.join([held])[0]
    lot = queue_of(world).book.leases[kept.lease]
    queue_of(world).nack(lot, offsets, "no", 0.0, world.wall)
    world.node.context.touch(partition_of(world))
    world.turn()
    assert consumer.take().attempts == [2]


def test_a_group_unknown_to_the_partition_keeps_nothing() -> None:
    world = World()
    producer = Producer(world)
    consumer = Consumer(world)
    producer.send(b"a")
    lot = consumer.take()
    world.goodbye(consumer.address)
    fresh = Consumer(world, "fresh", group="new")
    assert fresh.join([consumer.holding(lot)])[0].kept == []
    assert fresh.drain() == [b"a"]
    assert lag(world, producer.address, "new").lag == 0


def test_nothing_of_a_deleted_topic_is_presented_to_another_one_of_its_name() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"old")
    held = consumer.holding(consumer.take())
    old = partition_of(world).topic.topic_id
    done(world, producer.address, DeleteTopic(world.next_id(), "t"))
    successor, other = Producer(world, "successor", 8), Consumer(world, "other")
    successor.send(b"new")
    world.crash()
    successor.connect()
    other.join()
    address = world.connect("c", 2)
    said = refused(world, address, Subscribe(world.next_id(), "t", "g", held=[held], topic_id=old))
    assert (said.code, other.values()) == ("NotLeader", [b"new"])


def test_a_nack_whose_answer_got_lost_with_the_leader_is_answered_and_counts_once() -> None:
    world = World(defaults=settings(max_attempts=2))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    lot = consumer.take()
    world.turn((consumer.address, world.settle(lot, "nack", delay=0.0)))
    world.crash()
    producer.connect()
    (kept,) = consumer.join([consumer.holding(lot)])
    assert (kept.lease, kept.kept, kept.failed) == (0, [], lot.offsets)
    again = consumer.take()
    assert again.attempts == [2]
    world.crash()
    producer.connect()
    assert consumer.join([consumer.holding(again)])[0].kept == again.offsets, "of this delivery no failure is in the log"
    assert letters(world, producer.address) == []


def test_a_nack_whose_answer_got_lost_with_the_connection_is_answered_on_the_next_one() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b")
    lot = consumer.take()
    world.turn((consumer.address, world.settle(lot, "nack", lot.offsets[:1])))
    (kept,) = consumer.join([consumer.holding(lot)])
    assert (kept.kept, kept.failed) == (lot.offsets[1:], lot.offsets[:1])


def test_what_went_back_with_a_failure_that_its_consumer_has_not_heard_of_is_not_kept() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b", b"c", key=b"k")
    lots = [consumer.take(1) for _ in range(3)]
    world.turn((consumer.address, world.settle(lots[1], "nack", delay=0.0)))
    world.crash()
    producer.connect()
    kept = consumer.join([consumer.holding(lot) for lot in lots])
    assert [entry.kept for entry in kept] == [lots[0].offsets, [], []]
    assert consumer.values() == [b"b", b"c"]
