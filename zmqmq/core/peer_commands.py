"""What brokers say to each other: a follower fetches the logs of all partitions that it follows from one leader broker at once.

One `Fetch` is outstanding per (follower, leader) pair. It reports what is on the follower's disk and is held by the leader until there is
something to tell, at most `wait` seconds. `be` (the follower's broker epoch) and `id` grow, and an answer counts only for the
latest question, so a late or doubled frame changes nothing. A fetch lists only the partitions whose state has changed since the one
before in the same `series`; a leader that does not know the series answers with `again`, and the follower lists all of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from zmqmq.core.commands import Command

MAX_INTEGER = 2**63 - 1
"""What SQLite can store."""
Natural = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Number = Annotated[int, Meta(ge=-1, le=MAX_INTEGER)]
"""-1 stands for none. Limits that are part of the type cost nothing; brokers fetch from each other with every message that is sent."""


class FetchPart(Command, frozen=True):
    """One partition in a fetch: everything below `offset` is on the follower's disk, the last record of it was written in `last_epoch`."""

    topic_id: Natural
    partition: Natural
    epoch: Number
    """The leadership that is followed. -1: the partition is not followed any more."""
    offset: Natural
    last_epoch: Number
    """-1 if the log is empty."""
    installing: Number = -1
    """A snapshot is being taken over that is of this offset: every record from there on is needed, and below it those that were kept although they lie
    below the log's start. -1: none is."""


class Fetch(Command, frozen=True, tag="fetch"):
    """Answer: Fetched, or Refused (ClusterMismatch) to a broker of another cluster."""

    id: Natural
    cluster_id: str
    broker: str
    be: Natural
    series: Natural
    """Names a run of fetches that build on each other."""
    first: bool
    """Lists everything: a new series begins."""
    parts: list[FetchPart]
    wait: float
    """Seconds that the leader may hold the fetch while there is nothing to tell."""
    max_bytes: Natural


class Block(Command, frozen=True):
    """Records with consecutive offsets, of one kind, epoch, time and producer, in columns; as `writes.AppendMessages`."""

    kind: int
    first: Natural
    epoch: Natural
    time: float
    producer: Number
    sequence: Number
    values: list[bytes]
    """Messages' values, or the JSON of operations."""
    crcs: list[int]
    """Checksums of messages (`zmqmq.core.checksum`), of operations the crc32 of the JSON."""
    keys: list[bytes | None] | None
    headers: list[str | None] | None
    due: float | None = None
    """When the delayed message (then it is the only one here) becomes due."""


class FetchedPart(Command, frozen=True):
    """News of one partition. `offset` repeats the question's; `committed` and `start` are the leader's.

    `state`: "data" (records follow, maybe none) | "diverged" (the logs differ, see `diverged_epoch`) | "trimmed" (those records
    are gone: ask for a snapshot). Of partitions that the broker does not lead in the epoch that was asked for it says nothing."""

    topic_id: Natural
    partition: Natural
    epoch: Number
    offset: Natural
    state: Literal["data", "diverged", "trimmed"]
    committed: Natural = 0
    start: Natural = 0
    blocks: list[Block] = []
    diverged_epoch: Number = -1
    """The highest epoch not above the follower's `last_epoch` that the leader's log has, and where it ends there."""
    diverged_end: Natural = 0
    next: Natural = 0
    """Where the follower's log ends with these blocks: offsets that were given out and never used, or are trimmed, leave gaps."""


class Fetched(Command, frozen=True, tag="fetched"):
    id: Natural
    be: Natural
    parts: list[FetchedPart]
    again: bool = False
    """The series is unknown: list everything."""


class AskSnapshot(Command, frozen=True, tag="ask_snapshot"):
    """A follower whose log ends before the leader's begins asks for the tables. Answer: Snapshot."""

    id: int
    cluster_id: str
    broker: str
    be: int
    topic_id: int
    partition: int
    epoch: int


class Snapshot(Command, frozen=True, tag="snapshot"):
    """The partition's tables as a restart would find them; the log is fetched from offset 0 afterwards (records below `start` that dead letters
    or delayed messages need are still in it). Rows as in `writes.PutHead`, `PutGroup`, `PutMember`, `PutDead`, `PutProducers`."""

    id: int
    be: int
    topic_id: int
    partition: int
    epoch: int
    start: int
    applied: int
    messages: int
    size: int
    delayed: int
    epochs: list[tuple[int, int]]
    """Those of which something is committed."""
    producers: list[tuple[int, int, str, float]]
    groups: list[tuple[str, int, str, str, str, int, int, str]]
    """(group, floor, settled, failures, revived, lag, dead, voided)"""
    members: list[tuple[str, str, float]]
    """(group, member, session_timeout)"""
    dead: list[tuple[str, int, int, str, str, float, int]]
    """(group, offset, attempts, reason, consumer, died, revived)"""
    trimmed: int = 0
    """Records below it are gone from the leader's disk, but for those that something needs; `start` is as of `applied`."""
