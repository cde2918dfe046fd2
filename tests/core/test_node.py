"""The node as its loop sees it: sessions, turns, a full disk, restarts."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.core.acts import Consumer, Producer, done, lag, partition_of, queue_of, refused
from tests.core.cluster_world import ClusterWorld
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster_admin
from zmqmq.core.commands import Command, Delivery, Farewell, Hello, Ping, Pong, Produced, Pull, Refused, SessionReplaced, Welcome, WhoAreYou
from zmqmq.core.peer_commands import AskSnapshot, Fetch
from zmqmq.errors import BadFrame
from zmqmq.wire import Request

ABOUT_CLUSTERS = [
    cluster_admin.AskCluster(7),
    cluster_admin.DrainBroker(7, "b"),
    cluster_admin.RemoveBroker(7, "b"),
    cluster_admin.Reassign(7, "t", 0, ["b"]),
    cluster_admin.AddPartitions(7, "t", 2),
]

# --- Sessions ------------------------------------------------------------------------------------------------------


def test_a_welcome_says_what_was_granted() -> None:
    world = World()
    world.turn((b"1", Hello((1, 1), "c", 4, "name", 3.0, "test")))
    welcome = world.take(b"1")[0]
    assert isinstance(welcome, Welcome)
    assert (welcome.version, welcome.session_epoch, welcome.session_timeout, welcome.incarnation) == (1, 4, 3.0, 1)
    assert welcome.wake_endpoint and len(welcome.wake_name) == 8 and welcome.now == world.wall


@pytest.mark.parametrize("versions, code", [((2, 9), "UnsupportedVersion"), ((0, 0), "UnsupportedVersion"), ((1, 7), None), ((0, 1), None)])
def test_versions_meet_or_are_refused_with_both_ranges(versions: tuple[int, int], code: str | None) -> None:
    world = World()
    world.turn((b"1", Hello(versions, "c", 1, "c", 0.0, "test")))
    answer = world.take(b"1")[0]
    if code is None:
        assert isinstance(answer, Welcome) and answer.version == 1
    else:
        assert isinstance(answer, Refused) and answer.code == code and "1 to 1" in answer.hint


def test_a_newer_connection_replaces_the_older_one_which_is_told() -> None:
    world = World()
    old = world.connect("c", 1)
    new = world.connect("c", 2)
    assert world.take(old) == [SessionReplaced()]
    world.turn((old, Ping(1)), (new, Ping(2)))
    assert world.take(old) == [WhoAreYou()]
    assert [type(answer) for answer in world.take(new)] == [Pong]


def test_a_late_hello_of_an_older_connection_is_turned_away() -> None:
    world = World()
    world.connect("c", 2)
    world.turn((b"late", Hello((1, 1), "c", 1, "c", 0.0, "test")))
    assert world.take(b"late") == [SessionReplaced()]


def test_there_is_no_session_beyond_max_sessions() -> None:
    world = World(max_sessions=2)
    world.connect("a")
    world.connect("b")
    world.turn((b"1", Hello((1, 1), "c", 1, "c", 0.0, "test")))
    answer = world.take(b"1")[0]
    assert isinstance(answer, Refused) and answer.code == "Overloaded"
    world.goodbye(b"a#1")
    world.connect("c", 2)


def test_a_hello_as_long_as_a_book_is_refused() -> None:
    world = World()
    world.turn((b"1", Hello((1, 1), "c" * 100_000, 1, "c", 0.0, "test")))
    answer = world.take(b"1")[0]
    assert isinstance(answer, Refused) and answer.code == "InvalidName"


def test_after_goodbye_the_broker_knows_the_sender_no_more() -> None:
    world = World()
    address = world.connect("c")
    world.goodbye(address)
    world.turn((address, Ping(1)))
    assert world.take(address) == [WhoAreYou()]


def test_a_silent_session_is_lost_and_any_frame_keeps_it() -> None:
    world = World()
    quiet, lively = world.connect("quiet", timeout=3.0), world.connect("lively", timeout=3.0)
    for _ in range(8):
        world.pass_time(0.5)
        world.ping(lively)
    world.turn((quiet, Ping(1)), (lively, Ping(2)))
    assert world.take(quiet) == [WhoAreYou()]
    assert isinstance(world.take(lively)[0], Pong)


def test_after_a_restart_everybody_is_asked_who_they_are() -> None:
    world = World()
    address = world.connect("c")
    world.crash()
    world.turn((address, Pull(1, 1, 1)))
    assert world.take(address) == [WhoAreYou()]


def test_sessions_that_come_and_go_are_noted_once_each() -> None:
    world = World()
    world.node.begin(world.now, world.wall)
    world.node.receive(b"1", Hello((1, 1), "c", 1, "c", 0.0, "test"))
    world.node.receive(b"2", Hello((1, 1), "c", 2, "c", 0.0, "test"))
    world.node.persisted(world.now)
    events = [event for event, facts in world.node.take_output().events if facts.get("client") == "c"]
    assert len(events) == 2 and events[0] == "session opened"


def test_a_broker_that_stops_says_farewell_and_writes_everything_down() -> None:
    world = World()
    producer = Producer(world)
    producer.send(b"a")
    world.stop()
    assert any(isinstance(answer, Farewell) for answer in world.take(producer.address))
    assert all(state.applied >= state.end - 1 for state in world.storage.reader.logs())


def test_a_frame_that_could_not_be_read_is_answered_with_its_error() -> None:
    world = World()
    world.node.begin(world.now, world.wall)
    world.node.refuse_frame(b"1", BadFrame("nonsense", hint="speak clearly"))
    world.finish()
    answer = world.take(b"1")[0]
    assert isinstance(answer, Refused) and (answer.id, answer.code, answer.hint) == (0, "BadFrame", "speak clearly")


# --- Persist, then send --------------------------------------------------------------------------------------------


def test_nothing_is_confirmed_or_delivered_before_it_is_on_disk() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    node = world.node
    node.begin(world.now, world.wall)
    node.receive(producer.address, producer.batch(b"a"))
    node.receive(consumer.address, Pull(1, 10, 1000))
    node.tick()
    writes = node.take_writes()
    assert writes and not [command for _, command in node.take_output().sends if isinstance(command, Produced | Delivery)]
    world.storage.commit(writes)
    node.persisted(world.now)
    assert {type(command) for _, command in node.take_output().sends} == {Produced, Delivery}


def test_what_was_confirmed_is_there_after_a_crash_at_any_turn() -> None:
    world = World()
    producer = Producer(world)
    confirmed: list[bytes] = []
    for index in range(30):
        producer.send(f"{index}".encode())
        confirmed.append(f"{index}".encode())
        if index % 7 == 0:
            world.pass_time(1.0)
            world.crash()
            producer.connect()
    assert Consumer(world).drain() == confirmed


# --- A full disk ---------------------------------------------------------------------------------------------------


def fill(world: World) -> None:
    world.disk.room = world.disk.ballast = 0


def test_a_full_disk_refuses_messages_and_a_retry_later_succeeds_with_no_double() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"before")
    fill(world)
    batch = producer.batch(b"during")
    assert refused(world, producer.address, batch).code == "StorageFull"
    assert refused(world, producer.address, batch).code == "StorageFull"
    world.disk.room = float("inf")
    world.node.set_storage_full(False)
    world.turn((producer.address, batch))
    world.turn((producer.address, batch))
    assert consumer.drain() == [b"before", b"during"]
    assert lag(world, producer.address).lag == 0


def test_operations_survive_the_turn_in_which_the_disk_is_full() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b")
    lot = consumer.take()
    fill(world)
    world.turn((producer.address, producer.batch(b"x")), (consumer.address, world.settle(lot, "ack", [lot.offsets[0]])))
    world.crash()
    producer.connect()
    consumer.join([])
    assert consumer.drain() == [b"b"]


def test_consuming_goes_on_while_the_disk_is_full() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    world.node.set_storage_full(True)
    assert consumer.drain() == [b"a"]
    assert lag(world, producer.address).lag == 0


@pytest.mark.parametrize("is_followed", [True, False])
def test_offsets_lost_to_a_full_disk_are_given_anew_unless_an_operation_follows_them(is_followed: bool) -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    first = producer.send(b"a", b"b")
    lot = consumer.take()
    fill(world)
    batch = producer.batch(b"c", b"d")
    world.turn((producer.address, batch), *([(consumer.address, world.settle(lot, "ack", [first]))] if is_followed else []))
    assert [answer.code for answer in world.take(producer.address) if isinstance(answer, Refused)] == ["StorageFull"]
    end = partition_of(world).log.end
    world.disk.room = float("inf")
    world.node.set_storage_full(False)
    assert end == (first + 5 if is_followed else first + 2), "two messages and an operation, or nothing"
    assert world.ask(producer.address, batch, Produced).offset == end
    world.crash()
    producer.connect()
    consumer.join()
    assert consumer.drain() == ([b"b", b"c", b"d"] if is_followed else [b"a", b"b", b"c", b"d"])
    assert lag(world, producer.address).lag == 0


# --- A snapshot and a restart equal a replay -----------------------------------------------------------------------


def picture(world: World) -> tuple[object, ...]:
    """Everything that a restart must know again."""
    partition, state = partition_of(world), queue_of(world).state
    failures = {offset: failure for offset, failure in state.failures.items() if not state.is_settled(offset)}
    settled = {offset for offset in range(partition.log.start, partition.log.committed) if offset in state.settled}
    messages = {row.offset for row in world.storage.reader.read(partition.log.log_id, 0, 10_000, 1 << 30)}
    figures = (partition.messages, partition.size, partition.delayed, partition.log.start, len(partition.producers))
    return figures, settled & messages, failures, state.revived, state.lag, state.dead, state.members


@pytest.mark.parametrize("seconds", [0.0, 3.0, 60.0])
def test_a_restart_knows_exactly_what_was_committed_with_or_without_a_snapshot(seconds: float) -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    for index in range(30):
        producer.send(*[f"{index}-{part}".encode() for part in range(5)], keys=[b"a", b"b", None, b"c", b"d"], delays=[None, None, 500.0, None, None])
        lot = consumer.take(4)
        consumer.ack(lot, lot.offsets[:2])
        consumer.settle(lot, ("nack", "reject", "release")[index % 3], lot.offsets[2:3])
        if index == 20:
            done(world, producer.address, admin.Replay(world.next_id(), "t", "g"))
        world.pass_time(seconds / 30)
    world.goodbye(consumer.address)
    before = picture(world)
    world.crash()
    assert picture(world) == before
    world.pass_time(10)
    world.crash()
    assert picture(world)[2:] == before[2:], "the log may have been shortened, nothing else"


def test_a_snapshot_in_the_turn_that_the_full_disk_refuses_knows_nothing_of_the_refused_messages() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"before")
    consumer.drain()
    batch = producer.batch(b"during")
    fill(world)
    world.now += 2.5  # a snapshot is due now
    assert refused(world, producer.address, batch).code == "StorageFull"
    world.disk.room = float("inf")
    world.crash()
    producer.connect()
    world.turn((producer.address, batch))
    consumer.join()
    assert consumer.drain() == [b"during"]


# --- Commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a cluster"])
def test_every_command_that_a_client_may_send_has_a_desk(alone: bool) -> None:
    node = World().node if alone else ClusterWorld("a")["a"].node
    unserved = {Hello, Fetch, AskSnapshot}  # they are looked at before any session is
    assert {kind.__name__ for kind in get_args(Request) if kind not in unserved} == {kind.__name__ for kind in node._handlers}


@pytest.mark.parametrize("question", ABOUT_CLUSTERS, ids=lambda question: type(question).__name__)
def test_a_broker_alone_refuses_what_is_about_a_cluster_and_goes_on(question: Command) -> None:
    world = World()
    world.turn((b"1", Hello((1, 1), "c", 1, "c", 3.0, "test")))
    world.take(b"1")
    world.turn((b"1", question), (b"1", Ping(8)))
    refusal, pong = sorted(world.take(b"1"), key=lambda answer: isinstance(answer, Pong))
    assert isinstance(refusal, Refused) and isinstance(pong, Pong)
    assert (refusal.id, refusal.code) == (7, "InvalidValue")
    assert "stands alone" in refusal.message
