"""Figures for Prometheus: what the documents name is there, and tells the truth."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.demo_children import free_ports
from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import ClusterWorld
from tests.core.world import World
from zmqmq.config import MetricsConfig
from zmqmq.core.node import Node
from zmqmq.errors import ConfigError
from zmqmq.shell.metrics import Metrics, picture

DOCUMENT = Path(__file__).parent.parent / "docs" / "operations.md"
DEADLINE = 10.0


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics(MetricsConfig(enabled=True, port=free_ports()))
    yield metrics
    metrics.stop()


def scraped(metrics: Metrics, node: Node) -> dict[str, float]:
    """What Prometheus gets: value by name and labels."""
    metrics.latest = picture(node)
    host, port = metrics._server.server_address[:2]
    with urllib.request.urlopen(f"http://{host!s}:{port}/metrics", timeout=DEADLINE) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def cluster() -> ClusterWorld:
    """Three brokers, and a topic with three partitions led by one each."""
    cluster = ClusterWorld("abc", default_partitions=3)
    Producer(cluster["a"])
    cluster.pass_time(2.0)
    return cluster


def test_every_documented_figure_is_served_and_every_served_one_is_documented(metrics: Metrics) -> None:
    world = cluster()
    Consumer(world.leader_of(partition=0), partitions=[0])
    served = {name.partition("{")[0] for name in scraped(metrics, world.leader_of(partition=0).node)}
    documented = set(re.findall(r"`(zmqmq_[a-z_]+)`", DOCUMENT.read_text()))
    assert {name for name in served if name.startswith("zmqmq_") and not name.endswith("_created")} == documented


def test_figures_of_a_broker_alone_are_those_of_its_queues(metrics: Metrics) -> None:
    world = World()
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"a", b"b", b"c")
    lot = consumer.take(2)
    consumer.ack(lot, lot.offsets[:1])
    figures = scraped(metrics, world.node)
    assert (figures["zmqmq_messages_accepted_total"], figures["zmqmq_messages_delivered_total"], figures["zmqmq_messages_settled_total"]) == (3, 2, 1)
    assert figures['zmqmq_topic_messages{topic="t"}'] == 3
    assert (figures['zmqmq_group_lag{group="g",topic="t"}'], figures['zmqmq_group_held{group="g",topic="t"}']) == (2, 1)
    assert figures["zmqmq_sessions"] == 2 and not any(name.startswith("zmqmq_partitions") for name in figures)


def test_a_whole_cluster_has_nothing_to_complain_of(metrics: Metrics) -> None:
    figures = scraped(metrics, cluster()["a"].node)
    troubles = ("under_replicated", "below_min_in_sync", "offline")
    assert [figures[f"zmqmq_partitions_{trouble}"] for trouble in troubles] == [0, 0, 0]
    assert (figures["zmqmq_cluster_connected"], figures["zmqmq_partitions_led"], figures["zmqmq_replication_lag"]) == (1, 1, 0)


def test_one_broker_is_the_cluster_leader(metrics: Metrics) -> None:
    world = cluster()
    leaders = [machine.name for machine in world.living if scraped(metrics, machine.node)["zmqmq_cluster_leader"]]
    assert leaders == [world.leader.name]


def test_what_is_missing_is_counted_by_who_leads(metrics: Metrics) -> None:
    world = cluster()
    lonely, *dead = world.living
    for machine in dead:
        machine.die()
    world.pass_time(20.0)
    figures = scraped(metrics, lonely.node)
    led = figures["zmqmq_partitions_led"]
    assert led == figures["zmqmq_partitions_under_replicated"] == figures["zmqmq_partitions_below_min_in_sync"]
    assert led + figures["zmqmq_partitions_offline"] == 3


def test_a_broker_that_is_cut_off_is_not_connected(metrics: Metrics) -> None:
    world = cluster()
    world["b"].tree.cut()
    world.pass_time(5.0)
    assert scraped(metrics, world["b"].node)["zmqmq_cluster_connected"] == 0


def test_a_port_that_is_taken_is_said(metrics: Metrics) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        Metrics(MetricsConfig(enabled=True, port=metrics._server.server_address[1]))
