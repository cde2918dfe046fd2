"""Consumers that vanish, connections that are taken over, brokers that restart: what becomes of the messages held."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer, lag, letters, queue_of, settings
from tests.core.world import World
from zmqmq.core.commands import Settle, Settled, Settlement
from zmqmq.core.model import GroupLimits

# --- Consumers that vanish -----------------------------------------------------------------------------------------


def test_a_consumer_that_falls_silent_loses_its_messages_counted() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world, timeout=5.0), Consumer(world, "other")
    producer.send(b"a")
    consumer.take()
    world.pass_time(4.0)
    assert other.values() == []
    world.pass_time(2.0)
    lot = other.take()
    assert (lot.values, lot.attempts) == ([b"a"], [2])


def test_suspects_are_delivered_one_at_a_time() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world, timeout=5.0), Consumer(world, "other")
    producer.send(b"a", b"b", b"c")
    consumer.take()
    world.pass_time(6.0)
    lot = other.take()
    assert len(lot.values) == 1
    assert other.values() == [], "a consumer holds one suspect at a time"
    other.ack(lot)
    assert len(other.take().values) == 1


def test_suspects_do_not_keep_a_consumer_from_fresh_messages() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world, timeout=5.0), Consumer(world, "other")
    producer.send(b"a", b"b")
    consumer.take()
    world.pass_time(6.0)
    other.take()
    producer.send(b"fresh")
    assert other.values() == [b"fresh"]


def test_a_message_that_kills_every_consumer_becomes_a_dead_letter_and_its_neighbours_survive() -> None:
    world = World(defaults=settings(max_attempts=3))
    producer = Producer(world)
    producer.send(b"1", b"poison", b"2", b"3")
    survived: list[bytes] = []
    for life in range(40):
        consumer = Consumer(world, f"life{life}", timeout=2.0)
        while lots := consumer.pull(10):
            if any(b"poison" in lot.values for lot in lots):
                break  # it dies with all that it holds
            for lot in lots:
                survived += lot.values
                consumer.ack(lot)
        else:
            break
        world.pass_time(3.0)
    assert sorted(survived) == [b"1", b"2", b"3"]
    assert [(letter.value, letter.attempts) for letter in letters(world, producer.address)] == [(b"poison", 3)]


def test_goodbye_returns_messages_uncounted_at_once() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    producer.send(b"a")
    consumer.take()
    world.goodbye(consumer.address)
    lot = other.take()
    assert (lot.values, lot.attempts) == ([b"a"], None)


def test_a_message_held_for_too_long_is_recalled_and_counted_however_alive_its_consumer_is() -> None:
    world = World(defaults=settings(max_processing_time=5.0, retry_delay=0.0))
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    producer.send(b"1", b"2", key=b"k")
    lot = consumer.take()
    world.pass_time(6.0)
    assert consumer.recalled() == [(lot.lease, lot.offsets)]
    again = other.take()
    assert (again.values, again.attempts) == ([b"1", b"2"], [2, 2])
    assert len(consumer.ack(lot, lot.offsets)[0].offsets or ()) == 2


def test_later_messages_of_a_key_are_recalled_before_the_one_that_was_held_for_too_long() -> None:
    world = World(defaults=settings(max_processing_time=5.0, retry_delay=0.0))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", key=b"k")
    first = consumer.take()
    world.pass_time(3.0)
    producer.send(b"2", key=b"k")
    second = consumer.take()
    world.pass_time(3.0)
    assert consumer.recalled() == [(second.lease, second.offsets), (first.lease, first.offsets)]


# --- Take-over and restart -----------------------------------------------------------------------------------------


def test_a_new_connection_of_the_same_client_keeps_its_leases() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    producer.send(b"a", b"b")
    lot = consumer.take()
    kept = consumer.join([consumer.holding(lot)])[0]
    assert (kept.kept, kept.lease) == (lot.offsets, lot.lease)
    assert other.values() == []
    assert consumer.ack(lot) == []


def test_a_delivery_that_never_arrived_goes_to_the_next_who_pulls() -> None:
    world = World()
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    producer.send(b"a")
    consumer.take()
    consumer.join([])
    lot = other.take()
    assert (lot.values, lot.attempts) == ([b"a"], None)


def test_after_a_restart_a_consumer_keeps_what_it_presents_under_a_new_lease() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b")
    lot = consumer.take()
    world.crash()
    kept = consumer.join([consumer.holding(lot)])[0]
    assert kept.kept == lot.offsets and kept.epoch > lot.epoch
    stale = consumer.ack(lot, lot.offsets)
    assert stale[0].offsets == lot.offsets, "the old token is fenced"
    assert consumer.values() == []
    assert world.ask(consumer.address, Settle(world.next_id(), [Settlement(consumer.queue, 0, kept.epoch, kept.lease, "ack")]), Settled).lost == []


def test_after_a_restart_what_was_settled_before_is_reported_as_settled() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b")
    lot = consumer.take()
    consumer.ack(lot, lot.offsets[:1])
    world.crash()
    kept = consumer.join([consumer.holding(lot)])[0]
    assert (kept.kept, kept.settled) == (lot.offsets[1:], lot.offsets[:1])


@pytest.mark.parametrize("key", [None, b"k"])
def test_after_a_restart_what_had_failed_is_given_to_the_first_who_pulls(key: bytes | None) -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", key=key)
    consumer.nack(consumer.take())
    world.crash()
    world.pass_time(2.0)
    consumer.join()
    assert consumer.values() == [b"a"], "there is no news that would make it pull again"


def test_after_a_restart_the_group_waits_for_absent_members_until_their_timeout() -> None:
    world = World()
    producer, absent, present = Producer(world), Consumer(world, "absent", timeout=5.0), Consumer(world, "present")
    producer.send(b"a")
    absent.take()
    world.crash()
    producer.connect()
    present.join()
    world.pass_time(4.0)
    assert present.values() == []
    world.pass_time(2.0)
    assert present.values() == [b"a"]


@pytest.mark.parametrize(("before", "now"), [(5.0, 60.0), (60.0, 5.0)])
def test_after_a_restart_a_member_is_awaited_as_long_as_its_last_session_may_be_silent(before: float, now: float) -> None:
    world = World(session_timeout=before)
    producer, absent, present = Producer(world), Consumer(world, "absent", timeout=0.0), Consumer(world, "present")
    producer.send(b"a")
    lot = absent.take()
    world.settings["session_timeout"] = now
    world.crash()
    producer.connect()
    assert absent.join([absent.holding(lot)])[0].kept == lot.offsets
    world.crash()
    producer.connect()
    present.join()
    world.pass_time(now - 1.0)
    assert present.values() == []
    world.pass_time(2.0)
    assert present.values() == [b"a"]


def test_a_broker_that_slept_after_its_restart_waits_anew_for_its_members() -> None:
    world = World()
    producer, absent, present = Producer(world), Consumer(world, "absent", timeout=5.0), Consumer(world, "present")
    producer.send(b"a")
    lot = absent.take()
    world.crash()
    producer.connect()
    present.join()
    world.pass_time(1.0)
    world.now += 60.0
    world.turn()
    assert present.values() == []
    assert absent.join([absent.holding(lot)])[0].kept == lot.offsets


def test_a_thousand_sessions_survive_a_pause_of_the_broker() -> None:
    world = World()
    producer = Producer(world)
    consumers = [Consumer(world, f"c{index}", timeout=5.0) for index in range(3)]
    for index in range(1000):
        world.connect(f"sensor{index}", timeout=5.0)
    producer.send(b"a", b"b", b"c")
    for consumer in consumers:
        consumer.take(1)
    world.now += 600.0
    world.turn()
    world.turn()
    assert len(world.node.context.sessions) == 1004
    assert queue_of(world).book.held == 3


@pytest.mark.parametrize("holes", [GroupLimits(max_holes=3), GroupLimits(max_waiting=3)])
def test_a_full_window_goes_on_after_a_restart(holes: GroupLimits) -> None:
    world = World(group_limits=holes)
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[f"{index}".encode() for index in range(40)])
    lot = consumer.take()
    consumer.ack(lot, lot.offsets[1::4])
    consumer.nack(lot, lot.offsets[2::4], delay=1.0)
    world.crash()
    producer.connect()
    consumer.join()
    got = consumer.drain()
    world.pass_time(2.0)
    got += consumer.drain()
    assert len(got) == 30
    assert lag(world, producer.address).lag == 0


def test_a_clean_stop_keeps_leases_with_those_who_hold_them() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    lot = consumer.take()
    world.stop()
    world.start()
    producer.connect()
    assert consumer.join([consumer.holding(lot)])[0].kept == lot.offsets
    assert lag(world, producer.address).lag == 1
