"""What an administrator orders in the middle of it all: brokers drained or removed, partitions moved, more partitions, another `min_in_sync`.

Nobody waits for the answers. With the calm everything that was asked of brokers is taken back, so that the cluster can be whole again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zmqmq.core.admin_commands import AlterTopic
from zmqmq.core.cluster_commands import AddPartitions, DrainBroker, Reassign, RemoveBroker
from zmqmq.core.commands import Command

if TYPE_CHECKING:
    from tests.sim.cluster_world import ClusterWorld

PARTITIONS_MAX = 4


class Orders:
    """Gives them."""

    def __init__(self, world: ClusterWorld) -> None:
        self._world = world
        self._rng = world.rng
        self.kinds: list[Callable[[], None]] = [
            self.broker_is_drained,
            self.broker_is_removed,
            self.partition_is_moved,
            self.partition_is_moved,
            self.partitions_are_added,
            self.fewer_or_more_are_asked_for,
        ]

    def _ask(self, what: str, build: Callable[[int], Command], *facts: object) -> None:
        self._world.note("order", what, *facts)
        self._world.administrator().ask(build)

    def _broker(self) -> str:
        return self._rng.choice(self._world.hosts).name

    def broker_is_drained(self) -> None:
        """A broker shall lead nothing; after a while it may again."""
        name = self._broker()
        self._ask("drain", lambda id: DrainBroker(id, name), name)
        self._world.scheduler.after(self._rng.uniform(0.5, 8.0), lambda: self._ask("undrain", lambda id: DrainBroker(id, name, drain=False), name))

    def broker_is_removed(self) -> None:
        """A broker shall hold nothing; after a while it may again."""
        name = self._broker()
        self._ask("remove", lambda id: RemoveBroker(id, name), name)
        self._world.scheduler.after(self._rng.uniform(0.5, 8.0), lambda: self._ask("keep", lambda id: RemoveBroker(id, name, remove=False), name))

    def partition_is_moved(self) -> None:
        """A partition shall be on other brokers, or on the same in another order."""
        court = self._world.mesh.court  # it hears of places a moment before their topic
        keys = sorted(key for key, truth in court.partitions.items() if truth.place is not None and key[0] in court.topics)
        if not keys:
            return
        key = self._rng.choice(keys)
        record = court.topics[key[0]]
        count = min(len(self._world.hosts), self._rng.choice([record.replicas, record.replicas, 1, 2, 3]))
        chosen = [host.name for host in self._rng.sample(self._world.hosts, count)]
        self._ask("move", lambda id: Reassign(id, record.name, key[1], chosen), *key, *chosen)

    def partitions_are_added(self) -> None:
        """A topic gets one more partition."""
        topics = sorted(self._world.mesh.court.topics.values(), key=lambda record: record.name)
        if topics:
            record = self._rng.choice(topics)
            if record.partitions < PARTITIONS_MAX:
                self._ask("add", lambda id: AddPartitions(id, record.name, record.partitions + 1), record.name)

    def fewer_or_more_are_asked_for(self) -> None:
        """A topic's messages need another number of in-sync replicas: never one, for then a single disk that is lost may take what was confirmed with it."""
        topics = sorted(self._world.mesh.court.topics.values(), key=lambda record: record.name)
        if topics:
            self._alter(self._rng.choice(topics).name, self._rng.choice([0, 2, 3]))

    def _alter(self, topic: str, min_in_sync: int) -> None:
        self._ask("alter", lambda id: AlterTopic(id, topic, {"min_in_sync": min_in_sync}), topic, min_in_sync)

    def calm(self) -> None:
        """No broker is drained or removed any more, and a majority is enough."""
        for record in self._world.mesh.court.topics.values():
            self._alter(record.name, 0)
        for host in self._world.hosts:
            self._ask("undrain", lambda id, name=host.name: DrainBroker(id, name, drain=False), host.name)  # type: ignore[misc]
            self._ask("keep", lambda id, name=host.name: RemoveBroker(id, name, remove=False), host.name)  # type: ignore[misc]
