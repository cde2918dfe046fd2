"""ZooKeeper servers fail under a loaded cluster: service goes on or pauses, resumes by itself, and nothing confirmed is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.cluster import SLOW, ClusterProcesses
from tests.system.cluster_load import Load, read
from tests.system.ensemble import Ensemble
from tests.system.processes import Programs, eventually
from zmqmq import Admin, Producer

OUTAGE = 30.0
"""Seconds without a quorum: many times as long as a session lasts."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """Three ZooKeeper servers of these tests' own."""
    with Ensemble(tmp_path_factory.mktemp("servers")) as started:
        started.wait_ready()
        yield started


@pytest.fixture(scope="module")
def cluster(servers: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    """Three brokers that serve all tests of this file."""
    directory: Path = tmp_path_factory.mktemp("servers-fail")
    with Programs() as programs, ClusterProcesses(programs, servers, directory) as started:
        started.start()
        started.wait_whole()
        yield started
        started.check_no_traceback()


def leading_server(servers: Ensemble) -> int:
    return eventually(lambda: [number] if (number := servers.leader()) is not None else [], "a ZooKeeper server leads")[0]


def disconnected(cluster: ClusterProcesses) -> bool:
    """Whether no broker has a session that is alive."""
    reports = [cluster.report(name) for name in cluster.members]
    return all(report is not None and not report.connected for report in reports)


def all_run(servers: Ensemble) -> None:
    for server in servers.servers:
        servers.resume(server.number)
        server.start()
    servers.wait_ready()


def goes_on(cluster: ClusterProcesses, servers: Ensemble, load: Load) -> None:
    """All servers run again: the cluster becomes whole by itself, and nothing was lost."""
    all_run(servers)
    cluster.wait_whole()
    load.flow()
    load.finish()


def test_the_loss_of_the_leading_server_costs_nothing_that_was_confirmed(cluster: ClusterProcesses, servers: Ensemble) -> None:
    load = Load(cluster, "leading-server")
    servers.stop_server(leading_server(servers))
    load.flow()
    goes_on(cluster, servers, load)


def test_the_loss_of_one_server_costs_nothing_that_was_confirmed(cluster: ClusterProcesses, servers: Ensemble) -> None:
    load = Load(cluster, "one-server")
    leader = leading_server(servers)
    servers.stop_server(next(server.number for server in servers.servers if server.number != leader))
    load.flow()
    goes_on(cluster, servers, load)


def test_without_a_quorum_for_half_a_minute_service_pauses_and_resumes_by_itself(cluster: ClusterProcesses, servers: Ensemble) -> None:
    """One server is dead and one hangs. What is led is served until the leases end, then nothing until there is a quorum, and all again within SLOW."""
    load = Load(cluster, "quorum")
    with Admin(cluster.brokers) as admin, Producer(cluster.brokers, delivery_timeout=OUTAGE + 2 * SLOW) as producer:
        admin.create_topic("errands", partitions=1, replicas=3)
        producer.send("errands", b"before").result(SLOW)
        began = time.monotonic()
        servers.stop_server(0)
        servers.pause(1)
        eventually(lambda: disconnected(cluster), "no broker is connected")
        meanwhile = producer.send("errands", b"meanwhile")
        load.pause(until=began + OUTAGE)
        assert not meanwhile.done()
        shown = json.loads(cluster.programs.command(cluster.brokers, "cluster", "status", "--json", expect=1).text)
        assert not shown["connected"]
        assert "no_cluster" in {concern["level"] for concern in shown["concerns"]}
        all_run(servers)
        meanwhile.result(SLOW)
    load.flow()
    goes_on(cluster, servers, load)
    assert read(cluster, "errands", 2) == [b"before", b"meanwhile"]


def test_a_restart_of_the_whole_ensemble_costs_nothing_that_was_confirmed(cluster: ClusterProcesses, servers: Ensemble) -> None:
    load = Load(cluster, "ensemble")
    for server in servers.servers:
        server.stop()
    goes_on(cluster, servers, load)


def test_a_leader_killed_without_a_quorum_is_replaced_when_there_is_one_again(cluster: ClusterProcesses, servers: Ensemble) -> None:
    load = Load(cluster, "worst")
    victim = cluster.leader_of("worst")
    for number in (0, 1):
        servers.stop_server(number)
    cluster.kill(victim)
    for number in (0, 1):
        servers.start_server(number)
    assert cluster.leader_of("worst", other_than=victim)
    load.flow()
    cluster.start(victim)
    goes_on(cluster, servers, load)
