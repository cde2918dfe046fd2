"""Fairness, shares and damage: what a pull picks."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, done, lag, letters, queue_of
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Delivery, Pull
from zmqmq.core.dispatch import SCAN_MAX
from zmqmq.core.model import GroupLimits, Limits


def damage(world: World, offset: int) -> None:
    """Flips the value of a message on the disk."""
    for log in world.disk.logs.values():
        if offset in log.records:
            log.records[offset].value = b"not what it was"


def test_a_blocked_key_with_twenty_thousand_messages_starves_nobody() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    producer.send(b"blocked", key=b"hot")
    held = consumer.take()
    for _ in range(20):
        producer.send(*[b"hot"] * 1000, key=b"hot")
    producer.send(b"1", b"2", keys=[b"cold", None])
    assert other.values() == [b"1", b"2"]
    producer.send(b"3", key=b"cool")
    assert other.values() == [b"3"]
    consumer.ack(held)
    assert other.values(10) == [b"hot"] * 10


def test_reading_past_more_than_a_scan_goes_on_in_the_next_turn() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    producer.send(b"blocked", key=b"hot")
    consumer.take()
    for _ in range(2 * SCAN_MAX // 5000 + 1):
        producer.send(*[b"hot"] * 5000, key=b"hot")
    producer.send(b"cold", key=b"cold")
    world.node.begin(world.now, world.wall)
    world.node.receive(other.address, Pull(5, 10, 1 << 20))
    world.finish()
    assert world.take(other.address) == [], "neither a delivery nor an empty answer yet"
    assert world.node.deadline() <= world.now
    world.turn()
    assert [answer.lots[0].values for answer in world.take(other.address) if isinstance(answer, Delivery)] == [[b"cold"]]


def test_partitions_are_served_by_turn() -> None:
    world = World(default_partitions=4)
    producer, consumer = Producer(world), Consumer(world)
    for partition in range(4):
        producer.send(*[f"{partition}".encode()] * 100, partition=partition)
    lots = consumer.pull(40)
    assert sorted((lot.partition, len(lot.offsets)) for lot in lots) == [(0, 10), (1, 10), (2, 10), (3, 10)]
    singles = [consumer.take(1).partition for _ in range(8)]
    assert {partition: singles.count(partition) for partition in range(4)} == {0: 2, 1: 2, 2: 2, 3: 2}


def test_one_empty_partition_leaves_its_share_to_the_others() -> None:
    world = World(default_partitions=2)
    producer, consumer = Producer(world), Consumer(world)
    consumer.pull()
    producer.send(*[b"x"] * 50, partition=1)
    assert len(consumer.values(40)) == 40


def test_two_topics_in_one_session_share_it() -> None:
    world = World()
    producer, second = Producer(world), Producer(world, "second", 8, topic="u")
    consumer = Consumer(world)
    world.turn((consumer.address, world.subscribe(consumer.address, topic="u")))
    world.take(consumer.address)
    producer.send(*[b"t"] * 100)
    second.send(*[b"u"] * 100)
    values = consumer.values(20)
    assert (values.count(b"t"), values.count(b"u")) == (10, 10)
    singles = [consumer.values(1)[0] for _ in range(10)]
    assert 3 <= singles.count(b"t") <= 7


def test_several_ready_keys_share_a_pull() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    producer.send(b"a", b"b", keys=[b"a", b"b"])
    lot = consumer.take()
    for _ in range(20):
        producer.send(b"a", b"b", keys=[b"a", b"b"])
    assert other.values() == []
    consumer.ack(lot)
    values = other.values(8)
    assert values.count(b"a") == 4 and values.count(b"b") == 4


def test_what_came_back_and_what_is_new_both_get_their_part() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[b"back"] * 50)
    consumer.settle(consumer.take(), "release")
    producer.send(*[b"new"] * 50)
    values = consumer.values(20)
    assert (values.count(b"back"), values.count(b"new")) == (10, 10)


def test_a_lots_offsets_ascend_whatever_it_is_made_of() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[f"{index}".encode() for index in range(20)], keys=[[b"a", b"b", None][index % 3] for index in range(20)])
    lot = consumer.take(10)
    consumer.settle(lot, "release", lot.offsets[3:])
    for again in consumer.pull(15):
        assert again.offsets == sorted(again.offsets)


def test_a_pull_is_bounded_by_bytes_but_gives_at_least_one_message() -> None:
    world = World(limits=Limits(max_batch_bytes=4096, max_message_bytes=65536))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"x" * 10_000)
    for _ in range(5):
        producer.send(b"y" * 2000)
    assert [len(value) for value in consumer.values()] == [10_000]
    assert len(consumer.values()) in (2, 3)


def test_too_many_holes_stop_reading_on_until_the_oldest_settle() -> None:
    world = World(group_limits=GroupLimits(max_holes=5))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[f"{index}".encode() for index in range(30)])
    lot = consumer.take(12)
    consumer.ack(lot, lot.offsets[1::2])
    assert queue_of(world).is_full() and consumer.values() == []
    consumer.ack(lot, lot.offsets[::2])
    assert len(consumer.values()) == 18


def test_holes_that_were_only_looked_at_never_stop_a_queue() -> None:
    world = World(group_limits=GroupLimits(max_holes=3))
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    elsewhere = Consumer(world, "elsewhere", group="h")
    producer.send(b"hot", b"hot", key=b"hot")
    held = consumer.take(1)
    elsewhere.drain()
    for _ in range(10):  # the other group's operations lie between the messages
        producer.send(b"x")
        elsewhere.drain()
    other.ack(other.take(1))
    consumer.ack(held)
    assert sorted(other.drain()) == [b"hot"] + [b"x"] * 9
    assert lag(world, producer.address).lag == 0


def test_a_damaged_message_is_never_delivered_and_becomes_a_dead_letter() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    first = producer.send(b"1", b"2", b"3", key=b"k")
    damage(world, first + 1)
    assert consumer.drain() == [b"1", b"3"]
    assert [(letter.offset, "checksum" in letter.reason) for letter in letters(world, producer.address)] == [(first + 1, True)]
    assert lag(world, producer.address).lag == 0


def test_a_message_damaged_while_it_waits_for_its_retry_becomes_a_dead_letter_and_its_key_goes_on() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    first = producer.send(b"1", b"2", key=b"k")
    consumer.nack(consumer.take(1), delay=1.0)
    damage(world, first)
    world.pass_time(2)
    assert consumer.drain() == [b"2"]
    assert [letter.offset for letter in letters(world, producer.address)] == [first]


def test_replaying_a_damaged_letter_makes_a_letter_of_it_again() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    damage(world, producer.send(b"1"))
    assert consumer.drain() == []
    done(world, producer.address, admin.Replay(world.next_id(), "t", "g"))
    assert consumer.drain() == []
    assert (len(letters(world, producer.address)), lag(world, producer.address).dead, lag(world, producer.address).lag) == (1, 1, 0)


def test_damage_to_a_message_that_is_settled_disturbs_nobody() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    first = producer.send(b"1", b"2", b"3")
    consumer.ack(consumer.take(), [first + 1])
    damage(world, first + 1)
    world.crash()
    producer.connect()
    consumer.join()
    assert consumer.drain() == [b"1", b"3"]
    assert lag(world, producer.address).dead == 0


def test_what_waited_is_bounded_by_bytes_too_and_stays_in_order() -> None:
    world = World(limits=Limits(max_batch_bytes=5000, max_message_bytes=5000))
    producer, consumer = Producer(world), Consumer(world)
    values = [f"{index:04}".encode() * 250 for index in range(40)]
    for index, value in enumerate(values):
        producer.send(value, key=b"k" if index % 2 else None)
    lots = [lot for _ in range(10) for lot in consumer.pull()]
    consumer.settle(lots[0], "release")
    for lot in lots[1:]:
        consumer.settle(lot, "release")
    again: list[bytes] = []
    while lots := consumer.pull():
        assert sum(len(value) for lot in lots for value in lot.values) <= 6000
        for lot in lots:
            again += lot.values
            consumer.ack(lot)
    assert sorted(again) == values
    assert [value for value in again if value in values[1::2]] == values[1::2]
