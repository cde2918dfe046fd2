"""The desk of a cluster's clients: where partitions are, and what administrators change or ask about the cluster as a whole.

Any broker answers. What is changed goes to the tree, and is answered when it is there and this broker has seen it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster_admin
from zmqmq.core.catalogue import with_changes
from zmqmq.core.cluster_report import brokers_of, report_of
from zmqmq.core.commands import Describe, Described
from zmqmq.core.model import PARTITIONS_MAX, Placement, TopicRecord
from zmqmq.core.names import check_name, folded, twin
from zmqmq.core.sessions import Session
from zmqmq.errors import InvalidValue, NotEnoughReplicas, NotLeader, Overloaded, TopicExists, UnknownTopic, ZmqmqError

if TYPE_CHECKING:
    from zmqmq.core.cluster import Cluster

DEFAULT_REPLICAS = 3
"""Replicas of a topic when nobody says how many: it begins with as many as there are brokers, and gets the others when there are."""
VISIBLE_WAIT = 5.0
"""Seconds that an answer waits until a change is visible here; then the client asks again."""
WAITING_MAX = 10_000
"""Requests that wait for the tree at a time."""
TOPIC_ID_BITS = 52

Handler = Callable[[Session, Any], None]


class ClusterDesk:
    """Handles requests about topics and brokers in a cluster."""

    def __init__(self, cluster: Cluster, default_replicas: int) -> None:
        self.cluster = cluster
        self.context = cluster.context
        self.default_replicas = default_replicas
        self._visible: list[tuple[float, Callable[[], bool], Callable[[], None], Callable[[ZmqmqError], None]]] = []
        """(until, is it visible, then, otherwise)"""

    def handlers(self, later: Callable[[Handler], Handler]) -> dict[type[Any], Handler]:
        """Which command is handled how; `later` is for what only asks."""
        return {
            Describe: self.describe,
            admin.CreateTopic: self.create_topic,
            admin.AlterTopic: self.alter_topic,
            admin.DeleteTopic: self.delete_topic,
            admin.ListBrokers: later(self.list_brokers),
            cluster_admin.AskCluster: later(self.ask_cluster),
            cluster_admin.DrainBroker: self.drain,
            cluster_admin.RemoveBroker: self.remove,
            cluster_admin.Reassign: self.reassign,
            cluster_admin.AddPartitions: self.add_partitions,
        }

    # --- topics ----------------------------------------------------------------------------------------------------

    def describe(self, session: Session, command: Describe) -> None:
        """Where the topic's partitions are; makes the topic if that is wanted and allowed."""
        self._demand_touch()
        if command.topic in self.cluster.view.topics:
            self._answer_described(session, command.id, command.topic)
            return
        check_name("topic", command.topic)
        settings = self.context.settings
        if not (command.create and settings.auto_create):
            raise UnknownTopic(f"there is no topic {command.topic!r}", hint="create it, or switch topics.auto_create on", topic=command.topic)
        self._create(session, command, self._record(command.topic, settings.default_partitions, 0, {}), few=not self.default_replicas)

    def _demand_touch(self) -> None:
        """A broker that may be cut off from the cluster must not lead anybody astray."""
        if not self.cluster.may_serve(self.context.now):
            raise NotLeader("this broker has lost touch with its cluster", hint="another broker knows more", broker=self.context.settings.broker_id)

    def described(self, request: int, name: str) -> Described:
        """The answer about a topic; raises UnknownTopic if it is gone by now."""
        record = self._topic(name)
        placements = []
        for number in range(record.partitions):
            leadership = self.cluster.leader_of(record.topic_id, number)
            placements.append(Placement(number, leadership.epoch, leadership.leader, leadership.endpoint))
        return Described(request, name, record.topic_id, record.replicas, placements, record.settings, record.created)

    def _answer_described(self, session: Session, request: int, name: str) -> None:
        def answer() -> None:
            try:
                self.context.send(session, self.described(request, name))
            except ZmqmqError as error:
                self.context.refuse(session.address, request, error)

        self.context.after_turn.append(answer)

    def create_topic(self, session: Session, command: admin.CreateTopic) -> None:
        self._demand_touch()
        check_name("topic", command.topic)
        partitions = command.partitions or self.context.settings.default_partitions
        record = self._record(command.topic, partitions, command.replicas, command.settings)
        entry = self.cluster.view.topics.get(command.topic)
        if entry is not None:
            self._demand_same(entry.record, record, bool(command.replicas))
            self._answer_described(session, command.id, command.topic)
            return
        self._create(session, command, record, few=not (command.replicas or self.default_replicas))

    @staticmethod
    def _demand_same(existing: TopicRecord, wanted: TopicRecord, replicas_matter: bool) -> None:
        same = (existing.partitions, existing.settings) == (wanted.partitions, wanted.settings)
        if not same or (replicas_matter and existing.replicas != wanted.replicas):
            raise TopicExists(f"the topic {existing.name!r} exists with other settings", hint="alter it, or delete it first", topic=existing.name)

    def _record(self, name: str, partitions: int, replicas: int, changes: dict[str, str | int | float | None]) -> TopicRecord:
        """The record of a new topic; raises InvalidValue, InvalidName or Overloaded."""
        view, settings = self.cluster.view, self.context.settings
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidValue(f"partitions is {partitions}", hint=f"allowed are 1 to {PARTITIONS_MAX}")
        if len(view.topics) >= settings.max_topics:
            raise Overloaded(f"the cluster has {len(view.topics)} topics", hint="raise topics.max_topics or delete some")
        if len(view.places) + partitions > settings.max_partitions:
            raise Overloaded(f"the cluster has {len(view.places)} partitions", hint=f"at most {settings.max_partitions} are allowed")
        other = next((known for known in view.topics if known != name and folded(known) == folded(name)), None)
        if other is not None:
            raise twin(name, other)
        wanted = with_changes(name, settings.defaults, changes)
        topic_id = 1 + int(self.context.random() * (1 << TOPIC_ID_BITS))
        replicas = replicas or self.default_replicas or DEFAULT_REPLICAS
        if wanted.min_in_sync > replicas:
            text = f"min_in_sync is {wanted.min_in_sync}, but there are {replicas} replicas"
            raise InvalidValue(text, hint="ask for more replicas, or lower min_in_sync", topic=name)
        return TopicRecord(topic_id, name, partitions, replicas, wanted, self.context.wall)

    def _create(self, session: Session, command: Describe | admin.CreateTopic, record: TopicRecord, few: bool) -> None:
        """`few`: it may begin with fewer replicas than it shall have. Whoever only wants to know where the topic is does not mind who made it."""
        request = command.id

        def done(error: ZmqmqError | None) -> None:
            if error is None or (isinstance(command, Describe) and isinstance(error, TopicExists)):
                answer = lambda: self._answer_described(session, request, record.name)  # noqa: E731
                self._when_visible(session, request, lambda: record.name in self.cluster.view.topics, answer)
            elif isinstance(command, Describe) and isinstance(error, InvalidValue):  # what is configured is fine some time: brokers come and go
                self.context.refuse(session.address, request, NotEnoughReplicas(error.message, hint="start more brokers", topic=record.name))
            else:
                self.context.refuse(session.address, request, error)

        self.cluster.topic_writes.create(self.cluster.view, record, self.context.now, done, few=few)
        self.context.note("topic asked for", topic=record.name, partitions=record.partitions, replicas=record.replicas)

    def alter_topic(self, session: Session, command: admin.AlterTopic) -> None:
        self._demand_touch()
        entry = self._topic(command.topic)
        settings = with_changes(command.topic, entry.settings, command.changes)

        def is_visible() -> bool:
            known = self.cluster.view.topics.get(command.topic)
            return known is None or known.record.settings == settings

        def done(error: ZmqmqError | None) -> None:
            if error is not None:
                self.context.refuse(session.address, command.id, error)
                return
            self._when_visible(session, command.id, is_visible, lambda: self._answer_described(session, command.id, command.topic))

        self.cluster.topic_writes.alter(self.cluster.view, command.topic, settings, self.context.now, done)

    def delete_topic(self, session: Session, command: admin.DeleteTopic) -> None:
        self._demand_touch()
        record = self._topic(command.topic)
        gone = lambda: record.topic_id not in self.cluster.view.topics_by_id  # noqa: E731
        done = self._answer(session, command.id, record.partitions, gone)
        self.cluster.topic_writes.delete(self.cluster.view, command.topic, self.context.now, done, wall=self.context.wall)

    def _topic(self, name: str) -> TopicRecord:
        entry = self.cluster.view.topics.get(name)
        if entry is None:
            check_name("topic", name)
            raise UnknownTopic(f"there is no topic {name!r}", hint="`zmqmq topics` lists them", topic=name)
        return entry.record

    def add_partitions(self, session: Session, command: cluster_admin.AddPartitions) -> None:
        self._demand_touch()
        self._topic(command.topic)
        if not 1 <= command.partitions <= PARTITIONS_MAX:
            raise InvalidValue(f"partitions is {command.partitions}", hint=f"allowed are 1 to {PARTITIONS_MAX}")

        def is_visible() -> bool:
            entry = self.cluster.view.topics.get(command.topic)
            return entry is None or entry.record.partitions >= command.partitions

        def done(error: ZmqmqError | None) -> None:
            if error is not None:
                self.context.refuse(session.address, command.id, error)
            else:
                self._when_visible(session, command.id, is_visible, lambda: self._answer_described(session, command.id, command.topic))

        self.cluster.topic_writes.add_partitions(self.cluster.view, command.topic, command.partitions, self.context.now, done)

    # --- brokers ---------------------------------------------------------------------------------------------------

    def drain(self, session: Session, command: cluster_admin.DrainBroker) -> None:
        leads = sum(entry.place.leader == command.broker for entry in self.cluster.view.places.values())
        self._wish(session, command.id, command.broker, leads, drain=command.drain)

    def remove(self, session: Session, command: cluster_admin.RemoveBroker) -> None:
        holds = sum(command.broker in entry.place.replicas for entry in self.cluster.view.places.values())
        self._wish(session, command.id, command.broker, holds, remove=command.remove)

    def _wish(self, session: Session, request: int, broker: str, count: int, drain: bool | None = None, remove: bool | None = None) -> None:
        self._demand_touch()
        self.cluster.topic_writes.wish(self.cluster.view, broker, self.context.now, self._answer(session, request, count), drain=drain, remove=remove)

    def reassign(self, session: Session, command: cluster_admin.Reassign) -> None:
        self._demand_touch()
        answer = self._answer(session, command.id, 1)
        self.cluster.topic_writes.reassign(self.cluster.view, command.topic, command.partition, command.replicas, self.context.now, answer)

    def _answer(self, session: Session, request: int, count: int, is_visible: Callable[[], bool] = lambda: True) -> Callable[[ZmqmqError | None], None]:
        def done(error: ZmqmqError | None) -> None:
            if error is not None:
                self.context.refuse(session.address, request, error)
            else:
                self._when_visible(session, request, is_visible, lambda: self.context.send(session, admin.Done(request, count)))

        return done

    # --- waiting ---------------------------------------------------------------------------------------------------

    def _when_visible(self, session: Session, request: int, is_visible: Callable[[], bool], then: Callable[[], None]) -> None:
        if len(self._visible) >= WAITING_MAX:
            self.context.refuse(session.address, request, Overloaded("too many requests wait for the cluster", hint="ask again"))
            return
        self._visible.append((self.context.now + VISIBLE_WAIT, is_visible, then, lambda error: self.context.refuse(session.address, request, error)))

    def step(self) -> None:
        """Answers what has become visible, and what has waited too long."""
        if not self._visible:
            return
        waiting, self._visible = self._visible, []
        for entry in waiting:
            until, is_visible, then, otherwise = entry
            if is_visible():
                then()
            elif self.context.now >= until:
                otherwise(NotLeader("the change is made, but not visible here yet", hint="ask again"))
            else:
                self._visible.append(entry)

    # --- asking ----------------------------------------------------------------------------------------------------

    def ask_cluster(self, session: Session, command: cluster_admin.AskCluster) -> None:
        self.context.send(session, report_of(self.cluster, command))

    def list_brokers(self, session: Session, command: admin.ListBrokers) -> None:
        self.context.send(session, brokers_of(self.cluster, command.id))
