"""What meets in one turn: requests that arrive together must not be decided on a state that the others are about to change."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from msgspec.structs import replace

from tests.core.acts import Consumer, Producer, done, lag, letters, partition_of, queue_of, refused, settings
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Command, Farewell, Goodbye, Hello, Produced, Refused, Settle, Settled, Settlement, Subscribed


def people(**options: Any) -> tuple[World, Producer, Consumer]:
    world = World(**options)
    return world, Producer(world), Consumer(world)


Target = Literal["earliest", "latest", "offset", "time"]


def seek(world: World, to: Target = "earliest", value: float = 0.0) -> admin.Seek:
    return admin.Seek(world.next_id(), "t", "g", to, value)


def replay(world: World) -> admin.Replay:
    return admin.Replay(world.next_id(), "t", "g")


def purge(world: World) -> admin.Purge:
    return admin.Purge(world.next_id(), "t", "g")


def dead_one(world: World, producer: Producer, consumer: Consumer) -> None:
    producer.send(b"bad")
    consumer.settle(consumer.take(), "reject")


def test_a_batch_repeated_in_the_turn_that_the_full_disk_refuses_is_refused_too() -> None:
    world, producer, _ = people()
    world.disk.room = world.disk.ballast = 0
    batch = producer.batch(b"x" * 100)
    world.turn((producer.address, batch), (producer.address, batch))
    assert [type(answer) for answer in world.take(producer.address)] == [Refused]


def test_a_batch_repeated_in_its_own_turn_is_stored_and_answered_once() -> None:
    world, producer, consumer = people()
    batch = producer.batch(b"x", b"y")
    again = replace(batch, id=world.next_id())
    world.turn((producer.address, batch), (producer.address, again))
    assert [answer.id for answer in world.take(producer.address) if isinstance(answer, Produced)] == [again.id]
    assert consumer.drain() == [b"x", b"y"]


def test_a_repeat_is_answered_even_while_the_disk_is_full() -> None:
    world, producer, _ = people()
    batch = producer.batch(b"x")
    offset = world.ask(producer.address, batch, Produced).offset
    world.node.set_storage_full(True)
    assert world.ask(producer.address, batch, Produced).offset == offset


def test_a_repeat_is_answered_even_when_the_topic_is_full() -> None:
    world, producer, _ = people(defaults=settings(max_bytes=4096))
    batch = producer.batch(b"x" * 4000)
    offset = world.ask(producer.address, batch, Produced).offset
    assert refused(world, producer.address, producer.batch(b"y" * 4000)).code == "TopicFull"
    assert world.ask(producer.address, batch, Produced).offset == offset


def test_max_bytes_holds_for_batches_of_one_turn_together() -> None:
    world, producer, _ = people(defaults=settings(max_bytes=4096))
    world.turn(*[(producer.address, producer.batch(b"x" * 1000)) for _ in range(20)])
    answers = world.take(producer.address)
    assert sum(isinstance(answer, Produced) for answer in answers) == 4
    assert partition_of(world).size == 4000


@pytest.mark.parametrize("to, value", [("earliest", 0.0), ("offset", 4.0), ("offset", 1e6), ("latest", 0.0)])
def test_a_seek_counts_what_is_produced_in_its_turn(to: Target, value: float) -> None:
    world, producer, consumer = people()
    producer.send(b"a", b"b")
    consumer.drain()
    before = producer.batch(b"c", b"d")
    world.turn((producer.address, before), (producer.address, seek(world, to, value)), (producer.address, producer.batch(b"e")))
    left = lag(world, producer.address).lag
    assert left == len(consumer.drain())
    assert lag(world, producer.address).lag == 0


def test_a_seek_and_a_deletion_never_disagree_on_what_is_left() -> None:
    for step in range(70):
        world, producer, consumer = people()
        producer.send(*[b"a"] * 10)
        consumer.drain()
        world.now += 0.05 * step
        world.turn((producer.address, seek(world)))
        assert lag(world, producer.address).lag == len(consumer.drain()), f"{0.05 * step} s after the last ack"


def test_an_ack_and_the_deletion_of_old_messages_are_not_counted_twice() -> None:
    for step in range(60):
        world, producer, consumer = people(defaults=settings(max_age=1.0))
        producer.send(*[b"a"] * 10)
        lot = consumer.take(5)
        world.now += 0.05 * step
        world.turn((consumer.address, world.settle(lot, "ack")))
        world.pass_time(5)
        assert lag(world, producer.address).lag == 0, f"acknowledged {0.05 * step} s after it was accepted"


def test_two_replays_in_one_turn_bring_a_letter_back_once() -> None:
    world, producer, consumer = people()
    other = Consumer(world, "other")
    dead_one(world, producer, consumer)
    world.turn((producer.address, replay(world)), (producer.address, replay(world)))
    counts = sorted(answer.count for answer in world.take(producer.address) if isinstance(answer, admin.Done))
    assert counts == [0, 1]
    assert consumer.values() + other.values() == [b"bad"]
    assert lag(world, producer.address).dead == 0


def test_replays_in_turns_that_follow_each_other_bring_a_letter_back_once() -> None:
    world, producer, consumer = people()
    dead_one(world, producer, consumer)
    for _ in range(3):  # no turn in between
        world.node.begin(world.now, world.wall)
        world.node.receive(producer.address, replay(world))
        world.finish()
    counts = sorted(answer.count for answer in world.take(producer.address) if isinstance(answer, admin.Done))
    assert counts == [0, 0, 1]
    assert consumer.values() == [b"bad"]
    assert lag(world, producer.address).dead == 0
    assert not queue_of(world).moving_letters


@pytest.mark.parametrize("replay_first", [True, False])
def test_a_replay_and_a_purge_in_one_turn_do_what_came_first(replay_first: bool) -> None:
    world, producer, consumer = people()
    dead_one(world, producer, consumer)
    commands: list[Command] = [replay(world), purge(world)]
    world.turn(*[(producer.address, command) for command in (commands if replay_first else commands[::-1])])
    assert lag(world, producer.address).dead == 0
    assert consumer.values() == ([b"bad"] if replay_first else [])


def test_a_replay_and_a_seek_in_one_turn_deliver_the_letter_once() -> None:
    world, producer, consumer = people()
    other = Consumer(world, "other")
    dead_one(world, producer, consumer)
    world.turn((producer.address, replay(world)), (producer.address, seek(world)))
    assert consumer.values() + other.values() == [b"bad"]


def test_a_rejection_and_a_seek_in_one_turn_leave_the_figures_right() -> None:
    world, producer, consumer = people()
    producer.send(b"bad")
    world.turn((consumer.address, world.settle(consumer.take(), "reject")), (producer.address, seek(world)))
    assert (lag(world, producer.address).lag, lag(world, producer.address).dead) == (1, 0)
    consumer.settle(consumer.take(), "reject")
    assert lag(world, producer.address).dead == len(letters(world, producer.address)) == 1


def test_a_seek_over_dead_letters_makes_messages_of_them_again() -> None:
    world, producer, consumer = people()
    other = Consumer(world, "other")
    dead_one(world, producer, consumer)
    done(world, producer.address, seek(world))
    assert letters(world, producer.address) == []
    assert done(world, producer.address, replay(world)) == 0
    assert lag(world, producer.address).lag == 1
    assert consumer.values() + other.values() == [b"bad"]


def test_a_seek_past_a_dead_letter_leaves_it_one() -> None:
    world, producer, consumer = people()
    dead_one(world, producer, consumer)
    done(world, producer.address, seek(world, "latest"))
    assert [letter.value for letter in letters(world, producer.address)] == [b"bad"]


def test_a_consumer_that_reports_in_the_turn_of_its_deadline_keeps_what_it_presents() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world, timeout=5.0)
    producer.send(b"a", b"b")
    lot = consumer.take()
    world.crash()
    producer.connect()
    other = Consumer(world, "other")
    restarted = world.now
    for moment in (1.9, 3.8):
        world.now = restarted + moment
        world.turn()
    world.now = restarted + 5.6
    hello = Hello((1, 1), "c", 2, "c", 5.0, "test")
    world.turn((b"c#2", hello), (b"c#2", world.subscribe(b"c#2", held=[consumer.holding(lot)])))
    answer = next(answer for answer in world.take(b"c#2") if isinstance(answer, Subscribed))
    assert answer.leases[0].kept == lot.offsets
    assert other.values() == []


def test_who_settles_a_message_of_a_topic_deleted_in_the_same_turn_is_answered() -> None:
    world, producer, consumer = people()
    producer.send(b"a")
    settle = world.settle(consumer.take(), "ack")
    world.turn((consumer.address, settle), (producer.address, admin.DeleteTopic(world.next_id(), "t")))
    assert any(isinstance(answer, Settled) and answer.id == settle.id for answer in world.take(consumer.address))


def test_who_says_goodbye_while_the_topic_is_deleted_hears_farewell() -> None:
    world, producer, consumer = people()
    world.turn((consumer.address, Goodbye(5)), (producer.address, admin.DeleteTopic(world.next_id(), "t")))
    assert any(isinstance(answer, Farewell) for answer in world.take(consumer.address))


def test_who_joins_while_the_topic_is_deleted_is_told_so() -> None:
    world, producer, consumer = people()
    join = world.subscribe(consumer.address, "other")
    world.turn((consumer.address, join), (producer.address, admin.DeleteTopic(world.next_id(), "t")))
    assert [answer.code for answer in world.take(consumer.address) if isinstance(answer, Refused) and answer.id == join.id] == ["Overloaded"]


def test_a_settle_with_one_bad_entry_carries_out_the_others() -> None:
    world, producer, consumer = people()
    first = producer.send(b"a", b"b")
    lot = consumer.take()
    good = Settlement(lot.queue, 0, lot.epoch, lot.lease, "ack", [first])
    bad = Settlement(lot.queue, 0, lot.epoch, lot.lease, "nack", [first + 1], -1.0)
    answer = world.ask(consumer.address, Settle(world.next_id(), [bad, good]), Settled)
    assert answer.lost == [bad] and answer.elsewhere == []
    assert lag(world, producer.address).lag == 1 and queue_of(world).book.held == 0


def test_what_a_consumer_does_not_present_of_a_lease_goes_back_at_once() -> None:
    world, producer, consumer = people()
    other = Consumer(world, "other")
    first = producer.send(b"a", b"b")
    lot = consumer.take()
    kept = consumer.join([consumer.holding(lot, [first])])
    assert kept[0].kept == [first]
    assert other.values() == [b"b"]


def test_presenting_only_the_later_message_of_a_key_keeps_none_of_it() -> None:
    world, producer, consumer = people()
    first = producer.send(b"a", b"b", key=b"k")
    lot = consumer.take()
    kept = consumer.join([consumer.holding(lot, [first + 1])])
    assert kept[0].kept == []
    assert consumer.values() == [b"a", b"b"]
