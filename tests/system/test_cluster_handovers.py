"""Brokers of a cluster are ended in good order and started again under load: no send fails, and nothing is delivered twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.cluster import ClusterProcesses
from tests.system.cluster_load import Load
from tests.system.ensemble import Ensemble
from tests.system.ensemble_fixture import ensemble
from tests.system.processes import Programs

__all__ = ["ensemble"]


@pytest.fixture(scope="module")
def cluster(ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    """Three brokers that serve all tests of this file."""
    directory: Path = tmp_path_factory.mktemp("handovers")
    with Programs() as programs, ClusterProcesses(programs, ensemble, directory) as started:
        started.start()
        started.wait_whole()
        yield started
        started.check_no_traceback()


def again(load: Load) -> list[str]:
    """What was delivered more than once, once everything is settled."""
    outcome = load.finish()
    print(f"{outcome.sent} messages, the longest time between two confirmations was {outcome.longest:.3f} s")
    seen: dict[str, int] = {}
    for delivery in outcome.deliveries:
        seen[delivery.value] = seen.get(delivery.value, 0) + 1
    return [value for value, count in seen.items() if count > 1]


def test_a_leader_that_is_ended_in_good_order_hands_over_and_nothing_is_delivered_twice(cluster: ClusterProcesses) -> None:
    load = Load(cluster, "farewell")
    victim = cluster.leader_of("farewell")
    cluster.stop(victim)
    assert cluster.leader_of("farewell") != victim
    load.flow()
    cluster.start(victim)
    cluster.wait_whole()
    assert again(load) == []


def test_a_rolling_restart_is_not_noticed_by_producers_and_consumers(cluster: ClusterProcesses) -> None:
    load = Load(cluster, "rolling")
    for name in cluster.members:
        cluster.stop(name)
        cluster.start(name)
        cluster.wait_whole()
        load.flow(100)
    assert again(load) == []


def test_the_cluster_leader_hands_its_office_over(cluster: ClusterProcesses) -> None:
    victim = cluster.cluster_leader()
    cluster.stop(victim)
    assert cluster.cluster_leader(other_than=victim)
    cluster.start(victim)
    cluster.wait_whole()
