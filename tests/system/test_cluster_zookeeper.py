"""ZooKeeper servers fail under a loaded cluster: service goes on or pauses, resumes by itself, and nothing confirmed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.cluster import ClusterProcesses
from tests.system.cluster_load import Load
from tests.system.ensemble import Ensemble
from tests.system.processes import Programs, eventually


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


def goes_on(cluster: ClusterProcesses, servers: Ensemble, load: Load) -> None:
    """All servers run again: the cluster becomes whole by itself, and nothing was lost."""
    for server in servers.servers:
        server.start()
    servers.wait_ready()
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


def test_without_a_quorum_service_pauses_and_resumes_by_itself(cluster: ClusterProcesses, servers: Ensemble) -> None:
    load = Load(cluster, "quorum")
    for number in (0, 1):
        servers.stop_server(number)
    eventually(lambda: disconnected(cluster), "no broker is connected")
    goes_on(cluster, servers, load)


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
