"""The referee: compares what brokers and clients say and do with the history on disk, at the moment at which they do it.

Safety only: nothing here waits for anything. `tests.sim.ending` demands that all comes to a good end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tests.sim import queue_verdicts as rules
from tests.sim.consumer import SimConsumer, Task
from tests.sim.history import GroupTruth, History, LogTruth, demand
from tests.sim.producer import Outcome
from tests.sim.verdicts import silent
from tests.sim.weather import SLOWEST
from zmqmq.core import writes as w
from zmqmq.core.commands import Delivery, Lot, Recalled, Settled, Subscribed
from zmqmq.core.held import HANDED, SETTLING
from zmqmq.errors import OutcomeUnknown
from zmqmq.wire import decode_answer

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World
    from zmqmq.broker import Broker
    from zmqmq.core.hub import Hub
    from zmqmq.core.partition import Partition
    from zmqmq.core.queue import Queue


class Referee:
    """Keeps its own books."""

    may_return_early = False
    """Whether what a consumer has given back may come again before that is confirmed."""

    def __init__(self, world: World) -> None:
        self.history = History()
        self.situations: Counter[str] = Counter()
        """What has happened, so that a run can tell what it has seen."""
        self.sure: dict[str, float] = {}
        """By consumer: when it sent the last frame that the broker has counted as life of a subscribed session."""
        self.tokens: dict[tuple[rules.Queue, bytes], tuple[tuple[int, int], str]] = {}
        self.newest: dict[tuple[rules.Queue, bytes], int] = {}
        """Per key: the newest message that was handed out."""
        self.seen: dict[rules.Queue, set[int]] = {}
        """What was ever handed out."""
        self.settled: dict[tuple[rules.Queue, int], str] = {}
        """What consumers were told to be settled."""
        self.moves: dict[rules.Queue, tuple[int, int]] = {}
        """The group's life, and seeks in it, of which it was known when a message was last handed out."""
        self.grants: dict[tuple[rules.Queue, int, int], GroupTruth] = {}
        """By queue, epoch and lease: the group that it was granted to, which may have been deleted since and made again."""
        self.confirmed: dict[bytes, Outcome] = {}
        self.unaccepted: dict[bytes, Outcome] = {}
        self._world = world

    # --- disks -------------------------------------------------------------------------------------------------------

    def stored(self, host: Host, writes: Sequence[w.Write]) -> None:
        """A broker has committed. What one broker alone has on disk is the truth."""
        self.history.committed(writes)

    # --- the broker speaks -------------------------------------------------------------------------------------------

    def read(self, host: Host, address: bytes, sent: float) -> None:
        """A broker takes a frame that was sent at this moment."""
        broker = host.broker
        session = broker.node.context.sessions.at(address) if broker is not None else None
        if session is None:
            self.situations["stranger"] += 1
        elif session.queues:
            self.sure[session.client_id] = max(sent, self.sure.get(session.client_id, 0.0))

    def said(self, host: Host, client: str, frame: bytes) -> None:
        """A broker sends a frame."""
        silent(host.name, host.has_failed, client)
        command = decode_answer(frame)
        if isinstance(command, Delivery):
            for lot in command.lots:
                self._delivered(host, client, lot)
        elif isinstance(command, Subscribed):
            self.situations["lease kept"] += sum(bool(lease.kept) for lease in command.leases)
            self.situations["lease not kept"] += sum(not lease.kept for lease in command.leases)
            self._kept(host, command)
        elif isinstance(command, Settled):
            self._settled(host, client, command)
        self.situations["recalled"] += isinstance(command, Recalled)

    def _kept(self, host: Host, command: Subscribed) -> None:
        assert host.broker is not None
        hub = host.broker.node.context.hub_numbers.get(command.queue)
        for lease in command.leases:
            if lease.kept and hub is not None and lease.partition in hub.partitions:  # else what it is about has gone in this very turn
                self._granted(hub, lease.partition, lease.epoch, lease.lease)

    def _granted(self, hub: Hub, number: int, epoch: int, lease: int) -> None:
        topic_id = hub.partitions[number].topic.topic_id
        group = self.history.log(topic_id, number).groups[hub.group]
        self.grants[(hub.group, topic_id, number), epoch, lease] = group

    def _settled(self, host: Host, client: str, command: Settled) -> None:
        self.situations["settled too late"] += len(command.lost) > len(command.elsewhere)
        self.situations["to be settled elsewhere"] += bool(command.elsewhere)
        assert host.broker is not None
        for moved in [command.lost[place] for place in command.elsewhere]:
            hub = host.broker.node.context.hub_numbers.get(moved.queue)
            partition = hub.partitions.get(moved.partition) if hub is not None else None
            is_over = partition is None or partition.log.epoch > moved.epoch
            demand(is_over, "a leader sends elsewhere what it has to decide itself", host.name, client, moved)

    def _delivered(self, host: Host, client: str, lot: Lot) -> None:
        broker = host.broker
        assert broker is not None
        hub = broker.node.context.hub_numbers[lot.queue]
        topic_id = hub.partitions[lot.partition].topic.topic_id
        log = self.history.log(topic_id, lot.partition)
        group = log.groups[hub.group]
        self._granted(hub, lot.partition, lot.epoch, lot.lease)
        queue = (hub.group, topic_id, lot.partition)
        for index, (offset, value) in enumerate(zip(lot.offsets, lot.values, strict=True)):
            attempt = lot.attempts[index] if lot.attempts is not None else 1
            key, known = log.messages.get(offset, (None, None))
            expected = None if known is None else rules.Expected(known, offset in group.concluded, group.failures.get(offset, 0), group.members)
            rules.deliverable(client, offset, value, attempt, expected)
            self.situations["redelivered"] += attempt > 1
            if key is not None:
                rules.token_grows(self.tokens, queue, key, (lot.epoch, lot.lease), client)

    # --- consumers ---------------------------------------------------------------------------------------------------

    def _place(self, consumer: SimConsumer, task: Task) -> tuple[LogTruth, GroupTruth]:
        """The partition, and the group that the task's lease was granted to."""
        log = self.history.log(*task.place)
        known = self.grants.get(((consumer.group, *task.place), task.held.epoch, task.held.lease))
        return log, known or log.groups[consumer.group]

    def _is_void(self, consumer: SimConsumer, task: Task) -> bool:
        """Whether a seek has taken the message from its consumer, or the group is another one now; it may not have heard of it."""
        log, group = self._place(consumer, task)
        return (task.held.epoch, task.held.lease) <= group.voided or log.groups.get(consumer.group) is not group

    def handed(self, consumer: SimConsumer, task: Task) -> None:
        """The application gets a message."""
        log, group = self._place(consumer, task)
        offset, key = task.offset, task.key
        hold = hold_of(consumer, task)
        if self._is_void(consumer, task):
            self.situations["void lease handed out"] += 1
            return
        self._begin_anew(hold.queue, group)
        self._world.note("handed", consumer.name, task.held.subscription.topic, task.held.partition, offset)
        mine = {other.offset: other for other in consumer.tasks if other.place == task.place}
        if offset in mine:
            ended = ("returning",) if self.may_return_early else ()
            is_over = mine[offset].state not in (HANDED, SETTLING) or _state(mine[offset]) in ended
            demand(is_over, "a consumer gets what it is still working on", consumer.name, offset)
        if key is not None and offset not in group.replayed:
            open_ones = [before for before in log.earlier(key, offset) if before >= group.position and before not in group.concluded | group.replayed]
            rules.in_key_order(hold, open_ones, {before: _state(mine[before]) for before in open_ones if before in mine})
        if offset not in group.replayed:
            rules.first_in_order(self.newest, self.seen, hold)
            rules.stays_settled(self.settled, hold)
        rules.one_holder(hold, self._held_by_others(consumer, task))

    def _begin_anew(self, queue: rules.Queue, group: GroupTruth) -> None:
        """After a seek, and in a new group of the name, everything comes as if it never had."""
        if self.moves.get(queue, (0, 0)) != (group.life, group.moves):
            self.moves[queue] = (group.life, group.moves)
            self.seen.pop(queue, None)
            self.newest = {known: newest for known, newest in self.newest.items() if known[0] != queue}
            self.settled = {known: by for known, by in self.settled.items() if known[0] != queue}
            self.situations["group moved"] += bool(group.moves)
            self.situations["group made again"] += bool(group.life)

    def _held_by_others(self, consumer: SimConsumer, task: Task) -> Iterator[rules.Hold]:
        """What others of the group may rightly believe to hold while this consumer may believe so too."""
        longest = self._world.config.topics.defaults.max_processing_time - 2 * SLOWEST
        if not self.is_sure(consumer):
            return
        for other in self._world.consumers:
            if other is not consumer and other.is_alive and other.group == consumer.group and self.is_sure(other):
                held = [one for one in self._valid(other) if other.now - one.held.arrived <= longest]  # else its lease may have expired
                yield from (hold_of(other, one) for one in held)

    def _valid(self, consumer: SimConsumer) -> list[Task]:
        """What the consumer is working on, without what a seek has taken from it."""
        return [task for task in consumer.open_tasks() if not self._is_void(consumer, task)]

    def is_sure(self, consumer: SimConsumer) -> bool:
        """Whether what the consumer holds is certainly still its own: the broker cannot have given it up by now."""
        if consumer.is_stopping or consumer.name not in self.sure:
            return False
        return self._world.scheduler.now < self.sure[consumer.name] + self._world.session_timeout * 0.99

    def confirmed_settled(self, consumer: SimConsumer, task: Task) -> None:
        """The broker has confirmed a decision."""
        _, group = self._place(consumer, task)
        if task.verdict in ("ack", "reject"):
            was_concluded = task.offset in group.ever_concluded | group.replayed  # a letter may be on its way back when its death is told at last
            demand(was_concluded, "a confirmed settling is not on disk", consumer.name, task.verdict, task.offset)
            if not self._is_void(consumer, task):
                self.settled[(consumer.group, *task.place), task.offset] = consumer.name
        self.situations[f"confirmed {task.verdict}"] += 1

    def lost(self, consumer: SimConsumer, task: Task) -> None:
        """A consumer has lost a message that it was handed."""
        self.situations["lost by its consumer"] += 1

    # --- producers ---------------------------------------------------------------------------------------------------

    def resolved(self, outcome: Outcome) -> None:
        """A producer hears what became of a message."""
        sent = outcome.sent
        places = self.history.where(sent.topic, sent.value)
        if outcome.error is None:
            demand(places, "a confirmed message is not on disk", sent.value)
            is_there = (outcome.partition, outcome.offset) in places and (len(places) == 1 or self.history.deleted)
            demand(outcome.offset < 0 or is_there, "a confirmation names another place", sent.value, places)
            self.confirmed[sent.value] = outcome
            self.situations["place forgotten"] += outcome.offset < 0
        else:
            self.situations[type(outcome.error).__name__] += 1
            if not isinstance(outcome.error, OutcomeUnknown):
                self.unaccepted[sent.value] = outcome

    # --- the broker's memory -----------------------------------------------------------------------------------------

    def after_turn(self, host: Host, broker: Broker) -> None:
        """The figures in memory are those of the log, and nobody holds what is another's."""
        if broker.node.is_carrying:
            self.situations["turn carried"] += 1
            return
        for topic in broker.node.catalogue:
            for partition in topic.partitions.values():
                log = self.history.log(topic.record.topic_id, partition.number)
                for name, queue in partition.queues.items():
                    self._figures(partition, queue, log, log.groups[name])

    def _figures(self, partition: Partition, queue: Queue, log: LogTruth, group: GroupTruth) -> None:
        where = (partition.topic.name, partition.number, queue.state.name)
        expected = group.unsettled
        demand(queue.state.lag == expected, "the lag is wrong", *where, queue.state.lag, expected)
        demand(queue.state.dead == len(group.dead), "the dead letters are miscounted", *where, queue.state.dead, len(group.dead))
        held = [offset for lease in queue.book.leases.values() for offset in lease.open]
        demand(len(held) == len(set(held)), "an offset is in two leases", *where, held)
        owners: dict[bytes, str] = {}
        for lease in queue.book.leases.values():
            for offset, key in lease.open.items():
                demand(offset not in group.concluded, "a lease holds what is settled", *where, offset)
                if key is not None:
                    owner = owners.setdefault(key, lease.holder.member)
                    demand(owner == lease.holder.member, "a key has two holders", *where, key, owner, lease.holder.member)


def hold_of(consumer: SimConsumer, task: Task) -> rules.Hold:
    """The task, as a message in the consumer's hands."""
    return rules.Hold(consumer.name, (consumer.group, *task.place), task.offset, task.key)


def _state(task: Task) -> rules.State:
    if task.state == HANDED:
        return "working"
    return "concluding" if task.state == SETTLING and task.verdict in ("ack", "reject") else "returning"
