"""What has to be true before topics, partitions and brokers are changed, and what new partitions look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView, Key, PlaceEntry, TopicEntry
from zmqmq.core.model import TopicRecord
from zmqmq.core.placement import homes, is_moving, loads, place_new, settled_replicas, staying
from zmqmq.core.places import Place, quorum
from zmqmq.core.tree import Create, Delete, Step
from zmqmq.errors import InvalidValue, UnknownTopic

STEPS_MAX = 100
"""Steps of one change."""


def new_places(view: ClusterView, record: TopicRecord, numbers: Sequence[int], nonce: Callable[[], str], *, few: bool = False) -> list[Place]:
    """The first records of new partitions; raises InvalidValue if there are too few brokers. With `few` as many replicas as there are brokers for
    will do: the cluster leader makes the others when there are."""
    holds, leads = loads(view)
    brokers = homes(view, record.replicas)
    replicas = max(1, min(record.replicas, len(brokers))) if few else record.replicas
    placed = place_new(len(numbers), replicas, brokers, holds, leads)
    return [_first(view, replicas, nonce()) for replicas in placed]


def _first(view: ClusterView, replicas: list[str], nonce: str) -> Place:
    isr = [member for broker in sorted(replicas) if (member := view.lives(broker)) is not None]
    leader = next(member for member in isr if member.broker == replicas[0])
    return Place(replicas=replicas, leader=leader.broker, leader_be=leader.be, epoch=1, isr=isr, nonce=nonce)


def known_topic(view: ClusterView, name: str) -> TopicEntry:
    """The topic; raises UnknownTopic."""
    entry = view.topics.get(name)
    if entry is None:
        raise UnknownTopic(f"there is no topic {name!r}", hint="`zmqmq topics` lists them", topic=name)
    return entry


def not_deleted(topic_id: int) -> list[Step]:
    """Steps that change nothing and are refused ("exists") if the topic is gone for good: its name may be another one's by now, with the same version."""
    return [Create(layout.deleted_path(topic_id)), Delete(layout.deleted_path(topic_id))]


def known_place(view: ClusterView, name: str, partition: int) -> tuple[Key, PlaceEntry]:
    """The partition; raises UnknownTopic or InvalidValue."""
    record = known_topic(view, name).record
    key = (record.topic_id, partition)
    if not 0 <= partition < record.partitions or key not in view.places:
        raise InvalidValue(f"there is no partition {partition}", hint=f"the topic has {record.partitions}, numbered from 0", topic=name)
    return key, view.places[key]


def check_replicas(view: ClusterView, key: Key, place: Place, replicas: Sequence[str]) -> None:
    """Whether a partition can move there; raises InvalidValue."""
    if is_moving(place):
        way = f"{', '.join(place.removing) or 'nobody'} to {', '.join(place.adding) or 'nobody'}"
        raise InvalidValue(f"the partition is being moved already, from {way}", hint="wait until that has ended")
    if not replicas:
        raise InvalidValue("no replicas are named", hint="name at least one broker")
    if len(replicas) > (count := len(staying(view))):
        raise InvalidValue(f"{len(replicas)} replicas are named, but there are {count} brokers that may hold one", hint="name fewer, or start more brokers")
    unknown = [broker for broker in replicas if broker not in view.brokers and broker not in place.replicas]
    if unknown:
        raise InvalidValue(f"there is no broker {unknown[0]!r}", hint=f"registered are {', '.join(sorted(view.brokers))}")
    twice = [broker for broker in replicas if list(replicas).count(broker) > 1]
    if twice:
        raise InvalidValue(f"the broker {twice[0]!r} is named twice", hint="name each broker once")
    leaving = [broker for broker in replicas if (wish := view.wishes.get(broker)) is not None and wish.remove]
    if leaving:
        raise InvalidValue(f"the broker {leaving[0]!r} is being removed", hint="name another one, or keep that one first")
    needed = view.topics_by_id[key[0]].record.settings.min_in_sync
    if len(replicas) < needed:
        raise InvalidValue(f"{len(replicas)} replicas are named, but min_in_sync is {needed}", hint="name more brokers, or lower min_in_sync")


def replicas_after(record: TopicRecord, place: Place, replicas: Sequence[str]) -> int:
    """How many replicas the topic shall have once one of its partitions was reassigned to these: more than before are kept up from then on,
    and fewer than the partition has are enough from then on. The same number in another order or elsewhere changes nothing."""
    if len(replicas) > record.replicas:
        return len(replicas)
    return min(record.replicas, len(replicas)) if len(replicas) < len(settled_replicas(place)) else record.replicas


def check_wish(view: ClusterView, broker: str, *, drain: bool, remove: bool) -> None:
    """Whether the cluster can do without the broker; raises InvalidValue."""
    holders = {name for entry in view.places.values() for name in entry.place.replicas}
    if broker not in view.brokers and broker not in view.wishes and broker not in holders:
        raise InvalidValue(f"there is no broker {broker!r}", hint=f"registered are {', '.join(sorted(view.brokers))}")
    others = [name for name in staying(view) if name != broker]
    if drain and not [name for name in others if not view.is_draining(name)]:
        raise InvalidValue(f"no other broker could lead if {broker!r} is drained", hint="start another one, or undo the draining of another one")
    if remove:
        _check_removal(view, broker, len(others))


def _check_removal(view: ClusterView, broker: str, others: int) -> None:
    """What counts is how many replicas partitions have: those that are still missing are missing without the broker as well."""
    remain = f"without {broker!r} there are {others} brokers"
    if not others:
        raise InvalidValue(f"{broker!r} is the only broker", hint="start another one first")
    for name, entry in sorted(view.topics.items()):
        settings = entry.record.settings
        has = max((len(settled_replicas(placed.place)) for placed in view.places_of(entry.record.topic_id).values()), default=0)
        needed = quorum(has, settings.min_in_sync) if has else 0
        if others < needed:
            raise InvalidValue(f"{remain}, but the topic {name!r} needs {needed} in-sync replicas", hint="start another broker first, or lower min_in_sync")
        if others < has:
            raise InvalidValue(f"{remain}, but the topic {name!r} has {has} replicas", hint="start another broker first")
