"""The topics that this broker knows: which there are, how they are made, changed and deleted, and which partitions of them are led here.

A broker that stands alone leads all partitions. In a cluster partitions come (`adopt`) and go (`withdraw` while it still answers for what it
has accepted, `give_up` when it may say nothing any more); consumers are told by `Moved`, and whoever asks for one that is not here is
told who leads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from zmqmq.core.commands import Described, Moved
from zmqmq.core.context import Context
from zmqmq.core.model import PARTITIONS_MAX, Placement, TopicRecord, TopicSettings
from zmqmq.core.names import check_name, folded, twin
from zmqmq.core.partition import Partition
from zmqmq.core.writes import CreateLog, DropTopic, LogState, PutTopic
from zmqmq.errors import InvalidValue, NotLeader, Overloaded, TopicExists, UnknownTopic, ZmqmqError

REPLAY_STEP = 5_000
"""Records read at a time when a partition opens."""
IDS_PER_INCARNATION = 1 << 20
"""Topic and log numbers are made of the incarnation and a counter, so none is ever used twice."""


class Topic:
    """A topic with the partitions that this broker leads."""

    def __init__(self, record: TopicRecord) -> None:
        self.record = record
        self.partitions: dict[int, Partition] = {}
        """Those that are led here, by number, ascending."""

    @property
    def count(self) -> int:
        """Partitions of the topic, wherever they are led."""
        return self.record.partitions

    def put(self, partition: Partition) -> None:
        """The partition is led here."""
        found = {**self.partitions, partition.number: partition}
        self.partitions.clear()  # hubs share the table
        self.partitions.update(sorted(found.items()))


class Catalogue:
    """All topics by name."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._topics: dict[str, Topic] = {}
        self._folded: dict[str, str] = {}  # names by how they are folded
        self.is_shared = False
        """The topics are those of a cluster: none is made here."""
        self.reclaiming: dict[Partition, None] = {}
        """Partitions that clients find here, with members that have not reported yet."""
        self.withdrawn: dict[Partition, None] = {}
        """Partitions that clients do not find here any more, although their leadership may yet go on."""
        self._last_id = context.settings.incarnation * IDS_PER_INCARNATION

    def __iter__(self) -> Iterator[Topic]:
        return iter(self._topics.values())

    def __len__(self) -> int:
        return len(self._topics)

    def names(self) -> list[str]:
        return sorted(self._topics)

    @property
    def partitions(self) -> int:
        """Partitions that are led here."""
        return sum(len(topic.partitions) for topic in self._topics.values())

    def open(self) -> None:
        """Takes over what storage has; replays what came after the last snapshots, and begins a new leadership of each partition."""
        logs: dict[int, list[LogState]] = {}
        for state in self.context.reader.logs():
            logs.setdefault(state.topic_id, []).append(state)
        for record in self.context.reader.topics():
            topic = self._add(Topic(record))
            for state in logs.get(record.topic_id, ()):
                topic.put(self._open_partition(record, state))

    def _open_partition(self, record: TopicRecord, state: LogState) -> Partition:
        context = self.context
        partition = Partition(record, state.partition, state, context.settings.group_limits, context.random)
        start = state.applied
        while records := context.reader.replay(state.log_id, start, REPLAY_STEP):
            partition.replay(records)
            start = records[-1].offset + 1
        context.touch(partition).lead(max(partition.log.epoch, state.promised) + 1, context.settings.broker_id, context.wall)
        return partition

    def _add(self, topic: Topic) -> Topic:
        self._topics[topic.record.name] = topic
        self._folded[folded(topic.record.name)] = topic.record.name
        return topic

    def find(self, name: str) -> Topic | None:
        """The topic, if it is known."""
        return self._topics.get(name)

    def get(self, name: str) -> Topic:
        """The topic; raises InvalidName or UnknownTopic."""
        topic = self._topics.get(name)
        if topic is None:
            check_name("topic", name)
            raise UnknownTopic(f"there is no topic {name!r}", hint="create it, or switch topics.auto_create on", topic=name)
        return topic

    def may_exist(self, topic: Topic, number: int) -> bool:
        """Whether the topic may have a partition of that number: in a cluster others may have heard of new ones before this broker."""
        return 0 <= number < topic.count or (self.is_shared and number >= 0)

    def led(self, topic: Topic, number: int, *, is_placed: bool = False) -> Partition:
        """One partition; raises InvalidValue if there is none of that number, NotLeader if it is not led here.

        `is_placed`: the topic was described with that number, maybe by somebody who knows more than this broker."""
        partition = topic.partitions.get(number)
        if partition is not None:
            return partition
        name = topic.record.name
        if not (self.may_exist(topic, number) if is_placed else 0 <= number < topic.count):
            raise InvalidValue(f"there is no partition {number}", hint=f"the topic has {topic.count}", topic=name)
        leader, endpoint, _ = self.context.leader_of(topic.record.topic_id, number)
        where = {"leader": leader, "endpoint": endpoint} if leader else {}
        raise NotLeader("this broker does not lead the partition", hint="describe the topic again", topic=name, partition=number, **where)

    def get_or_create(self, name: str, create: bool) -> Topic:
        """The topic, made with the defaults when that is wanted and allowed."""
        if name in self._topics or self.is_shared or not (create and self.context.settings.auto_create):
            return self.get(name)
        settings = self.context.settings
        return self.create(name, settings.default_partitions, 1, settings.defaults)

    def create(self, name: str, partitions: int, replicas: int, settings: TopicSettings) -> Topic:
        """A new topic, or the existing one if it is the same; raises TopicExists, InvalidName, InvalidValue or Overloaded."""
        check_name("topic", name)
        self._check_numbers(partitions, replicas)
        existing = self._topics.get(name)
        if existing is not None:
            if (existing.count, existing.record.settings) != (partitions, settings):
                raise TopicExists(f"the topic {name!r} exists with other settings", hint="alter it, or delete it first", topic=name)
            return existing
        if other := self._folded.get(folded(name)):
            raise twin(name, other)
        self._check_space(partitions)
        record = TopicRecord(self.next_id(), name, partitions, replicas, settings, self.context.wall)
        self.context.writes.append(PutTopic(record))
        self.context.note("topic created", topic=name, partitions=partitions)
        topic = self._add(Topic(record))
        for number in range(partitions):
            topic.put(self._create_partition(record, number))
        return topic

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

    def next_id(self) -> int:
        """A number for a topic or a log that was never used before on this store."""
        self._last_id += 1
        return self._last_id

    def _create_partition(self, record: TopicRecord, number: int) -> Partition:
        context = self.context
        log_id = self.next_id()
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
        for partition in topic.partitions.values():
            partition.set_topic(topic.record)
        self.context.writes.append(PutTopic(topic.record))
        return topic

    def delete(self, name: str) -> Topic:
        """The topic and everything in it goes with this turn."""
        topic = self.get(name)
        del self._topics[name]
        del self._folded[folded(name)]
        for partition in topic.partitions.values():
            partition.drop_appends(UnknownTopic(f"the topic {name!r} was deleted", topic=name))
            partition.closed = True
            self.context.touched.pop(partition, None)
            self.context.after_turn += partition.take_waiters()
        self.context.writes.append(DropTopic(topic.record.topic_id))
        self.context.note("topic deleted", topic=name)
        return topic

    def describe(self, request: int, topic: Topic) -> Described:
        """The answer that tells clients where the partitions are."""
        record = topic.record
        placements = [self._placement(topic, number) for number in range(topic.count)]
        return Described(request, record.name, record.topic_id, record.replicas, placements, record.settings, record.created)

    def _placement(self, topic: Topic, number: int) -> Placement:
        partition, settings = topic.partitions.get(number), self.context.settings
        if partition is not None:
            return Placement(number, partition.log.epoch, settings.broker_id, settings.endpoint)
        leader, endpoint, epoch = self.context.leader_of(topic.record.topic_id, number)
        return Placement(number, epoch, leader, endpoint)

    # --- partitions that come and go -------------------------------------------------------------------------------

    def know(self, record: TopicRecord) -> Topic:
        """The topic exists in the cluster, with these settings, whether any of it is led here or not."""
        topic = self._topics.get(record.name)
        if topic is None or topic.record.topic_id != record.topic_id:
            return self._add(Topic(record))
        if topic.record != record:
            topic.record = record
            for partition in topic.partitions.values():
                partition.set_topic(record)
            self._tell_moved(topic)  # there may be more partitions
        return topic

    def adopt(self, record: TopicRecord, partition: Partition) -> Topic:
        """Clients find this partition here from now on."""
        topic = self.know(record)
        topic.put(partition)
        self.withdrawn.pop(partition, None)
        for group, queue in partition.queues.items():
            hub = self.context.hub(record.name, group, topic.partitions)
            for member, timeout in queue.state.members.items():
                session = hub.subscribers.get(member)
                served = session is not None and queue.consumers.get(member) == session.epoch
                if not served and member not in queue.leaving:  # it may have left, or come anew, while clients did not find the partition here
                    queue.reclaim[member] = self.context.now + timeout  # all of it: while the partition was not found here nobody could report
        if partition.is_reclaiming():
            self.reclaiming[partition] = None
        self.context.touch(partition)
        self._tell_moved(topic)
        return topic

    def withdraw(self, record: TopicRecord, partition: Partition) -> None:
        """Clients do not find this partition here any more; what it has accepted is still confirmed when it is committed. Nobody can report to it."""
        self.reclaiming.pop(partition, None)
        self.withdrawn[partition] = None
        topic = self._topics.get(record.name)
        if topic is not None and topic.partitions.get(partition.number) is partition:
            del topic.partitions[partition.number]
            self._tell_moved(topic)

    def give_up(self, record: TopicRecord, partition: Partition, error: ZmqmqError) -> None:
        """The leadership is lost: whoever waits for a commit is told `error`, and clients look elsewhere."""
        self.withdraw(record, partition)
        del self.withdrawn[partition]
        partition.abandon(error)
        self.context.touched.pop(partition, None)

    def _tell_moved(self, topic: Topic) -> None:
        """Consumers of the topic that are connected here should look again where its partitions are."""
        hubs = [hub for (name, _), hub in self.context.hubs.items() if name == topic.record.name]
        for session in {client: session for hub in hubs for client, session in hub.subscribers.items()}.values():
            self.context.send(session, Moved(topic.record.name))


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
