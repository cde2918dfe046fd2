"""A client's life with the broker, second by second."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer, partition_of, queue_of
from tests.core.world import World
from zmqmq.core.commands import Farewell, Goodbye, Hello, Pull, Subscribed
from zmqmq.core.names import NAME_LENGTH_MAX
from zmqmq.core.sessions import Session, SessionTable
from zmqmq.errors import InvalidName, Overloaded


def hello(client: str = "c", epoch: int = 1, timeout: float = 0.0) -> Hello:
    return Hello((1, 1), client, epoch, client, timeout, "test")


def opened(table: SessionTable, address: bytes, greeting: Hello, now: float = 0.0) -> Session:
    session, _ = table.open(address, greeting, now)
    assert session is not None
    return session


def test_a_session_is_found_by_address_and_by_client() -> None:
    table = SessionTable(10.0, 10)
    session = opened(table, b"1", hello())
    assert table.of("c") is session
    assert (len(table), list(table)) == (1, [session])
    table.remove(session)
    assert len(table) == 0


def test_a_higher_epoch_takes_the_session_over_and_keeps_it() -> None:
    table = SessionTable(10.0, 10)
    session = opened(table, b"1", hello(epoch=1))
    session.pull = Pull(1, 1, 1)
    taken, replaced = table.open(b"2", hello(epoch=2), 5.0)
    assert taken is session and replaced == b"1" and session.pull is None
    assert table.at(b"2") is session and len(table) == 1


def test_an_older_epoch_gets_no_session() -> None:
    table = SessionTable(10.0, 10)
    opened(table, b"2", hello(epoch=2))
    assert table.open(b"1", hello(epoch=1), 0.0) == (None, None)
    assert table.at(b"2") is not None


def test_a_second_hello_on_the_same_connection_replaces_nobody() -> None:
    table = SessionTable(10.0, 10)
    opened(table, b"1", hello())
    assert table.open(b"1", hello(), 1.0)[1] is None


@pytest.mark.parametrize("asked, granted", [(0.0, 10.0), (-3.0, 10.0), (0.1, 0.5), (20.0, 20.0), (1e9, 300.0)])
def test_the_session_timeout_is_granted_within_bounds(asked: float, granted: float) -> None:
    assert opened(SessionTable(10.0, 10), b"1", hello(timeout=asked)).timeout == granted


def test_there_is_a_limit_on_sessions_and_it_has_a_name() -> None:
    table = SessionTable(10.0, 1)
    opened(table, b"1", hello())
    with pytest.raises(Overloaded, match="max_sessions"):
        table.open(b"2", hello("d"), 0.0)
    opened(table, b"3", hello(epoch=2))


@pytest.mark.parametrize("greeting", [hello(""), hello("x" * (NAME_LENGTH_MAX + 1)), Hello((1, 1), "c", 1, "n" * 999, 0.0, "s")])
def test_a_client_must_call_itself_something_short(greeting: Hello) -> None:
    with pytest.raises(InvalidName):
        SessionTable(10.0, 10).open(b"1", greeting, 0.0)


def test_silence_ends_a_session_and_any_sign_of_life_keeps_it() -> None:
    table = SessionTable(3.0, 10)
    quiet, lively = opened(table, b"1", hello("quiet")), opened(table, b"2", hello("lively"))
    for tenth in range(36):
        lively.heard = tenth / 10
        lost = table.sweep(tenth / 10)
        assert lost == ([quiet] if tenth > 30 else [])


def test_after_a_pause_of_the_broker_nobody_is_blamed() -> None:
    table = SessionTable(3.0, 2000)
    sessions = [opened(table, str(index).encode(), hello(f"c{index}")) for index in range(1000)]
    table.sweep(0.5)
    assert table.sweep(600.0) == []
    assert table.paused == 599.5
    assert table.sweep(602.0) == [] and table.paused == 0.0
    assert table.sweep(603.5) == sessions, "who stays silent after it is lost"


def test_a_wake_up_name_belongs_to_the_client_and_has_eight_bytes() -> None:
    table = SessionTable(10.0, 10)
    first, second = opened(table, b"1", hello("a")), opened(table, b"2", hello("b"))
    assert len(first.wake_name) == 8 and first.wake_name != second.wake_name


def test_a_consumer_that_leaves_in_the_turn_in_which_it_joined_leaves_nothing_behind() -> None:
    world = World()
    producer = Producer(world)
    address = world.connect("hasty")
    world.turn((address, world.subscribe(address)), (address, Goodbye(world.next_id())))
    world.pass_time(1.0)
    queue = queue_of(world)
    hub = world.node.context.hubs["t", "g"]
    assert (hub.subscribers, hub.sleepers, queue.state.members, queue.book.holders) == ({}, {}, {}, {})
    producer.send(b"x")
    assert Consumer(world, "patient").values() == [b"x"]


def test_who_comes_back_while_its_goodbye_is_not_committed_has_a_session_that_stays() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world, "c")
    producer.send(b"x")
    partition = partition_of(world)
    end = partition.log.committed
    partition.log.agree = lambda durable: end
    world.turn((consumer.address, Goodbye(world.next_id())))
    assert world.take(consumer.address) == [], "the farewell waits for the commit"
    again = world.connect("c", epoch=9)
    world.turn((again, world.subscribe(again)))
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    world.turn()
    assert [type(answer) for answer in world.take(again)] == [Subscribed], "no farewell that was meant for the earlier life"
    session = world.node.context.sessions.at(again)
    assert session is not None and not session.leaving and session.epoch == 9
    assert queue_of(world).is_member("c")
    assert [value for lot in world.pull(again) for value in lot.values] == [b"x"]


def returned(subscribes: bool) -> tuple[World, bytes]:
    """Somebody who left before it had joined, and is back before that join is committed."""
    world = World()
    producer, _ = Producer(world), Consumer(world, "keeper")
    producer.send(b"x")
    partition = partition_of(world)
    end = partition.log.committed
    first = world.connect("c")
    partition.log.agree = lambda durable: end
    world.turn((first, world.subscribe(first)))
    world.turn((first, Goodbye(world.next_id())))
    assert [type(answer) for answer in world.take(first)] == [Farewell]
    second = world.connect("c", epoch=2)
    if subscribes:
        world.turn((second, world.subscribe(second)))
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    world.turn()
    return world, second


def test_who_left_before_it_had_joined_and_comes_back_for_something_else_is_no_member() -> None:
    world, again = returned(subscribes=False)
    assert queue_of(world).state.members.keys() == {"keeper"}
    world.ask(again, world.subscribe(again), Subscribed)
    assert queue_of(world).is_member("c")


def test_who_left_before_it_had_joined_and_comes_back_to_join_is_a_member() -> None:
    world, again = returned(subscribes=True)
    assert [type(answer) for answer in world.take(again)] == [Subscribed]
    assert queue_of(world).state.members.keys() == {"keeper", "c"} and queue_of(world).is_member("c")
    assert [value for lot in world.pull(again) for value in lot.values] == [b"x"]


def test_a_repeated_hello_does_not_bring_a_leaving_session_back() -> None:
    table = SessionTable(10.0, 10)
    session = opened(table, b"1", hello())
    session.leaving = True
    assert opened(table, b"1", hello()) is session and session.leaving
    later = opened(table, b"2", hello(epoch=2))
    assert later is not session and not later.leaving
    table.remove(session)
    assert table.of("c") is later and table.at(b"2") is later and table.at(b"1") is None
