"""Sleepers, wake-ups, credit, and requests that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.acts import Consumer, Producer, done, lag, letters, queue_of, refused, settings, settle_all
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import WAKE, Beacon, Empty, HeldLease, Pull, Settle, Settled, Settlement, Subscribe, Subscribed, WhoAreYou
from zmqmq.core.model import Limits


def woken(world: World) -> list[bytes]:
    """Wake-up names since the last look."""
    names = [frame[len(WAKE) :] for frame in world.published if isinstance(frame, bytes)]
    world.published.clear()
    return names


def sleepers(world: World, count: int) -> list[Consumer]:
    consumers = [Consumer(world, f"c{index}") for index in range(count)]
    for consumer in consumers:
        assert consumer.pull() == []
    world.published.clear()
    return consumers


def name_of(world: World, consumer: Consumer) -> bytes:
    session = world.node.context.sessions.of(consumer.name)
    assert session is not None
    return session.wake_name


# --- Sleeping and waking -------------------------------------------------------------------------------------------


def test_one_message_wakes_one_of_two_hundred_sleepers() -> None:
    world = World()
    producer, consumers = Producer(world), sleepers(world, 200)
    producer.send(b"a")
    assert woken(world) == [name_of(world, consumers[0])]


def test_as_many_sleepers_are_woken_as_there_are_messages() -> None:
    world = World()
    producer, consumers = Producer(world), sleepers(world, 10)
    producer.send(b"a", b"b", b"c")
    assert woken(world) == [name_of(world, consumer) for consumer in consumers[:3]]
    producer.send(b"d")
    assert woken(world) == [name_of(world, consumers[3])]


def test_a_sleeper_that_hangs_does_not_keep_the_message_from_the_others_beyond_a_beacon() -> None:
    world = World()
    producer, consumers = Producer(world), sleepers(world, 3)
    producer.send(b"a")
    assert len(woken(world)) == 1, "and that one hangs"
    world.pass_time(1.0)
    beacon = next(frame for frame in world.published if isinstance(frame, Beacon))
    assert [queue for queue, _ in beacon.waiting] == [consumers[0].queue]
    assert consumers[2].values() == [b"a"]


def test_an_empty_answer_carries_the_version_that_later_beacons_exceed() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    world.turn((consumer.address, Pull(9, 10, 1000)))
    empty = next(answer for answer in world.take(consumer.address) if isinstance(answer, Empty))
    producer.send(b"a")
    world.pass_time(1.0)
    beacon = [frame for frame in world.published if isinstance(frame, Beacon)][-1]
    assert empty.turn == 9 and beacon.waiting[0][1] > empty.version


def test_settling_wakes_who_waits_for_the_key() -> None:
    world = World()
    producer, holder = Producer(world), Consumer(world, "holder")
    producer.send(b"1", b"2", key=b"k")
    lot = holder.take(1)
    sleeper = sleepers(world, 1)[0]
    holder.ack(lot)
    assert woken(world) == [name_of(world, sleeper)]


def test_a_retry_wakes_a_sleeper_when_it_is_due() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    consumer.nack(consumer.take(), delay=3.0)
    consumer.pull()
    world.published.clear()
    world.pass_time(2.9)
    assert woken(world) == []
    world.pass_time(0.2)
    assert woken(world) == [name_of(world, consumer)]


def test_messages_of_a_group_without_sleepers_wake_nobody() -> None:
    world = World()
    producer = Producer(world)
    sleepers(world, 2)
    Consumer(world, "x", group="awake")
    world.published.clear()
    producer.send(b"a")
    assert len(woken(world)) == 1


# --- Credit --------------------------------------------------------------------------------------------------------


def test_a_pull_gives_no_more_than_its_credit() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[b"x"] * 50)
    assert [len(consumer.values(credit)) for credit in (1, 7, 100)] == [1, 7, 42]


def test_a_session_holds_no_more_than_max_in_flight() -> None:
    world = World(limits=Limits(max_in_flight=10))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[b"x"] * 50)
    lot = consumer.take(1000)
    assert len(lot.offsets) == 10 and consumer.values() == []
    consumer.ack(lot, lot.offsets[:4])
    assert len(consumer.values()) == 4


@pytest.mark.parametrize("credit, size", [(0, 100), (100, 0), (-1, 100)])
def test_a_pull_for_nothing_is_refused(credit: int, size: int) -> None:
    world = World()
    Producer(world)
    consumer = Consumer(world)
    assert refused(world, consumer.address, Pull(1, credit, size)).code == "InvalidValue"


def test_a_second_pull_replaces_the_first() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b")
    world.turn((consumer.address, Pull(1, 1, 1000)), (consumer.address, Pull(2, 1, 1000)))
    assert [getattr(answer, "turn", None) for answer in world.take(consumer.address)] == [2]


# --- Requests that make no sense -----------------------------------------------------------------------------------


def test_who_never_said_hello_is_asked_who_it_is() -> None:
    world = World()
    world.turn((b"stranger", Pull(1, 1, 1)))
    assert world.take(b"stranger") == [WhoAreYou()]


@pytest.mark.parametrize("group", ["", "a/b", "a b", "a\0b", "x" * 201])
def test_a_bad_group_name_is_refused(group: str) -> None:
    world = World()
    producer = Producer(world)
    assert refused(world, producer.address, Subscribe(world.next_id(), "t", group)).code == "InvalidName"


def test_an_unknown_topic_is_refused_when_it_is_not_made_by_itself() -> None:
    world = World(auto_create=False)
    address = world.connect("c")
    assert refused(world, address, Subscribe(world.next_id(), "nothing", "g")).code == "UnknownTopic"
    assert world.node.context.hubs == {}


def test_subscribing_with_leases_of_a_partition_that_is_none_is_refused() -> None:
    world = World()
    producer = Producer(world)
    bad = Subscribe(world.next_id(), "t", "g", held=[HeldLease(5, 1, 1, [1])])
    assert refused(world, producer.address, bad).code == "InvalidValue"


def test_there_is_a_limit_on_groups_and_it_says_what_to_do() -> None:
    world = World(max_groups=2)
    producer = Producer(world)
    for group in ("a", "b"):
        Consumer(world, group, group=group)
    answer = refused(world, producer.address, Subscribe(world.next_id(), "t", "c"))
    assert answer.code == "Overloaded" and "delete groups" in answer.hint


def test_what_is_settled_without_a_subscription_is_lost() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    settle = world.settle(consumer.take(), "ack")
    assert world.ask(producer.address, settle, Settled) == Settled(settle.id, settle.settlements)
    assert queue_of(world).book.held == 1, "it is the other one's"


IMPOSSIBLE = pytest.mark.parametrize(
    "options, named", [({"delay": -1.0}, "the delay is -1.0 s"), ({"delay": 1e9}, "the delay is"), ({"reason": "x" * 5000}, "5000 characters")]
)


@IMPOSSIBLE
def test_who_asks_for_what_is_not_allowed_has_lost_the_message_and_it_comes_again(options: dict[str, Any], named: str) -> None:
    world = World(defaults=settings())
    producer, consumer, other = Producer(world), Consumer(world), Consumer(world, "other")
    first = producer.send(b"a", b"b", key=b"k")
    lot = consumer.take()
    lost = consumer.settle(lot, "nack", [first], **options)
    assert [entry.offsets for entry in lost] == [[first]]
    assert consumer.recalled() == [(lot.lease, [first + 1])], "the later one of its key goes with it, as always"
    world.pass_time(2.0)
    assert other.take().attempts == [2, 1]


@IMPOSSIBLE
def test_a_dead_letter_says_that_its_consumer_asked_for_what_is_not_allowed(options: dict[str, Any], named: str) -> None:
    world = World(defaults=settings(max_attempts=1))
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    consumer.nack(consumer.take(), **options)
    assert [named in letter.reason for letter in letters(world, producer.address)] == [True]


def test_what_is_settled_in_a_partition_that_is_none_is_lost() -> None:
    world = World()
    Producer(world)
    consumer = Consumer(world)
    bad = Settle(world.next_id(), [Settlement(consumer.queue, 7, 1, 1, "ack")])
    assert world.ask(consumer.address, bad, Settled) == Settled(bad.id, bad.settlements)


def test_a_topic_that_is_gone_takes_no_settlement_of_another_one_along() -> None:
    world = World()
    Producer(world, "p", 1, "kept").send(b"x")
    doomed = Producer(world, "q", 2, "doomed")
    doomed.send(b"y")
    address = world.connect("c", timeout=300.0)
    for topic in ("kept", "doomed"):
        world.ask(address, world.subscribe(address, "g", topic), Subscribed)
    of_doomed, of_kept = sorted(world.pull(address), key=lambda lot: lot.values, reverse=True)
    done(world, doomed.address, admin.DeleteTopic(world.next_id(), "doomed"))
    world.take(address)
    answer = world.ask(address, settle_all(world, of_doomed, of_kept), Settled)
    assert [entry.queue for entry in answer.lost] == [of_doomed.queue] and answer.elsewhere == []
    assert lag(world, doomed.address, topic="kept").lag == 0
    assert queue_of(world, topic="kept").book.held == 0


def test_an_empty_settle_is_answered() -> None:
    world = World()
    Producer(world)
    consumer = Consumer(world)
    assert world.ask(consumer.address, Settle(5, []), Settled).lost == []


def test_several_lots_are_settled_by_one_request() -> None:
    world = World(default_partitions=2)
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    producer.send(b"b", partition=1)
    assert world.ask(consumer.address, settle_all(world, *consumer.pull()), Settled).lost == []
    report = world.ask(producer.address, admin.AskLag(world.next_id(), "t", "g"), admin.LagReport)
    assert sum(entry.lag for entry in report.partitions) == 0
