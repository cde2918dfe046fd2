"""The desk of administrators, part one: what changes something. Answers follow when the change is committed."""

from __future__ import annotations

from collections.abc import Iterator

from zmqmq.core.admin_commands import AlterTopic, CreateTopic, DeleteGroup, DeleteTopic, Done, Purge, Replay, Seek
from zmqmq.core.catalogue import Catalogue, Topic, with_changes
from zmqmq.core.commands import Refused
from zmqmq.core.consumers import Consumers
from zmqmq.core.context import Context
from zmqmq.core.operations import Buried, GroupDeleted, GroupMoved, Revived
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.sessions import Session
from zmqmq.errors import InvalidValue, Overloaded, UnknownGroup

LETTERS_STEP = 10_000
"""Dead letters that one operation replays or purges."""


def group_queues(topic: Topic, group: str) -> list[tuple[Partition, Queue]]:
    """The group's queues; raises UnknownGroup."""
    found = [(partition, queue) for partition in topic.partitions if (queue := partition.queues.get(group))]
    if not found:
        known = sorted({name for partition in topic.partitions for name in partition.queues})
        hint = f"known groups: {', '.join(known[:20])}" if known else "no consumer has ever joined one"
        raise UnknownGroup(f"the topic {topic.record.name!r} has no group {group!r}", hint=hint, topic=topic.record.name, group=group)
    return found


class Administration:
    """Handles requests that change topics, groups and dead letters."""

    def __init__(self, context: Context, catalogue: Catalogue, consumers: Consumers) -> None:
        self.context = context
        self.catalogue = catalogue
        self.consumers = consumers

    def create_topic(self, session: Session, command: CreateTopic) -> None:
        defaults = self.context.settings
        settings = with_changes(command.topic, defaults.defaults, command.settings)
        topic = self.catalogue.create(command.topic, command.partitions or defaults.default_partitions, command.replicas or 1, settings)
        self.context.after_turn.append(lambda: self.context.send(session, self.catalogue.describe(command.id, topic)))

    def alter_topic(self, session: Session, command: AlterTopic) -> None:
        topic = self.catalogue.alter(command.topic, command.changes)
        self.context.after_turn.append(lambda: self.context.send(session, self.catalogue.describe(command.id, topic)))

    def delete_topic(self, session: Session, command: DeleteTopic) -> None:
        """Consumers of the topic are told that it is gone."""
        topic = self.catalogue.delete(command.topic)
        for hub in [hub for (name, _), hub in self.context.hubs.items() if name == command.topic]:
            for subscriber in hub.subscribers.values():
                details = {"topic": hub.topic, "group": hub.group}
                self.context.send(subscriber, Refused(0, "UnknownTopic", f"the topic {hub.topic!r} was deleted", "", details))
            self.context.drop_hub(hub)
        self._done(session, command.id, len(topic.partitions))

    def delete_group(self, session: Session, command: DeleteGroup) -> None:
        topic = self.catalogue.get(command.topic)
        queues = group_queues(topic, command.group)
        hub = self.context.hubs.get((command.topic, command.group))
        if hub is not None and hub.subscribers:
            raise Overloaded(f"{len(hub.subscribers)} consumers are in the group", hint="stop them first", topic=command.topic, group=command.group)
        if hub is not None:
            self.context.drop_hub(hub)
        for partition, queue in queues:
            queue.closing = True
            self.context.touch(partition).append_operation(GroupDeleted(command.group))
        self._when_done(session, command.id, topic.partitions, 1)

    def seek(self, session: Session, command: Seek) -> None:
        """Moves the group; the answer tells how many messages are before it now."""
        topic = self.catalogue.get(command.topic)
        if command.partition is not None and not 0 <= command.partition < len(topic.partitions):
            raise InvalidValue(f"there is no partition {command.partition}", hint=f"the topic has {len(topic.partitions)}", topic=command.topic)
        lag = 0
        for partition, queue in group_queues(topic, command.group):
            if command.partition in (None, partition.number):
                lag += self._seek_one(self.context.touch(partition), queue, command)
        self._when_done(session, command.id, topic.partitions, lag)

    def _seek_one(self, partition: Partition, queue: Queue, command: Seek) -> int:
        log, reader = partition.log, self.context.reader
        position = log.end
        if command.to == "earliest":
            position = log.start
        elif command.to == "offset":
            position = min(max(int(command.value), log.start), log.committed)
        elif command.to == "time":
            found = reader.offset_at(log.log_id, command.value)
            position = log.end if found is None else found
        if position <= log.start:
            lag = partition.messages + partition.pending.messages(position)
        else:
            edge = max(position, log.committed)
            lag = reader.weigh(log.log_id, position, edge)[0] + partition.pending.messages(edge)
        self._bury_ahead(partition, queue, position)
        partition.append_operation(GroupMoved(command.group, position, lag))
        return lag

    def _bury_ahead(self, partition: Partition, queue: Queue, position: int) -> None:
        """What will be delivered again is no dead letter any more."""
        known = self.context.reader.dead_offsets(partition.log.log_id, queue.state.name, queue.settings.max_dead_letters)
        ahead = sorted({offset for offset in (*known, *partition.pending_deaths(queue.state.name)) if offset >= position} - queue.moving_letters)
        if ahead:
            queue.moving_letters.update(ahead)
            partition.append_operation(Buried(queue.state.name, ahead))

    def replay(self, session: Session, command: Replay) -> None:
        """Dead letters go back into delivery."""
        count = 0
        for partition, offsets in self._chosen(command):
            partition.append_operation(Revived(command.group, offsets))
            count += len(offsets)
        self._when_done(session, command.id, self.catalogue.get(command.topic).partitions, count)

    def purge(self, session: Session, command: Purge) -> None:
        """Dead letters go for good."""
        count = 0
        for partition, offsets in self._chosen(command):
            partition.append_operation(Buried(command.group, offsets))
            count += len(offsets)
        self._when_done(session, command.id, self.catalogue.get(command.topic).partitions, count)

    def _chosen(self, command: Replay | Purge) -> Iterator[tuple[Partition, list[int]]]:
        """Dead letters that the request names, in steps; those that are none are passed over."""
        topic = self.catalogue.get(command.topic)
        wanted = set(command.offsets)
        for partition, queue in group_queues(topic, command.group):
            if command.partition not in (None, partition.number):
                continue
            dead = list(self.context.reader.dead_offsets(partition.log.log_id, command.group, queue.settings.max_dead_letters))
            dead = [offset for offset in dead if (not wanted or offset in wanted) and offset not in queue.moving_letters]
            queue.moving_letters.update(dead)
            for start in range(0, len(dead), LETTERS_STEP):
                yield self.context.touch(partition), dead[start : start + LETTERS_STEP]

    def _done(self, session: Session, request: int, count: int) -> None:
        self.context.after_turn.append(lambda: self.context.send(session, Done(request, count)))

    def _when_done(self, session: Session, request: int, partitions: list[Partition], count: int) -> None:
        self.context.when_committed(partitions, lambda: self.context.send(session, Done(request, count)))
