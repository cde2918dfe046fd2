"""What is wrong with a cluster, read from its report: worst first, and nothing if all is well.

A partition without a leader is *offline*: nothing can be sent to it or consumed from it. One with fewer in-sync replicas than a message
needs *refuses* new messages. One that lacks a replica is *under-replicated*: it works, with less to lose. What is only on its way
(a partition that moves, a broker that is being drained) is no concern.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from zmqmq.core.cluster_commands import ClusterReport, PlaceSummary

NAMED = 5
"""Brokers or partitions that the verdict names before it only counts."""


class Level(IntEnum):
    """How bad it is, worst first."""

    NO_CLUSTER = 0
    OFFLINE = 1
    REFUSING = 2
    UNDER_REPLICATED = 3
    AWAY = 4


class Concern(NamedTuple):
    """One thing that is wrong."""

    level: Level
    what: str
    """The broker, or topic/partition; "" for the cluster."""
    text: str


def concerns_of(report: ClusterReport) -> list[Concern]:
    """Everything that is wrong, worst first."""
    found = []
    if not report.leader:
        found.append(Concern(Level.NO_CLUSTER, "", "there is no cluster leader: nobody appoints leaders of partitions"))
    if not report.connected:
        found.append(Concern(Level.NO_CLUSTER, report.broker, f"{report.broker} has lost touch with ZooKeeper: this may be out of date"))
    found += [concern for place in report.places if (concern := concern_of(place))]
    found += [Concern(Level.AWAY, member.broker_id, f"{member.broker_id} is not there") for member in report.members if not member.live]
    return sorted(found)


def concern_of(place: PlaceSummary) -> Concern | None:
    """What is wrong with one partition."""
    name = f"{place.topic}/{place.partition}"
    missing = [broker for broker in place.replicas if broker not in place.in_sync and broker not in place.adding]
    if not place.leader:
        able = place.eligible or place.in_sync
        return Concern(Level.OFFLINE, name, f"{name} has no leader; waits for {' or '.join(able) if able else 'a replica'}")
    if len(place.in_sync) < place.needed:
        return Concern(Level.REFUSING, name, f"{name} refuses messages: {len(place.in_sync)} of {place.needed} needed replicas are in sync")
    if missing:
        return Concern(Level.UNDER_REPLICATED, name, f"{name} is not in sync on {', '.join(missing)}")
    held = len(place.replicas) - len(place.removing)
    if held < place.wanted:
        return Concern(Level.UNDER_REPLICATED, name, f"{name} has {held} of {place.wanted} replicas: there are too few brokers")
    return None


def worst_first(places: Sequence[PlaceSummary]) -> list[PlaceSummary]:
    """Partitions that are a concern before those that are not, otherwise in their order."""
    return sorted(places, key=lambda place: concern.level if (concern := concern_of(place)) else len(Level))


def verdict(report: ClusterReport, concerns: Sequence[Concern]) -> str:
    """The sentence to read first."""
    live = sum(member.live for member in report.members)
    size = f"{live} {'broker' if live == 1 else 'brokers'}, {len(report.places)} {'partition' if len(report.places) == 1 else 'partitions'}"
    if not concerns:
        return f"healthy: {size}, every replica in sync"
    parts = [concern.text for concern in concerns if concern.level is Level.NO_CLUSTER]
    for level, words in ((Level.OFFLINE, "offline"), (Level.REFUSING, "refusing messages"), (Level.UNDER_REPLICATED, "under-replicated"), (Level.AWAY, "away")):
        names = [concern.what for concern in concerns if concern.level is level]
        if names:
            parts.append(f"{len(names)} {words} ({', '.join(names[:NAMED])}{' …' if len(names) > NAMED else ''})")
    return f"not healthy: {'; '.join(parts)} ({size})"
