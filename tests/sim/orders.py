"""What an administrator orders in the middle of it all: brokers drained or removed, partitions moved, more partitions, another `min_in_sync`, and
topics that come and go while somebody produces to them.

Nobody waits for the answers. With the calm everything that was asked of brokers is taken back, so that the cluster can be whole again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from tests.sim.storms import KEYS
from tests.sim.world import STORM_SECONDS
from zmqmq.core.admin_commands import AlterTopic, CreateTopic, DeleteGroup, DeleteTopic, Seek
from zmqmq.core.cluster_commands import AddPartitions, DrainBroker, Reassign, RemoveBroker
from zmqmq.core.commands import Command

if TYPE_CHECKING:
    from tests.sim.cluster_world import ClusterWorld

PARTITIONS_MAX = 4
PASSING = ("passing", "passing", "Passing")
"""Topics that come and go. Those of them that differ in case only are never there together."""
PASSAGES = (0, 0, 0, 4, 12)
"""Times that they do in one run, besides what is drawn with the storms."""
WHERETO: tuple[Literal["earliest", "latest", "offset"], ...] = ("earliest", "latest", "offset")
OVER_SECONDS = 36.0
"""Seconds after the storms when no order is under way any more: PATIENCE, and some for what was ordered at the very end."""
PASSERS = "passers"
"""The group that consumes them."""


class Orders:
    """Gives them."""

    def __init__(self, world: ClusterWorld) -> None:
        self._world = world
        self._rng = world.rng
        self.passages: list[Callable[[], None]] = [self.topic_comes, self.topic_goes, self.topic_is_made_anew, self.group_is_moved, self.group_is_deleted]
        self.kinds: list[Callable[[], None]] = [
            self.broker_is_drained,
            self.broker_is_removed,
            self.partition_is_moved,
            self.partition_is_moved,
            self.partitions_are_added,
            self.fewer_or_more_are_asked_for,
            *self.passages,
        ]

    def plan(self) -> None:
        """In some runs topics come and go all the time, whatever else happens."""
        for _ in range(self._rng.choice(PASSAGES)):
            self._world.scheduler.at(self._rng.uniform(0.5, STORM_SECONDS), self._rng.choice(self.passages))

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
        topics = self._world.mesh.court.living()
        if topics:
            record = self._rng.choice(topics)
            if record.partitions < PARTITIONS_MAX:
                self._ask("add", lambda id: AddPartitions(id, record.name, record.partitions + 1), record.name)

    def fewer_or_more_are_asked_for(self) -> None:
        """A topic's messages need another number of in-sync replicas: never one, for then a single disk that is lost may take what was confirmed with it."""
        topics = self._world.mesh.court.living()
        if topics:
            self._alter(self._rng.choice(topics).name, self._rng.choice([0, 2, 3]))

    def _alter(self, topic: str, min_in_sync: int) -> None:
        self._ask("alter", lambda id: AlterTopic(id, topic, {"min_in_sync": min_in_sync}), topic, min_in_sync)

    def topic_comes(self) -> None:
        """A topic is made, if it is not there, and somebody produces to it for a while."""
        name = self._rng.choice(PASSING)
        self._make(name)
        self._produce(name, self._rng.choice([5, 20, 60]))
        self._consume(name)

    def topic_goes(self) -> None:
        """A topic is deleted, whoever produces to it."""
        self._delete(self._rng.choice(PASSING))

    def topic_is_made_anew(self) -> None:
        """A topic is deleted and made again, at once or after a while; somebody produces to it all the time."""
        name = self._rng.choice(PASSING)
        self._produce(name, 60)
        for _ in range(self._rng.choice([0, 1, 1, 2])):
            self._consume(name)
        self._world.scheduler.after(self._rng.uniform(0.0, 2.0), lambda: self._delete(name))
        self._world.scheduler.after(self._rng.uniform(0.0, 4.0), lambda: self._make(self._rng.choice(PASSING)))

    def group_is_moved(self) -> None:
        """The group of the passing topics shall have everything again, or nothing of it, or what comes from somewhere on."""
        name, to, value = self._rng.choice(PASSING), self._rng.choice(WHERETO), self._rng.randrange(40)
        self._ask("seek", lambda id: Seek(id, name, PASSERS, to, value), name, to, value)

    def group_is_deleted(self) -> None:
        """The group of the passing topics is forgotten, if nobody is in it; whoever consumes then begins anew."""
        name = self._rng.choice(PASSING)
        self._ask("forget", lambda id: DeleteGroup(id, name, PASSERS), name)
        self._world.scheduler.after(self._rng.uniform(0.0, 2.0), lambda: self._consume(name))

    def _make(self, name: str) -> None:
        partitions = self._rng.choice([0, 1, 2])
        self._ask("make", lambda id: CreateTopic(id, name, partitions, 0, {}), name, partitions)

    def _delete(self, name: str) -> None:
        self._ask("delete", lambda id: DeleteTopic(id, name), name)

    def _consume(self, topic: str) -> None:
        consumer = self._world.add_consumer(PASSERS, [topic])
        self._world.scheduler.after(self._rng.uniform(0.5, 12.0), lambda: consumer.close(2.0) if consumer.is_alive else None)

    def _produce(self, topic: str, left: int) -> None:
        producer = self._world.add_producer(4.0)

        def send() -> None:
            nonlocal left
            left -= 1
            if left >= 0 and producer.is_alive and self._world.scheduler.now < STORM_SECONDS:
                producer.send(topic, self._rng.choice(KEYS), self._rng.choice([None, None, None, 2.0]))
                self._world.scheduler.after(self._rng.expovariate(10.0), send)

        send()

    def _consume_what_is_left(self) -> None:
        court, world = self._world.mesh.court, self._world
        logs = world.referee.history.living()
        for topic_id in sorted({log.topic_id for log in logs if PASSERS in log.groups and log.groups[PASSERS].unsettled}):
            world.add_consumer(PASSERS, [court.topics[topic_id].name])

    def calm(self) -> None:
        """No broker is drained or removed any more, a majority is enough, and what is left in passing topics is consumed, when all orders are over."""
        self._world.scheduler.after(OVER_SECONDS, self._consume_what_is_left)
        for record in self._world.mesh.court.living():
            self._alter(record.name, 0)
        for host in self._world.hosts:
            self._ask("undrain", lambda id, name=host.name: DrainBroker(id, name, drain=False), host.name)  # type: ignore[misc]
            self._ask("keep", lambda id, name=host.name: RemoveBroker(id, name, remove=False), host.name)  # type: ignore[misc]
