"""A few brokers around a small tree, as far as the office of cluster leader and changes of topics need them; and views without any tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tests.core.small_tree import Seat, SmallTree
from zmqmq.core import layout
from zmqmq.core.cluster_view import BrokerInfo, ClusterView, Key, PlaceEntry, TopicEntry, WishEntry
from zmqmq.core.controller import Controller
from zmqmq.core.mirror import Mirror
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.core.places import Member, Place, elect, with_in_sync
from zmqmq.core.topic_writes import TopicWrites
from zmqmq.core.tree import Answered, Change, Create, Event, Lost, Outlet
from zmqmq.errors import ZmqmqError


def a_broker(broker: str, be: int = 0, storage: str = "", rack: str = "") -> BrokerInfo:
    return BrokerInfo(broker_id=broker, incarnation=1, be=be, endpoint=f"tcp://{broker}:1", storage_id=storage or f"s-{broker}", rack=rack)


def a_member(broker: str, be: int = 0, storage: str = "") -> Member:
    return Member(broker, be, storage or f"s-{broker}")


def a_topic(partitions: int = 1, replicas: int = 3, topic_id: int = 7, name: str = "t", min_in_sync: int = 0) -> TopicRecord:
    return TopicRecord(topic_id, name, partitions, replicas, TopicSettings(min_in_sync=min_in_sync), 0.0)


def a_place(replicas: str, **changes: object) -> Place:
    """Led by the first, all in sync, unless changed."""
    fields: dict[str, object] = {"leader": replicas[0], "epoch": 1, "isr": [a_member(broker) for broker in sorted(replicas)]}
    return Place(replicas=list(replicas), **{**fields, **changes})  # type: ignore[arg-type]


def a_view(brokers: Mapping[str, str] | str, places: Sequence[Place], wishes: Mapping[str, WishEntry] | None = None, replicas: int = 0) -> ClusterView:
    """Brokers (with racks) and the partitions of one topic, which shall have that many replicas (0: no more than they have)."""
    racks = dict.fromkeys(brokers, "") if isinstance(brokers, str) else brokers
    record = a_topic(max(1, len(places)), replicas or min((len(place.replicas) - len(place.removing) for place in places), default=3))
    return ClusterView(
        brokers={broker: a_broker(broker, rack=rack) for broker, rack in racks.items()},
        wishes=wishes or {},
        topics={record.name: TopicEntry(record, 0)},
        topics_by_id={record.topic_id: TopicEntry(record, 0)},
        places={(record.topic_id, number): PlaceEntry(place, 0) for number, place in enumerate(places)},
        is_fresh=True,
    )


WALL = 1_700_000_000.0
"""Broker time when the clusters' own begins."""


class Broker:
    """One broker's controller, mirror and jobs."""

    def __init__(self, cluster: SmallCluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.outlet = Outlet()
        self.mirror = Mirror(self.outlet)
        self.controller = Controller(self.outlet, name)
        self.jobs = TopicWrites(self.outlet, name)
        self.seat = Seat(cluster.tree, self.outlet, self.hear)
        self.me: Member | None = None
        self.errors: list[ZmqmqError | None] = []

    def hear(self, event: Event) -> None:
        if isinstance(event, Lost):
            self.outlet.forget()
        self.mirror.hear(event, self.cluster.now)
        self.controller.hear(event)
        self.jobs.hear(event)

    def join(self, storage: str = "") -> None:
        """A new session and a new registration."""
        tree, path = self.cluster.tree, layout.epoch_path(self.name)
        tree.put(path, b"{}")
        self.me = a_member(self.name, tree.nodes[path].version, storage)
        self.cluster.sessions += 1
        self.seat.connect(self.cluster.sessions)
        info = layout.encode(a_broker(self.name, self.me.be, self.me.storage))
        tree.apply((Create(layout.broker_path(self.name), info, ephemeral=True),), self.seat.session)

    def die(self) -> None:
        self.me = None
        self.seat.expire()

    def turn(self) -> None:
        """Until nothing happens any more at this moment."""
        for _ in range(8):
            self.seat.run()
            self.mirror.tick(self.cluster.now)
            self.jobs.tick(self.cluster.now)
            self.controller.step(self.mirror.view, self.me, self.cluster.now, WALL + self.cluster.now)
        self.seat.run()

    def one_round(self) -> None:
        """Carries out once what lies in the outlet; what that leads to is asked for and not carried out yet."""
        for number, request in self.outlet.take():
            self.seat.log.append(request)
            self.outlet.hear(Answered(number, self.seat._answer(request)))

    @property
    def changes(self) -> list[Change]:
        """Every change that was asked of the tree."""
        return [request for request in self.seat.log if isinstance(request, Change)]


class SmallCluster:
    """Brokers, the tree between them, and the time."""

    def __init__(self, brokers: str = "abc", partitions: int = 0, replicas: int = 3) -> None:
        self.tree, self.now, self.sessions = SmallTree(), 100.0, 0
        for path in layout.SKELETON:
            self.tree.put(path, b"")
        self.brokers = {name: Broker(self, name) for name in brokers}
        for broker in self.brokers.values():
            broker.join()
        self.settle()
        if partitions:
            self.create(a_topic(partitions, replicas))

    def __getitem__(self, name: str) -> Broker:
        return self.brokers[name]

    def create(self, record: TopicRecord) -> None:
        broker = self.live[0]
        broker.jobs.create(broker.mirror.view, record, self.now, broker.errors.append)
        self.settle()
        assert broker.errors.pop() is None

    @property
    def live(self) -> list[Broker]:
        return [broker for broker in self.brokers.values() if broker.me is not None]

    @property
    def leader(self) -> Broker:
        (holder,) = [broker for broker in self.live if broker.controller.epoch is not None]
        return holder

    def settle(self) -> None:
        for _ in range(3):
            for broker in self.live:
                broker.turn()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.settle()

    def place(self, partition: int = 0, topic_id: int = 7) -> Place:
        path = layout.place_path(topic_id, partition)
        place = layout.decode(path, self.tree.nodes[path].data, Place)
        assert isinstance(place, Place)
        return place

    def places(self) -> dict[Key, Place]:
        view = self.live[0].mirror.view
        return {key: self.place(key[1], key[0]) for key in view.places}

    def write(self, place: Place, partition: int = 0) -> None:
        """What the partition's leader, or a stranger, writes."""
        self.tree.put(layout.place_path(7, partition), layout.encode(place))


def fence(place: Place, broker: str, lives: Callable[[str], Member | None], needed: int, avoid: Iterable[str] = ()) -> Place:
    """As the cluster leader does it, step by step: the broker's registration is gone or another one; what it was in an earlier life leaves the in-sync set,
    and somebody else leads. Does nothing to a broker whose present life is the one recorded, so that it can be repeated."""
    life = lives(broker)
    isr = [member for member in place.isr if member.broker != broker or member == life]
    if isr != place.isr:
        place = with_in_sync(place, isr, needed)
    leads = life is not None and place.leader_be == life.be and life in place.isr
    return elect(place, lives, needed, avoid) if place.leader == broker and not leads else place
