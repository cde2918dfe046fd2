"""What clients and brokers say to each other on the data path: one struct per command, batches in columns.

A command is one frame (see `zmqmq.wire`). `id` correlates an answer with its request: ids are chosen by the
asking side, are unique within a session and are echoed unchanged. Batches travel as columns (all values, all keys …) because
columns cross msgpack and SQLite without an object per message. Administration is in `admin_commands`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from zmqmq.core.model import Limits, Placement, TopicSettings

PROTOCOL_VERSION = 1
VERSIONS_SPOKEN = (1, 1)
"""Lowest and highest protocol version of this code."""

Outcome = Literal["ack", "nack", "release", "reject"]


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of everything that travels. Unknown trailing fields are ignored, so that a minor addition breaks nobody."""


# --- Session -----------------------------------------------------------------------------------------------------


class Hello(Command, frozen=True, tag="hello"):
    """Opens a session, or takes it over: the same `client_id` with a higher `session_epoch` replaces the older one and keeps its leases."""

    versions: tuple[int, int]
    client_id: str
    session_epoch: int
    name: str
    session_timeout: float
    """Seconds of silence after which the broker gives the session up; 0 takes the broker's default."""
    software: str


class Welcome(Command, frozen=True, tag="welcome"):
    """The session stands. `session_timeout` is what was granted; `wake_name` is the 8-byte subscription for this session's wake-ups on `wake_endpoint`."""

    version: int
    cluster_id: str
    broker_id: str
    incarnation: int
    """Grows with every start of this broker on its data directory."""
    session_epoch: int
    limits: Limits
    session_timeout: float
    beacon_interval: float
    wake_endpoint: str
    wake_name: bytes
    software: str
    now: float
    """The broker's wall clock, seconds since 1970 UTC."""


class WhoAreYou(Command, frozen=True, tag="who_are_you"):
    """The broker does not know this sender (it restarted, or the session timed out): say hello again and declare everything."""


class SessionReplaced(Command, frozen=True, tag="session_replaced"):
    """A newer connection of the same client took this session over."""


class Ping(Command, frozen=True, tag="ping"):
    """Keeps a session alive; `loop_lag` is the sender's worst recent delay in seconds."""

    id: int
    loop_lag: float = 0.0


class Pong(Command, frozen=True, tag="pong"):
    id: int
    loop_lag: float = 0.0


class Goodbye(Command, frozen=True, tag="goodbye"):
    """Ends the session; its leases are released at once, uncounted."""

    id: int


class Farewell(Command, frozen=True, tag="farewell"):
    """Answer to Goodbye; also sent unasked when the broker shuts down (id 0)."""

    id: int


class Refused(Command, frozen=True, tag="refused"):
    """A typed error: `code` is a class name of `zmqmq.errors`. id 0 answers a frame that could not be read."""

    id: int
    code: str
    message: str
    hint: str = ""
    details: dict[str, str] = {}


# --- Topics ------------------------------------------------------------------------------------------------------


class Describe(Command, frozen=True, tag="describe"):
    """Asks for a topic's partitions and settings; `create` makes it with defaults if automatic creation is on."""

    id: int
    topic: str
    create: bool = False


class Described(Command, frozen=True, tag="described"):
    id: int
    topic: str
    topic_id: int
    replicas: int
    placements: list[Placement]
    """One per partition, ascending."""
    settings: TopicSettings
    created: float = 0.0


class Moved(Command, frozen=True, tag="moved"):
    """Some partitions of the topic have another leader, or there are more of them: describe it again. A hint; nothing rests on it."""

    topic: str


# --- Produce -----------------------------------------------------------------------------------------------------


class Produce(Command, frozen=True, tag="produce"):
    """A batch for one partition. All columns have the same length; a column that is None is empty for all messages.

    `sequence` numbers the first message within (producer, topic, partition); the others follow densely. `oldest` is the
    lowest sequence that the producer still waits for: a batch that begins there may leave a gap behind (what lies
    in it was given up or refused), any other gap is refused as OutOfOrder.
    """

    id: int
    topic: str
    partition: int
    epoch: int
    """The leader's epoch as the producer knows it."""
    producer: int
    """63 random bits, chosen by the producer and kept as long as its sequence is."""
    sequence: int
    oldest: int
    values: list[bytes]
    crcs: list[int]
    """crc32 over key, headers and value: `zmqmq.core.checksum`."""
    keys: list[bytes | None] | None = None
    headers: list[str | None] | None = None
    """JSON objects of strings."""
    delays: list[float | None] | None = None
    """Seconds from now until a message may be delivered."""


class Produced(Command, frozen=True, tag="produced"):
    """Safe: the batch has the offsets from `offset` on, one after the other; the answer to a repeated batch is the first answer."""

    id: int
    offset: int
    time: float


# --- Consume -----------------------------------------------------------------------------------------------------


class HeldLease(Command, frozen=True):
    """A lease that a consumer brings along from an earlier session or leader, with what is still unsettled of it."""

    partition: int
    epoch: int
    lease: int
    offsets: list[int]
    attempts: list[int] | None = None
    """Which attempt each of these deliveries was, in the same order; None: all the first."""


class KeptLease(Command, frozen=True):
    """What became of a HeldLease: `kept` goes on under the new (epoch, lease), `settled` was settled before, the rest is lost. `failed`: that delivery counts
    as failed already, by a nack whose answer got lost or otherwise."""

    partition: int
    old_epoch: int
    old_lease: int
    epoch: int
    lease: int
    kept: list[int]
    settled: list[int]
    failed: list[int] = []


class Subscribe(Command, frozen=True, tag="subscribe"):
    """Joins the group on the topic. `start` matters only when this creates the group. `held` presents leases of an earlier life."""

    id: int
    topic: str
    group: str
    start: Literal["earliest", "latest"] = "earliest"
    create: bool = True
    """Create the topic when it does not exist and automatic creation is on."""
    held: list[HeldLease] = []
    partitions: list[int] | None = None
    """The partitions that this broker leads as far as the consumer knows: only for them it has presented all that it holds. None: all of the topic."""
    epochs: list[int] = []
    """The leaderships under which, in the order of `partitions`: what is presented is all only if nothing else was delivered in an earlier one while
    this was on its way. Empty: whatever they are."""
    topic_id: int = 0
    """The topic that is meant: what is presented is not of another one that has got its name since. 0: whichever has the name."""


class Subscribed(Command, frozen=True, tag="subscribed"):
    id: int
    queue: int
    """Number by which this session and the beacons name the (topic, group)."""
    topic: str
    group: str
    leases: list[KeptLease] = []
    partitions: list[int] = []
    """The partitions that this session consumes here: those of the request that this broker leads."""


class Pull(Command, frozen=True, tag="pull"):
    """Asks for at most `credit` messages and about `max_bytes` bytes over all subscriptions. One is outstanding at a time; `turn` is echoed."""

    turn: int
    credit: int
    max_bytes: int


class Lot(Command, frozen=True):
    """Messages of one partition under one lease, in columns. (epoch, lease) is the fencing token.

    A column that is None is empty (keys, headers) or all 1 (attempts)."""

    queue: int
    partition: int
    epoch: int
    lease: int
    offsets: list[int]
    times: list[float]
    values: list[bytes]
    crcs: list[int]
    keys: list[bytes | None] | None
    headers: list[str | None] | None
    attempts: list[int] | None


class Delivery(Command, frozen=True, tag="delivery"):
    turn: int
    lots: list[Lot]


class Empty(Command, frozen=True, tag="empty"):
    """Nothing to give: sleep until woken, until a beacon shows a newer version, or until no beacon comes."""

    turn: int
    version: int


class Settlement(Command, frozen=True):
    """The end of some leases. `offsets` None means all that is left of the lease. `delay` None means the topic's retry delay."""

    queue: int
    partition: int
    epoch: int
    lease: int
    outcome: Outcome
    offsets: list[int] | None = None
    delay: float | None = None
    reason: str = ""


class Settle(Command, frozen=True, tag="settle"):
    id: int
    settlements: list[Settlement]


class Settled(Command, frozen=True, tag="settled"):
    """Recorded and committed, except for `lost`: it repeats those settlements (with their offsets) that came too late or ask for what is not allowed."""

    id: int
    lost: list[Settlement]
    elsewhere: list[int] = []
    """Which of `lost`, by their place in it, are not lost yet: their partitions are led elsewhere now, and they are to be repeated there. Who does not
    know this field takes them for lost, which is safe."""


class Recalled(Command, frozen=True, tag="recalled"):
    """Leases that this session lost without asking (expiry, seek, a failed earlier message of the key): drop what is not started."""

    queue: int
    partition: int
    epoch: int
    lease: int
    offsets: list[int]


# --- Published on the PUB socket ---------------------------------------------------------------------------------

WAKE = b"w"
"""Frame: WAKE + wake_name. Hint to one session: pull."""
BEACON = b"b"
"""Frame: BEACON + msgpack of `Beacon`. Once per beacon interval, to all."""


class Beacon(Command, frozen=True):
    """The broker's heartbeat towards sleepers: queues that have something waiting and the version since when.

    `crowded` means there were too many to list: everybody pulls."""

    incarnation: int
    version: int
    waiting: list[tuple[int, int]]
    """(queue number, version)"""
    crowded: bool = False
