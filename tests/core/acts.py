"""What tests make the people of a `World` do, in one line each: produce, join, take, settle, ask."""

from __future__ import annotations

from typing import Any

from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Delivery, HeldLease, KeptLease, Lot, Produce, Produced, Pull, Recalled, Refused, Settle, Settled, Settlement, Subscribed
from zmqmq.core.model import TopicSettings
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue


class Producer:
    """A producer that numbers its messages; its session outlives every test."""

    def __init__(self, world: World, name: str = "producer", number: int = 7, topic: str = "t") -> None:
        self.world = world
        self.name = name
        self.number = number
        self.topic = topic
        self.sequence: dict[int, int] = {}
        self.epoch = 0
        self.connect()
        world.topic(self.address, topic)

    def connect(self) -> None:
        """A new session, after a restart of the broker for instance."""
        self.epoch += 1
        self.address = self.world.connect(self.name, self.epoch, timeout=300.0)

    def batch(self, *values: bytes, **options: Any) -> Produce:
        """The next batch, numbered but not sent."""
        partition = options.setdefault("partition", 0)
        first = self.sequence.get(partition, 0)
        self.sequence[partition] = first + len(values)
        return self.world.produce(list(values), **{"sequence": first, "producer": self.number, "topic": self.topic, **options})

    def send(self, *values: bytes, **options: Any) -> int:
        """Sends and returns the first offset."""
        return self.world.ask(self.address, self.batch(*values, **options), Produced).offset


class Consumer:
    """A consumer of one group on one topic."""

    def __init__(self, world: World, name: str = "c", group: str = "g", topic: str = "t", **options: Any) -> None:
        self.world = world
        self.name = name
        self.group = group
        self.topic = topic
        self.epoch = 0
        self.timeout = float(options.pop("timeout", 300.0))
        self.options = options
        self.join()

    def join(self, held: list[HeldLease] | None = None) -> list[KeptLease]:
        """A (new) session and subscription that presents what is held; returns what became of it."""
        self.epoch += 1
        self.address = self.world.connect(self.name, self.epoch, self.timeout)
        command = self.world.subscribe(self.address, self.group, self.topic, held, **self.options)
        answer = self.world.ask(self.address, command, Subscribed)
        self.queue = answer.queue
        return answer.leases

    def pull(self, credit: int = 100) -> list[Lot]:
        """Every lot of one pull; what else was in the mail stays there."""
        self.world.turn((self.address, Pull(self.world.next_id(), credit, 1 << 20)))
        mail = self.world.take(self.address)
        self.world.mail[self.address] = [answer for answer in mail if isinstance(answer, Recalled)]
        return [lot for answer in mail if isinstance(answer, Delivery) for lot in answer.lots]

    def take(self, credit: int = 100) -> Lot:
        """The only lot of a pull."""
        lots = self.pull(credit)
        assert len(lots) == 1, f"{self.name} got {lots}"
        return lots[0]

    def values(self, credit: int = 100) -> list[bytes]:
        """The values of one pull."""
        return [value for lot in self.pull(credit) for value in lot.values]

    def settle(self, lot: Lot, outcome: Any, offsets: list[int] | None = None, **options: Any) -> list[Settlement]:
        """Settles and returns what was lost."""
        return self.world.ask(self.address, self.world.settle(lot, outcome, offsets, **options), Settled).lost

    def ack(self, lot: Lot, offsets: list[int] | None = None) -> list[Settlement]:
        return self.settle(lot, "ack", offsets)

    def nack(self, lot: Lot, offsets: list[int] | None = None, **options: Any) -> list[Settlement]:
        return self.settle(lot, "nack", offsets, **options)

    def drain(self, rounds: int = 50) -> list[bytes]:
        """Pulls and acknowledges until nothing comes any more."""
        got: list[bytes] = []
        for _ in range(rounds):
            lots = self.pull()
            if not lots:
                return got
            for lot in lots:
                got += lot.values
                self.ack(lot)
        raise AssertionError("there is no end to it")

    def recalled(self) -> list[tuple[int, list[int]]]:
        """(lease, offsets) of the recalls in the mail."""
        return [(answer.lease, answer.offsets) for answer in self.world.take(self.address) if isinstance(answer, Recalled)]

    def holding(self, lot: Lot, offsets: list[int] | None = None) -> HeldLease:
        """The lot as it is presented on a new session."""
        offsets = offsets if offsets is not None else lot.offsets
        attempts = dict(zip(lot.offsets, lot.attempts or [1] * len(lot.offsets), strict=True))
        return HeldLease(lot.partition, lot.epoch, lot.lease, offsets, [attempts[offset] for offset in offsets])


def settings(**changes: Any) -> TopicSettings:
    """Settings of a topic for tests: a retry waits one second."""
    return TopicSettings(**{"retry_delay": 1.0, **changes})


def partition_of(world: World, number: int = 0, topic: str = "t") -> Partition:
    return world.node.catalogue.get(topic).partitions[number]


def queue_of(world: World, group: str = "g", number: int = 0, topic: str = "t") -> Queue:
    return partition_of(world, number, topic).queues[group]


def lag(world: World, address: bytes, group: str = "g", topic: str = "t") -> admin.PartitionLag:
    """The figures of a group on a topic of one partition."""
    report = world.ask(address, admin.AskLag(world.next_id(), topic, group), admin.LagReport)
    assert len(report.partitions) == 1
    return report.partitions[0]


def letters(world: World, address: bytes, group: str = "g", topic: str = "t", limit: int = 100) -> list[admin.DeadLetter]:
    return world.ask(address, admin.ListDead(world.next_id(), topic, group, limit=limit), admin.DeadList).letters


def reasons(world: World, address: bytes, group: str = "g", topic: str = "t") -> dict[str, admin.Reason]:
    """The reasons of an explanation by code; the last one of several alike."""
    return {reason.code: reason for reason in explanation(world, address, group, topic).reasons}


def explanation(world: World, address: bytes, group: str = "g", topic: str = "t") -> admin.Explanation:
    return world.ask(address, admin.AskExplain(world.next_id(), topic, group), admin.Explanation)


def done(world: World, address: bytes, command: Any) -> int:
    """Sends a change and returns its count."""
    return world.ask(address, command, admin.Done).count


def refused(world: World, address: bytes, command: Any) -> Refused:
    """Sends what must be refused and returns the refusal."""
    return world.ask(address, command, Refused)


def settle_all(world: World, *lots: Lot, outcome: Any = "ack") -> Settle:
    """One command that settles several lots."""
    return Settle(world.next_id(), [Settlement(lot.queue, lot.partition, lot.epoch, lot.lease, outcome) for lot in lots])
