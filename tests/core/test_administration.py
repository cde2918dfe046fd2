"""What administrators change: topics, groups, positions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.acts import Consumer, Producer, done, lag, letters, partition_of, refused, settings
from tests.core.world import WALL, World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Described, Produced, Recalled, Refused, Subscribed

# --- Seek ----------------------------------------------------------------------------------------------------------


def seek(world: World, address: bytes, to: Any, value: float = 0.0, partition: int | None = None) -> int:
    return done(world, address, admin.Seek(world.next_id(), "t", "g", to, value, partition))


def kept_log() -> tuple[World, Producer, Consumer, list[int]]:
    """A topic that is kept, with one message per second, all consumed."""
    world = World(defaults=settings(keep="log"))
    producer, consumer = Producer(world), Consumer(world)
    offsets = []
    for index in range(5):
        offsets.append(producer.send(f"{index}".encode()))
        world.pass_time(1.0)
    consumer.drain()
    return world, producer, consumer, offsets


def test_seek_to_the_earliest_delivers_everything_again() -> None:
    world, producer, consumer, _ = kept_log()
    assert seek(world, producer.address, "earliest") == 5
    assert lag(world, producer.address).lag == 5
    assert consumer.drain() == [b"0", b"1", b"2", b"3", b"4"]


def test_seek_to_the_latest_skips_everything() -> None:
    world, producer, consumer, _ = kept_log()
    producer.send(b"skipped")
    assert seek(world, producer.address, "latest") == 0
    producer.send(b"new")
    assert consumer.drain() == [b"new"]


def test_seek_to_an_offset_goes_there() -> None:
    world, producer, consumer, offsets = kept_log()
    assert seek(world, producer.address, "offset", offsets[3]) == 2
    assert consumer.drain() == [b"3", b"4"]


@pytest.mark.parametrize("value, left", [(-5.0, 5), (1e12, 0)])
def test_seek_to_an_offset_outside_of_the_log_goes_to_its_end(value: float, left: int) -> None:
    world, producer, consumer, _ = kept_log()
    assert seek(world, producer.address, "offset", max(value, -1.0)) == left
    assert len(consumer.drain()) == left


@pytest.mark.parametrize("seconds, left", [(-100.0, 5), (102.0 - 0.5, 3), (1e6, 0)])
def test_seek_to_a_time_goes_to_the_first_message_accepted_since(seconds: float, left: int) -> None:
    world, producer, consumer, _ = kept_log()
    assert seek(world, producer.address, "time", WALL + seconds) == left
    assert len(consumer.drain()) == left


def test_a_seek_recalls_what_is_held() -> None:
    world, producer, consumer, _ = kept_log()
    producer.send(b"held", key=b"k")
    lot = consumer.take()
    producer.send(b"held too", key=b"k")
    later = consumer.take()
    seek(world, producer.address, "latest")
    assert consumer.recalled() == [(later.lease, later.offsets), (lot.lease, lot.offsets)], "the later one of the key first"
    assert consumer.ack(lot, lot.offsets)[0].offsets == lot.offsets


def test_a_seek_survives_a_restart() -> None:
    world, producer, consumer, offsets = kept_log()
    seek(world, producer.address, "offset", offsets[2])
    world.crash()
    producer.connect()
    consumer.join()
    assert lag(world, producer.address).lag == 3
    assert consumer.drain() == [b"2", b"3", b"4"]


def test_a_seek_of_one_partition_leaves_the_others() -> None:
    world = World(default_partitions=2)
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    producer.send(b"b", partition=1)
    consumer.drain()
    assert seek(world, producer.address, "earliest", partition=1) == 1
    assert consumer.drain() == [b"b"]
    assert refused(world, producer.address, admin.Seek(world.next_id(), "t", "g", "earliest", 0.0, 2)).code == "InvalidValue"


def test_a_seek_forgets_failed_attempts() -> None:
    world, producer, consumer, _ = kept_log()
    producer.send(b"bad")
    consumer.nack(consumer.take(), delay=1000.0)
    seek(world, producer.address, "earliest")
    lot = consumer.take()
    assert len(lot.values) == 6 and lot.attempts is None


# --- Topics --------------------------------------------------------------------------------------------------------


def create(world: World, name: str, partitions: int = 1, replicas: int = 1, **changes: Any) -> admin.CreateTopic:
    return admin.CreateTopic(world.next_id(), name, partitions, replicas, changes)


def test_a_topic_is_created_once_and_the_same_one_is_no_error() -> None:
    world = World()
    address = world.connect("a")
    first = world.ask(address, create(world, "x", 3), Described)
    assert len(first.placements) == 3
    assert world.ask(address, create(world, "x", 3), Described).topic_id == first.topic_id
    assert refused(world, address, create(world, "x", 4)).code == "TopicExists"
    assert refused(world, address, create(world, "x", 3, max_attempts=9)).code == "TopicExists"


@pytest.mark.parametrize(
    "name, partitions, replicas, code",
    [
        ("", 1, 1, "InvalidName"),
        ("a/b", 1, 1, "InvalidName"),
        ("a b", 1, 1, "InvalidName"),
        ("a\0b", 1, 1, "InvalidName"),
        ("x" * 201, 1, 1, "InvalidName"),
        ("ok", -1, 1, "InvalidValue"),
        ("ok", 1001, 1, "InvalidValue"),
        ("ok", 1, 2, "InvalidValue"),
        ("T", 1, 1, "InvalidName"),
    ],
)
def test_a_bad_topic_is_refused_and_nothing_is_made(name: str, partitions: int, replicas: int, code: str) -> None:
    world = World()
    producer = Producer(world)
    assert refused(world, producer.address, create(world, name, partitions, replicas)).code == code
    assert [topic.name for topic in world.storage.topics()] == ["t"]


def test_altering_changes_the_named_settings_at_once_and_for_ever() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    changed = world.ask(producer.address, admin.AlterTopic(world.next_id(), "t", {"max_attempts": 1}), Described)
    assert (changed.settings.max_attempts, changed.settings.retry_delay) == (1, 1.0)
    producer.send(b"a")
    consumer.nack(consumer.take())
    assert lag(world, producer.address).dead == 1
    world.crash()
    producer.connect()
    assert world.topic(producer.address).settings.max_attempts == 1


@pytest.mark.parametrize("changes", [{"nothing": 1}, {"max_attempts": 0}, {"keep": "for ever"}, {"retry_delay": -1.0}, {"max_bytes": 1}])
def test_altering_to_a_bad_setting_is_refused_by_its_name(changes: dict[str, Any]) -> None:
    world = World()
    producer = Producer(world)
    answer = refused(world, producer.address, admin.AlterTopic(world.next_id(), "t", changes))
    assert answer.code == "InvalidValue" and next(iter(changes)) in answer.message


def test_a_deleted_topic_is_gone_with_everything_and_its_consumers_are_told() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"old")
    done(world, producer.address, admin.DeleteTopic(world.next_id(), "t"))
    told = [answer for answer in world.take(consumer.address) if isinstance(answer, Refused)]
    assert [(answer.id, answer.code, answer.details["group"]) for answer in told] == [(0, "UnknownTopic", "g")]
    assert refused(world, producer.address, producer.batch(b"x")).code == "UnknownTopic"
    assert consumer.pull() == []
    assert (world.storage.topics(), world.storage.logs()) == ([], [])


def test_a_topic_made_anew_under_its_old_name_is_another_one() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    before = world.topic(producer.address)
    producer.send(b"old")
    done(world, producer.address, admin.DeleteTopic(world.next_id(), "t"))
    assert world.topic(producer.address).topic_id != before.topic_id
    world.ask(producer.address, world.produce([b"new"]), Produced)
    consumer.join()
    assert consumer.drain() == [b"new"]


def test_unknown_topics_and_groups_are_named() -> None:
    world = World()
    producer = Producer(world)
    for command in (admin.DeleteTopic(1, "x"), admin.AskLag(2, "x", "g"), admin.DescribePartitions(3, "x"), admin.ListGroups(4, "x")):
        assert refused(world, producer.address, command).code == "UnknownTopic"
    Consumer(world, group="known")
    for group_command in (admin.AskLag(5, "t", "g"), admin.Seek(6, "t", "g", "latest"), admin.AskExplain(7, "t", "g"), admin.DeleteGroup(8, "t", "g")):
        answer = refused(world, producer.address, group_command)
        assert answer.code == "UnknownGroup" and "known" in answer.hint


# --- Groups --------------------------------------------------------------------------------------------------------


def test_a_group_in_use_is_not_deleted() -> None:
    world = World()
    producer = Producer(world)
    Consumer(world)
    assert refused(world, producer.address, admin.DeleteGroup(world.next_id(), "t", "g")).code == "Overloaded"


def test_a_group_that_somebody_is_joining_is_not_deleted() -> None:
    world = World()
    producer, address = Producer(world), world.connect("c")
    partition = partition_of(world)
    end = partition.log.committed
    partition.log.agree = lambda durable: end
    world.turn((address, world.subscribe(address)))
    answer = refused(world, producer.address, admin.DeleteGroup(world.next_id(), "t", "g"))
    assert answer.code == "UnknownGroup", "it is not there yet"
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    world.turn()
    other = world.connect("d")
    world.goodbye(address)
    end = partition.log.committed
    partition.log.agree = lambda durable: end
    world.turn((other, world.subscribe(other)))
    answer = refused(world, producer.address, admin.DeleteGroup(world.next_id(), "t", "g"))
    assert answer.code == "Overloaded" and "1 consumers are in the group" in answer.message
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    world.turn()
    assert [type(answer).__name__ for answer in world.take(other)] == ["Subscribed"]


def test_a_group_whose_consumers_may_come_back_after_a_restart_is_not_deleted() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world, timeout=5.0)
    producer.send(b"a")
    lot = consumer.take()
    world.crash()
    producer.connect()
    answer = refused(world, producer.address, admin.DeleteGroup(world.next_id(), "t", "g"))
    assert answer.code == "Overloaded" and "given up" in answer.hint
    assert consumer.join([consumer.holding(lot)])[0].kept == lot.offsets


def test_a_group_whose_consumers_did_not_come_back_after_a_restart_is_deleted() -> None:
    world = World()
    producer, _ = Producer(world), Consumer(world, timeout=5.0)
    world.crash()
    producer.connect()
    world.pass_time(6.0)
    done(world, producer.address, admin.DeleteGroup(world.next_id(), "t", "g"))


def test_a_deleted_group_is_forgotten_with_its_dead_letters() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    consumer.settle(consumer.take(), "reject")
    world.goodbye(consumer.address)
    done(world, producer.address, admin.DeleteGroup(world.next_id(), "t", "g"))
    assert refused(world, producer.address, admin.AskLag(world.next_id(), "t", "g")).code == "UnknownGroup"
    world.crash()
    producer.connect()
    assert refused(world, producer.address, admin.AskLag(world.next_id(), "t", "g")).code == "UnknownGroup"
    consumer.join()
    assert letters(world, producer.address) == []


def test_fencing_tokens_grow_over_the_deletion_of_a_group_and_over_groups() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    before, others = consumer.take(), Consumer(world, "other", group="others").take()
    world.goodbye(consumer.address)
    done(world, producer.address, admin.DeleteGroup(world.next_id(), "t", "g"))
    again = Consumer(world, "again").take()
    assert again.offsets == before.offsets == others.offsets
    assert (before.epoch, before.lease) < (others.epoch, others.lease) < (again.epoch, again.lease), "a store may remember the greatest token of a message"


def test_who_comes_while_a_group_is_deleted_joins_none_of_its_partitions() -> None:
    world = World(default_partitions=2)
    producer, consumer = Producer(world), Consumer(world)
    world.goodbye(consumer.address)
    late = partition_of(world, 1)
    end = late.log.committed
    late.log.agree = lambda durable: end
    world.turn((producer.address, admin.DeleteGroup(world.next_id(), "t", "g")))
    address = world.connect("c", 9)
    assert refused(world, address, world.subscribe(address)).code == "Overloaded"
    late.log.agree = lambda durable: durable
    world.node.context.touch(late)
    world.turn()
    assert not partition_of(world).queues and not late.queues
    world.ask(address, world.subscribe(address), Subscribed)


def test_a_group_that_starts_at_the_latest_sees_only_what_comes() -> None:
    world = World()
    producer = Producer(world)
    producer.send(b"old")
    late, early = Consumer(world, "late", group="late", start="latest"), Consumer(world, "early", group="early")
    producer.send(b"new")
    assert late.drain() == [b"new"]
    assert early.drain() == [b"old", b"new"]


def test_a_consumer_of_two_topics_has_one_session_and_two_queues() -> None:
    world = World()
    producer, second = Producer(world), Producer(world, "second", 8, topic="u")
    consumer = Consumer(world)
    joined = world.ask(consumer.address, world.subscribe(consumer.address, topic="u"), Subscribed)
    assert joined.queue != consumer.queue
    producer.send(b"t")
    second.send(b"u")
    assert sorted(consumer.values()) == [b"t", b"u"]
    assert not any(isinstance(answer, Recalled) for answer in world.take(consumer.address))
