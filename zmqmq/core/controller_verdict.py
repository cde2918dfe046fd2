"""What the cluster leader decides about one partition, as a pure function of the view: the next record, or nothing to change.

Level-triggered: it does not matter what has happened, only what is. Applied to its own result it has nothing more to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from zmqmq.core.cluster_view import ClusterView, Key
from zmqmq.core.placement import is_moving, preferred_leader
from zmqmq.core.places import Place, elect, end_move, is_moved, needed_of, quorum, with_in_sync


def next_place(view: ClusterView, key: Key, place: Place) -> Place | None:
    """What has to be written now: former lives leave the in-sync set, a leader is appointed, a finished move ends, the leader is asked to hand over."""
    if not view.counts(key):
        return None
    min_in_sync = view.topics_by_id[key[0]].record.settings.min_in_sync
    needed = needed_of(place, min_in_sync)
    avoid = [broker for broker in place.replicas if view.is_draining(broker)]
    wanted = _with_leader(view, _without_former_lives(view, place, needed), needed, avoid)
    needed_then = quorum(len(wanted.replicas) - len(wanted.removing), min_in_sync)
    if is_moving(wanted) and is_moved(wanted, max(needed, needed_then)):
        wanted = end_move(wanted, needed_then)
    wanted = _with_target(view, wanted)
    return wanted if wanted != place else None


def _without_former_lives(view: ClusterView, place: Place, needed: int) -> Place:
    isr = [member for member in place.isr if view.lives(member.broker) == member]
    return with_in_sync(place, isr, needed) if len(isr) < len(place.isr) else place


def _with_leader(view: ClusterView, place: Place, needed: int, avoid: Iterable[str]) -> Place:
    """The epoch does not grow when nobody leads and nobody can."""
    leader = view.lives(place.leader) if place.leader else None
    if leader is not None and leader.be == place.leader_be and leader in place.isr:
        return place
    elected = elect(place, view.lives, needed, avoid)
    return elected if place.leader or elected.leader else place


def _with_target(view: ClusterView, place: Place) -> Place:
    """Asks a leader that is to go to hand over as soon as somebody better can lead; forgets a wish that makes no sense any more."""
    successor = preferred_leader(view, place)
    if not place.leader or successor in ("", place.leader):
        target = ""
    elif _should_go(view, place, successor):
        target = successor
    else:
        target = place.target if place.target == successor else ""
    return replace(place, target=target) if target != place.target else place


def _should_go(view: ClusterView, place: Place, successor: str) -> bool:
    if place.leader in place.removing:
        return all(place.in_sync(broker) for broker in place.adding)
    return view.is_draining(place.leader) and not view.is_draining(successor)


def better_leader(view: ClusterView, place: Place) -> Place | None:
    """When all is calm: the record that asks the leader to hand over to whom the list prefers; None if it leads already or is asked already."""
    successor = preferred_leader(view, place)
    if not place.leader or is_moving(place) or successor in ("", place.leader, place.target):
        return None
    if view.is_draining(successor):
        return None
    return replace(place, target=successor)
