"""What a broker knows of its cluster at one moment.

`ClusterView` is an immutable picture of the tree, `Picture` the one that is being painted: `mirror.Mirror` gives it nodes as they are read.

A view may be old. `is_fresh` says that everything in it was read, after a Sync, in the present session; decisions that throw data
away or take a role need that. Versions stand beside the values, so that a change can be made on condition that nothing else has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from zmqmq.core import layout
from zmqmq.core.layout import BrokerInfo, ControllerEpoch, ControllerInfo, Damaged, Wish
from zmqmq.core.model import TopicRecord
from zmqmq.core.places import Member, Place
from zmqmq.core.tree import Node

__all__ = ["BrokerInfo", "ClusterView", "ControllerInfo", "EpochEntry", "Key", "Picture", "PlaceEntry", "Subject", "TopicEntry", "WishEntry"]

DAMAGED_MAX = 1000
"""Damaged and foreign nodes that are remembered; further ones are ignored without a note, but for those that there is only one of."""
FOLDERS = (layout.IDS, layout.WISHES, layout.TOPICS, layout.PARTS, layout.DELETED)
SINGLE = (layout.CONTROLLER, layout.CONTROLLER_EPOCH)
"""Nodes that are no child of a folder: a damaged one is repaired by whoever finds it among the damaged ones."""

Key = tuple[int, int]
"""(topic id, partition)."""
Subject = Literal["controller", "brokers", "wishes", "topics", "parts", "deleted", "fresh"]
"""What has changed, besides single partitions."""


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
    """The tree at one moment. Nodes that are damaged are left out, with the reason in `damaged`."""

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

    def counts(self, key: Key) -> bool:
        """Whether the partition is one of its topic. A place without that is what a failed attempt to add partitions has left: nobody leads it, and the next
        attempt takes it over."""
        entry = self.topics_by_id.get(key[0])
        return entry is not None and key[1] < entry.record.partitions

    def is_draining(self, broker: str) -> bool:
        """Whether the broker shall lead nothing (it is drained or removed)."""
        wish = self.wishes.get(broker)
        return wish is not None and (wish.drain or wish.remove)


V = TypeVar("V")
N = TypeVar("N", bound=str | Key)


def _assign(values: dict[N, V], name: N, value: V | None) -> None:
    if value is None:
        values.pop(name, None)
    else:
        values[name] = value


def place_key(path: str) -> Key | None:
    """The partition whose place lies there."""
    head, _, rest = path.partition(layout.PARTS + "/")
    topic, slash, partition = rest.partition("/")
    if head or not slash:
        return None
    key = layout.number_name(topic), layout.number_name(partition)
    return None if key[0] is None or key[1] is None else (key[0], key[1])


class Picture:
    """The view while it is being painted, node by node. Never goes back: of one node, only what is newer than what is known counts."""

    def __init__(self) -> None:
        self.changes: set[Key | Subject] = set()
        """What has changed since somebody emptied it."""
        self.notes: list[Damaged] = []
        """Damaged and foreign nodes that were not known before."""
        self._known: dict[str, tuple[int, int]] = {}
        """(created, version) of each node."""
        self._children: dict[str, frozenset[str]] = {}
        self._foreign: dict[str, frozenset[str]] = {}
        """The same for names that are foreign."""
        self._damaged: dict[str, str] = {}
        self._controller: ControllerInfo | None = None
        self._controller_epoch: EpochEntry | None = None
        self._brokers: dict[str, BrokerInfo] = {}
        self._wishes: dict[str, WishEntry] = {}
        self._topics: dict[str, TopicEntry] = {}
        self._places: dict[Key, PlaceEntry] = {}
        self._part_topics: frozenset[int] = frozenset()
        self._deleted: frozenset[int] = frozenset()

    def take(self, path: str, node: Node) -> bool:
        """A node as read. False if that was known already, or something newer."""
        mark = (node.created, node.version)
        if mark <= self._known.get(path, (-1, -1)):
            return False
        self._known[path] = mark
        value = _value(path, node)
        if isinstance(value, Damaged):
            self.note(value)
            value = None
        else:
            self._damaged.pop(path, None)
        self._store(path, value, node.version)
        return True

    def learn(self, key: Key, place: Place, version: int) -> None:
        """What this broker itself has written, with the version that it has got."""
        path = layout.place_path(*key)
        created, known = self._known.get(path, (-1, -1))
        if version > known:
            self._known[path] = (created, version)
            self._store(path, place, version)

    def drop(self, path: str) -> bool:
        """A node is not there. False if it was not known."""
        self._damaged.pop(path, None)
        if self._known.pop(path, None) is None:
            return False
        self._store(path, None, 0)
        return True

    def leave_out(self, damaged: Damaged) -> None:
        """What lies there is of no use: nothing of it is known any more."""
        told = self._damaged.get(damaged.path) == damaged.reason
        self._vanish(damaged.path)
        if told:
            self._damaged[damaged.path] = damaged.reason
        else:
            self.note(damaged)

    def note(self, damaged: Damaged) -> None:
        """Tells of something foreign or damaged, once."""
        known = self._damaged.get(damaged.path)
        if known != damaged.reason and (known is not None or len(self._damaged) < DAMAGED_MAX or damaged.path in FOLDERS + SINGLE):
            self._damaged[damaged.path] = damaged.reason
            self.notes.append(damaged)

    def children(self, folder: str, names: list[str]) -> tuple[list[str], bool]:
        """A folder's children as listed: those that have gone are dropped. Paths of those that belong there, and whether they are others than before."""
        numbered = folder == layout.DELETED or folder.startswith(layout.PARTS)
        check: Any = layout.number_name if numbered else layout.topic_name if folder == layout.TOPICS else layout.broker_name
        self._damaged.pop(folder, None)
        paths = [f"{folder}/{name}" for name in names if check(name) is not None]
        strangers = self._keep_foreign(folder, frozenset(f"{folder}/{name}" for name in names if check(name) is None))
        present = frozenset(paths)
        before = self._children.get(folder, frozenset())
        for path in sorted(before - present):
            self._vanish(path)
        if present:
            self._children[folder] = present
        else:
            self._children.pop(folder, None)
        self._keep_numbers(folder, paths)
        return paths, strangers or present != before

    def view(self, *, is_fresh: bool) -> ClusterView:
        """An immutable copy."""
        topics, by_id = self._unambiguous_topics()
        return ClusterView(
            self._controller,
            self._controller_epoch,
            self._brokers.copy(),
            self._wishes.copy(),
            topics,
            by_id,
            self._places.copy(),
            self._part_topics,
            self._deleted,
            self._damaged.copy(),
            is_fresh,
        )

    def _vanish(self, path: str) -> None:
        self.drop(path)
        if path in self._children or path in self._foreign:
            self.children(path, [])

    def _keep_foreign(self, folder: str, foreign: frozenset[str]) -> bool:
        """Names below a folder that zmqmq would not have given: those that have gone make room for others. Whether there are others than before."""
        before = self._foreign.pop(folder, frozenset())
        if foreign:
            self._foreign[folder] = foreign
        for path in before - foreign:
            self._damaged.pop(path, None)
        for path in sorted(foreign):
            self.note(Damaged(path, "zmqmq gives no such name"))
        return foreign != before

    def _keep_numbers(self, folder: str, paths: list[str]) -> None:
        numbers = frozenset(int(path.rpartition("/")[2]) for path in paths) if folder in (layout.PARTS, layout.DELETED) else frozenset()
        if folder == layout.PARTS and numbers != self._part_topics:
            self._part_topics = numbers
            self.changes.add("parts")
        elif folder == layout.DELETED and numbers != self._deleted:
            self._deleted = numbers
            self.changes.add("deleted")

    def _unambiguous_topics(self) -> tuple[dict[str, TopicEntry], dict[int, TopicEntry]]:
        """By name and by id. Of two topics with one id the older node counts: every broker decides alike."""
        by_id: dict[int, TopicEntry] = {}
        for name in sorted(self._topics, key=lambda name: self._known[layout.topic_path(name)][0]):
            entry = self._topics[name]
            if by_id.setdefault(entry.record.topic_id, entry) is not entry:
                self.note(Damaged(layout.topic_path(name), f"has the topic id of {by_id[entry.record.topic_id].record.name}"))
        return {entry.record.name: entry for entry in by_id.values()}, by_id

    def _store(self, path: str, value: Any, version: int) -> None:
        folder, _, name = path.rpartition("/")
        if path == layout.CONTROLLER:
            self._controller = value
            self.changes.add("controller")
        elif path == layout.CONTROLLER_EPOCH:
            self._controller_epoch = value and EpochEntry(value.epoch, version)
            self.changes.add("controller")
        elif folder == layout.IDS:
            _assign(self._brokers, name, value)
            self.changes.add("brokers")
        elif folder == layout.WISHES:
            _assign(self._wishes, name, value and WishEntry(value.drain, value.remove, version))
            self.changes.add("wishes")
        elif folder == layout.TOPICS:
            _assign(self._topics, name, value and TopicEntry(value, version))
            self.changes.add("topics")
        elif key := place_key(path):
            _assign(self._places, key, value and PlaceEntry(value, version))
            self.changes.add(key)


_KINDS: dict[str, type[Any]] = {
    layout.CONTROLLER: ControllerInfo,
    layout.CONTROLLER_EPOCH: ControllerEpoch,
    layout.IDS: BrokerInfo,
    layout.WISHES: Wish,
    layout.TOPICS: TopicRecord,
}


def _value(path: str, node: Node) -> Any:
    folder = path.rpartition("/")[0]
    if (path == layout.CONTROLLER or folder == layout.IDS) and not node.owner:
        return Damaged(path, "belongs to no session: it would never go away")
    return layout.decode(path, node.data, _KINDS.get(path) or _KINDS.get(folder) or Place)
