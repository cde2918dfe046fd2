"""Topics over restarts: numbers that are never used twice, names that come back."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, done
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Described
from zmqmq.core.writes import PutPromise


def test_topics_come_back_with_their_settings_and_partitions() -> None:
    world = World(default_partitions=3)
    producer = Producer(world)
    before = world.topic(producer.address)
    world.crash()
    producer.connect()
    after = world.topic(producer.address)
    assert (after.topic_id, after.settings, after.created, len(after.placements)) == (before.topic_id, before.settings, before.created, 3)


def test_epochs_grow_with_every_start() -> None:
    world = World()
    producer = Producer(world)
    epochs = []
    for _ in range(3):
        epochs.append(world.topic(producer.address).placements[0].epoch)
        world.crash()
        producer.connect()
    assert epochs == [1, 2, 3]


def test_who_leaves_its_cluster_leads_in_an_epoch_above_all_that_it_has_promised() -> None:
    world = World()
    producer = Producer(world)
    world.topic(producer.address)
    (log_id,) = world.disk.logs
    world.storage.commit([PutPromise(log_id, 7)])
    world.crash()
    producer.connect()
    assert world.topic(producer.address).placements[0].epoch == 8


def test_numbers_of_topics_and_logs_are_never_used_twice() -> None:
    world = World(default_partitions=2)
    seen: set[int] = set()
    for round_ in range(4):
        address = world.connect(f"a{round_}")
        for name in ("x", "y"):
            described = world.topic(address, name)
            assert described.topic_id not in seen
            seen.add(described.topic_id)
        logs = {state.log_id for state in world.storage.logs()}
        assert not logs & seen
        seen |= logs
        for name in ("x", "y"):
            done(world, address, admin.DeleteTopic(world.next_id(), name))
        if round_ % 2:
            world.crash()


def test_a_name_is_free_again_after_its_topic_is_deleted() -> None:
    world = World()
    producer = Producer(world)
    done(world, producer.address, admin.DeleteTopic(world.next_id(), "t"))
    assert world.topic(producer.address, "T").topic == "T", "its twin was free too"


def test_a_topic_made_and_deleted_in_one_turn_leaves_nothing() -> None:
    world = World()
    address = world.connect("a")
    create = admin.CreateTopic(1, "x", 1, 1, {})
    world.turn((address, create), (address, admin.DeleteTopic(2, "x")), (address, admin.CreateTopic(3, "x", 2, 1, {})))
    assert [type(answer) for answer in world.take(address)] == [Described, admin.Done, Described]
    assert [topic.partitions for topic in world.storage.topics()] == [2]


def test_a_hundred_topics_live_side_by_side() -> None:
    world = World()
    producers = [Producer(world, f"p{index}", topic=f"t{index}") for index in range(100)]
    consumers = [Consumer(world, f"c{index}", topic=f"t{index}") for index in range(100)]
    for index, producer in enumerate(producers):
        producer.send(f"{index}".encode())
    assert [consumer.drain() for consumer in consumers] == [[f"{index}".encode()] for index in range(100)]
