"""Figures for Prometheus, served over HTTP by a thread of its own.

The broker's loop publishes an immutable picture about once a second; the HTTP thread only reads the latest one, so a scrape
never waits for the loop, nor the loop for a scrape. Names follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zmqmq.config import MetricsConfig
from zmqmq.core.cluster_report import ReplicationFigures, figures_of
from zmqmq.core.node import Node
from zmqmq.core.overview import Figures
from zmqmq.errors import ConfigError

TOPICS_MAX = 1_000
"""Topics with series of their own; more would make a scrape slow."""


class TopicFigures(NamedTuple):
    """One topic, or one group of it."""

    topic: str
    group: str
    messages: int
    size: int
    lag: int
    held: int
    dead: int


class Picture(NamedTuple):
    """What the loop publishes."""

    figures: Figures
    accepted: int
    delivered: int
    settled: int
    sessions: int
    storage_full: bool
    topics: Sequence[TopicFigures]
    groups: Sequence[TopicFigures]
    cluster: ReplicationFigures | None


def picture(node: Node) -> Picture:
    """The node's figures now."""
    context = node.context
    topics: list[TopicFigures] = []
    groups: list[TopicFigures] = []
    for name in node.catalogue.names()[:TOPICS_MAX]:
        partitions = list(node.catalogue.get(name).partitions.values())
        topics.append(TopicFigures(name, "", sum(p.messages for p in partitions), sum(p.size for p in partitions), 0, 0, 0))
        for group in sorted({known for partition in partitions for known in partition.queues}):
            queues = [queue for partition in partitions if (queue := partition.queues.get(group))]
            lag, held, dead = (sum(q.state.lag for q in queues), sum(q.book.held for q in queues), sum(q.state.dead for q in queues))
            groups.append(TopicFigures(name, group, 0, 0, lag, held, dead))
    counters = context.counters
    figures = node.overview.figures
    sessions = len(context.sessions)
    cluster = figures_of(node.cluster) if node.cluster is not None else None
    return Picture(figures, counters.accepted, counters.delivered, counters.settled, sessions, context.storage_full, topics, groups, cluster)


class Metrics(Collector):
    """Serves the latest picture until `stop`."""

    def __init__(self, config: MetricsConfig) -> None:
        self.latest: Picture | None = None
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(config.port, config.host, registry)
        except OSError as error:
            raise ConfigError(
                f"metrics: cannot listen on {config.host}:{config.port}: {error.strerror}", hint="choose another metrics.port or switch metrics.enabled off"
            ) from error

    def collect(self) -> Iterator[Metric]:
        """Called by the HTTP thread for each scrape."""
        latest = self.latest
        if latest is None:
            return
        for name, text, value in (
            ("zmqmq_messages_accepted", "messages confirmed to producers since the start", latest.accepted),
            ("zmqmq_messages_delivered", "messages delivered to consumers since the start", latest.delivered),
            ("zmqmq_messages_settled", "messages acknowledged or rejected since the start", latest.settled),
        ):
            yield CounterMetricFamily(name, text, value=value)
        for name, text, size in (
            ("zmqmq_sessions", "connected clients", latest.sessions),
            ("zmqmq_storage_bytes", "database and write-ahead log", latest.figures.storage_bytes),
            ("zmqmq_disk_free_bytes", "room on the disk", latest.figures.disk_free),
            ("zmqmq_storage_full", "1 while the disk is full", int(latest.storage_full)),
            ("zmqmq_loop_lag_seconds", "longest turn lately", latest.figures.loop_lag),
        ):
            yield GaugeMetricFamily(name, text, value=size)
        if latest.cluster is not None:
            yield from _replication(latest.cluster)
        yield from _families("topic", latest.topics, ("messages", "size"))
        yield from _families("group", latest.groups, ("lag", "held", "dead"))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def _replication(figures: ReplicationFigures) -> Iterator[Metric]:
    for name, text, value in (
        ("zmqmq_cluster_connected", "1 while the broker is in touch with its cluster and may confirm and deliver", figures.serves),
        ("zmqmq_cluster_leader", "1 at the cluster leader", figures.is_leader),
        ("zmqmq_partitions_led", "partitions that this broker leads", figures.led),
        ("zmqmq_partitions_under_replicated", "partitions led here with fewer replicas in sync than there should be", figures.under_replicated),
        ("zmqmq_partitions_below_min_in_sync", "partitions led here whose messages are refused for want of replicas", figures.refusing),
        ("zmqmq_partitions_offline", "partitions of the cluster that nobody leads, as far as this broker knows", figures.offline),
        ("zmqmq_replication_lag", "records that the furthest follower is behind, of the partitions led here", figures.lag),
    ):
        yield GaugeMetricFamily(name, text, value=value)


def _families(kind: str, rows: Sequence[TopicFigures], fields: Sequence[str]) -> Iterator[Metric]:
    """One family per field, labelled by topic and, for groups, by group."""
    labels = ["topic", "group"] if kind == "group" else ["topic"]
    for field in fields:
        unit = "_bytes" if field == "size" else ""
        family = GaugeMetricFamily(f"zmqmq_{kind}_{field}{unit}", f"{field} of the {kind}", labels=labels)
        for row in rows:
            family.add_metric([row.topic, row.group][: len(labels)], getattr(row, field))
        yield family
