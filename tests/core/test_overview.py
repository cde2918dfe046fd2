"""Figures that people see are exact: compared with a count of what is really there, after random deeds."""

from __future__ import annotations

from random import Random
from typing import Literal

import pytest

from tests.core.acts import Consumer, Producer, done, lag, letters, partition_of, settings
from tests.core.world import World
from zmqmq.core import admin_commands as admin


class Tally:
    """Random deeds on one topic, and a dumb count beside them."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.world = World(seed, defaults=settings(max_attempts=2, retry_delay=0.5))
        self.producer = Producer(self.world)
        self.consumer = Consumer(self.world)
        self.unsettled: set[int] = set()
        self.delayed = 0

    def step(self) -> None:
        deed = self.rng.choice((self.produce, self.produce, self.settle, self.settle, self.settle, self.wait, self.seek, self.replay, self.restart))
        deed()
        self.check()

    def produce(self) -> None:
        count = self.rng.randint(1, 5)
        first = self.producer.send(*[b"xyz"] * count, key=self.rng.choice((None, b"a", b"b")))
        self.unsettled |= set(range(first, first + count))

    def settle(self) -> None:
        for lot in self.consumer.pull(self.rng.randint(1, 6)):
            outcome = self.rng.choice(("ack", "ack", "nack", "reject", "release"))
            dying = [offset for index, offset in enumerate(lot.offsets) if outcome == "nack" and (lot.attempts or [1] * 99)[index] >= 2]
            self.consumer.settle(lot, outcome)
            self.unsettled -= set(lot.offsets) if outcome in ("ack", "reject") else set(dying)

    def wait(self) -> None:
        self.world.pass_time(self.rng.choice((0.3, 3.0)))

    def seek(self) -> None:
        targets: list[Literal["earliest", "latest"]] = ["earliest", "latest"]
        to = self.rng.choice(targets)
        done(self.world, self.producer.address, admin.Seek(self.world.next_id(), "t", "g", to))
        self.unsettled = set(self.stored()) if to == "earliest" else set()
        self.consumer.recalled()

    def replay(self) -> None:
        dead = {letter.offset for letter in letters(self.world, self.producer.address, limit=1000)}
        assert done(self.world, self.producer.address, admin.Replay(self.world.next_id(), "t", "g")) == len(dead)
        self.unsettled |= dead

    def restart(self) -> None:
        self.world.crash()
        self.producer.connect()
        self.consumer.join()

    def stored(self) -> list[int]:
        """Offsets of the messages that the log still has (dead letters below its start are not of it)."""
        partition = partition_of(self.world)
        return [row.offset for row in self.world.storage.reader.read(partition.log.log_id, partition.log.start, 100_000, 1 << 40)]

    def check(self) -> None:
        figures = lag(self.world, self.producer.address)
        partition = partition_of(self.world)
        assert figures.lag == len(self.unsettled)
        assert figures.dead == len(letters(self.world, self.producer.address, limit=1000))
        assert figures.held == sum(len(lease.open) for lease in partition.queues["g"].book.leases.values())
        assert (partition.messages, partition.size) == (len(self.stored()), sum(3 + self.key_size(offset) for offset in self.stored()))
        summary = self.world.ask(self.producer.address, admin.ListTopics(self.world.next_id()), admin.TopicList).topics[0]
        assert (summary.messages, summary.size, summary.groups) == (partition.messages, partition.size, 1)

    def key_size(self, offset: int) -> int:
        return len(self.world.storage.reader.read_offsets(partition_of(self.world).log.log_id, [offset])[0].key or b"")


@pytest.mark.parametrize("block", range(4))
def test_figures_are_exact_after_whatever_has_happened(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        tally = Tally(seed)
        for step in range(40):
            try:
                tally.step()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, step {step}: {error}") from error


def test_topics_are_listed_by_name_in_pages() -> None:
    world = World()
    for name in ("c", "a", "b"):
        producer = Producer(world, name, topic=name)
    first = world.ask(producer.address, admin.ListTopics(1, "", 2), admin.TopicList).topics
    rest = world.ask(producer.address, admin.ListTopics(2, first[-1].topic, 2), admin.TopicList).topics
    assert [entry.topic for entry in [*first, *rest]] == ["a", "b", "c"]


def test_dead_letters_are_listed_in_pages_over_partitions() -> None:
    world = World(default_partitions=2)
    producer, consumer = Producer(world), Consumer(world)
    for partition in (0, 1):
        producer.send(*[b"x"] * 5, partition=partition)
    for lot in consumer.pull():
        consumer.settle(lot, "reject")
    seen: list[tuple[int, int]] = []
    place, more = (0, -1), True
    while more:
        page = world.ask(producer.address, admin.ListDead(world.next_id(), "t", "g", *place, limit=3), admin.DeadList)
        seen += [(letter.partition, letter.offset) for letter in page.letters]
        place, more = seen[-1], page.more
    assert len(seen) == len(set(seen)) == 10 and seen == sorted(seen)


def test_a_page_of_big_dead_letters_is_cut_by_bytes() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    for _ in range(6):
        producer.send(b"x" * 1_000_000)
        consumer.settle(consumer.take(), "reject")
    page = world.ask(producer.address, admin.ListDead(1, "t", "g", limit=1000), admin.DeadList)
    assert len(page.letters) < 6 and page.more


def test_the_status_counts_what_is_there() -> None:
    world = World(default_partitions=2)
    producer, consumer = Producer(world), Consumer(world, "worker")
    producer.send(b"abc", b"de")
    lot = consumer.take(1)
    world.pass_time(2.0)
    status = world.ask(producer.address, admin.AskStatus(1), admin.BrokerStatus)
    assert (status.topics, status.partitions, status.sessions, status.messages, status.size) == (1, 2, 2, 2, 5)
    assert (status.accepted, status.delivered, status.settled, status.held) == (2, 1, 0, 1)
    assert (status.role, status.incarnation, status.storage_full) == ("standalone", 1, False)
    worker = next(entry for entry in status.session_list if entry.name == "worker")
    assert (worker.queues, worker.held) == (["t/g"], 1) and worker.silent == pytest.approx(2.0)
    consumer.ack(lot)
    assert world.ask(producer.address, admin.AskStatus(2, 0), admin.BrokerStatus).session_list == []


def test_partitions_groups_and_brokers_are_described() -> None:
    world = World(default_partitions=2)
    producer = Producer(world)
    Consumer(world)
    offset = producer.send(b"abc", partition=1)
    parts = world.ask(producer.address, admin.DescribePartitions(1, "t"), admin.PartitionList).partitions
    assert [(entry.partition, entry.messages, entry.size, entry.leader) for entry in parts] == [(0, 0, 0, "broker-1"), (1, 1, 3, "broker-1")]
    assert parts[1].committed == parts[1].end == offset + 1
    groups = world.ask(producer.address, admin.ListGroups(2), admin.GroupList).groups
    assert [(entry.topic, entry.group, entry.members, entry.lag) for entry in groups] == [("t", "g", 1, 1)]
    brokers = world.ask(producer.address, admin.ListBrokers(3), admin.BrokerList)
    assert brokers.leader == "broker-1" and [entry.partitions_led for entry in brokers.brokers] == [2]


def test_the_oldest_unsettled_message_is_told_by_its_time() -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a")
    accepted = world.wall
    world.pass_time(5)
    producer.send(b"b")
    assert lag(world, producer.address).oldest == accepted
    consumer.drain()
    assert lag(world, producer.address).oldest is None
