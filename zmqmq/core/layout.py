"""Where things lie in the tree that coordinates a cluster, and how they are written there.

    /cluster                   which cluster this is, and in which layout
    /controller                ephemeral: who the cluster leader is
    /controller_epoch          how often one was elected; its version proves "still the same cluster leader"
    /brokers/ids/<broker>      ephemeral: a broker's registration
    /brokers/hb/<broker>       ephemeral: written by the broker's heartbeat, watched by nobody
    /brokers/epochs/<broker>   its version is the broker epoch `be`: it grows with every registration and never goes back
    /brokers/wishes/<broker>   what administrators want of it
    /topics/<folded name>      a topic; two whose names differ only in case would be one node, so there is never more than one of them
    /parts/<topic_id>/<p>      where a partition lives (`places.Place`)
    /deleted/<topic_id>        a topic that is gone for good: its data may be thrown away

An ephemeral node that is made again begins with version 0 again, so it cannot prove "still the same life"; the persistent node
beside it can: `Check(epoch_path(broker), be)`. Values are JSON. Anybody may write to a tree, so reading is total: what is damaged or foreign gives
`Damaged` with a reason, never an exception, and names that zmqmq would not have given are None.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeVar

import msgspec

from zmqmq.core.model import PARTITIONS_MAX, TopicRecord
from zmqmq.core.names import check_name, folded
from zmqmq.core.places import Place
from zmqmq.errors import InvalidName

LAYOUT = 1
"""Version of this arrangement; a broker that knows another one must not touch it."""
INTEGER_MAX = (1 << 63) - 1
"""Numbers in nodes fit into SQLite's integers."""

CLUSTER = "/cluster"
CONTROLLER = "/controller"
CONTROLLER_EPOCH = "/controller_epoch"
IDS = "/brokers/ids"
HEARTBEATS = "/brokers/hb"
EPOCHS = "/brokers/epochs"
WISHES = "/brokers/wishes"
TOPICS = "/topics"
PARTS = "/parts"
DELETED = "/deleted"

SKELETON = ("/brokers", IDS, HEARTBEATS, EPOCHS, WISHES, TOPICS, PARTS, DELETED)
"""Persistent nodes without data that the first broker makes, parents first."""


def broker_path(broker: str) -> str:
    """A broker's registration (ephemeral)."""
    return f"{IDS}/{broker}"


def heartbeat_path(broker: str) -> str:
    """What a broker writes to prove its lease (ephemeral)."""
    return f"{HEARTBEATS}/{broker}"


def epoch_path(broker: str) -> str:
    """The node whose version is the broker epoch."""
    return f"{EPOCHS}/{broker}"


def wish_path(broker: str) -> str:
    """What administrators want of a broker."""
    return f"{WISHES}/{broker}"


def topic_path(name: str) -> str:
    """A topic's record."""
    return f"{TOPICS}/{folded(name)}"


def parts_path(topic_id: int) -> str:
    """The parent of a topic's partitions."""
    return f"{PARTS}/{topic_id}"


def place_path(topic_id: int, partition: int) -> str:
    """Where a partition lives."""
    return f"{PARTS}/{topic_id}/{partition}"


def deleted_path(topic_id: int) -> str:
    """The tombstone of a topic."""
    return f"{DELETED}/{topic_id}"


# --- what is written there -------------------------------------------------------------------------------------------


class ClusterIdentity(msgspec.Struct, frozen=True):
    """Which cluster the tree belongs to."""

    cluster_id: str
    layout: int = LAYOUT
    protocol: int = 1
    """The protocol that its brokers speak with each other."""


class ControllerInfo(msgspec.Struct, frozen=True):
    """Who the cluster leader is, in which registration."""

    broker: str
    be: int


class ControllerEpoch(msgspec.Struct, frozen=True):
    """How many cluster leaders there have been."""

    epoch: int


class BrokerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A broker's registration."""

    broker_id: str
    incarnation: int
    """Grows with every start on the same data directory."""
    be: int
    """The broker epoch: grows with every registration of this broker id, on whatever data directory."""
    endpoint: str
    """Where clients and other brokers reach it."""
    wake_endpoint: str = ""
    storage_id: str
    """Identity of its store."""
    rack: str = ""
    software: str = ""
    protocol: int = 1


class BrokerEpoch(msgspec.Struct, frozen=True):
    """Who registered last under a broker id."""

    storage_id: str = ""
    """"" if nobody has yet."""
    incarnation: int = -1


class Wish(msgspec.Struct, frozen=True):
    """What administrators want of a broker."""

    drain: bool = False
    """It shall lead nothing."""
    remove: bool = False
    """It shall hold nothing."""


class Tombstone(msgspec.Struct, frozen=True):
    """A deleted topic's name, for people who look into the tree."""

    name: str = ""
    deleted: float = 0.0
    """When, seconds since 1970 UTC; 0: nobody knows."""


class Damaged(NamedTuple):
    """A node whose data are not what zmqmq writes there."""

    path: str
    reason: str


# --- codecs ----------------------------------------------------------------------------------------------------------

T = TypeVar("T")


_KINDS = (ClusterIdentity, ControllerInfo, ControllerEpoch, BrokerInfo, BrokerEpoch, Wish, Tombstone, TopicRecord, Place)
_DECODERS: dict[type[Any], msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(kind) for kind in _KINDS}


def encode(value: msgspec.Struct) -> bytes:
    """A node's data."""
    return msgspec.json.encode(value)


def decode(path: str, data: bytes, kind: type[T]) -> T | Damaged:
    """What a node says, or why that cannot be used. `path` serves the note and the checks of names. Never raises."""
    try:
        value: T = _DECODERS[kind].decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Damaged(path, f"not a {kind.__name__}: {str(error)[:200]}")
    fault = _fault(path, value)
    return Damaged(path, fault) if fault else value


def _fault(path: str, value: object) -> str:
    """What is wrong with a value of the right shape, "" if nothing."""
    if isinstance(value, Place):
        return _place_fault(value)
    name = path.rpartition("/")[2]
    if isinstance(value, TopicRecord):
        return _topic_fault(name, value)
    if isinstance(value, BrokerInfo):
        return f"names broker {value.broker_id[:80]!r}" if value.broker_id != name else _range_fault(value.incarnation, value.be)
    if isinstance(value, ControllerInfo):
        return "" if broker_name(value.broker) else f"names broker {value.broker[:80]!r}"
    if isinstance(value, ClusterIdentity):
        return "" if value.cluster_id else "the cluster id is empty"
    return _range_fault(value.epoch) if isinstance(value, ControllerEpoch) else ""


def _topic_fault(name: str, record: TopicRecord) -> str:
    if _plain("topic", record.name) is None or folded(record.name) != name:
        return f"names topic {record.name[:80]!r}"
    if not 1 <= record.partitions <= PARTITIONS_MAX or record.replicas < 0:
        return f"{record.partitions} partitions with {record.replicas} replicas"
    return _range_fault(record.topic_id)


def _place_fault(place: Place) -> str:
    if not place.replicas:
        return "no replicas"
    isr, elr = [member.broker for member in place.isr], [member.broker for member in place.elr]
    for what, names in (("replicas", place.replicas), ("isr", isr), ("elr", elr), ("adding", place.adding), ("removing", place.removing)):
        if len(set(names)) != len(names):
            return f"a broker stands twice in {what}"
        wrong = next((name for name in names if not broker_name(name)), None)
        if wrong is not None:
            return f"{wrong[:80]!r} in {what} is no broker id"
        stranger = next((name for name in names if name not in place.replicas), None)
        if stranger is not None:
            return f"{stranger[:80]!r} in {what} is no replica"
    return _sets_fault(place, isr, elr) or _range_fault(place.epoch, place.leader_be)


def _sets_fault(place: Place, isr: list[str], elr: list[str]) -> str:
    """What no move and no election makes. Without a replica that is neither to come nor to go nobody could say how many are needed."""
    for what, one, other in (("isr and elr", isr, elr), ("adding and removing", place.adding, place.removing)):
        both = next((name for name in one if name in other), None)
        if both is not None:
            return f"{both!r} is in {what}"
    for what, names in (("adding", place.adding), ("removing", place.removing)):
        if len(names) == len(place.replicas):
            return f"every replica is in {what}"
    return ""


def _range_fault(*numbers: int) -> str:
    wrong = next((number for number in numbers if not 0 <= number <= INTEGER_MAX), None)
    return "" if wrong is None else f"the number {wrong} is out of range"


# --- names of nodes --------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def number_name(name: str) -> int | None:
    """The topic id or partition that a node's name stands for; None for a foreign name."""
    value = int(name) if _NUMBER.fullmatch(name) and name.isascii() else -1
    return value if 0 <= value <= INTEGER_MAX else None


def broker_name(name: str) -> str | None:
    """The broker id that a node's name stands for; None for a foreign name."""
    return _plain("broker", name)


def topic_name(name: str) -> str | None:
    """The topic's name, folded, that a node's name stands for; None for a foreign name."""
    return _plain("topic", name) if folded(name) == name else None


def _plain(what: str, name: str) -> str | None:
    try:
        return check_name(what, name)
    except InvalidName:
        return None
