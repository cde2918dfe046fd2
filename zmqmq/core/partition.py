"""One partition as its leader runs it: the log, the producers, the groups, and what waits for a commit.

    produce / operation ──► writes of this turn ──► disk ──► committed ──► confirmed, applied, delivered

Nothing here is confirmed or applied before it is committed: on this broker's disk, which `persisted` says, and on that of every in-sync
replica, which the log learns from `agree`. An operation takes effect only then, in log order; its table changes go into the next turn's
writes, so tables never run ahead of the committed log. `snapshot` writes the rest of the state down from time to time; a restart reads the
snapshot and replays what came after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zmqmq.core import operations
from zmqmq.core.absorbing import Absorber
from zmqmq.core.appends import writes_of_batch
from zmqmq.core.appliers import Applier
from zmqmq.core.columns import size_of, size_undelayed, without_front
from zmqmq.core.commands import Produce
from zmqmq.core.dedup import ProducerTable
from zmqmq.core.group import GroupState
from zmqmq.core.leases import LeaseNumbers
from zmqmq.core.log import Log
from zmqmq.core.model import GroupLimits, Row, TopicRecord
from zmqmq.core.operations import Operation
from zmqmq.core.peer_commands import Block
from zmqmq.core.pending import Asker, Batch, Confirm, Pending, Refuse, Waiter
from zmqmq.core.queue import Queue
from zmqmq.core.writes import AppendMessages, AppendOperation, LogState, PutDead, PutEpoch, PutHead, PutProducers, Reader, Record, Write
from zmqmq.errors import ZmqmqError

SNAPSHOT_RECORDS = 20_000
"""Records after which the state is written down; bounds what a restart has to replay."""
TIME_OF_RECORD = -1.0
"""In place of the time: it is the one that the record at the offset has."""


class Partition:
    """One partition's leader."""

    def __init__(
        self, topic: TopicRecord, number: int, state: LogState, limits: GroupLimits, random: Callable[[], float], committed: int | None = None
    ) -> None:
        """`committed`: below it the log is known to be committed; None: all of it is, for there is no other replica."""
        self.topic = topic
        self.number = number
        self.limits = limits
        self.random = random
        epoch = max([state.epoch, *(epoch for epoch, _ in state.epochs)])  # the head may be older than the last leadership
        self.log = Log(state.log_id, state.start, state.end, epoch, state.epochs, committed, state.trimmed)
        self.messages = state.messages
        self.size = state.size
        self.delayed = state.delayed
        self.next_due = float("-inf") if state.delayed else float("inf")
        self.producers = ProducerTable()
        """Producers as of the end of the log: what is judged by."""
        self.confirmed_producers = ProducerTable()
        """Producers as of what is committed: what is written down."""
        self.queues: dict[str, Queue] = {}
        self._numbers = LeaseNumbers()
        self.writes: list[Write] = []
        self.applied = state.applied
        self.recalls: list[tuple[str, str, int, list[int]]] = []
        """(group, member, lease, offsets) that consumers have to be told."""
        self.revived: list[tuple[str, list[int]]] = []
        """(group, offsets) of replayed letters whose keys must be read before they can wait in order."""
        self.maturing: set[int] = set()
        """Delayed messages that have got their place in the log while storage still lists them as due."""
        self.matured: list[int] = []
        """Those of them that the next turn's writes take off that list."""
        self._taken_off: list[int] = []
        """Those of them whose writes are under way."""
        self._taken = self.log.end
        """End of the log when its writes were last taken: whoever hears of another partition's commit in that turn may append to this one."""
        self.time = 0.0
        """Broker time of this turn."""
        self.closed = False
        """The topic was deleted, or this leadership is over."""
        self.pending = Pending()
        self.in_sync = 1
        """Replicas that are in sync, this one included."""
        self.replicas = topic.replicas
        """Replicas of which a majority, or `min_in_sync`, must be in sync for a message to be accepted."""
        self._restore(state)
        self._applier = Applier(self)
        self._absorber = Absorber(self, self._applier)

    def _restore(self, state: LogState) -> None:
        for row in state.producers:
            self.confirmed_producers.restore(*row)
        for group in state.groups:
            self.add_queue(GroupState.from_write(group))
        for member in state.members:
            if member.group in self.queues:  # else it joined after the snapshot, and replay brings group and member
                self.queues[member.group].state.members[member.member] = member.session_timeout

    # --- opening ---------------------------------------------------------------------------------------------------

    def replay(self, records: Sequence[Record]) -> None:
        """Applies records that came after the last snapshot. `applied` stays: until the next snapshot a restart needs them again."""
        self._absorber.replay(records)

    def absorb(self, blocks: Sequence[Block]) -> None:
        """Applies committed records that a leader has sent, in order. For a replica that follows; its log knows already that they are committed."""
        self._absorber.absorb(blocks)

    def skip_gaps(self, reader: Reader) -> None:
        """Before a snapshot of a replica that follows: floors pass over gaps that are known to storage only."""
        self._absorber.skip_gaps(reader)

    @property
    def trimmed_unsaved(self) -> bool:
        """Has more been deleted than the last snapshot covers? Then the next one must go to the disk together with the deletion."""
        return self.log.start > self.applied

    def lead(self, epoch: int, broker: str, wall: float) -> None:
        """Begins a leadership where everything in the log is committed."""
        self.time = wall
        self.log.lead(epoch)
        self.writes.append(PutEpoch(self.log.log_id, epoch, self.log.end))
        self.append_operation(operations.Opened(epoch, broker))
        self._take_over()

    def activate(self, now: float, wall: float) -> None:
        """A replica that has followed leads from now on: everything in the log up to its `Opened` is committed and absorbed. Members must report."""
        self.time = wall
        self._take_over()
        self.expect_members(now)

    def _take_over(self) -> None:
        """What only a leader knows begins: what is judged by, where reading stands, what waits."""
        self._absorber.end()
        self.producers = self.confirmed_producers.copy()
        self.next_due = float("-inf") if self.delayed else float("inf")
        for queue in self.queues.values():
            queue.rewind()
        self.revived = [(name, sorted(queue.state.revived)) for name, queue in self.queues.items() if queue.state.revived]

    def expect_members(self, now: float) -> None:
        """Members known from the log must report before their groups go on: they may hold leases. `now` is monotonic."""
        for queue in self.queues.values():
            queue.reclaim = {member: now + timeout for member, timeout in queue.state.members.items()}

    def is_reclaiming(self) -> bool:
        """Is a member still expected?"""
        return any(queue.reclaim for queue in self.queues.values())

    def add_queue(self, state: GroupState) -> Queue:
        queue = Queue(state, self.topic.settings, self.limits, self.append_operation, self.random, self._numbers)
        self.queues[state.name] = queue
        return queue

    def set_topic(self, topic: TopicRecord) -> None:
        """The topic's settings have changed."""
        self.topic = topic
        for queue in self.queues.values():
            queue.settings = topic.settings

    # --- appending -------------------------------------------------------------------------------------------------

    def append_operation(self, operation: Operation) -> int:
        """Appends to the log and returns the offset; takes effect when committed."""
        offset = self.log.give(1)
        self.writes.append(AppendOperation(self.log.log_id, offset, self.log.epoch, self.time, operations.encode(operation)))
        self.pending.add_operation(offset, operation, self.time)
        return offset

    def expire_producers(self, producers: Sequence[int]) -> None:
        """Forgets idle producers: what comes of them from now on is new."""
        self.append_operation(operations.ProducersExpired(list(producers)))
        self.producers.forget(producers)

    def after_commit(self, then: Callable[[], None], lost: Refuse | None = None) -> None:
        """Calls `then` when everything appended so far is committed, or `lost` if the leadership ends before (None: `then` too)."""
        self.pending.add_waiter(Waiter(self.log.end, then, lost or (lambda error: then())))

    def has(self, batch: Produce) -> bool:
        """Is the whole batch in the log already? Raises OutOfOrder."""
        return self.producers.judge(batch.producer, batch.sequence, len(batch.values), batch.oldest).repeated == len(batch.values)

    def produce(self, batch: Produce, wall: float, confirm: Confirm, refuse: Refuse) -> None:
        """Accepts a batch that passed the checks of `zmqmq.core.accept`, or repeats its first answer; raises OutOfOrder."""
        count = len(batch.values)
        repeated, offset = self.producers.judge(batch.producer, batch.sequence, count, batch.oldest)
        asker = Asker((batch.producer, batch.sequence, count), confirm, refuse)
        if repeated == count:
            if not self.pending.ask_again(asker):
                self._repeat(batch, offset, wall, asker)
            return
        fresh = without_front(batch, repeated) if repeated else batch
        first = self._append_batch(fresh, wall)
        before = self.producers.accept(batch.producer, fresh.sequence, count - repeated, first, wall)
        delayed = sum(1 for delay in fresh.delays or () if delay)
        size = size_of(fresh.values, fresh.keys, fresh.headers) if not delayed else size_undelayed(fresh)
        self.pending.add_batch(Batch(self.log.end, count - repeated, size, first - repeated, wall, batch.producer, fresh.sequence, before, asker, delayed))

    def _repeat(self, batch: Produce, offset: int, wall: float, asker: Asker) -> None:
        """The first answer again, when what came first is committed; if it came in this very turn, it shares the fate of the turn's messages."""
        durable, count = self.log.durable, len(batch.values)
        known = offset + count <= durable if offset >= 0 else batch.sequence + count <= self.pending.unwritten_from(batch.producer, durable)
        end = self.log.durable if known else self.log.end
        self.pending.add_batch(Batch(end, 0, 0, offset, TIME_OF_RECORD if known else wall, 0, 0, None, asker, 0))

    def _append_batch(self, batch: Produce, wall: float) -> int:
        first = self.log.give(len(batch.values))
        self.writes += writes_of_batch(self.log, batch, first, wall)
        return first

    def mature(self, due: Sequence[int], rows: Sequence[Row], wall: float) -> None:
        """Delayed messages whose time has come get their place in the log now."""
        self.append_operation(operations.Matured(list(due)))
        self.maturing.update(due)
        if not rows:
            return
        _, _, keys, headers, values, crcs = zip(*rows, strict=True)
        first = self.log.give(len(rows))
        self.writes.append(AppendMessages(self.log.log_id, first, self.log.epoch, wall, 0, 0, values, crcs, keys, headers))
        self.pending.add_batch(Batch(self.log.end, len(rows), size_of(values, keys, headers), first, wall, 0, 0, None, None, 0))

    def pending_deaths(self, group: str) -> list[int]:
        """Offsets that are dead letters of the group as soon as what is in the log or on its way to the tables has got there."""
        applied = [offset for write in self.writes if isinstance(write, PutDead) and write.group == group for offset, _ in write.rows]
        return applied + self.pending.deaths(group)

    def take_waiters(self) -> list[Callable[[], None]]:
        """Who waits for a commit here; the topic is deleted and there will be none."""
        return [waiter.then for waiter in self.pending.take_waiters()]

    def abandon(self, error: ZmqmqError) -> None:
        """The leadership is lost: nothing is confirmed any more, and who waits is told `error`. Nothing else happens here."""
        self.closed = True
        self.pending.abandon(error)

    # --- the end of a turn -----------------------------------------------------------------------------------------

    def take_writes(self) -> list[Write]:
        writes, self.writes = self.writes, []
        self._taken = self.log.end
        self._taken_off += self.matured
        self.matured.clear()
        for queue in self.queues.values():
            queue.note_taken()
        return writes

    def drop_appends(self, error: ZmqmqError) -> set[int]:
        """The turn's messages cannot be stored; its operations will be, except those whose offsets this returns.

        Offsets that were given out stay empty before an operation, and are given anew at the end: an empty end would count as committed, and the next
        leader would not know of it. What is on disk already goes on waiting for its commit."""
        for batch in self.pending.drop_batches(self.log.durable):
            if batch.producer:
                self.producers.undo(batch.producer, batch.before)
            if batch.asker:
                batch.asker.refuse(error)
        matured = self.pending.drop_matured(self.log.durable)
        for _, operation in matured:
            self.maturing.difference_update(operation.offsets)
        if matured:
            self.next_due = float("-inf")  # ask storage again when it is due
        self.log.take_back(self.pending.end(self.log.durable))
        return {offset for offset, _ in matured}

    def persisted(self, wall: float) -> int:
        """The turn is on disk. Returns how many things became deliverable."""
        self.stored()
        return self._settle(wall)

    def stored(self) -> None:
        """The turn is on disk, tables and log; what that means to others is another question."""
        self.log.persisted(min(self._taken, self.log.end))  # a full disk may have cut the log since
        self.maturing.difference_update(self._taken_off)
        self._taken_off.clear()
        for queue in self.queues.values():
            queue.forget_moved_letters()

    def written(self) -> None:
        """The turn is on disk, and what that means to others is asked later."""
        self.log.written(min(self._taken, self.log.end))

    def _settle(self, wall: float) -> int:
        """Confirms, applies and opens gates as far as the log is committed."""
        committed = self.log.committed
        fresh = 0
        for entry in self.pending.committed(committed):
            if isinstance(entry, Batch):
                fresh += self._confirm(entry)
            else:
                self.time = entry.time  # as on every other replica
                self._applier.apply(entry.offset, entry.operation)
        self.time = wall
        for queue in self.queues.values():
            fresh += queue.committed(committed, wall)
        for waiter in self.pending.waiters(committed):
            waiter.then()
        return fresh

    def _confirm(self, batch: Batch) -> int:
        self.count(batch.messages - batch.delayed, batch.size)
        if batch.delayed:
            self.delayed += batch.delayed
            self.next_due = float("-inf")  # ask storage
        if batch.producer:
            self.confirmed_producers.note(batch.producer, batch.sequence, batch.messages, batch.end - batch.messages, batch.time)
        if batch.asker:
            batch.asker.confirm(batch.first, batch.time)
        return batch.messages - batch.delayed

    def count(self, messages: int, size: int) -> None:
        """So many messages more are committed, of so many bytes."""
        self.messages += messages
        self.size += size
        for queue in self.queues.values():
            queue.state.lag += messages
            queue.state.changed = True

    def settled_by_all(self) -> int:
        """Offset below which every group has settled everything; the log's start while there is no group."""
        return min((queue.state.settled.floor for queue in self.queues.values()), default=self.log.start)

    def is_snapshot_due(self) -> bool:
        return self.log.committed - self.applied >= SNAPSHOT_RECORDS

    def snapshot(self) -> None:
        """Writes the state down as of what is committed; later, if what has become committed is not applied to it yet."""
        if self.pending.is_behind(self.log.committed):
            return
        log_id = self.log.log_id
        if rows := self.confirmed_producers.take_changed():
            self.writes.append(PutProducers(log_id, rows))
        for queue in self.queues.values():
            if queue.state.changed:
                self.writes.append(queue.state.to_write(log_id))
                queue.state.changed = False
        self.applied = self.log.committed
        log = self.log
        self.writes.append(PutHead(log_id, log.epoch, log.start, log.durable, self.applied, self.messages, self.size, self.delayed))

    def is_dirty(self) -> bool:
        """Is there anything that the last snapshot does not say?"""
        return self.applied < self.log.committed
