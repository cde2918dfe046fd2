"""Operations: what groups do, as records in the partition's own log (RELEASE, ACK … of the queue's state machine).

They share the messages' numbering, fsync and replication. They are stored as JSON, so that anybody with sqlite3 can
read what happened to a message. A replica's group state is exactly what the committed operations say.
"""

from __future__ import annotations

import msgspec

Ranges = list[tuple[int, int]]
"""Half-open ranges of offsets, ascending: [(5, 9), (12, 13)] means 5, 6, 7, 8 and 12."""


class _Operation(msgspec.Struct, frozen=True, tag_field="op", omit_defaults=True):
    pass


class Opened(_Operation, frozen=True, tag="opened"):
    """A leader took over in `epoch`; its first record."""

    epoch: int
    broker: str


class GroupCreated(_Operation, frozen=True, tag="group_created"):
    """A group begins at `position`."""

    group: str
    position: int


class GroupDeleted(_Operation, frozen=True, tag="group_deleted"):
    group: str


class GroupMoved(_Operation, frozen=True, tag="group_moved"):
    """A seek: everything below `position` counts as settled, everything from it on as unsettled; `lag` messages remain.

    Leases up to number `lease` of leadership `epoch`, and those of earlier ones, are void."""

    group: str
    position: int
    lag: int
    epoch: int = 0
    lease: int = 0


class MemberJoined(_Operation, frozen=True, tag="member_joined"):
    """A consumer may hold leases from now on; silence longer than `session_timeout` seconds ends that."""

    group: str
    member: str
    session_timeout: float


class MemberLeft(_Operation, frozen=True, tag="member_left"):
    group: str
    member: str


class Acked(_Operation, frozen=True, tag="acked"):
    group: str
    ranges: Ranges


class Failed(_Operation, frozen=True, tag="failed"):
    """Deliveries that failed and are counted: nack, lost session, expired lease. The message waits until `due` (broker time)."""

    group: str
    offsets: list[int]
    due: float
    reason: str
    crashed: bool = False
    """The consumer vanished while it held them: they are delivered singly from now on."""


class Died(_Operation, frozen=True, tag="died"):
    """Messages that became dead letters of the group."""

    group: str
    offsets: list[int]
    reason: str
    consumer: str
    attempts: list[int]


class Revived(_Operation, frozen=True, tag="revived"):
    """Dead letters that go back into delivery, with their attempts forgotten."""

    group: str
    offsets: list[int]


class Buried(_Operation, frozen=True, tag="buried"):
    """Dead letters that are purged for good."""

    group: str
    offsets: list[int]


class Matured(_Operation, frozen=True, tag="matured"):
    """Delayed messages, by the offset of their acceptance, whose time has come: they follow as messages of their own."""

    offsets: list[int]


class Trimmed(_Operation, frozen=True, tag="trimmed"):
    """Records below `start` are gone; `messages` of them were messages."""

    start: int
    messages: int
    size: int
    dropped: dict[str, int] = {}
    """How many of the messages each group had not settled."""


class ProducersExpired(_Operation, frozen=True, tag="producers_expired"):
    producers: list[int]


Operation = (
    Opened
    | GroupCreated
    | GroupDeleted
    | GroupMoved
    | MemberJoined
    | MemberLeft
    | Acked
    | Failed
    | Died
    | Revived
    | Buried
    | Matured
    | Trimmed
    | ProducersExpired
)

_decoder: msgspec.json.Decoder[Operation] = msgspec.json.Decoder(Operation)
_encoder = msgspec.json.Encoder()


def encode(operation: Operation) -> bytes:
    """The JSON text that the log stores."""
    return _encoder.encode(operation)


def decode(text: bytes) -> Operation:
    """The operation that a log record holds; raises `msgspec.DecodeError` on anything else."""
    return _decoder.decode(text)
