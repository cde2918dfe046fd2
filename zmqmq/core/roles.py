"""The replicas of this broker: which there are, what they learn, and what becomes of their state when a role ends or begins.

Whatever a leadership had in memory ends with it: the state is read from disk again, as after a restart, and only what is committed is
applied to it. A follower applies what is committed as it goes, so that it can lead at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from zmqmq.core.catalogue import Catalogue
from zmqmq.core.context import Context
from zmqmq.core.model import TopicRecord
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import Snapshot
from zmqmq.core.places import Member, Place
from zmqmq.core.replica import Key, Replica, Role
from zmqmq.core.writes import CreateLog, DropLog, LogState, PutHead, PutPromise, PutSnapshot, PutTopic
from zmqmq.errors import NotLeader, StorageDamaged

REPLAY_BYTES = 4 << 20
"""Bytes of records that are read from disk at once to be applied."""


class Roles:
    """All replicas by partition. `me` gives this broker's registration."""

    def __init__(self, context: Context, catalogue: Catalogue, me: Callable[[], Member | None], max_lag: float) -> None:
        self.context = context
        self.catalogue = catalogue
        self.max_lag = max_lag
        self.closed: set[int] = set()
        """Logs whose appends of this turn must not reach the disk any more."""
        self.changed: dict[Key, None] = {}
        """Partitions whose role, leader or epoch has changed; whoever connects brokers takes them away."""
        self.copies: dict[Partition, None] = {}
        """Partitions not open for clients that have something to write or to look at; the node takes them away."""
        self.failed: dict[Key, None] = {}
        """Failed replicas whose record is new; whoever sees to it that nobody relies on them takes them away."""
        self._me = me
        self._replicas: dict[Key, Replica] = {}
        self._by_log: dict[int, Replica] = {}

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas.values())

    def __len__(self) -> int:
        return len(self._replicas)

    def get(self, key: Key) -> Replica | None:
        return self._replicas.get(key)

    def of(self, partition: Partition) -> Replica | None:
        """The replica whose state this is."""
        replica = self._by_log.get(partition.log.log_id)
        return replica if replica is not None and replica.partition is partition else None

    def touch(self, replica: Replica) -> None:
        """The partition takes part in this turn: among those that clients see here, or among the others."""
        if replica.role in (Role.LEADER, Role.RELEASING):
            self.context.touch(replica.partition)
        else:
            replica.partition.time = self.context.wall
            self.copies[replica.partition] = None

    def has(self, log_id: int) -> bool:
        """Whether this is the log of a replica that is here."""
        return log_id in self._by_log

    # --- what is here ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes over what is on disk; nothing has a role yet."""
        topics = {record.topic_id: record for record in self.context.reader.topics()}
        for state in self.context.reader.logs():
            replica = Replica(self._partition(topics[state.topic_id], state, state.applied), state.promised)
            replica.unapplied.restart(state.end)
            self._put(replica)
            if max(state.start, state.applied) > state.end:  # a snapshot was not taken over completely
                self._empty(replica)

    def _put(self, replica: Replica) -> Replica:
        self._replicas[replica.key] = self._by_log[replica.log_id] = replica
        return replica

    def _partition(self, record: TopicRecord, state: LogState, committed: int) -> Partition:
        """The state as on disk, of which only what is known to be committed counts."""
        context = self.context
        partition = Partition(record, state.partition, state, context.settings.group_limits, context.random, max(committed, state.applied))
        partition.time = context.wall
        return partition

    def make(self, record: TopicRecord, number: int) -> Replica:
        """A replica of a partition that was not here before."""
        log_id = self.catalogue.next_id()
        replica = self._put(Replica(self._partition(record, _nothing(log_id, record, number), 0), 0))
        self._put_topic(record)
        replica.write(CreateLog(log_id, record.topic_id, record.name, number))
        self.touch(replica)
        return replica

    def set_topic(self, record: TopicRecord) -> None:
        """The topic's settings have changed."""
        self._put_topic(record)
        for replica in self._replicas.values():
            if replica.topic.topic_id == record.topic_id:
                replica.set_topic(record)
                self.touch(replica)

    def _put_topic(self, record: TopicRecord) -> None:
        """Written down with the turn, not with a replica: what that has not written yet goes with its leadership, and the last record must win."""
        self.context.writes.append(PutTopic(record))

    def drop(self, key: Key) -> None:
        """This broker holds the partition no more: its records go, and with them its role, whatever is still heard of what it has asked."""
        replica = self._replicas.pop(key, None)
        if replica is not None:
            self._by_log.pop(replica.log_id, None)
            self._end(replica)
            replica.step_down()  # what is on its way from the leader finds nobody
            self.changed[key] = None
            self._delete(replica.log_id)

    # --- learning --------------------------------------------------------------------------------------------------

    def learn(self, replica: Replica, place: Place, version: int) -> None:
        """The replica hears what the cluster has agreed."""
        me, context = self._me(), self.context
        begins = me is None or (version > replica.version and place.epoch > replica.epoch and place.epoch >= replica.promised)
        if begins and replica.leads:
            self._end(replica)
        elif begins:
            replica.forget_unwritten()
        if replica.learn(place, version, me, context.now, self.max_lag):
            self.changed[replica.key] = None
            self.touch(replica)
            role = replica.role.name.lower()
            context.note("role", topic=replica.topic.name, partition=replica.key[1], role=role, epoch=place.epoch, leader=place.leader)
        elif replica.leads:
            self.touch(replica)  # another in-sync set: more may be committed
        elif replica.damage:
            self.failed[replica.key] = None

    def step_down(self) -> None:
        """The registration is gone: no role is left."""
        for replica in self._replicas.values():
            if replica.leads:
                self._end(replica)
            if replica.step_down():
                self.changed[replica.key] = None

    def _end(self, replica: Replica) -> None:
        """A leadership is over: who waits is told, and the state is what the disk says."""
        error = NotLeader("this broker leads the partition no more", hint="describe the topic again", topic=replica.topic.name, partition=replica.key[1])
        self.catalogue.give_up(replica.topic, replica.partition, error)
        self.closed.add(replica.log_id)
        self.context.touched.pop(replica.partition, None)
        self.copies.pop(replica.partition, None)
        if replica.log_id in self._by_log:
            state = self._stored(replica.log_id)
            if state is None:  # not even its beginning could be written yet
                self._begin(replica)
                return
            replica.renew(self._partition(replica.topic, state, replica.partition.log.committed))
            replica.unapplied.restart(replica.partition.log.end)
            replica.absorbed = state.applied

    def _stored(self, log_id: int) -> LogState | None:
        """What the disk says of a log; None if it does not know it."""
        try:
            return self.context.reader.log(log_id)
        except KeyError:
            return None

    # --- becoming a copy -------------------------------------------------------------------------------------------

    def _delete(self, log_id: int) -> None:
        """The log goes, and whatever of it is not on disk yet."""
        self.closed.add(log_id)
        if self._stored(log_id) is not None:
            self.context.writes.append(DropLog(log_id))

    def _empty(self, replica: Replica) -> None:
        """Begins from nothing, under a new log number."""
        self.copies.pop(replica.partition, None)
        self._delete(replica.log_id)
        self._begin(replica)

    def _begin(self, replica: Replica) -> None:
        self._by_log.pop(replica.log_id)
        log_id = self.catalogue.next_id()
        record, number = replica.topic, replica.partition.number
        replica.renew(self._partition(record, _nothing(log_id, record, number), 0))
        replica.absorbed = 0
        replica.unapplied.restart(0)
        self._by_log[log_id] = replica
        self._put_topic(record)
        replica.write(CreateLog(log_id, record.topic_id, record.name, number))
        replica.write(PutPromise(log_id, replica.promised))
        self.touch(replica)

    def begin_anew(self, replica: Replica) -> None:
        """The copy here is damaged and nobody relies on it: it goes, and the leader's is fetched."""
        self._empty(replica)
        replica.spoiled = ""
        replica.installing = False
        self.changed[replica.key] = None

    def install(self, replica: Replica, snapshot: Snapshot) -> None:
        """Takes over another replica's tables; the records that belong to them follow."""
        self._empty(replica)
        tables = (snapshot.applied, snapshot.messages, snapshot.size, snapshot.delayed, snapshot.epochs, snapshot.producers)
        replica.write(PutSnapshot(replica.log_id, snapshot.start, *tables, snapshot.groups, snapshot.members, snapshot.dead, snapshot.trimmed))
        for epoch, start in snapshot.epochs:
            replica.partition.log.begin_epoch(epoch, start)
        replica.partition.log.trimmed = max(snapshot.start, snapshot.trimmed)
        replica.installing = True
        replica.install_applied = snapshot.applied
        replica.install_epoch = replica.partition.log.last_epoch
        replica.install_end = max(snapshot.start, snapshot.applied)

    def installed(self, replica: Replica) -> None:
        """All records of the snapshot are on disk: from now on the replica is like any other that is behind."""
        end = replica.partition.log.end
        state = self.context.reader.log(replica.log_id)._replace(end=end)
        replica.installing = False
        replica.renew(self._partition(replica.topic, state, state.applied))
        replica.absorbed = state.applied
        replica.unapplied.restart(end)
        head = (state.epoch, state.start, end, state.applied, state.messages, state.size, state.delayed)
        replica.write(PutHead(replica.log_id, *head))
        self.touch(replica)
        self.changed[replica.key] = None

    # --- applying what is committed --------------------------------------------------------------------------------

    def absorb(self, replica: Replica) -> None:
        """Applies everything that is committed and was not applied yet."""
        is_whole = self._absorb_stored(replica)
        if is_whole:
            blocks, reached = replica.unapplied.take(replica.partition.log.committed)
            if blocks:
                replica.partition.absorb(blocks)
            replica.absorbed = max(replica.absorbed, reached)
        if replica.partition.trimmed_unsaved or (is_whole and replica.partition.is_snapshot_due()):
            self.snapshot(replica)

    def _absorb_stored(self, replica: Replica) -> bool:
        """Applies what is on disk only; False if that ends before a damaged record."""
        log = replica.partition.log
        while replica.absorbed < min(log.committed, replica.unapplied.since):
            stop = min(log.committed, replica.unapplied.since)
            try:
                stored = self.context.reader.blocks(log.log_id, replica.absorbed, stop, REPLAY_BYTES)
            except StorageDamaged as error:
                if not self._pass_damaged(replica, str(error)):
                    return False
                continue
            replica.partition.absorb(stored)
            replica.absorbed = stored[-1].first + len(stored[-1].values) if stored else stop
        return True

    def _pass_damaged(self, replica: Replica, reason: str) -> bool:
        """The next record is damaged. If no other replica has it, what can be read of it counts; without an operation nobody knows what comes after it."""
        if replica.spoiled or self.context.damaged(replica.partition, reason):
            return False
        (record,) = self.context.reader.replay(replica.log_id, replica.absorbed, 1)
        try:
            replica.partition.replay([record])
        except msgspec.DecodeError:
            self.fail(replica, reason)
            return False
        replica.absorbed = record.offset + 1
        return True

    def fail(self, replica: Replica, reason: str) -> None:
        """The replica takes part in nothing any more: it neither fetches nor leads."""
        replica.fail(reason)
        self.changed[replica.key] = self.failed[replica.key] = None
        self.context.note("replica failed", topic=replica.topic.name, partition=replica.key[1], error=reason)

    def snapshot(self, replica: Replica) -> None:
        """Writes a follower's state down, as of what it has applied."""
        log = replica.partition.log
        committed, log.committed = log.committed, replica.absorbed
        if replica.absorbed >= replica.read_end:  # else what was deleted on disk would look like a gap
            replica.partition.skip_gaps(self.context.reader)
        replica.partition.snapshot()
        log.committed = committed
        self.touch(replica)

    def activate(self, replica: Replica) -> None:
        """What the leader began with is committed: it leads."""
        replica.role = Role.LEADER
        replica.partition.activate(self.context.now, self.context.wall)
        self.catalogue.adopt(replica.topic, replica.partition)
        self.context.note("leads", topic=replica.topic.name, partition=replica.partition.number, epoch=replica.epoch)


def _nothing(log_id: int, record: TopicRecord, number: int) -> LogState:
    """A log that has just begun."""
    return LogState(log_id, record.topic_id, number, 0, 0, 0, 0, 0, 0, 0, (), (), (), ())
