"""What is deleted, what is kept, and what a full topic says."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, done, lag, letters, partition_of, refused, settings
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.retention import STEP_RECORDS, plan_trim


def stored(world: World) -> int:
    """Messages on the disk."""
    return sum(log.messages(0) != [] and len(log.messages(0)) for log in world.disk.logs.values())


def test_a_consumed_message_goes_when_every_group_has_settled_it() -> None:
    world = World()
    producer, first, second = Producer(world), Consumer(world, "a"), Consumer(world, "b", group="other")
    producer.send(b"1", b"2", b"3")
    first.drain()
    world.pass_time(30)
    assert stored(world) == 3, "the other group has not seen them"
    second.drain()
    world.pass_time(30)
    assert (stored(world), partition_of(world).messages, partition_of(world).size) == (0, 0, 0)


def test_nothing_is_deleted_while_there_is_no_group() -> None:
    world = World()
    Producer(world).send(b"1", b"2")
    world.pass_time(60)
    assert stored(world) == 2


def test_an_unsettled_message_keeps_what_follows_it() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", b"2", b"3")
    lot = consumer.take()
    consumer.ack(lot, lot.offsets[1:])
    world.pass_time(30)
    assert stored(world) == 3


def test_a_kept_log_keeps_what_is_consumed() -> None:
    world = World(defaults=settings(keep="log"))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", b"2")
    consumer.drain()
    world.pass_time(60)
    assert stored(world) == 2


def test_a_kept_log_drops_the_oldest_beyond_max_bytes_and_groups_know_it() -> None:
    world = World(defaults=settings(keep="log", max_bytes=4096))
    producer = Producer(world)
    consumer = Consumer(world)
    for _ in range(20):
        producer.send(b"x" * 1000)
    world.pass_time(30)
    assert partition_of(world).size <= 4096
    assert lag(world, producer.address).lag == partition_of(world).messages == 4
    assert len(consumer.drain()) == 4
    assert lag(world, producer.address).lag == 0


def test_messages_older_than_max_age_go_settled_or_not() -> None:
    world = World(defaults=settings(max_age=10.0))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"old", b"held")
    held = consumer.take(1)
    world.pass_time(9)
    producer.send(b"young")
    world.pass_time(4)
    assert lag(world, producer.address).lag == 1
    assert consumer.drain() == [b"young"]
    consumer.ack(held)
    assert lag(world, producer.address).lag == 0


def test_a_full_topic_refuses_and_recovers_when_something_is_consumed() -> None:
    world = World(defaults=settings(max_bytes=4096))
    producer, consumer = Producer(world), Consumer(world)
    for _ in range(4):
        producer.send(b"x" * 1000)
    batch = producer.batch(b"y" * 1000)
    answer = refused(world, producer.address, batch)
    assert (answer.code, answer.details["topic"]) == ("TopicFull", "t") and "consume" in answer.hint
    consumer.drain()
    world.pass_time(10)
    world.ping(producer.address)
    world.turn((producer.address, batch))
    assert consumer.drain() == [b"y" * 1000]


def test_dead_letters_stay_when_the_log_around_them_goes() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", b"bad", b"2")
    lot = consumer.take()
    consumer.settle(lot, "reject", [lot.offsets[1]])
    consumer.ack(lot, [lot.offsets[0], lot.offsets[2]])
    world.pass_time(30)
    assert stored(world) == 1
    assert [letter.value for letter in letters(world, producer.address)] == [b"bad"]
    done(world, producer.address, admin.Purge(world.next_id(), "t", "g"))
    world.pass_time(5)
    assert stored(world) == 0


def test_a_delayed_message_stays_when_the_log_around_it_goes() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", b"later", b"2", delays=[None, 100.0, None])
    consumer.drain()
    world.pass_time(60)
    assert consumer.drain() == []
    world.pass_time(60)
    assert consumer.drain() == [b"later"]


def test_deletion_runs_in_bounded_steps_until_nothing_is_left() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    count = 2 * STEP_RECORDS + 500
    for _ in range(count // 500):
        producer.send(*[b"x"] * 500)
    consumer.drain(300)
    world.pass_time(3)
    plan = plan_trim(partition_of(world), world.storage.reader, world.wall + 10, idle=True)
    assert plan is None or plan.start - partition_of(world).log.start <= STEP_RECORDS
    world.pass_time(30)
    assert stored(world) == 0


def test_a_busy_partition_deletes_only_when_it_is_worth_it() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    for _ in range(30):
        producer.send(b"x")
        consumer.drain()
        world.pass_time(0.3)
    assert stored(world) > 0
    world.pass_time(10)
    assert stored(world) == 0


def test_only_what_a_snapshot_covers_is_deleted() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[b"x"] * 10)
    consumer.drain()
    partition = partition_of(world)
    assert partition.applied < partition.log.committed
    plan = plan_trim(partition, world.storage.reader, world.wall + 10, idle=True)
    assert plan is None or plan.start <= partition.applied


def test_deletion_is_the_same_after_a_restart() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[b"x"] * 1500)
    consumer.drain()
    producer.send(b"left")
    world.pass_time(30)
    before = (partition_of(world).log.start, partition_of(world).messages, partition_of(world).size)
    world.crash()
    producer.connect()
    assert (partition_of(world).log.start, partition_of(world).messages, partition_of(world).size) == before
    consumer.join()
    assert consumer.drain() == [b"left"]


def test_many_operations_in_a_row_do_not_end_a_deletion_that_goes_by_small_steps() -> None:
    world = World(delete_bytes=5_000)
    producer, consumer = Producer(world), Consumer(world)
    for _ in range(60):
        world.ask(producer.address, admin.Seek(world.next_id(), "t", "g", "latest"), admin.Done)
    for _ in range(20):
        producer.send(b"x" * 4_000)
    consumer.drain()
    world.pass_time(60)
    assert (stored(world), partition_of(world).messages) == (0, 0)
