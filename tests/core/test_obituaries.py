"""Brokers that are taken for dead because their address refuses: at once if they are, and once if they are not."""

from __future__ import annotations

import pytest

from tests.core.cluster_world import ClusterWorld
from tests.core.small_cluster import a_broker
from zmqmq.core.obituaries import Obituaries

SECONDS = 10
SOON = 1.0
"""Seconds; no session expires as early."""


@pytest.fixture
def cluster() -> ClusterWorld:
    return ClusterWorld("abc")


def registrations(cluster: ClusterWorld, broker: str) -> int:
    me = cluster[broker].cluster.me()
    assert me is not None
    return me.be


def refuse(cluster: ClusterWorld, broker: str, witness: str) -> None:
    """The address of one broker refuses for another one, which looks again every second."""
    for _ in range(SECONDS):
        cluster[witness].node.refused(broker, cluster[broker].endpoint)
        cluster.pass_time(1.0)


def heard(cluster: ClusterWorld, witness: str) -> list[str]:
    return [name for name, _ in cluster[witness].events if "obituary" in name]


def is_registered(cluster: ClusterWorld, broker: str) -> bool:
    return broker in cluster.leader.cluster.view.brokers


def test_a_broker_whose_address_refuses_for_one_other_only_loses_one_registration(cluster: ClusterWorld) -> None:
    before = registrations(cluster, "b")
    refuse(cluster, "b", "c")
    assert registrations(cluster, "b") == before + 1
    assert heard(cluster, "c") == ["obituary", "wrong obituary"]


def test_a_wrong_obituary_of_one_broker_does_not_keep_the_others_from_noticing_a_death(cluster: ClusterWorld) -> None:
    refuse(cluster, "b", "c")
    cluster["b"].die()
    cluster.pass_time(SOON)
    assert not is_registered(cluster, "b")
    assert heard(cluster, "a") == ["obituary"]


def test_a_process_that_was_started_again_can_be_declared_dead_again(cluster: ClusterWorld) -> None:
    cluster["a"].die()
    cluster.pass_time(SOON)
    refuse(cluster, "b", "c")
    cluster["b"].die()
    cluster.pass_time(SOON)
    assert is_registered(cluster, "b"), "the one witness has erred before"
    cluster["b"].start()
    cluster.pass_time(10.0)
    assert is_registered(cluster, "b")
    cluster["b"].die()
    cluster["c"].node.refused("b", cluster["b"].endpoint)
    cluster.pass_time(SOON)
    assert not is_registered(cluster, "b")


def test_an_obituary_that_came_to_nothing_is_written_again() -> None:
    obituaries, info = Obituaries(), a_broker("a", 3)
    assert obituaries.is_believed(info) and obituaries.is_believed(info)
    again = a_broker("a", 4)
    assert not obituaries.is_believed(again)
    assert obituaries.find_wrong(again) and not obituaries.find_wrong(again)
    assert not obituaries.is_believed(info) and not obituaries.is_believed(a_broker("a", 5))
    assert obituaries.is_believed(a_broker("a", 6, storage="other"))
