"""What is accepted and what is refused, with the limit that stood against it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.acts import Consumer, Producer, refused, settings
from tests.core.test_full_disk_of_a_leader import CATCH_UP, led
from tests.core.world import World
from zmqmq.core.accept import check_batch
from zmqmq.core.commands import Describe, Described, Produce, Produced
from zmqmq.core.model import Limits
from zmqmq.errors import InvalidName, InvalidValue, MessageTooLarge, ZmqmqError

LIMITS = Limits(max_message_bytes=1024, max_batch_bytes=4096, max_batch_messages=10, max_key_bytes=8, max_headers_bytes=64, max_delay=60.0)


def small() -> tuple[World, Producer]:
    world = World(limits=LIMITS)
    return world, Producer(world)


@pytest.mark.parametrize(
    "values, options, code, words",
    [
        ([b"x" * 1025], {}, "MessageTooLarge", "1025 bytes"),
        ([b"x" * 1020], {"key": b"12345"}, "MessageTooLarge", "1025 bytes"),
        ([b"x"] * 11, {}, "MessageTooLarge", "11 messages"),
        ([b"x" * 1000] * 5, {}, "MessageTooLarge", "5000 bytes"),
        ([b"x"], {"key": b"123456789"}, "InvalidName", "9 bytes"),
        ([b"x"], {"key": b""}, "InvalidName", "empty"),
        ([b"x"], {"headers": ["x" * 65]}, "MessageTooLarge", "65 bytes"),
        ([b"x"], {"headers": ["ü" * 33]}, "MessageTooLarge", "66 bytes"),
        ([b"x"], {"delays": [61.0]}, "InvalidValue", "61"),
        ([b"x"], {"producer": 0}, "BadFrame", "producer id"),
        ([b"x"], {"partition": 5}, "InvalidValue", "partition 5"),
        ([b"x"], {"topic": "nothing"}, "UnknownTopic", "nothing"),
        ([b"x"], {"topic": "a/b"}, "InvalidName", "'/'"),
        ([b"x"], {"epoch": 9}, "NotLeader", "epoch 9"),
    ],
)
def test_what_is_over_a_limit_is_refused_with_the_limit(values: list[bytes], options: dict[str, Any], code: str, words: str) -> None:
    world, producer = small()
    answer = refused(world, producer.address, world.produce(values, **options))
    assert answer.code == code
    assert words in answer.message and answer.hint
    assert Consumer(world).drain() == []


def test_what_is_just_within_the_limits_is_accepted() -> None:
    world, producer = small()
    producer.send(b"x" * 1016, key=b"12345678")
    producer.send(*[b"x"] * 10, delays=[60.0] + [None] * 9)
    producer.send(*[b"x" * 1000] * 4)
    producer.send(b"", headers=["{}"])


def test_a_refused_batch_takes_no_sequence() -> None:
    world, producer = small()
    refused(world, producer.address, world.produce([b"x" * 2000], sequence=0))
    producer.send(b"good")
    assert Consumer(world).drain() == [b"good"]


def test_a_message_damaged_on_its_way_is_refused() -> None:
    world, producer = small()
    batch = producer.batch(b"value")
    damaged = Produce(batch.id, "t", 0, 1, 7, 0, 0, [b"valuE"], batch.crcs)
    answer = refused(world, producer.address, damaged)
    assert answer.code == "BadFrame" and "checksum" in answer.message


@pytest.mark.parametrize("delay", [-1.0, float("nan"), float("inf")])
def test_an_impossible_delay_is_refused_even_behind_the_codec(delay: float) -> None:
    batch = World().produce([b"x"], delays=[delay])
    with pytest.raises(InvalidValue):
        check_batch(batch, LIMITS)


@pytest.mark.parametrize(
    "error, options", [(InvalidName, {"keys": [b"ok", b"x" * 9]}), (MessageTooLarge, {"headers": [None, "y" * 100]}), (InvalidValue, {"delays": [None, 99.0]})]
)
def test_one_bad_message_refuses_its_batch(error: type[ZmqmqError], options: dict[str, Any]) -> None:
    with pytest.raises(error):
        check_batch(World().produce([b"a", b"b"], **options), LIMITS)


def test_a_topic_is_made_on_first_use_unless_that_is_off() -> None:
    world = World()
    address = world.connect("c")
    assert world.ask(address, Describe(1, "new", True), Described).topic == "new"
    assert refused(world, address, Describe(2, "other", False)).code == "UnknownTopic"
    strict = World(auto_create=False)
    answer = refused(strict, strict.connect("c"), Describe(1, "new", True))
    assert answer.code == "UnknownTopic" and "auto_create" in answer.hint


@pytest.mark.parametrize("name", ["", "a b", "a\0", "a/b", "x" * 201])
def test_a_topic_with_a_bad_name_is_never_made(name: str) -> None:
    world = World()
    assert refused(world, world.connect("c"), Describe(1, name, True)).code == "InvalidName"
    assert world.storage.topics() == []


def test_names_that_differ_only_in_case_are_twins() -> None:
    world = World()
    producer = Producer(world)
    answer = refused(world, producer.address, Describe(1, "T", True))
    assert answer.code == "InvalidName" and "'t'" in answer.message


def test_there_are_limits_on_topics_and_partitions() -> None:
    world = World(max_topics=1)
    producer = Producer(world)
    assert refused(world, producer.address, Describe(1, "u", True)).code == "Overloaded"
    world = World(max_partitions=3, default_partitions=4)
    assert refused(world, world.connect("c"), Describe(1, "u", True)).code == "Overloaded"


def test_a_topic_that_wants_more_replicas_than_there_are_is_told() -> None:
    world = World(defaults=settings(min_in_sync=2))
    producer = Producer(world)
    assert refused(world, producer.address, producer.batch(b"x")).code == "NotEnoughReplicas"


def test_a_produced_time_is_the_brokers() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    answer = world.ask(producer.address, producer.batch(b"x"), Produced)
    assert answer.time == world.wall
    assert consumer.take().times == [world.wall]


def test_a_batch_that_waits_for_followers_is_answered_once_however_often_it_was_repeated_and_its_messages_are_not_kept() -> None:
    cluster, leader = led()
    producer = Producer(leader)
    followers = [machine for machine in cluster.living if machine is not leader]
    for follower in followers:
        follower.die()
    batch = producer.batch(b"kept on disk only")
    repeats = [batch, *(replace(batch, id=leader.next_id()) for _ in range(5))]
    for repeat in repeats:
        leader.turn((producer.address, repeat))
    last = repeats[-1].id
    del batch, repeats, repeat
    gc.collect()
    assert not [kept for kept in gc.get_objects() if isinstance(kept, Produce) and kept.values == [b"kept on disk only"]]
    for follower in followers:
        follower.start()
    cluster.pass_time(CATCH_UP)
    answers = [answer for answer in leader.take(producer.address) if isinstance(answer, Produced)]
    assert [answer.id for answer in answers] == [last]
