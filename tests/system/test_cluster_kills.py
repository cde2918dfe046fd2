"""Brokers of a cluster are killed under load: nothing confirmed is lost, order per key is kept, and nobody holds what another one holds."""

from __future__ import annotations

from tests.system.cluster import ClusterProcesses
from tests.system.cluster_load import Load


def kill_and_bring_back(cluster: ClusterProcesses, load: Load, *victims: str) -> None:
    cluster.kill(*victims)
    load.flow()
    cluster.start(*victims)
    cluster.wait_whole()
    load.flow()
    load.finish()


def test_a_killed_leader_of_partitions_costs_nothing_that_was_confirmed(whole: ClusterProcesses) -> None:
    load = Load(whole, "leader")
    victim = whole.leader_of("leader")
    whole.kill(victim)
    load.flow()
    assert whole.leader_of("leader", other_than=victim) != victim
    kill_and_bring_back(whole, load, victim)


def test_a_killed_cluster_leader_costs_nothing_that_was_confirmed(whole: ClusterProcesses) -> None:
    load = Load(whole, "office")
    victim = whole.cluster_leader()
    whole.kill(victim)
    assert whole.cluster_leader(other_than=victim)
    kill_and_bring_back(whole, load, victim)


def test_a_killed_follower_costs_nothing_that_was_confirmed(whole: ClusterProcesses) -> None:
    load = Load(whole, "follower", partitions=1)
    leader = whole.leader_of("follower")
    kill_and_bring_back(whole, load, next(name for name in whole.members if name != leader))


def test_leader_and_cluster_leader_killed_at_once_cost_nothing_that_was_confirmed(whole: ClusterProcesses) -> None:
    load = Load(whole, "both", partitions=3)
    office = whole.cluster_leader()
    leader = next((name for name in (whole.leader_of("both", number) for number in range(3)) if name != office), "")
    assert leader, "one broker leads everything"
    whole.kill(office, leader)
    whole.start(office, leader)
    whole.wait_whole()
    load.flow()
    load.finish()


def test_all_brokers_killed_at_once_cost_nothing_that_was_confirmed(whole: ClusterProcesses) -> None:
    load = Load(whole, "all")
    whole.kill(*whole.members)
    whole.start()
    whole.wait_whole()
    load.flow()
    load.finish()
