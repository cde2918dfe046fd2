"""What the administrator's calls return: frozen values in plain types, named as the protocol names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zmqmq.client.values import headers_dict, key_for_people
from zmqmq.core.admin_commands import DeadLetter as DeadLetterOnTheWire
from zmqmq.core.admin_commands import LagReport, PartitionLag, PartitionSummary
from zmqmq.core.commands import Described
from zmqmq.core.model import TopicSettings


class Topic(NamedTuple):
    """A topic with its settings and partitions."""

    name: str
    replicas: int
    settings: TopicSettings
    created: float
    """Seconds since 1970 UTC."""
    partitions: tuple[PartitionSummary, ...]

    @property
    def messages(self) -> int:
        """Messages in its logs, settled or not."""
        return sum(partition.messages for partition in self.partitions)

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(partition.size for partition in self.partitions)


class Lag(NamedTuple):
    """How far a group is behind. Numbers are messages."""

    topic: str
    group: str
    lag: int
    """Not settled: waiting, held or to be retried."""
    held: int
    waiting_retry: int
    dead: int
    oldest: float | None
    """Acceptance time of the oldest unsettled message, seconds since 1970 UTC."""
    partitions: tuple[PartitionLag, ...]


class DeadLetter(NamedTuple):
    """A message that a group gave up on. Times are seconds since 1970 UTC."""

    topic: str
    group: str
    partition: int
    offset: int
    key: str | bytes | None
    headers: dict[str, str]
    value: bytes
    accepted: float
    died: float
    attempts: int
    reason: str
    consumer: str
    """Name of the consumer that held it last."""


def topic_of(described: Described, partitions: Sequence[PartitionSummary]) -> Topic:
    """Joins the two answers about a topic."""
    return Topic(described.topic, described.replicas, described.settings, described.created, tuple(partitions))


def lag_of(report: LagReport) -> Lag:
    """Sums a report up."""
    parts = report.partitions
    oldest = min((part.oldest for part in parts if part.oldest is not None), default=None)
    sums = (sum(part.lag for part in parts), sum(part.held for part in parts))
    rest = (sum(part.waiting_retry for part in parts), sum(part.dead for part in parts))
    return Lag(report.topic, report.group, *sums, *rest, oldest, tuple(parts))


def dead_letter_of(topic: str, group: str, letter: DeadLetterOnTheWire) -> DeadLetter:
    """A letter for people."""
    key, headers = key_for_people(letter.key), headers_dict(letter.headers)
    facts = (letter.accepted, letter.died, letter.attempts, letter.reason, letter.consumer)
    return DeadLetter(topic, group, letter.partition, letter.offset, key, headers, letter.value, *facts)
