"""What administrators ask of a cluster. Any broker takes these: what they change is written to the tree that all brokers follow.

Every request carries `id`, every answer echoes it; errors are `Refused`.
"""

from __future__ import annotations

from zmqmq.core.commands import Command


class AskCluster(Command, frozen=True, tag="ask_cluster"):
    """Answer: ClusterReport, as the asked broker sees the cluster. `topic` "" means all."""

    id: int
    topic: str = ""


class MemberSummary(Command, frozen=True):
    """One broker of the cluster."""

    broker_id: str
    live: bool
    """Registered now."""
    endpoint: str
    rack: str
    software: str
    incarnation: int
    draining: bool
    removing: bool
    leads: int
    """Partitions that it leads."""
    replicas: int
    """Partitions that it holds or is to hold."""
    in_sync: int
    """Those of them in whose in-sync set it is."""


class PlaceSummary(Command, frozen=True):
    """One partition."""

    topic: str
    partition: int
    leader: str
    """"" while nobody leads: the partition is offline."""
    epoch: int
    replicas: list[str]
    in_sync: list[str]
    eligible: list[str]
    """Who else may lead while too few are in sync."""
    adding: list[str]
    removing: list[str]
    needed: int
    """In-sync replicas that a message needs to be confirmed."""
    end: int = -1
    """Offset that the next record gets; known to the leader only, -1 from others."""
    committed: int = -1
    lag: dict[str, int] = {}
    """Records by which each follower is behind; known to the leader only."""
    wanted: int = 0
    """Replicas that the topic shall have: more than `replicas` while there are too few brokers."""


class ClusterReport(Command, frozen=True, tag="cluster_report"):
    id: int
    cluster_id: str
    broker: str
    """Who answers."""
    leader: str
    """The cluster leader, "" while there is none."""
    epoch: int
    """Of the cluster leader's election."""
    connected: bool
    """The answering broker's coordination session is alive."""
    members: list[MemberSummary]
    places: list[PlaceSummary]


class DrainBroker(Command, frozen=True, tag="drain_broker"):
    """The broker hands its leaderships over and gets no new ones, until it is undone. Answer: Done(count = partitions that it leads now)."""

    id: int
    broker: str
    drain: bool = True


class RemoveBroker(Command, frozen=True, tag="remove_broker"):
    """The broker's replicas move to others; when none is left it may be stopped for good. Answer: Done(count = replicas that have to move)."""

    id: int
    broker: str
    remove: bool = True


class Reassign(Command, frozen=True, tag="reassign"):
    """Moves one partition to these brokers, the first of which is preferred as leader. Answer: Done."""

    id: int
    topic: str
    partition: int
    replicas: list[str]


class AddPartitions(Command, frozen=True, tag="add_partitions"):
    """The topic gets more partitions (never fewer): keys may get another partition, so order per key holds from then on only. Answer: Described."""

    id: int
    topic: str
    partitions: int
    """How many there shall be in all."""
