"""Fixtures: a test's processes, and a broker among them; an ensemble of ZooKeeper servers, and brokers that are a cluster on it.

Each cluster has a name of its own on the ensemble. A test that breaks servers starts an `Ensemble` of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.cluster import ClusterProcesses
from tests.system.ensemble import Ensemble
from tests.system.processes import BrokerProcess, Programs
from zmqmq.testing import TestBroker

HERE = Path(__file__).resolve().parent


def pytest_configure() -> None:
    """A run that a shell has put into the background ignores SIGINT, and so would every program that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory starts real processes or a real broker."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as started:
        yield started


@pytest.fixture
def broker(programs: Programs, tmp_path: Path) -> BrokerProcess:
    """A broker as a process of its own."""
    return programs.broker(tmp_path / "data")


@pytest.fixture
def inner() -> Iterator[TestBroker]:
    """A broker in a thread of the test."""
    with TestBroker() as started:
        yield started


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """Three ZooKeeper servers, ready."""
    with Ensemble(tmp_path_factory.mktemp("zookeeper"), servers=3) as servers:
        servers.wait_ready()
        yield servers


@pytest.fixture(scope="module")
def cluster(ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ClusterProcesses]:
    """Three brokers that serve all tests of a file, whole for the first time. `CLUSTER`, where a file has it, is what they have that is not as usual:
    arguments of `ClusterProcesses`."""
    directory = tmp_path_factory.mktemp(request.module.__name__.rpartition("test_cluster_")[2])
    with Programs() as programs, ClusterProcesses(programs, ensemble, directory, **getattr(request.module, "CLUSTER", {})) as started:
        started.start()
        started.wait_whole()
        yield started


@pytest.fixture
def whole(cluster: ClusterProcesses) -> Iterator[ClusterProcesses]:
    """They are whole again when a test begins, with all brokers running and nothing cut when it has ended."""
    cluster.wait_whole()
    yield cluster
    cluster.mend()
    cluster.check_no_traceback()
    cluster.start()
