"""The desk of administrators, part one: what changes something. Answers follow when the change is committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from zmqmq.core.admin_commands import AlterTopic, CreateTopic, DeleteGroup, DeleteTopic, Done, Purge, Replay, Seek
from zmqmq.core.catalogue import Catalogue, Topic, with_changes
from zmqmq.core.commands import Refused
from zmqmq.core.consumers import Consumers
from zmqmq.core.context import Context
from zmqmq.core.operations import Buried, GroupDeleted, GroupMoved, Revived
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.sessions import Session
from zmqmq.errors import NotLeader, Overloaded, UnknownGroup, ZmqmqError

LETTERS_STEP = 10_000
"""Dead letters that one operation replays or purges."""


def group_queues(topic: Topic, group: str) -> list[tuple[Partition, Queue]]:
    """The group's queues on the partitions that are led here; raises UnknownGroup, or NotLeader when there is no such partition."""
    partitions = topic.partitions.values()
    found = [(partition, queue) for partition in partitions if (queue := partition.queues.get(group))]
    if not partitions:
        raise NotLeader("this broker leads no partition of the topic", hint="describe the topic again", topic=topic.record.name)
    if not found:
        known = sorted({name for partition in partitions for name in partition.queues})
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
        topic = self.drop_topic(command.topic)
        self._done(session, command.id, topic.count)

    def drop_topic(self, name: str) -> Topic:
        """The topic goes; its consumers are told."""
        topic = self.catalogue.delete(name)
        for hub in [hub for (known, _), hub in self.context.hubs.items() if known == name]:
            for subscriber in hub.subscribers.values():
                details = {"topic": hub.topic, "group": hub.group}
                self.context.send(subscriber, Refused(0, "UnknownTopic", f"the topic {hub.topic!r} was deleted", "", details))
            self.context.drop_hub(hub)
        return topic

    def delete_group(self, session: Session, command: DeleteGroup) -> None:
        topic = self.catalogue.get(command.topic)
        queues = group_queues(topic, command.group)
        hub = self.context.hubs.get((command.topic, command.group))
        if hub is not None and (consumers := hub.subscribers.keys() | set(hub.joining)):
            raise Overloaded(f"{len(consumers)} consumers are in the group", hint="stop them first", topic=command.topic, group=command.group)
        if awaited := {member for _, queue in queues for member in queue.reclaim}:
            text, hint = f"{len(awaited)} consumers of the group may be on their way back", "stop them first, or try again when they are given up"
            raise Overloaded(text, hint=hint, topic=command.topic, group=command.group)
        if hub is not None:
            self.context.drop_hub(hub)
        for partition, queue in queues:
            queue.closing = True
            self.context.touch(partition).append_operation(GroupDeleted(command.group))
        self._when_done(session, command.id, [partition for partition, _ in queues], 1)

    def seek(self, session: Session, command: Seek) -> None:
        """Moves the group; the answer tells how many messages are before it now."""
        topic = self.catalogue.get(command.topic)
        if command.partition is not None:
            self.catalogue.led(topic, command.partition)
        lag = 0
        moved: dict[Partition, None] = {}
        for partition, queue in group_queues(topic, command.group):
            if command.partition in (None, partition.number):
                lag += self._seek_one(self.context.touch(partition), queue, command)
                moved[partition] = None
        self._when_done(session, command.id, moved, lag)

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
        partition.append_operation(GroupMoved(command.group, position, lag, log.epoch, queue.book.numbers.last))
        queue.begin_seek()
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
        chosen: dict[Partition, None] = {}
        for partition, offsets in self._chosen(command):
            partition.append_operation(Revived(command.group, offsets))
            count += len(offsets)
            chosen[partition] = None
        self._when_done(session, command.id, chosen, count)

    def purge(self, session: Session, command: Purge) -> None:
        """Dead letters go for good."""
        count = 0
        chosen: dict[Partition, None] = {}
        for partition, offsets in self._chosen(command):
            partition.append_operation(Buried(command.group, offsets))
            count += len(offsets)
            chosen[partition] = None
        self._when_done(session, command.id, chosen, count)

    def _chosen(self, command: Replay | Purge) -> Iterator[tuple[Partition, list[int]]]:
        """Dead letters that the request names, in steps; those that are none are passed over."""
        topic = self.catalogue.get(command.topic)
        if command.partition is not None:
            self.catalogue.led(topic, command.partition)
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

    def _when_done(self, session: Session, request: int, partitions: Iterable[Partition], count: int) -> None:
        def lost(error: ZmqmqError) -> None:
            self.context.refuse(session.address, request, error)

        self.context.when_committed(partitions, lambda: self.context.send(session, Done(request, count)), lost)
