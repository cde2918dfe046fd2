"""The desk where messages come in: describe a topic, accept a batch."""

from __future__ import annotations

from zmqmq.core.accept import check_batch, check_room
from zmqmq.core.catalogue import Catalogue
from zmqmq.core.commands import Describe, Produce, Produced
from zmqmq.core.context import Context
from zmqmq.core.partition import TIME_OF_RECORD, Partition
from zmqmq.core.sessions import Session
from zmqmq.errors import NotLeader, StorageFull, ZmqmqError

DISK_FULL = "the broker's disk is full"
DISK_FULL_HINT = "free space on it, or consume; the broker goes on by itself"


class Intake:
    """Handles Describe and Produce."""

    def __init__(self, context: Context, catalogue: Catalogue) -> None:
        self.context = context
        self.catalogue = catalogue

    def describe(self, session: Session, command: Describe) -> None:
        """Answers Described; a topic that is made for it is on disk by then."""
        topic = self.catalogue.get_or_create(command.topic, command.create)
        self.context.after_turn.append(lambda: self.context.send(session, self.catalogue.describe(command.id, topic)))

    def produce(self, session: Session, command: Produce) -> None:
        """Appends the batch; the answer follows when it is committed."""
        partition = self._partition(command)
        if command.epoch > partition.log.epoch:
            raise NotLeader(f"epoch {command.epoch} is newer than {partition.log.epoch}", hint="describe the topic again", topic=command.topic)
        check_batch(command, self.context.settings.limits)
        if not partition.has(command):  # a repeat takes no room and gets its first answer
            if self.context.storage_full:
                raise StorageFull(DISK_FULL, hint=DISK_FULL_HINT, broker=self.context.settings.broker_id)
            check_room(partition, command, self.context.settings.max_uncommitted)
        context, id, count = self.context, command.id, len(command.values)  # what waits for the commit keeps no messages

        def confirm(offset: int, time: float) -> None:
            if time == TIME_OF_RECORD:
                rows = context.reader.read_offsets(partition.log.log_id, [offset])
                time = rows[0].time if rows else context.wall
            context.counters.accepted += count
            context.send(session, Produced(id, offset, time))

        def refuse(error: ZmqmqError) -> None:
            context.refuse(session.address, id, error)

        context.touch(partition).produce(command, context.wall, confirm, refuse)

    def _partition(self, command: Produce) -> Partition:
        return self.catalogue.led(self.catalogue.get(command.topic), command.partition, is_placed=True)
