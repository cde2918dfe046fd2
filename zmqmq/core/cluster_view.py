"""What a broker knows of its cluster at one moment: an immutable picture of the tree, kept up to date by `mirror.Mirror`.

A picture may be old. `is_fresh` says that everything in it was read, after a Sync, in the present session; decisions that throw data
away or take a role need that. Versions stand beside the values, so that a change can be made on condition that nothing else has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from zmqmq.core.layout import BrokerInfo, ControllerInfo
from zmqmq.core.model import TopicRecord
from zmqmq.core.places import Member, Place

__all__ = ["BrokerInfo", "ClusterView", "ControllerInfo", "EpochEntry", "Key", "PlaceEntry", "TopicEntry", "WishEntry"]

Key = tuple[int, int]
"""(topic id, partition)."""


class EpochEntry(NamedTuple):
    """`Check(CONTROLLER_EPOCH, version)` proves that nobody has been elected since."""

    epoch: int
    version: int


class WishEntry(NamedTuple):
    """What administrators want of a broker."""

    drain: bool
    remove: bool
    version: int


class TopicEntry(NamedTuple):
    record: TopicRecord
    version: int


class PlaceEntry(NamedTuple):
    """Where a partition lives, and the version on which a change of that has to build."""

    place: Place
    version: int


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One picture of the tree. Nodes that are damaged are left out, with the reason in `damaged`."""

    controller: ControllerInfo | None = None
    """The cluster leader, None while there is none."""
    controller_epoch: EpochEntry | None = None
    """None until the first election."""
    brokers: Mapping[str, BrokerInfo] = field(default_factory=dict)
    """Those that are registered."""
    wishes: Mapping[str, WishEntry] = field(default_factory=dict)
    topics: Mapping[str, TopicEntry] = field(default_factory=dict)
    """By name."""
    topics_by_id: Mapping[int, TopicEntry] = field(default_factory=dict)
    places: Mapping[Key, PlaceEntry] = field(default_factory=dict)
    """Partitions of topics that are being made or deleted are among them."""
    part_topics: frozenset[int] = frozenset()
    """Topic ids that have a node for their partitions."""
    deleted: frozenset[int] = frozenset()
    """Topic ids that are gone for good."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Path and reason of nodes that zmqmq did not write like this."""
    is_fresh: bool = False
    """Everything was read after a Sync in the present session, and the connection is there."""

    def lives(self, broker: str) -> Member | None:
        """The broker's present registration; None if it has none."""
        info = self.brokers.get(broker)
        return None if info is None else Member(info.broker_id, info.be, info.storage_id)

    def places_of(self, topic_id: int) -> dict[int, PlaceEntry]:
        """The partitions of a topic that are known, in the order of their numbers."""
        entry = self.topics_by_id.get(topic_id)
        numbers = range(entry.record.partitions) if entry else ()
        return {number: self.places[topic_id, number] for number in numbers if (topic_id, number) in self.places}

    def is_draining(self, broker: str) -> bool:
        """Whether the broker shall lead nothing (it is drained or removed)."""
        wish = self.wishes.get(broker)
        return wish is not None and (wish.drain or wish.remove)
