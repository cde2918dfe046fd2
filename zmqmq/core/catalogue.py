"""The topics of this broker: which there are, how they are made, changed and deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from zmqmq.core.commands import Described
from zmqmq.core.context import Context
from zmqmq.core.model import Placement, TopicRecord, TopicSettings
from zmqmq.core.names import check_name
from zmqmq.core.partition import Partition
from zmqmq.core.writes import CreateLog, DropTopic, LogState, PutTopic
from zmqmq.errors import InvalidName, InvalidValue, Overloaded, TopicExists, UnknownTopic

PARTITIONS_MAX = 1_000
"""Partitions of one topic."""
REPLAY_STEP = 5_000
"""Records read at a time when a partition opens."""
IDS_PER_INCARNATION = 1 << 20
"""Topic and log numbers are made of the incarnation and a counter, so none is ever used twice."""


class Topic:
    """A topic with the partitions that this broker leads."""

    def __init__(self, record: TopicRecord, partitions: list[Partition]) -> None:
        self.record = record
        self.partitions = partitions


class Catalogue:
    """All topics by name."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._topics: dict[str, Topic] = {}
        self._folded: dict[str, str] = {}  # names in lower case
        self._last_id = context.settings.incarnation * IDS_PER_INCARNATION

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._topics.values())

    def __len__(self) -> int:
        return len(self._topics)

    def names(self) -> list[str]:
        return sorted(self._topics)

    @property
    def partitions(self) -> int:
        return sum(len(topic.partitions) for topic in self._topics.values())

    def open(self) -> None:
        """Takes over what storage has; replays what came after the last snapshots, and begins a new leadership of each partition."""
        logs: dict[int, list[LogState]] = {}
        for state in self.context.reader.logs():
            logs.setdefault(state.topic_id, []).append(state)
        for record in self.context.reader.topics():
            states = sorted(logs.get(record.topic_id, ()), key=lambda state: state.partition)
            self._add(Topic(record, [self._open_partition(record, state) for state in states]))

    def _open_partition(self, record: TopicRecord, state: LogState) -> Partition:
        context = self.context
        partition = Partition(record, state.partition, state, context.settings.group_limits, context.random)
        start = state.applied
        while records := context.reader.replay(state.log_id, start, REPLAY_STEP):
            partition.replay(records)
            start = records[-1].offset + 1
        context.touch(partition).lead(partition.log.epoch + 1, context.settings.broker_id, context.wall)
        return partition

    def _add(self, topic: Topic) -> Topic:
        self._topics[topic.record.name] = topic
        self._folded[topic.record.name.lower()] = topic.record.name
        return topic

    def get(self, name: str) -> Topic:
        """The topic; raises InvalidName or UnknownTopic."""
        topic = self._topics.get(name)
        if topic is None:
            check_name("topic", name)
            raise UnknownTopic(f"there is no topic {name!r}", hint="create it, or switch topics.auto_create on", topic=name)
        return topic

    def get_or_create(self, name: str, create: bool) -> Topic:
        """The topic, made with the defaults when that is wanted and allowed."""
        if name in self._topics or not (create and self.context.settings.auto_create):
            return self.get(name)
        settings = self.context.settings
        return self.create(name, settings.default_partitions, 1, settings.defaults)

    def create(self, name: str, partitions: int, replicas: int, settings: TopicSettings) -> Topic:
        """A new topic, or the existing one if it is the same; raises TopicExists, InvalidName, InvalidValue or Overloaded."""
        check_name("topic", name)
        self._check_numbers(partitions, replicas)
        existing = self._topics.get(name)
        if existing is not None:
            if (len(existing.partitions), existing.record.settings) != (partitions, settings):
                raise TopicExists(f"the topic {name!r} exists with other settings", hint="alter it, or delete it first", topic=name)
            return existing
        if twin := self._folded.get(name.lower()):
            raise InvalidName(f"the topic {name!r} differs from {twin!r} only in case", hint="choose another name", topic=name)
        self._check_space(partitions)
        record = TopicRecord(self._next_id(), name, partitions, replicas, settings, self.context.wall)
        self.context.writes.append(PutTopic(record))
        self.context.note("topic created", topic=name, partitions=partitions)
        return self._add(Topic(record, [self._create_partition(record, number) for number in range(partitions)]))

    def _check_numbers(self, partitions: int, replicas: int) -> None:
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidValue(f"partitions is {partitions}", hint=f"allowed are 1 to {PARTITIONS_MAX}")
        if replicas != 1:
            raise InvalidValue(f"replicas is {replicas}, but this broker stands alone", hint="1 is allowed without a cluster")

    def _check_space(self, partitions: int) -> None:
        settings = self.context.settings
        if len(self) >= settings.max_topics:
            raise Overloaded(f"the broker has {len(self)} topics", hint="raise topics.max_topics or delete some")
        if self.partitions + partitions > settings.max_partitions:
            raise Overloaded(f"the broker has {self.partitions} partitions", hint=f"at most {settings.max_partitions} are allowed")

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _create_partition(self, record: TopicRecord, number: int) -> Partition:
        context = self.context
        log_id = self._next_id()
        context.writes.append(CreateLog(log_id, record.topic_id, record.name, number))
        state = LogState(log_id, record.topic_id, number, 0, 0, 0, 0, 0, 0, 0, (), (), (), ())
        partition = Partition(record, number, state, context.settings.group_limits, context.random)
        context.touch(partition).lead(1, context.settings.broker_id, context.wall)
        return partition

    def alter(self, name: str, changes: Mapping[str, str | int | float | None]) -> Topic:
        """Changes some settings; raises InvalidValue naming the setting."""
        topic = self.get(name)
        settings = with_changes(name, topic.record.settings, changes)
        topic.record = msgspec.structs.replace(topic.record, settings=settings)
        for partition in topic.partitions:
            partition.set_topic(topic.record)
        self.context.writes.append(PutTopic(topic.record))
        return topic

    def delete(self, name: str) -> Topic:
        """The topic and everything in it goes with this turn."""
        topic = self.get(name)
        del self._topics[name]
        del self._folded[name.lower()]
        for partition in topic.partitions:
            partition.drop_appends(UnknownTopic(f"the topic {name!r} was deleted", topic=name))
            partition.closed = True
            self.context.touched.pop(partition, None)
            self.context.after_turn += partition.take_waiters()
        self.context.writes.append(DropTopic(topic.record.topic_id))
        self.context.note("topic deleted", topic=name)
        return topic

    def describe(self, request: int, topic: Topic) -> Described:
        """The answer that tells clients where the partitions are."""
        settings = self.context.settings
        placements = [
            Placement(partition.number, partition.log.epoch, settings.broker_id, settings.endpoint) for partition in topic.partitions
        ]
        record = topic.record
        return Described(request, record.name, record.topic_id, record.replicas, placements, record.settings, record.created)


def with_changes(name: str, settings: TopicSettings, changes: Mapping[str, str | int | float | None]) -> TopicSettings:
    """The settings with the named ones changed; raises InvalidValue naming the setting."""
    known = msgspec.to_builtins(settings)
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise InvalidValue(f"there is no setting {unknown[0]!r}", hint=f"known are {', '.join(known)}", topic=name)
    try:
        return msgspec.convert({**known, **changes}, TopicSettings)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"bad setting: {error}", topic=name) from error
