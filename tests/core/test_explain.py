"""Why is nothing delivered? One story for each answer."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, explanation, reasons, settings
from tests.core.world import World
from zmqmq.core.admin_commands import Reason
from zmqmq.core.explain import ORDER, clock, show, verdict
from zmqmq.core.model import GroupLimits


def test_settled_when_nothing_is_left() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    consumer.drain()
    answer = explanation(world, producer.address)
    assert [reason.code for reason in answer.reasons] == ["settled"]
    assert answer.verdict == "nothing is left: every message is settled"


def test_ready_when_messages_wait_for_a_pull() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    consumer.pull()
    producer.send(b"a", b"b")
    assert reasons(world, producer.address)["ready"].messages == 2


def test_no_consumer_when_all_have_left() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    world.goodbye(consumer.address)
    reason = reasons(world, producer.address)["no_consumer"]
    assert reason.messages == 1 and "1 messages wait" in explanation(world, producer.address).verdict


def test_held_names_the_key_the_consumer_and_since_when() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world, "slow"), Consumer(world, "other")
    producer.send(b"1", b"2", b"3", key=b"k")
    since = world.wall
    consumer.take(1)
    other.pull()
    world.pass_time(5)
    answer = explanation(world, producer.address)
    keyed = next(reason for reason in answer.reasons if reason.code == "held" and reason.key)
    assert (keyed.key, keyed.consumer, keyed.messages) == (b"k", "slow", 2)
    assert keyed.since is not None and abs(keyed.since - since) < 1e-3
    assert "'k'" in answer.verdict and "slow" in answer.verdict


def test_retry_says_until_when_and_what_waits_behind() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", b"2", key=b"k")
    consumer.nack(consumer.take(1), delay=50.0)
    consumer.pull()
    reason = reasons(world, producer.address)["retry"]
    assert (reason.until, reason.messages, reason.key) == (world.wall + 50.0, 2, b"k")
    assert clock(world.wall + 50.0) in explanation(world, producer.address).verdict


def test_delayed_says_until_when() -> None:
    world = World()
    producer = Producer(world)
    Consumer(world).pull()
    producer.send(b"a", delays=[30.0])
    assert reasons(world, producer.address)["delayed"].until == world.wall + 30.0


def test_reclaiming_after_a_restart_says_until_when() -> None:
    world = World()
    producer = Producer(world)
    Consumer(world, timeout=20.0)
    producer.send(b"a")
    world.crash()
    producer.connect()
    reason = reasons(world, producer.address)["reclaiming"]
    assert reason.until is not None and abs(reason.until - world.wall - 20.0) < 1e-6
    assert "have not reported" in explanation(world, producer.address).verdict


def test_full_window_says_behind_what() -> None:
    world = World(group_limits=GroupLimits(max_holes=2))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[b"x"] * 20)
    lot = consumer.take(10)
    consumer.ack(lot, lot.offsets[1::2])
    assert f"offset {lot.offsets[0]}" in reasons(world, producer.address)["full_window"].text


def test_storage_full_comes_first() -> None:
    world = World()
    producer = Producer(world)
    Consumer(world)
    world.node.set_storage_full(True)
    assert "disk is full" in explanation(world, producer.address).verdict


def test_many_keys_are_cut_to_the_longest() -> None:
    world = World(defaults=settings())
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    for index in range(50):
        producer.send(*[b"x"] * 2, key=f"k{index}".encode())
    lot = consumer.take(200)
    consumer.settle(lot, "release", lot.offsets[1::2])
    other.pull()
    keyed = [reason for reason in explanation(world, producer.address).reasons if reason.key]
    assert len(keyed) <= 20


def test_the_verdict_is_the_first_reason_that_matters() -> None:
    found = [Reason(1, code, f"because {code}", 1) for code in reversed(ORDER)]
    assert verdict(found) == f"partition 1: because {ORDER[0]}"
    assert verdict([]) == "the topic has no partitions here"


def test_times_and_keys_are_for_people() -> None:
    assert clock(0.0) == "1970-01-01 00:00:00 UTC"
    assert (show(b"sensor-1"), show(b"\xff\0")) == ("'sensor-1'", repr("\\xff\0"))
