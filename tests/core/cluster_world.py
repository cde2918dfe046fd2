"""A cluster in one process: several nodes on disks in memory, a modelled tree between them, and frames that arrive at once.

Each `Machine` is a `World`, so the people of `acts` work on it; time belongs to the `ClusterWorld`. Nothing is late or lost here, and a turn of one
goes on until nobody has anything to do at this moment: what happens under bad weather is another test's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.core.world import World
from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from tests.fakes.memory_tree import MemoryTree, instant
from zmqmq.core.cluster import Cluster, Membership
from zmqmq.core.cluster_commands import AskCluster, ClusterReport
from zmqmq.core.cluster_report import report_of
from zmqmq.core.commands import Command
from zmqmq.core.context import NodeSettings
from zmqmq.core.node import Node, Output
from zmqmq.core.tree import Event
from zmqmq.wire import decode_answer, decode_request, encode

ROUNDS_MAX = 500
"""Rounds without an end at one moment."""
PEER = b"peer:"
CLUSTER_ID = "cluster"


class Machine(World):
    """One broker of a cluster."""

    tree: MemoryTree

    def __init__(self, cluster: ClusterWorld, name: str, *, rack: str = "", default_replicas: int = 0, disk: MemoryDisk | None = None, **settings: Any) -> None:
        self.cluster_world, self.name, self.rack, self.default_replicas = cluster, name, rack, default_replicas
        self.frames: list[tuple[bytes, Command]] = []
        self.answers: list[tuple[str, Command]] = []
        self.up: dict[str, str] = {}
        """Other brokers that it is connected to, with their endpoints."""
        self.events: list[tuple[str, dict[str, object]]] = []
        """What the operator could read in the log."""
        self.is_alive = False
        super().__init__(seed=sum(name.encode()), disk=disk or MemoryDisk(storage_id=f"s-{name}", cluster_id=CLUSTER_ID), **settings)

    @property
    def endpoint(self) -> str:
        return f"tcp://{self.name}:7400"

    @property
    def cluster(self) -> Cluster:
        assert self.node.cluster is not None
        return self.node.cluster

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.now = self.cluster_world.timeline.now()
        self.storage = MemoryStorage.open(self.disk)
        settings = NodeSettings(
            broker_id=self.name,
            cluster_id=self.storage.cluster_id,
            incarnation=self.storage.incarnation,
            endpoint=self.endpoint,
            wake_endpoint="",
            software="test",
            **self.settings,
        )
        membership = Membership(
            storage_id=self.storage.storage_id,
            previous_session=self.disk.session,
            copied=self.storage.identity.copied,
            has_data=self.storage.has_data,
            rack=self.rack,
            default_replicas=self.default_replicas,
        )
        self.node = Node(settings, self.storage.reader, self.rng.random, membership)
        self.node.open(self.now, self.wall)
        self.tree = MemoryTree(self.cluster_world.ensemble)
        self.tree.start(lambda: None)
        self.is_alive = True
        self.finish()

    def die(self) -> None:
        """The process is killed; whoever was connected finds that nobody listens there."""
        self.is_alive = False
        self.tree.crash()
        self.storage.crash()
        for known in (self.frames, self.answers, self.up, self.mail):
            known.clear()
        for other in self.cluster_world.living:
            if other.up.pop(self.name, None) is not None:
                other.node.connected(self.name)
                other.node.refused(self.name, self.endpoint)

    # --- turns -----------------------------------------------------------------------------------------------------

    def turn(self, *frames: tuple[bytes, Command]) -> None:
        self.frames += [(address, decode_request(encode(command))) for address, command in frames]
        self.cluster_world.settle(self)

    def pass_time(self, seconds: float) -> None:
        self.cluster_world.pass_time(seconds)

    @property
    def has_work(self) -> bool:
        return bool(self.frames or self.answers) or self.node.deadline() <= self.now

    def one_turn(self, events: Iterable[Event]) -> None:
        """What the loop does once."""
        self.node.begin(self.now, self.wall)
        for event in events:
            self.node.hear(event)
        answers, self.answers = self.answers, []
        for broker, command in answers:
            self.node.answered(broker, command)
        frames, self.frames = self.frames, []
        for address, command in frames:
            self.node.receive(address, command)
        self.node.tick()
        assert self.node.fatal is None, self.node.fatal
        self.finish()

    def _go_ahead(self) -> None:
        self._answer(self.node.ahead() if self.storage.has_ballast else ())

    def _answer(self, answers: Iterable[tuple[bytes, Command]]) -> None:
        for address, command in answers:
            asker = self.cluster_world.machines[address.removeprefix(PEER).decode()]
            if asker.is_alive:
                asker.answers.append((self.name, decode_answer(encode(command))))

    def _post(self, output: Output) -> None:
        machines = self.cluster_world.machines
        self._answer(sent for sent in output.sends if sent[0].startswith(PEER))
        super()._post(output._replace(sends=[sent for sent in output.sends if not sent[0].startswith(PEER)]))
        self.events += output.events
        for broker, endpoint in (output.peers or {}).items():
            if self.up.get(broker) != endpoint and machines[broker].is_alive:
                self.up[broker] = endpoint
                self.node.connected(broker)
        for broker, question in output.questions:
            if machines[broker].is_alive:
                machines[broker].frames.append((PEER + self.name.encode(), decode_request(encode(question))))
        self.tree.submit(output.requests)


class ClusterWorld:
    """The brokers, the tree between them, and the time."""

    def __init__(self, brokers: str = "abc", **options: Any) -> None:
        """`options` are settings of every broker, and of `Machine`."""
        self.timeline, self.ensemble = instant()
        self.options = options
        self.machines: dict[str, Machine] = {}
        for name in brokers:
            self.add(name)

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def add(self, name: str, disk: MemoryDisk | None = None) -> Machine:
        """A new broker starts and joins."""
        self.machines[name] = Machine(self, name, disk=disk, **self.options)
        self.settle()
        self.pass_time(1.0)
        return self.machines[name]

    @property
    def living(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if machine.is_alive]

    def settle(self, first: Machine | None = None) -> None:
        """Turns until nobody has anything to do at this moment; `first` takes at least one."""
        for number in range(ROUNDS_MAX):
            events = {machine.name: machine.tree.take_events() for machine in self.living}
            busy = [machine for machine in self.living if events[machine.name] or machine.has_work or (number == 0 and machine is first)]
            if not busy:
                return
            for machine in busy:
                machine.one_turn(events[machine.name])
        raise AssertionError("the cluster never comes to rest")

    def pass_time(self, seconds: float) -> None:
        """Turns at every deadline until the time is over."""
        end = self.timeline.now() + seconds
        while (now := self.timeline.now()) < end:
            due = min([end, *(machine.node.deadline() for machine in self.living)])
            self.timeline.advance(min(max(due, now + 0.001), end) - now)
            for machine in self.living:
                machine.now = self.timeline.now()
            self.settle()

    # --- looking ---------------------------------------------------------------------------------------------------

    def report(self, topic: str = "") -> ClusterReport:
        """The cluster as its leader sees it."""
        return report_of(self.leader.cluster, AskCluster(1, topic))

    @property
    def leader(self) -> Machine:
        """Who has the office of cluster leader."""
        (holder,) = [machine for machine in self.living if machine.cluster.controller.epoch is not None]
        return holder

    def leader_of(self, topic: str = "t", partition: int = 0) -> Machine:
        """Who leads a partition."""
        (place,) = [place for place in self.report(topic).places if place.partition == partition]
        return self.machines[place.leader]
