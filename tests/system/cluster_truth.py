"""What a cluster's status has to say when it is known which brokers run, and what it can never have been right to say.

A status is a picture of a moment that has passed, so right after a change it may be behind. What it must become is told by `contradictions` and
`concerns`: whoever runs is alive and nobody else; every partition is led by one of its replicas that run, which are those in sync. What no moment
explains is told by `lies`: two leaders of one epoch, and a broker that counts although it has been dead for longer than the cluster may
take to notice. A broker that says itself that it has lost touch with ZooKeeper claims nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

from zmqmq.core.cluster_commands import ClusterReport, PlaceSummary

Span = tuple[float, float]
"""A time from and a time to, on the monotonic clock."""
Concerns = set[tuple[str, str]]
"""(level, broker or topic/partition), as `zmqmq cluster status --json` names them."""


class Said(NamedTuple):
    """One answer to the question how the cluster is."""

    source: str
    """The broker that gave it, or ADMIN."""
    span: Span
    """When it was asked for and when it was there."""
    report: ClusterReport


ADMIN = "admin"
"""The source of what an administrator's client has put together from all brokers."""


class Lives:
    """When each broker may have been running."""

    def __init__(self) -> None:
        self._spans: dict[str, list[Span]] = {}

    def begin(self, broker: str, now: float) -> None:
        self._spans.setdefault(broker, []).append((now, inf))

    def end(self, broker: str, now: float) -> None:
        began, _ = self._spans[broker].pop()
        self._spans[broker].append((began, now))

    def ran(self, broker: str, span: Span) -> bool:
        """Whether it may have been running at any moment of the span."""
        return any(began <= span[1] and ended >= span[0] for began, ended in self._spans.get(broker, ()))


def up(place: PlaceSummary, running: set[str]) -> set[str]:
    """Replicas that run."""
    return running & set(place.replicas)


# --- what it must become -------------------------------------------------------------------------------------------------


def contradictions(report: ClusterReport, topics: Mapping[str, int], running: set[str]) -> list[str]:
    """What is not true of it. `topics`: replicas of each topic, all of which have as many partitions as the cluster has brokers."""
    found = [] if report.connected else [f"{report.broker} has lost touch with ZooKeeper"]
    live = {member.broker_id for member in report.members if member.live}
    found += [] if live == running else [f"{sorted(live)} are alive"]
    found += [] if report.leader in running else [f"{report.leader!r} is cluster leader"]
    for member in report.members:
        counts = (member.leads, member.in_sync)
        found += [f"{member.broker_id} leads {counts[0]}, is in sync in {counts[1]}"] if any(counts) and not member.live else []
    known = sorted((place.topic, len(place.replicas)) for place in report.places)
    found += [] if known == sorted(item for item in topics.items() for _ in report.members) else [f"the replicas of partitions are {known}"]
    return found + [fault for place in report.places for fault in _faults(place, running)]


def _faults(place: PlaceSummary, running: set[str]) -> Iterator[str]:
    name, able = f"{place.topic}/{place.partition}", up(place, running)
    if set(place.in_sync) != able:
        yield f"{name} is in sync on {place.in_sync}"
    if place.leader not in able and (able or place.leader):
        yield f"{name} is led by {place.leader!r}"

def behind(report: ClusterReport, running: set[str]) -> list[str]:
    """Where replicas that run have not caught up. It is so again for a moment whenever a leader begins, since it writes a record about that."""
    places = [(place, up(place, running)) for place in report.places]
    late = [place for place, able in places if any(place.lag.get(broker, 0) for broker in able) or (place.committed != place.end and _confirms(place, able))]
    return [f"{place.topic}/{place.partition} has {place.committed} of {place.end} committed, and lags by {place.lag}" for place in late]


def _confirms(place: PlaceSummary, able: set[str]) -> bool:
    """Whether these are enough for a message: the majority of the replicas."""
    return len(able) > len(place.replicas) // 2


def concerns(report: ClusterReport, running: set[str]) -> Concerns:
    """What has to be named as wrong."""
    found = {("away", member.broker_id) for member in report.members} - {("away", broker) for broker in running}
    for place in report.places:
        able = up(place, running)
        level = "offline" if not able else "under_replicated" if _confirms(place, able) else "refusing"
        found |= {(level, f"{place.topic}/{place.partition}")} if len(able) < len(place.replicas) else set()
    return found


# --- what it can never have been right to say ------------------------------------------------------------------------------


def lies(said: Iterable[Said], lives: Lives, notice: float) -> list[str]:
    """What no moment explains. `notice`: seconds that the cluster may take to notice a death."""
    found: list[str] = []
    leaders: dict[tuple[str, int, int], str] = {}
    starts: dict[tuple[str, int, int], int] = {}
    for one in said:
        if not one.report.connected:
            continue
        counted = {*_counted(one.report)}
        when = (one.span[0] - notice, one.span[1])
        found += [f"{_told(one)}: {broker} {what}, and was dead" for broker, what in sorted(counted) if not lives.ran(broker, when)]
        for place in one.report.places:
            key = (place.topic, place.partition, place.epoch)
            if place.leader and leaders.setdefault(key, place.leader) != place.leader:
                found.append(f"{_told(one)}: {place.leader} leads {key}, and so did {leaders[key]}")
            if place.leader and place.leader not in place.in_sync or not set(place.in_sync) <= set(place.replicas):
                found.append(f"{_told(one)}: {key} is led by {place.leader}, in sync {place.in_sync}, replicas {place.replicas}")
        found += _led_in_another_life(one, starts)
    return found


def _counted(report: ClusterReport) -> Iterator[tuple[str, str]]:
    yield from ((member.broker_id, "is alive") for member in report.members if member.live)
    yield from ((place.leader, f"leads {place.topic}/{place.partition}") for place in report.places if place.leader)
    yield from ((broker, f"is in sync in {place.topic}/{place.partition}") for place in report.places for broker in place.in_sync)


def _led_in_another_life(one: Said, starts: dict[tuple[str, int, int], int]) -> Iterator[str]:
    """Who has been started again does not lead in the epoch in which it led before. (An administrator's client puts together what is not of one moment.)"""
    if one.source == ADMIN:
        return
    incarnations = {member.broker_id: member.incarnation for member in one.report.members if member.live}
    for place in one.report.places:
        key = (place.topic, place.partition, place.epoch)
        if place.leader in incarnations and starts.setdefault(key, incarnations[place.leader]) != incarnations[place.leader]:
            yield f"{_told(one)}: {place.leader} leads {key} as its incarnation {incarnations[place.leader]}, and was elected as {starts[key]}"


def _told(one: Said) -> str:
    return f"{one.source} at {one.span[1]:.3f}"
