"""One partition on one broker of a cluster, whatever its role: it learns what the cluster has agreed, and becomes leader or follower of it.

    none ──► follower ──► opening ──► leader ──► releasing
      ▲__________│____________│__________│____________│        (any newer epoch decides anew)

A leader first *opens*: it writes the beginning of its epoch into the log and waits until that is committed, which proves that all it has
from earlier leaders is committed too. Only then it takes messages and delivers. A role is never resumed by another life of the broker (`be`), never
taken without a registration, and never below the highest epoch ever heard of (`promised`, on disk before anything is said in it).
"""

from __future__ import annotations

from enum import Enum, auto

from zmqmq.core import operations
from zmqmq.core.leader import Leader
from zmqmq.core.model import TopicRecord
from zmqmq.core.partition import Partition
from zmqmq.core.places import Member, Place, counted, needed_of
from zmqmq.core.unapplied import Unapplied
from zmqmq.core.writes import AppendDelayed, AppendMessages, AppendOperation, PutEpoch, PutPromise, TruncateLog, Write

Key = tuple[int, int]
"""(topic_id, partition)"""


class Role(Enum):
    """What a broker is to a partition."""

    NONE = auto()
    FOLLOWER = auto()
    OPENING = auto()
    LEADER = auto()
    RELEASING = auto()
    """It delivers and accepts no more, and waits until all is committed to hand over."""


LEADING = (Role.OPENING, Role.LEADER, Role.RELEASING)
APPENDS = (AppendMessages, AppendDelayed, AppendOperation, PutEpoch)
"""What a follower writes of what it has fetched."""


class Replica:
    """The role machine of one partition. What it wants on disk it leaves with its partition's writes."""

    def __init__(self, partition: Partition, promised: int) -> None:
        self.partition = partition
        self.promised = promised
        self.role = Role.NONE
        self.place = Place(replicas=[])
        self.version = -1
        """Of the record in `place`."""
        self.epoch = -1
        """The leadership that this replica takes part in."""
        self.leader: Leader | None = None
        self.told_committed = 0
        """As follower: what the leader has said."""
        self.installing = False
        """As follower: a snapshot was taken over, and the records that belong to it are not all here yet."""
        self.install_applied = 0
        """What the snapshot tells of; everything from there on has to be fetched."""
        self.install_end = 0
        """Offset up to which those records reach."""
        self.install_epoch = -1
        """The newest leadership that the snapshot knows."""
        self.absorbed = partition.applied
        """Everything below is applied to the partition's state."""
        self.read_end = partition.log.end
        """Where the log ended when the state was read from disk: operations below may have deleted records of which the state does not know it yet."""
        self.unapplied = Unapplied()
        self.damage = ""
        """Why this replica takes part in nothing any more."""
        self.spoiled = ""
        """What is wrong with records here that other replicas have undamaged."""
        self._spoiled_in = -1
        """The newest epoch in which this replica may have reported what it has, when that was found."""
        partition.log.agree = self._agree

    @property
    def key(self) -> Key:
        return self.partition.topic.topic_id, self.partition.number

    @property
    def topic(self) -> TopicRecord:
        return self.partition.topic

    @property
    def needed(self) -> int:
        """In-sync members that confirm a message."""
        return needed_of(self.place, self.topic.settings.min_in_sync)

    @property
    def leads(self) -> bool:
        return self.role in LEADING

    def _agree(self, durable: int) -> int:
        if self.leader is not None:
            return self.leader.committed(durable)
        return min(self.told_committed, durable) if self.role is Role.FOLLOWER else self.partition.log.committed

    # --- learning --------------------------------------------------------------------------------------------------

    def set_topic(self, record: TopicRecord) -> None:
        """The topic's settings have changed: another number of in-sync members may be enough."""
        self.partition.set_topic(record)
        if self.leader is not None:
            self.leader.needed = self.needed

    def learn(self, place: Place, version: int, me: Member | None, now: float, max_lag: float) -> bool:
        """Takes what the cluster has agreed; True if the role, the leader or the epoch has changed. `me` is this broker's registration, if it has one."""
        if me is None:
            return self.step_down()
        if version <= self.version or place.epoch < self.promised:
            return False
        self.version, self.place = version, place
        self.partition.replicas = counted(place)
        if self.damage:
            self.epoch = place.epoch  # no role, but it has to be known whether anybody relies on this replica
            return False
        changed = place.epoch > self.epoch
        if changed:
            self._begin(place, me, now, max_lag)
        elif self.role is Role.NONE and me.broker in place.replicas and place.leader != me.broker:
            self.role, changed = Role.FOLLOWER, True  # taken in again while the leadership goes on
        if self.leader is not None:
            self.leader.needed = self.needed
            self.partition.in_sync = len(place.isr)
            self.leader.agreed(place, version)
        return changed

    def _begin(self, place: Place, me: Member, now: float, max_lag: float) -> None:
        """A newer leadership: everything that belonged to the older one is void."""
        self.epoch = place.epoch
        if place.epoch > self.promised:
            self.promised = place.epoch
            self.write(PutPromise(self.log_id, place.epoch))
        self.leader = None
        self.told_committed = self.partition.log.committed
        if place.leader == me.broker and place.leader_be == me.be and not self.installing:
            self._open(me, now, max_lag)
        elif place.leader == me.broker or me.broker not in place.replicas:
            self.role = Role.NONE  # an earlier life of ours was meant, or nobody: a role is never resumed
        else:
            self.role = Role.FOLLOWER

    def _open(self, me: Member, now: float, max_lag: float) -> None:
        log = self.partition.log
        self.role = Role.OPENING
        self.leader = Leader(me.broker, log.end, now, self.needed, max_lag)
        log.lead(self.epoch)
        self.write(PutEpoch(self.log_id, self.epoch, log.end))
        self.partition.append_operation(operations.Opened(self.epoch, me.broker))

    def step_down(self) -> bool:
        """No registration, no role; what was learned may be learned again with the next one."""
        changed = self.role is not Role.NONE
        self.role = Role.NONE
        self.leader = None
        self.epoch = self.version = -1
        return changed

    def fail(self, reason: str) -> None:
        """This replica cannot be trusted any more (its log contradicts what is committed): it says nothing from now on."""
        self.damage = reason
        self.role = Role.NONE
        self.leader = None

    def spoil(self, reason: str) -> None:
        """Some records here are damaged: from now on this replica fetches nothing, so that nobody counts on what it reports."""
        self.spoiled, self._spoiled_in = reason, self.promised

    def is_unlisted(self, broker: str) -> bool:
        """Whether nobody relies on what is here, nor can before it reports again. `broker` is this one."""
        return self.role is Role.FOLLOWER and self.place.epoch > self._spoiled_in and not self.is_listed(broker)

    def is_listed(self, broker: str) -> bool:
        """Whether anybody may rely on what is here: it is named as leader, as in sync or as eligible. `broker` is this one."""
        return broker in {self.place.leader, *(member.broker for member in [*self.place.isr, *self.place.elr])}

    # --- the log ---------------------------------------------------------------------------------------------------

    @property
    def log_id(self) -> int:
        return self.partition.log.log_id

    def write(self, write: Write) -> None:
        self.partition.writes.append(write)

    def renew(self, partition: Partition) -> None:
        """The state was read from disk again: what an ended leadership had in memory beyond that is gone."""
        self.partition = partition
        self.read_end = partition.log.end
        partition.log.agree = self._agree
        self.told_committed = partition.log.committed

    def forget_unwritten(self) -> bool:
        """What came in this turn and is not on disk never came: it can be had again. True if there was any.

        A role must not begin with it: if the disk turns out to be full, the log would have holes of which nobody knows."""
        log = self.partition.log
        if log.end <= log.durable:
            return False
        self.partition.writes = [write for write in self.partition.writes if not isinstance(write, APPENDS)]
        log.truncate(log.durable, self.install_epoch if self.installing else -1)
        self.unapplied.restart(log.durable)
        return True

    def truncate(self, end: int) -> bool:
        """Forgets the log from `end` on; False (and the replica fails) if that would cut into what is committed."""
        log = self.partition.log
        if end < log.committed:
            self.fail(f"the leader of epoch {self.epoch} asks to cut the log at {end}, below {log.committed}, which is committed")
            return False
        self.write(TruncateLog(self.log_id, end))
        log.truncate(end)
        self.unapplied.restart(end)
        return True

    def __repr__(self) -> str:
        return f"{self.topic.name}/{self.partition.number} {self.role.name.lower()} {self.partition.log}"
