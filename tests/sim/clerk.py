"""The clerk: tells the court what is written to the tree and what brokers think, in the words of data.

The tree is heard at its source, where it is true, not through any broker's connection; what a broker thinks is read from its memory
after each of its turns, and before whatever it says is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from tests.fakes.memory_ensemble import MemoryEnsemble, Schedule
from tests.sim.copies import Key
from tests.sim.court import Court
from tests.sim.verdicts import Life
from zmqmq.core import layout
from zmqmq.core.model import TopicRecord
from zmqmq.core.places import Place
from zmqmq.core.replica import LEADING, Replica, Role
from zmqmq.core.tree import Changed, Create, Delete, Put, Refusal, Step

if TYPE_CHECKING:
    from zmqmq.core.cluster import Cluster

Note = Callable[..., None]


class SimEnsemble(MemoryEnsemble):
    """The modelled ensemble, overheard."""

    def __init__(self, now: Callable[[], float], schedule: Schedule, rng: Random, court: Court, note: Note) -> None:
        super().__init__(now, schedule, rng)
        self._court = court
        self._note = note

    def commit(self, session: int, steps: Sequence[Step]) -> Changed | Refusal:
        shown = {step.path: node for step in steps if isinstance(step, Delete) and (node := self.read(step.path)) is not None}
        outcome = super().commit(session, steps)
        if isinstance(outcome, Refusal):
            self._court.situations["change refused"] += 1
            return outcome
        for step, version in zip(steps, outcome.versions, strict=True):
            if isinstance(step, Delete):
                node = shown.get(step.path)
                if node is not None:
                    self._deleted(step.path, node.data, buried=node.owner not in (0, session) and self.alive(node.owner))
            elif isinstance(step, Create | Put):
                self._written(step, version)
        return outcome

    def _written(self, step: Create | Put, version: int) -> None:
        key = place_key(step.path)
        if key is not None:
            place = layout.decode(step.path, step.data, Place)
            assert isinstance(place, Place), f"a broker has written a damaged place: {place}"
            self._note("place", *key, version, step.data)
            expected = version - 1 if isinstance(step, Create) else step.version
            self._court.place_written(key, expected, version, place)
        elif step.path.startswith(layout.TOPICS + "/"):
            record = layout.decode(step.path, step.data, TopicRecord)
            assert isinstance(record, TopicRecord), f"a broker has written a damaged topic: {record}"
            self._court.topic_written(record)
        elif not step.path.startswith(layout.HEARTBEATS):
            self._note("tree", step.path, version, step.data)

    def _deleted(self, path: str, data: bytes, buried: bool) -> None:
        self._note("tree", path, "deleted")
        key = place_key(path)
        if key is not None:
            self._court.place_deleted(key)
        elif path.startswith(layout.TOPICS + "/"):
            record = layout.decode(path, data, TopicRecord)
            assert isinstance(record, TopicRecord)
            self._court.topic_deleted(record.topic_id)
        elif buried and path.startswith(layout.IDS + "/"):
            info = layout.decode(path, data, layout.BrokerInfo)
            if isinstance(info, layout.BrokerInfo):
                self._court.bury((info.broker_id, info.be), self.now())

    def expire(self, session: int) -> None:
        if self.alive(session):
            self._note("session ends", session)
            self._court.session_ended(session, self.now())
        super().expire(session)


def place_key(path: str) -> Key | None:
    """The partition whose place is there."""
    parts = path.removeprefix(layout.PARTS + "/").split("/")
    if not path.startswith(layout.PARTS + "/") or len(parts) != 2:
        return None
    topic_id, partition = map(layout.number_name, parts)
    return (topic_id, partition) if topic_id is not None and partition is not None else None


class Clerk:
    """Reads what brokers think."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._opened: set[tuple[Key, int, str]] = set()

    def look(self, broker: str, cluster: Cluster) -> None:
        """What the broker is to each partition, and what it counts as committed."""
        me = cluster.me()
        for replica in cluster.roles:
            self._court.role(broker, replica.key, replica.role.name.lower(), me.be if me is not None else None)
            if me is not None and replica.role in LEADING:
                self._leads((broker, me.be), replica)

    def _leads(self, life: Life, replica: Replica) -> None:
        opening = (replica.key, replica.epoch, life[0])
        if opening not in self._opened:
            self._opened.add(opening)
            self._court.opened(replica.key, replica.epoch, life)
        self._court.situations[f"seen {replica.role.name.lower()}"] += replica.role is not Role.LEADER
        self._court.committed(life[0], replica.key, replica.partition.log.committed)

    def effect(self, broker: str, cluster: Cluster, now: float, what: str) -> None:
        """A confirmation or a delivery leaves the broker."""
        self._court.acts(self.life(broker, cluster), cluster.registrar.session, now, what)

    def delivery(self, broker: str, cluster: Cluster, key: Key, epoch: int) -> None:
        """A delivery of a partition leaves the broker."""
        self._court.delivers(self.life(broker, cluster), key, epoch)

    @staticmethod
    def life(broker: str, cluster: Cluster) -> Life:
        """The registration that the broker believes to have."""
        me = cluster.me()
        return (broker, me.be if me is not None else -1)
