"""What administrators ask and get. Every request carries `id`; every answer echoes it; errors are `Refused`.

Answers that can be long are paged: `after` is the last name or offset already seen, `limit` is at most 1,000.
"""

from __future__ import annotations

from typing import Literal

from zmqmq.core.commands import Command

PAGE_LIMIT = 1000


class CreateTopic(Command, frozen=True, tag="create_topic"):
    """Answer: Described. A topic that exists with the same partitions and settings is no error. 0 partitions or replicas, and
    settings that are not named, mean the broker's defaults."""

    id: int
    topic: str
    partitions: int
    replicas: int
    settings: dict[str, str | int | float | None]


class AlterTopic(Command, frozen=True, tag="alter_topic"):
    """Changes the named settings and keeps the others. Answer: Described."""

    id: int
    topic: str
    changes: dict[str, str | int | float | None]


class DeleteTopic(Command, frozen=True, tag="delete_topic"):
    """Answer: Done."""

    id: int
    topic: str


class Done(Command, frozen=True, tag="done"):
    """It is so; `count` says how many things were affected."""

    id: int
    count: int = 0


class ListTopics(Command, frozen=True, tag="list_topics"):
    id: int
    after: str = ""
    limit: int = PAGE_LIMIT


class TopicSummary(Command, frozen=True):
    topic: str
    partitions: int
    replicas: int
    messages: int
    """Messages now in the log, settled or not."""
    size: int
    """Their bytes (values, keys, headers)."""
    groups: int
    delayed: int


class TopicList(Command, frozen=True, tag="topic_list"):
    id: int
    topics: list[TopicSummary]


class DescribePartitions(Command, frozen=True, tag="describe_partitions"):
    id: int
    topic: str


class PartitionSummary(Command, frozen=True):
    partition: int
    leader: str
    epoch: int
    replicas: list[str]
    in_sync: list[str]
    start: int
    """Offset of the oldest record kept."""
    end: int
    """Offset that the next record gets."""
    committed: int
    messages: int
    size: int
    delayed: int


class PartitionList(Command, frozen=True, tag="partition_list"):
    id: int
    topic: str
    partitions: list[PartitionSummary]


class ListGroups(Command, frozen=True, tag="list_groups"):
    """`topic` "" means all topics."""

    id: int
    topic: str = ""


class GroupSummary(Command, frozen=True):
    topic: str
    group: str
    members: int
    lag: int
    """Messages not settled: waiting, held or to be retried."""
    held: int
    waiting_retry: int
    dead: int


class GroupList(Command, frozen=True, tag="group_list"):
    id: int
    groups: list[GroupSummary]


class DeleteGroup(Command, frozen=True, tag="delete_group"):
    """Forgets a group, its positions and its dead letters; refused while consumers are in it. Answer: Done."""

    id: int
    topic: str
    group: str


class AskLag(Command, frozen=True, tag="ask_lag"):
    id: int
    topic: str
    group: str


class PartitionLag(Command, frozen=True):
    partition: int
    position: int
    """First unsettled offset."""
    end: int
    lag: int
    held: int
    waiting_retry: int
    dead: int
    oldest: float | None
    """Acceptance time of the first unsettled message, seconds since 1970 UTC."""


class LagReport(Command, frozen=True, tag="lag_report"):
    id: int
    topic: str
    group: str
    partitions: list[PartitionLag]


class Seek(Command, frozen=True, tag="seek"):
    """Moves a group: "earliest", "latest", ("offset", n) or ("time", seconds since 1970). Leases are recalled. Answer: Done(count = new lag)."""

    id: int
    topic: str
    group: str
    to: Literal["earliest", "latest", "offset", "time"]
    value: float = 0.0
    partition: int | None = None
    """None: all partitions."""


class ListDead(Command, frozen=True, tag="list_dead"):
    """Pages through dead letters in (partition, offset) order, after the one named; `offset` -1 begins a partition."""

    id: int
    topic: str
    group: str
    partition: int = 0
    offset: int = -1
    limit: int = 100


class DeadLetter(Command, frozen=True):
    partition: int
    offset: int
    key: bytes | None
    headers: str | None
    value: bytes
    accepted: float
    died: float
    attempts: int
    reason: str
    consumer: str


class DeadList(Command, frozen=True, tag="dead_list"):
    id: int
    letters: list[DeadLetter]
    more: bool


class Replay(Command, frozen=True, tag="replay"):
    """Puts dead letters back into delivery; empty `offsets` means all (of `partition`, or of every partition). Answer: Done."""

    id: int
    topic: str
    group: str
    partition: int | None = None
    offsets: list[int] = []


class Purge(Command, frozen=True, tag="purge"):
    """Deletes dead letters for good; selection as in Replay. Answer: Done."""

    id: int
    topic: str
    group: str
    partition: int | None = None
    offsets: list[int] = []


class AskExplain(Command, frozen=True, tag="ask_explain"):
    id: int
    topic: str
    group: str


class Reason(Command, frozen=True):
    """One cause why a partition delivers nothing more to the group now.

    `code`: settled (nothing left) | ready (something is to be delivered: it waits for a pull) | no_consumer |
    held (key with a consumer) | retry (waits for its next attempt) | delayed (not due) | reclaiming (consumers are
    reporting after a restart) | full_window (too many unsettled) | seeking (a seek is not committed yet) | storage_full | offline (nobody
    leads it; said by the client)."""

    partition: int
    code: str
    text: str
    """A sentence for people."""
    messages: int
    key: bytes | None = None
    consumer: str = ""
    since: float | None = None
    until: float | None = None


class Explanation(Command, frozen=True, tag="explanation"):
    id: int
    topic: str
    group: str
    verdict: str
    """The one sentence that answers "why is nothing delivered now?"."""
    reasons: list[Reason]


class AskStatus(Command, frozen=True, tag="ask_status"):
    """Status of this broker; sessions are listed up to `sessions`."""

    id: int
    sessions: int = 100


class SessionSummary(Command, frozen=True):
    client_id: str
    name: str
    software: str
    connected: float
    """Seconds since it was opened."""
    silent: float
    """Seconds since it was last heard."""
    queues: list[str]
    """topic/group of each subscription"""
    held: int


class BrokerStatus(Command, frozen=True, tag="broker_status"):
    id: int
    broker_id: str
    cluster_id: str
    software: str
    incarnation: int
    uptime: float
    role: str
    """standalone | cluster leader | member"""
    endpoint: str
    topics: int
    partitions: int
    """Partitions of which it holds a replica."""
    partitions_led: int
    sessions: int
    held: int
    messages: int
    size: int
    storage_bytes: int
    """Database and write-ahead log on disk."""
    disk_free: int
    storage_full: bool
    loop_lag: float
    """Worst turn of the last beacon intervals, in seconds."""
    accepted: int
    delivered: int
    settled: int
    """Messages since the start of the process."""
    session_list: list[SessionSummary]


class ListBrokers(Command, frozen=True, tag="list_brokers"):
    id: int


class BrokerSummary(Command, frozen=True):
    broker_id: str
    endpoint: str
    role: str
    partitions_led: int
    software: str


class BrokerList(Command, frozen=True, tag="broker_list"):
    id: int
    cluster_id: str
    leader: str
    """broker_id of the cluster leader."""
    brokers: list[BrokerSummary]
