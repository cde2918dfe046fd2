"""What time does: delays, beacons, leases, idle rest, and a clock that stands still for everybody while the broker sleeps."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, done, lag, partition_of, queue_of, reasons, settings
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import WAKE, Beacon, Produced
from zmqmq.core.housekeeping import BEACON_QUEUES, MATURE_STEP


def beacons(world: World) -> list[Beacon]:
    """The beacons since the last look."""
    found = [frame for frame in world.published if isinstance(frame, Beacon)]
    world.published.clear()
    return found


# --- Delayed messages ----------------------------------------------------------------------------------------------


def test_delayed_messages_come_in_the_order_in_which_they_are_due() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"late", b"now", b"soon", delays=[20.0, None, 10.0])
    assert consumer.drain() == [b"now"]
    world.pass_time(10.1)
    assert consumer.drain() == [b"soon"]
    world.pass_time(10.0)
    assert consumer.drain() == [b"late"]
    assert lag(world, producer.address).lag == 0


def test_a_delayed_message_survives_a_restart_and_comes_when_due() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", delays=[10.0])
    world.pass_time(5.0)
    world.crash()
    consumer.join()
    assert consumer.values() == []
    world.pass_time(5.1)
    assert consumer.values() == [b"a"]


def test_a_delayed_message_that_became_due_while_the_broker_was_down_comes_at_once() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", delays=[10.0])
    world.now += 100.0
    world.crash()
    consumer.join()
    world.turn()
    assert consumer.values() == [b"a"]


def test_a_delayed_message_joins_its_keys_order_when_it_is_due() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"delayed", b"first", key=b"k", delays=[5.0, None])
    producer.send(b"second", key=b"k")
    world.pass_time(6.0)
    producer.send(b"last", key=b"k")
    assert consumer.drain() == [b"first", b"second", b"delayed", b"last"]


def test_a_delay_of_nothing_is_no_delay() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b", delays=[0.0, None])
    assert consumer.drain() == [b"a", b"b"]


def test_a_delayed_batch_sent_again_is_stored_once() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    batch = producer.batch(b"a", b"b", delays=[5.0, None])
    assert world.ask(producer.address, batch, Produced).offset == world.ask(producer.address, batch, Produced).offset
    world.pass_time(6.0)
    assert sorted(consumer.drain()) == [b"a", b"b"]


def test_many_messages_due_at_once_come_in_bounded_steps() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    count = 2 * MATURE_STEP + 10
    producer.send(*[b"x"] * count, delays=[5.0] * count)
    assert partition_of(world).delayed == count
    world.pass_time(6.0)
    assert partition_of(world).delayed == 0
    assert len(consumer.drain()) == count


def test_a_delayed_message_wakes_a_sleeper_when_it_is_due() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", delays=[5.0])
    consumer.pull()
    world.published.clear()
    world.pass_time(4.9)
    assert [frame for frame in world.published if not isinstance(frame, Beacon)] == []
    world.pass_time(0.2)
    assert any(isinstance(frame, bytes) and frame.startswith(WAKE) for frame in world.published)


def test_explain_says_until_when_a_message_is_delayed() -> None:
    world = World()
    producer = Producer(world)
    Consumer(world)
    producer.send(b"a", b"b", delays=[5.0, 9.0])
    reason = reasons(world, producer.address)["delayed"]
    assert (reason.messages, reason.until) == (2, world.wall + 5.0)


# --- Beacons -------------------------------------------------------------------------------------------------------


def test_a_beacon_goes_out_every_second_even_when_nothing_happens() -> None:
    world = World()
    beacons(world)
    world.pass_time(10.0)
    assert len(beacons(world)) == 10


def test_a_beacon_lists_only_what_waits_for_somebody() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    consumer.pull()
    world.pass_time(1.0)
    assert beacons(world)[-1].waiting == []
    producer.send(b"a")
    world.pass_time(1.0)
    waiting = beacons(world)[-1].waiting
    assert [queue for queue, _ in waiting] == [consumer.queue]
    consumer.drain()
    world.pass_time(1.0)
    assert beacons(world)[-1].waiting == []


def test_a_beacons_version_is_newer_than_what_a_sleeper_has_seen() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    consumer.pull()
    seen = world.node.context.version
    producer.send(b"a")
    world.pass_time(1.0)
    assert beacons(world)[-1].waiting[0][1] > seen


def test_too_many_waiting_queues_make_the_beacon_call_everybody() -> None:
    world = World(max_groups=BEACON_QUEUES + 10)
    producer = Producer(world)
    producer.send(b"a")
    address = world.connect("c", timeout=300.0)
    world.turn(*[(address, world.subscribe(address, f"g{index}")) for index in range(BEACON_QUEUES + 2)])
    world.pass_time(1.0)
    beacon = beacons(world)[-1]
    assert beacon.crowded and beacon.waiting == []


# --- Rest ----------------------------------------------------------------------------------------------------------


def test_a_broker_with_nothing_to_do_writes_nothing() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(*[b"a"] * 2000)
    consumer.drain()
    producer.send(b"left")
    world.pass_time(20.0)
    before = world.storage.commits
    world.pass_time(200.0)
    assert world.storage.commits == before


def test_retries_and_delays_far_away_cost_no_turns() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b", delays=[None, 1000.0])
    consumer.nack(consumer.take(), delay=1000.0)
    world.pass_time(10.0)
    assert world.node.deadline() - world.now > 0.4


def test_old_messages_go_by_max_age_without_any_traffic() -> None:
    world = World(defaults=settings(max_age=5.0))
    producer = Producer(world)
    Consumer(world)
    producer.send(b"a", b"b")
    world.pass_time(20.0)
    assert (partition_of(world).messages, lag(world, producer.address).lag) == (0, 0)


def test_a_full_disk_delays_what_becomes_due_and_the_broker_does_not_spin() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a" * 50, delays=[1.0])
    world.disk.room = world.disk.ballast = 0
    world.pass_time(5.0)
    assert partition_of(world).delayed == 1
    world.disk.room = float("inf")
    world.node.set_storage_full(False)
    world.pass_time(2.0)
    assert consumer.values() == [b"a" * 50]


def test_leases_of_a_group_that_everybody_left_are_gone() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world, timeout=5.0)
    producer.send(b"a")
    consumer.take()
    world.pass_time(6.0)
    assert queue_of(world).book.held == 0 and not queue_of(world).state.members


def test_replayed_letters_of_a_key_wait_in_order() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"1", b"2", b"3", key=b"k")
    consumer.settle(consumer.take(), "reject")
    done(world, producer.address, admin.Replay(world.next_id(), "t", "g"))
    assert consumer.drain() == [b"1", b"2", b"3"]
