"""A mirror before a small tree, for tests of what it sees."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.core.small_tree import Seat, SmallTree
from zmqmq.core import layout
from zmqmq.core.layout import BrokerInfo, encode
from zmqmq.core.mirror import Mirror
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.core.places import Member, Place
from zmqmq.core.tree import Create, Outlet


def a_topic(topic_id: int, name: str, partitions: int = 2) -> TopicRecord:
    return TopicRecord(topic_id, name, partitions, 3, TopicSettings(), 0.0)


def a_place(leader: str = "a", epoch: int = 1) -> Place:
    return Place(replicas=["a", "b"], leader=leader, leader_be=1, epoch=epoch, isr=[Member(leader, 1, "s")])


def a_broker(broker: str, be: int = 1) -> BrokerInfo:
    return BrokerInfo(broker_id=broker, incarnation=1, be=be, endpoint=f"tcp://{broker}:1", storage_id=f"s-{broker}")


@dataclass
class Room:
    """One mirror before a tree."""

    tree: SmallTree = field(default_factory=SmallTree)
    outlet: Outlet = field(default_factory=Outlet)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.mirror = Mirror(self.outlet)
        self.seat = Seat(self.tree, self.outlet, lambda event: self.mirror.hear(event, self.now))

    def furnish(self, partitions: int = 2) -> None:
        for path in layout.SKELETON:
            self.tree.put(path, b"")
        self.tree.put(layout.topic_path("t"), encode(a_topic(7, "t", partitions)))
        for partition in range(partitions):
            self.tree.put(layout.place_path(7, partition), encode(a_place()))

    def connect(self, session: int = 1) -> None:
        self.seat.connect(session)
        self.seat.run()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.mirror.tick(self.now)
        self.seat.run()

    def register(self, broker: str, be: int, session: int) -> None:
        self.tree.apply((Create(layout.broker_path(broker), encode(a_broker(broker, be)), ephemeral=True),), session)
