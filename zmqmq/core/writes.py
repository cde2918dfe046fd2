"""What the core wants on disk, as data, and what it reads back: the two faces of storage.

The node hands over a list of writes per turn; storage carries them out in order in ONE transaction and fsyncs it. A
partition is named by its `log_id`, a number that is never used twice on one data directory. Writes that only a member of a cluster needs are in
`replica_writes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from zmqmq.core.model import Row, TopicRecord
from zmqmq.core.peer_commands import Block
from zmqmq.core.replica_writes import DropLog as DropLog
from zmqmq.core.replica_writes import PutClusterId as PutClusterId
from zmqmq.core.replica_writes import PutMissing as PutMissing
from zmqmq.core.replica_writes import PutPromise as PutPromise
from zmqmq.core.replica_writes import PutSession as PutSession
from zmqmq.core.replica_writes import PutSnapshot as PutSnapshot
from zmqmq.core.replica_writes import RenewStorageId as RenewStorageId
from zmqmq.core.replica_writes import TruncateLog as TruncateLog


class PutTopic(NamedTuple):
    """A topic is new or changed; its logs come by CreateLog."""

    topic: TopicRecord


class DropTopic(NamedTuple):
    """The topic, its logs and everything about them go."""

    topic_id: int


class CreateLog(NamedTuple):
    log_id: int
    topic_id: int
    topic: str
    partition: int


class AppendMessages(NamedTuple):
    """Messages with the offsets from `first` on. Columns that are None are all NULL. `producer` 0: none."""

    log_id: int
    first: int
    epoch: int
    time: float
    producer: int
    sequence: int
    values: Sequence[bytes]
    crcs: Sequence[int]
    keys: Sequence[bytes | None] | None
    headers: Sequence[str | None] | None


class AppendDelayed(NamedTuple):
    """One delayed message: a log record of kind DELAYED, and its due time (wall clock) in the index of delayed ones."""

    log_id: int
    offset: int
    epoch: int
    time: float
    producer: int
    sequence: int
    value: bytes
    crc: int
    key: bytes | None
    headers: str | None
    due: float | None
    """None: it has matured already, and only its record is wanted."""


class AppendOperation(NamedTuple):
    log_id: int
    offset: int
    epoch: int
    time: float
    text: bytes
    """JSON of `zmqmq.core.operations`."""


class DropDelayed(NamedTuple):
    """These delayed messages have matured: forget their due times."""

    log_id: int
    offsets: Sequence[int]


class PutHead(NamedTuple):
    """The partition's state as of `applied` (exclusive): every operation below it is in the tables."""

    log_id: int
    epoch: int
    start: int
    """First offset that is kept."""
    end: int
    """Everything below it was on disk before; the log itself may reach further, by this very turn: its records may be dropped by a full disk, this is not."""
    applied: int
    messages: int
    size: int
    delayed: int = 0
    """Messages that wait for their time, as of `applied`."""


class PutEpoch(NamedTuple):
    log_id: int
    epoch: int
    start: int


class PutProducers(NamedTuple):
    """Rows (producer, last_sequence, windows as JSON, time)."""

    log_id: int
    rows: Sequence[tuple[int, int, str, float]]


class DropProducers(NamedTuple):
    log_id: int
    producers: Sequence[int]


class PutGroup(NamedTuple):
    """A group's state as of the partition's `applied`. Texts are JSON."""

    log_id: int
    group: str
    floor: int
    settled: str
    """[[start, stop], …] beyond the floor."""
    failures: str
    """{offset: [attempts, due, crashed]}"""
    revived: str
    """[offset, …]"""
    lag: int
    dead: int = 0
    """Dead letters, as of `applied`."""
    voided: str = "[0,0]"
    """[epoch, number] of the last lease that a seek has taken back."""


class DropGroup(NamedTuple):
    """The group, its members and its dead letters go."""

    log_id: int
    group: str


class PutMember(NamedTuple):
    log_id: int
    group: str
    member: str
    session_timeout: float


class DropMember(NamedTuple):
    log_id: int
    group: str
    member: str


class PutDead(NamedTuple):
    """Dead letters; rows (offset, attempts). Their records stay in the log when it is trimmed."""

    log_id: int
    group: str
    rows: Sequence[tuple[int, int]]
    reason: str
    consumer: str
    time: float


class ReviveDead(NamedTuple):
    """No dead letters any more, but their records must stay until DropDead."""

    log_id: int
    group: str
    offsets: Sequence[int]


class DropDead(NamedTuple):
    """Forget these dead or revived letters; a record that lies below the log's start and that no other group needs goes too."""

    log_id: int
    group: str
    offsets: Sequence[int]


class TrimLog(NamedTuple):
    """Delete the records below `start` (a bounded number, the node sees to that), except dead, revived and delayed ones."""

    log_id: int
    start: int


Write = (
    PutTopic
    | DropTopic
    | CreateLog
    | AppendMessages
    | AppendDelayed
    | AppendOperation
    | DropDelayed
    | PutHead
    | PutEpoch
    | PutProducers
    | DropProducers
    | PutGroup
    | DropGroup
    | PutMember
    | DropMember
    | PutDead
    | ReviveDead
    | DropDead
    | TrimLog
    | TruncateLog
    | DropLog
    | PutPromise
    | PutSnapshot
    | PutMissing
    | PutSession
    | RenewStorageId
    | PutClusterId
)


class LogState(NamedTuple):
    """What storage knows of a partition when it opens: its head, and that of its groups and producers as of `applied`."""

    log_id: int
    topic_id: int
    partition: int
    epoch: int
    start: int
    end: int
    """One past the last record really in the log (or the head's end, whichever is higher)."""
    applied: int
    messages: int
    size: int
    delayed: int
    """As in the head."""
    epochs: Sequence[tuple[int, int]]
    """(epoch, first offset), ascending."""
    producers: Sequence[tuple[int, int, str, float]]
    groups: Sequence[PutGroup]
    members: Sequence[PutMember]
    promised: int = 0
    """The highest epoch ever heard of."""
    trimmed: int = 0
    """Below it records are gone but for those that something needs, which the head may not know yet: `start` is as of `applied`."""


class Record(NamedTuple):
    """A log record of any kind, for replay of what lies beyond `applied`. For messages only what the tables need."""

    offset: int
    kind: int
    time: float
    producer: int
    sequence: int
    size: int
    """Bytes of key, headers and value."""
    text: bytes
    """The operation's JSON; b"" for messages."""


class DeadRow(NamedTuple):
    offset: int
    attempts: int
    reason: str
    consumer: str
    died: float
    row: Row


class Reader(Protocol):
    """What the core may read. Calls see everything committed; none of them scans a backlog unless it says so."""

    def topics(self) -> Sequence[TopicRecord]: ...

    def logs(self) -> Sequence[LogState]: ...

    def log(self, log_id: int) -> LogState:
        """One partition's state, as `logs` gives it. Raises KeyError if there is none."""
        ...

    def blocks(self, log_id: int, start: int, stop: int, max_bytes: int) -> Sequence[Block]:
        """Records of any kind with offsets in [start, stop), ascending, about `max_bytes` after the first. Checksums are verified: reading ends before the
        first damaged record, and if that is the first one raises StorageDamaged."""
        ...

    def dead_rows(self, log_id: int) -> Sequence[tuple[str, int, int, str, str, float, int]]:
        """All rows of dead letters, replayed ones too: (group, offset, attempts, reason, consumer, died, revived)."""
        ...

    def last_time(self) -> float:
        """When the newest record of all logs was written (broker time), 0 if there is none."""
        ...

    def replay(self, log_id: int, start: int, limit: int) -> Sequence[Record]:
        """Records from `start` on, ascending, at most `limit`."""
        ...

    def read(self, log_id: int, start: int, limit: int, max_bytes: int) -> Sequence[Row]:
        """Messages (only those) with offsets from `start` on, ascending: at most `limit` and, after the first, about `max_bytes`."""
        ...

    def read_offsets(self, log_id: int, offsets: Sequence[int]) -> Sequence[Row]:
        """The messages with just these offsets (ascending; delayed ones too), those that exist."""
        ...

    def due(self, log_id: int, until: float, limit: int) -> Sequence[tuple[int, float]]:
        """(offset, due) of delayed messages due by `until` (wall clock), earliest first. `until` inf gives the next ones."""
        ...

    def count(self, log_id: int, start: int) -> int:
        """How many messages have offsets from `start` on. Scans: only for seeks."""
        ...

    def offset_at(self, log_id: int, time: float) -> int | None:
        """First offset accepted at or after `time`, None if there is none. Binary search over offsets."""
        ...

    def weigh(self, log_id: int, start: int, stop: int) -> tuple[int, int]:
        """(messages, bytes) of the messages with offsets in [start, stop). Scans that range only."""
        ...

    def dead(self, log_id: int, group: str, after: int, limit: int) -> Sequence[DeadRow]:
        """Dead letters with offsets beyond `after`, ascending."""
        ...

    def dead_offsets(self, log_id: int, group: str, limit: int) -> Sequence[int]:
        """Offsets of the oldest dead letters, ascending."""
        ...
