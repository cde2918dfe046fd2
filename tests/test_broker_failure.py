"""A member of a cluster whose disk fails: nothing of the turn that could not be stored leaves the broker, to nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, cast

import pytest

from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from tests.fakes.memory_tree import MemoryTree, instant
from zmqmq.broker import Broker, Shells
from zmqmq.config import BrokerConfig, ZooKeeperConfig
from zmqmq.core import layout
from zmqmq.core.checksum import checksums
from zmqmq.core.commands import Describe, Hello, Produce
from zmqmq.core.peer_commands import Fetch
from zmqmq.core.tree import Request
from zmqmq.errors import StorageFailed
from zmqmq.shell.clock import Moment
from zmqmq.wire import encode

ADDRESS, PEER = b"client", b"peer"
TURNS = 50


class Wires:
    """Sockets that remember what is said; what arrives is put into `inbox`."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.inbox: list[tuple[bytes, bytes]] = []
        self.is_closed = False

    def receive(self, max_frames: int, max_bytes: int) -> Iterator[tuple[bytes, bytes]]:
        arrived, self.inbox = self.inbox, []
        return iter(arrived)

    def take_events(self) -> list[Any]:
        return []

    def send(self, address: object, frame: bytes) -> None:
        self.said.append(("send", address, frame))

    def publish(self, frame: bytes) -> None:
        self.said.append(("publish", frame))

    def connect(self, broker: str, endpoint: str) -> None:
        self.said.append(("connect", broker))

    def wake(self) -> None:
        """The test turns the broker."""

    retry = wake

    def close(self, linger: int = 0) -> None:
        self.is_closed = True


class FrontDoor(Wires):
    """The broker's own sockets; other brokers are apart."""

    def __init__(self) -> None:
        super().__init__()
        self.peers = Wires()


class WatchedTree(MemoryTree):
    """Remembers what is asked of the tree."""

    asked: list[tuple[int, Request]]

    def submit(self, requests: Sequence[tuple[int, Request]]) -> None:
        self.asked.extend(requests)
        super().submit(requests)


class Stand:
    """One member of a cluster, turned by hand."""

    def __init__(self) -> None:
        self.timeline, self.ensemble = instant()
        self.disk = MemoryDisk()
        self.wires = FrontDoor()
        self.tree = WatchedTree(self.ensemble)
        self.tree.asked = []
        config = BrokerConfig(broker_id="a", zookeeper=ZooKeeperConfig(hosts="memory:2181"), ballast_bytes=0)
        storage = MemoryStorage.open(self.disk)
        self.broker = Broker(config, Shells(cast(Any, storage), cast(Any, self.wires), cast(Any, self), Random(1).random, cast(Any, self), None, self.tree))
        self.broker.open()

    def read(self) -> Moment:
        return Moment(self.timeline.now() + 100.0, self.timeline.now() + 1_700_000_000.0)

    def not_before(self, wall: float) -> None:
        """Time goes on by itself here."""

    def info(self, event: str, **facts: object) -> None:
        """What the broker's log says is no matter here."""

    warning = info

    def turns(self, count: int = TURNS) -> None:
        for _ in range(count):
            self.broker.turn()
            self.timeline.advance(0.02)

    def hear(self, address: bytes, *commands: Any) -> None:
        self.wires.inbox += [(address, encode(command)) for command in commands]

    def fail(self) -> tuple[int, int, int]:
        """The next turn cannot be stored. Returns how much was said before it to clients, brokers and the tree."""
        before = self.said()
        self.disk.broken = True
        with pytest.raises(StorageFailed):
            self.broker.turn()
        return before

    def said(self) -> tuple[int, int, int]:
        return len(self.wires.said), len(cast(Any, self.wires.peers).said), len(self.tree.asked)

    @property
    def is_registered(self) -> bool:
        return self.ensemble.read(layout.broker_path("a"), self.ensemble.zxid) is not None


@pytest.fixture
def stand() -> Stand:
    """A member that leads a topic with a client on it."""
    stand = Stand()
    stand.turns()
    assert stand.is_registered
    stand.hear(ADDRESS, Hello((1, 1), "c", 1, "c", 0.0, "test"), Describe(1, "t", True))
    stand.turns()
    assert stand.broker.node.catalogue.get("t").partitions, "it leads"
    return stand


def test_nothing_of_a_turn_that_could_not_be_stored_is_said_to_clients_brokers_or_the_tree(stand: Stand) -> None:
    batch = Produce(2, "t", 0, 1, 7, 0, 0, [b"x"], checksums([b"x"]), None, None, None)
    stand.hear(ADDRESS, batch, Describe(3, "another", True))
    stand.hear(PEER, Fetch(1, stand.broker.node.context.settings.cluster_id, "b", 1, 1, True, [], 0.0, 1 << 20))
    before = stand.fail()
    assert stand.said() == before
    stand.broker.abandon()
    assert stand.said() == before
    assert stand.wires.is_closed


def test_its_registration_ends_at_once_so_that_others_can_take_over(stand: Stand) -> None:
    batch = Produce(2, "t", 0, 1, 7, 0, 0, [b"x"], checksums([b"x"]), None, None, None)
    stand.hear(ADDRESS, batch)
    stand.fail()
    assert stand.is_registered
    stand.broker.abandon()
    assert not stand.is_registered
