"""The promises of the queue, each told as a small story of producers and consumers."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer, done, lag, letters, queue_of, refused, settings
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Delivery, Produced, Pull, Settle, Settled, Settlement

# --- A retry is not a duplicate ------------------------------------------------------------------------------------


def test_a_batch_sent_again_gets_its_first_offset_and_is_stored_once() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    batch = producer.batch(b"a", b"b")
    first = world.ask(producer.address, batch, Produced)
    producer.send(b"c")
    assert world.ask(producer.address, batch, Produced).offset == first.offset
    assert consumer.drain() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("seconds", [0.0, 3.0, 30.0])
def test_a_batch_sent_again_after_a_restart_gets_its_first_offset(seconds: float) -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    batches = [producer.batch(f"{index}".encode()) for index in range(5)]
    offsets = [world.ask(producer.address, batch, Produced).offset for batch in batches]
    world.pass_time(seconds)
    world.crash()
    producer.connect()
    assert [world.ask(producer.address, batch, Produced).offset for batch in batches] == offsets
    consumer.join()
    assert len(consumer.drain()) == 5


def test_a_producer_is_remembered_after_its_messages_are_consumed_and_deleted() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    batch = producer.batch(b"a")
    offset = world.ask(producer.address, batch, Produced).offset
    consumer.drain()
    world.pass_time(30)
    world.crash()
    producer.connect()
    assert world.ask(producer.address, batch, Produced).offset == offset
    consumer.join()
    assert consumer.drain() == []


def test_only_the_new_part_of_a_partly_repeated_batch_is_stored() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b")
    again = world.produce([b"b", b"c"], sequence=1)
    world.ask(producer.address, again, Produced)
    assert consumer.drain() == [b"a", b"b", b"c"]


def test_a_gap_is_refused_unless_the_producer_gave_it_up() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    assert refused(world, producer.address, world.produce([b"c"], sequence=2, oldest=1)).code == "OutOfOrder"
    world.ask(producer.address, world.produce([b"c"], sequence=2, oldest=2), Produced)
    assert consumer.drain() == [b"a", b"c"]


def test_an_idle_producer_is_forgotten_after_its_time() -> None:
    world = World(producer_idle_max=100.0)
    producer = Producer(world)
    producer.send(b"a")
    for _ in range(20):
        world.pass_time(10)
        world.ping(producer.address)
    assert len(world.node.catalogue.get("t").partitions[0].producers) == 0


# --- To one at a time, until it is settled -------------------------------------------------------------------------


def test_each_message_goes_to_one_consumer_of_the_group_and_to_every_group() -> None:
    world = World()
    producer = Producer(world)
    first, second, other = Consumer(world, "a"), Consumer(world, "b"), Consumer(world, "x", group="other")
    producer.send(*[f"{index}".encode() for index in range(10)])
    got = first.values(6) + second.values(6)
    assert sorted(got) == sorted(f"{index}".encode() for index in range(10))
    assert len(other.drain()) == 10
    assert (lag(world, producer.address).lag, lag(world, producer.address, "other").lag) == (10, 0)


def test_an_unsettled_message_is_not_given_to_anybody_else() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    consumer.take()
    world.pass_time(60)
    assert Consumer(world, "other").values() == []


def test_a_settle_by_somebody_else_or_on_an_old_lease_is_lost_and_changes_nothing() -> None:
    world = World()
    producer, consumer, thief = Producer(world), Consumer(world), Consumer(world, "thief")
    offset = producer.send(b"a")
    lot = consumer.take()
    assert [entry.offsets for entry in thief.settle(lot, "ack", [offset])] == [[offset]]
    assert consumer.settle(lot, "release") == []
    again = consumer.take()
    assert [entry.offsets for entry in consumer.settle(lot, "ack", [offset])] == [[offset]]
    assert consumer.ack(again) == []
    assert [entry.offsets for entry in consumer.settle(again, "ack", [offset])] == [[offset]]


def test_a_settle_with_another_epoch_is_lost() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    lot = consumer.take()
    stale = Settle(world.next_id(), [Settlement(lot.queue, 0, lot.epoch + 1, lot.lease, "ack")])
    assert world.ask(consumer.address, stale, Settled).lost[0].offsets is None
    assert lag(world, producer.address).lag == 1


def test_settling_one_offset_twice_in_a_request_counts_once() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    offset = producer.send(b"a", b"b")
    consumer.ack(consumer.take(), [offset, offset])
    assert lag(world, producer.address).lag == 1


# --- Order per key -------------------------------------------------------------------------------------------------


def test_a_nacked_message_holds_back_its_own_key_and_no_other() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a1", b"b1", b"a2", b"b2", keys=[b"a", b"b", b"a", b"b"])
    lot = consumer.take()
    consumer.nack(lot, [lot.offsets[0]], delay=5.0)
    assert consumer.recalled() == [(lot.lease, [lot.offsets[2]])], "the later one of the key went back with it"
    consumer.ack(lot, [lot.offsets[1], lot.offsets[3]])
    producer.send(b"a3", b"b3", keys=[b"a", b"b"])
    assert consumer.drain() == [b"b3"]
    world.pass_time(5.0)
    again = consumer.take()
    assert (again.values, again.attempts) == ([b"a1"], [2]) or (again.values[0], (again.attempts or [0])[0]) == (b"a1", 2)
    consumer.ack(again)
    assert [b"a1", b"a2", b"a3"] == again.values + consumer.drain()


def test_a_key_goes_to_another_consumer_only_after_the_commit() -> None:
    world = World()
    producer, first, second = Producer(world), Consumer(world, "a"), Consumer(world, "b")
    producer.send(b"1", b"2", key=b"k")
    lot = first.take(1)
    node = world.node
    node.begin(world.now, world.wall)
    node.receive(first.address, world.settle(lot, "ack"))
    node.receive(second.address, Pull(1, 10, 1 << 20))
    gate = queue_of(world).gates.get(b"k")
    assert gate is not None and gate.held == 1, "settled, and not committed"
    assert node.serving.serve() is False
    assert not any(isinstance(command, Delivery) for _, command in node.take_output().sends)
    world.finish()
    assert second.values() == [b"2"]


def test_one_consumer_may_have_several_messages_of_a_key_and_others_none() -> None:
    world = World()
    producer, first, second = Producer(world), Consumer(world, "a"), Consumer(world, "b")
    producer.send(b"1", b"2", b"3", key=b"k")
    assert first.values(2) == [b"1", b"2"]
    assert second.values() == []
    assert first.values() == [b"3"]


def test_a_failed_message_comes_before_the_later_ones_of_its_key_whoever_gets_them() -> None:
    world = World()
    producer, first, second = Producer(world), Consumer(world, "a"), Consumer(world, "b")
    producer.send(b"1", b"2", b"3", key=b"k")
    lot = first.take(3)
    first.settle(lot, "release", [lot.offsets[1]])
    first.ack(lot, [lot.offsets[0]])
    assert second.drain() == [b"2", b"3"]


def test_messages_of_a_key_stay_in_order_over_a_restart() -> None:
    world = World()
    producer, first, second = Producer(world), Consumer(world, "a", timeout=5.0), Consumer(world, "b")
    producer.send(b"1", b"2", b"3", key=b"k")
    held = first.take(1)
    world.crash()
    producer.connect()
    assert second.join() == [] and second.values() == []
    kept = first.join([first.holding(held)])
    assert kept[0].kept == held.offsets
    assert second.values() == [], "the key is with the first consumer"
    assert first.drain() == [b"2", b"3"]


# --- Nack, backoff, dead letters -----------------------------------------------------------------------------------


def test_a_nack_counts_and_waits_longer_each_time_until_it_is_a_dead_letter() -> None:
    world = World(defaults=settings(retry_delay=1.0, max_attempts=3))
    producer, consumer = Producer(world), Consumer(world)
    offset = producer.send(b"bad", key=b"k")
    waits = []
    for attempt in (1, 2, 3):
        lot = consumer.take()
        assert (lot.attempts or [1]) == [attempt]
        consumer.nack(lot, reason=f"no {attempt}")
        begin = world.now
        while attempt < 3 and queue_of(world).offer(1 << 40) == (1 << 40) - queue_of(world).cursor:
            world.pass_time(0.1)
        waits.append(world.now - begin)
    assert 0.7 < waits[0] < 1.4 and 1.5 < waits[1] < 2.6
    letter = letters(world, producer.address)[0]
    assert (letter.offset, letter.attempts, letter.reason, letter.consumer, letter.value, letter.key) == (offset, 3, "no 3", "c", b"bad", b"k")
    assert lag(world, producer.address).lag == 0


def test_a_nack_with_its_own_delay_comes_back_after_just_that() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    consumer.nack(consumer.take(), delay=7.0)
    world.pass_time(6.9)
    assert consumer.values() == []
    world.pass_time(0.2)
    assert consumer.values() == [b"a"]


def test_a_release_comes_back_at_once_and_is_not_counted() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    for _ in range(20):
        lot = consumer.take()
        assert lot.attempts in (None, [1])
        consumer.settle(lot, "release")


def test_a_rejected_message_is_a_dead_letter_at_once_and_its_key_goes_on() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"bad", b"good", key=b"k")
    lot = consumer.take(1)
    consumer.settle(lot, "reject", reason="not mine")
    assert [letter.reason for letter in letters(world, producer.address)] == ["not mine"]
    assert consumer.drain() == [b"good"]


def test_dead_letters_are_replayed_with_their_attempts_forgotten() -> None:
    world = World(defaults=settings(max_attempts=1))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b")
    consumer.nack(consumer.take())
    assert (lag(world, producer.address).dead, lag(world, producer.address).lag) == (2, 0)
    assert done(world, producer.address, admin.Replay(world.next_id(), "t", "g")) == 2
    assert lag(world, producer.address).dead == 0
    lot = consumer.take()
    assert sorted(lot.values) == [b"a", b"b"] and lot.attempts in (None, [1, 1])
    consumer.ack(lot)
    world.pass_time(10)
    assert (letters(world, producer.address), lag(world, producer.address).lag) == ([], 0)


def test_chosen_letters_are_replayed_and_others_purged() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    first = producer.send(b"a", b"b", b"c")
    consumer.settle(consumer.take(), "reject")
    assert done(world, producer.address, admin.Replay(world.next_id(), "t", "g", 0, [first + 1, 999])) == 1
    assert done(world, producer.address, admin.Purge(world.next_id(), "t", "g", None, [first])) == 1
    assert [letter.offset for letter in letters(world, producer.address)] == [first + 2]
    assert consumer.drain() == [b"b"]


def test_dead_letters_outlive_the_deletion_of_the_log_and_a_restart() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"bad")
    consumer.settle(consumer.take(), "reject")
    producer.send(*[b"x"] * 50)
    consumer.drain()
    world.pass_time(30)
    world.crash()
    producer.connect()
    consumer.join()
    assert [letter.value for letter in letters(world, producer.address)] == [b"bad"]
    done(world, producer.address, admin.Replay(world.next_id(), "t", "g"))
    assert consumer.drain() == [b"bad"]


def test_beyond_max_dead_letters_the_oldest_are_dropped() -> None:
    world = World(defaults=settings(max_dead_letters=3))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[f"{index}".encode() for index in range(10)])
    consumer.settle(consumer.take(), "reject")
    world.pass_time(10)
    assert [letter.value for letter in letters(world, producer.address)] == [b"7", b"8", b"9"]
    assert lag(world, producer.address).dead == 3
