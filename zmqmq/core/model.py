"""The nouns of the queue: what a topic is set to, what a log record is, what the limits are. Data only, no behaviour.

A *log* is one partition's sequence of records. A record is a message (`Kind.MESSAGE`), a message that waits for its
time (`Kind.DELAYED`), or an *operation* of the queue (`Kind.OPERATION`: acks, returns, members, positions), all in
one numbering. Only messages are delivered. Offsets strictly increase and may have gaps.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=10 * 365 * 86400.0)]

PARTITIONS_MAX = 1_000
"""Partitions of one topic."""


class Kind(IntEnum):
    """What a record of the log is; stored in the column `kind`."""

    MESSAGE = 0
    DELAYED = 1
    OPERATION = 2


class TopicSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the owner of a topic decides. Every field has a default; times are in seconds, sizes in bytes."""

    keep: Literal["consumed", "log"] = "consumed"
    """`consumed`: a message goes when every group has settled it; `log`: it stays until `max_age` or `max_bytes`."""
    max_age: Annotated[float, Meta(ge=0)] | None = None
    """Messages older than this are deleted, settled or not; None: never."""
    max_bytes: Annotated[int, Meta(ge=4096)] | None = None
    """Size of one partition. `keep: log` deletes the oldest, `keep: consumed` refuses new ones with TopicFull; None: no bound."""
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Failed deliveries after which a message becomes a dead letter."""
    retry_delay: Seconds = 1.0
    """Wait before the second delivery; doubles with each further one."""
    max_retry_delay: Seconds = 60.0
    """Upper bound of that wait."""
    max_processing_time: Annotated[float, Meta(gt=0)] = 1800.0
    """How long a consumer may hold one message, however alive it is."""
    max_dead_letters: Positive = 100_000
    """Dead letters kept per group and partition; beyond it the oldest is dropped."""
    min_in_sync: Annotated[int, Meta(ge=0, le=9)] = 0
    """In-sync replicas that must hold a message before it is confirmed; 0: the majority of the replicas."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the broker accepts; announced in the welcome and checked on both sides."""

    max_message_bytes: Annotated[int, Meta(ge=1024, le=64 << 20)] = 1 << 20
    """Value, key and headers of one message together."""
    max_batch_bytes: Annotated[int, Meta(ge=4096, le=128 << 20)] = 4 << 20
    """One Produce or Delivery, as the sum of its messages' sizes (a single message may always go alone)."""
    max_batch_messages: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Messages in one Produce or Delivery."""
    max_key_bytes: Annotated[int, Meta(ge=1, le=65536)] = 1024
    max_headers_bytes: Annotated[int, Meta(ge=64, le=1 << 20)] = 16384
    max_delay: Annotated[float, Meta(ge=0)] = 366 * 86400.0
    """Longest delay of a message, in seconds."""
    max_in_flight: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Messages that one session may hold at a time (credit is cut to it)."""


class GroupLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what a group keeps in memory per partition."""

    max_holes: Positive = 100_000
    """Separate ranges of settled messages beyond the first unsettled one; at the limit nothing new is dispatched until the oldest settle."""
    max_waiting: Positive = 200_000
    """Messages passed over because their key is held or waits, and messages that have failed and wait for a retry; at the limit reading ahead stops."""


class Row(NamedTuple):
    """One message as read from a log, in the column order of storage."""

    offset: int
    time: float
    key: bytes | None
    headers: str | None
    value: bytes
    crc: int


class TopicRecord(msgspec.Struct, frozen=True):
    """A topic as it is stored: `topic_id` tells a deleted topic from a new one of the same name."""

    topic_id: int
    name: str
    partitions: int
    replicas: int
    settings: TopicSettings
    created: float


class Placement(msgspec.Struct, frozen=True, array_like=True):
    """Who leads one partition, as clients need to know it."""

    partition: int
    epoch: int
    leader: str
    endpoint: str
