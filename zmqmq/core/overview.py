"""The desk of administrators, part two: what only asks. Answers are given at the end of the turn, of what is committed.

A member of a cluster answers for the partitions that it leads: whoever wants to know about all of them asks every broker and puts the answers together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from zmqmq.core.admin_commands import (
    PAGE_LIMIT,
    AskExplain,
    AskLag,
    AskStatus,
    BrokerList,
    BrokerStatus,
    BrokerSummary,
    DeadLetter,
    DeadList,
    DescribePartitions,
    Explanation,
    GroupList,
    GroupSummary,
    LagReport,
    ListBrokers,
    ListDead,
    ListGroups,
    ListTopics,
    PartitionLag,
    PartitionList,
    PartitionSummary,
    Reason,
    SessionSummary,
    TopicList,
    TopicSummary,
)
from zmqmq.core.administration import group_queues
from zmqmq.core.catalogue import Catalogue, Topic
from zmqmq.core.cluster_report import role_of
from zmqmq.core.context import Context
from zmqmq.core.explain import explain, verdict
from zmqmq.core.hub import Hub
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.serving import Serving
from zmqmq.core.sessions import Session
from zmqmq.core.writes import DeadRow

if TYPE_CHECKING:
    from zmqmq.core.cluster import Cluster

STANDALONE = "standalone"
"""Role of a broker that is no member of a cluster."""


class Figures(msgspec.Struct):
    """What the shell measures and the core only reports."""

    storage_bytes: int = 0
    disk_free: int = 0
    loop_lag: float = 0.0


class Overview:
    """Handles requests that only ask."""

    def __init__(self, context: Context, catalogue: Catalogue, serving: Serving, cluster: Cluster | None = None) -> None:
        self.context = context
        self.catalogue = catalogue
        self.serving = serving
        self.cluster = cluster
        self.figures = Figures()

    def list_topics(self, session: Session, command: ListTopics) -> None:
        names = [name for name in self.catalogue.names() if name > command.after][: min(max(command.limit, 1), PAGE_LIMIT)]
        self.context.send(session, TopicList(command.id, [_topic_summary(self.catalogue.get(name)) for name in names]))

    def describe_partitions(self, session: Session, command: DescribePartitions) -> None:
        partitions = [self._partition_summary(partition) for partition in self.catalogue.get(command.topic).partitions.values()]
        self.context.send(session, PartitionList(command.id, command.topic, partitions))

    def _partition_summary(self, partition: Partition) -> PartitionSummary:
        log, broker = partition.log, self.context.settings.broker_id
        replica = self.cluster.roles.of(partition) if self.cluster is not None else None
        replicas = replica.place.replicas if replica is not None else [broker]
        in_sync = [member.broker for member in replica.place.isr] if replica is not None else [broker]
        figures = (log.start, log.end, log.committed, partition.messages, partition.size, partition.delayed)
        return PartitionSummary(partition.number, broker, log.epoch, replicas, in_sync, *figures)

    def list_groups(self, session: Session, command: ListGroups) -> None:
        topics = [self.catalogue.get(command.topic)] if command.topic else [self.catalogue.get(name) for name in self.catalogue.names()]
        groups = [
            self._group_summary(topic, group)
            for topic in topics
            for group in sorted({name for partition in topic.partitions.values() for name in partition.queues})
        ]
        self.context.send(session, GroupList(command.id, groups))

    def _group_summary(self, topic: Topic, group: str) -> GroupSummary:
        queues = [queue for _, queue in group_queues(topic, group)]
        hub = self.context.hubs.get((topic.record.name, group))
        return GroupSummary(
            topic.record.name,
            group,
            len(hub.subscribers) if hub else 0,
            sum(queue.state.lag for queue in queues),
            sum(queue.book.held for queue in queues),
            sum(self._waiting_retry(queue) for queue in queues),
            sum(queue.state.dead for queue in queues),
        )

    def _waiting_retry(self, queue: Queue) -> int:
        return sum(1 for failure in queue.state.failures.values() if failure.due > self.context.wall)

    def lag(self, session: Session, command: AskLag) -> None:
        queues = group_queues(self.catalogue.get(command.topic), command.group)
        partitions = [self._partition_lag(partition, queue) for partition, queue in queues]
        self.context.send(session, LagReport(command.id, command.topic, command.group, partitions))

    def _partition_lag(self, partition: Partition, queue: Queue) -> PartitionLag:
        state = queue.state
        oldest = self.context.reader.read(partition.log.log_id, state.settled.floor, 1, 1) if state.lag else ()
        return PartitionLag(
            partition.number,
            state.settled.floor,
            partition.log.committed,
            state.lag,
            queue.book.held,
            self._waiting_retry(queue),
            state.dead,
            oldest[0].time if oldest else None,
        )

    def list_dead(self, session: Session, command: ListDead) -> None:
        topic = self.catalogue.get(command.topic)
        limit = min(max(command.limit, 1), PAGE_LIMIT)
        letters: list[DeadLetter] = []
        room = self.context.settings.limits.max_batch_bytes
        for partition, queue in group_queues(topic, command.group):
            if partition.number < command.partition or not queue.state.dead or room <= 0:
                continue
            after = command.offset if partition.number == command.partition else -1
            for row in self.context.reader.dead(partition.log.log_id, command.group, after, limit + 1 - len(letters)):
                room -= len(row.row.value)
                letters.append(_dead_letter(partition.number, row))
                if room <= 0:
                    break
        self.context.send(session, DeadList(command.id, letters[:limit], len(letters) > limit or room <= 0))

    def explain(self, session: Session, command: AskExplain) -> None:
        topic = self.catalogue.get(command.topic)
        hub = self.context.hubs.get((command.topic, command.group)) or Hub(0, command.topic, command.group)
        names = {client_id: f"{subscriber.name} ({client_id[:8]})" for client_id, subscriber in hub.subscribers.items()}
        reasons: list[Reason] = []
        for partition, queue in group_queues(topic, command.group):
            reasons += explain(hub, partition, queue, self.context.wall, self.context.now, names)
        if self.context.storage_full:
            reasons.append(Reason(0, "storage_full", "the broker's disk is full: nothing new is accepted", 0))
        self.context.send(session, Explanation(command.id, command.topic, command.group, verdict(reasons), reasons))

    def status(self, session: Session, command: AskStatus) -> None:
        context, settings = self.context, self.context.settings
        partitions = [partition for topic in self.catalogue for partition in topic.partitions.values()]
        sessions = list(context.sessions)
        self.context.send(
            session,
            BrokerStatus(
                command.id,
                settings.broker_id,
                settings.cluster_id,
                settings.software,
                settings.incarnation,
                context.now - context.started,
                self._role(),
                settings.endpoint,
                len(self.catalogue),
                len(self.cluster.roles) if self.cluster is not None else len(partitions),
                len(partitions),
                len(sessions),
                sum(queue.book.held for partition in partitions for queue in partition.queues.values()),
                sum(partition.messages for partition in partitions),
                sum(partition.size for partition in partitions),
                self.figures.storage_bytes,
                self.figures.disk_free,
                context.storage_full,
                self.figures.loop_lag,
                context.counters.accepted,
                context.counters.delivered,
                context.counters.settled,
                [self._session_summary(known) for known in sessions[: min(max(command.sessions, 0), PAGE_LIMIT)]],
            ),
        )

    def _role(self) -> str:
        return role_of(self.cluster.view, self.context.settings.broker_id) if self.cluster is not None else STANDALONE

    def _session_summary(self, session: Session) -> SessionSummary:
        hubs = [self.context.hub_numbers[number] for number in session.queues]
        now = self.context.now
        return SessionSummary(
            session.client_id,
            session.name,
            session.software,
            now - session.connected,
            now - session.heard,
            [f"{hub.topic}/{hub.group}" for hub in hubs],
            self.serving.held(session),
        )

    def brokers(self, session: Session, command: ListBrokers) -> None:
        settings = self.context.settings
        this = BrokerSummary(settings.broker_id, settings.endpoint, STANDALONE, self.catalogue.partitions, settings.software)
        self.context.send(session, BrokerList(command.id, settings.cluster_id, settings.broker_id, [this]))


def _dead_letter(partition: int, dead: DeadRow) -> DeadLetter:
    row = dead.row
    return DeadLetter(
        partition, dead.offset, row.key, row.headers, row.value, row.time, dead.died, dead.attempts, dead.reason, dead.consumer
    )


def _topic_summary(topic: Topic) -> TopicSummary:
    partitions = topic.partitions.values()
    return TopicSummary(
        topic.record.name,
        topic.count,
        topic.record.replicas,
        sum(partition.messages for partition in partitions),
        sum(partition.size for partition in partitions),
        len({name for partition in partitions for name in partition.queues}),
        sum(partition.delayed for partition in partitions),
    )
