"""Brokers of a cluster are ended in good order and started again under load: no send fails, and nothing is delivered twice."""

from __future__ import annotations

from tests.system.cluster import ClusterProcesses
from tests.system.cluster_load import Load


def again(load: Load) -> list[str]:
    """What was delivered more than once, once everything is settled."""
    outcome = load.finish()
    print(f"{outcome.sent} messages, the longest time between two confirmations was {outcome.longest:.3f} s")
    seen: dict[str, int] = {}
    for delivery in outcome.deliveries:
        seen[delivery.value] = seen.get(delivery.value, 0) + 1
    return [value for value, count in seen.items() if count > 1]


def test_a_leader_that_is_ended_in_good_order_hands_over_and_nothing_is_delivered_twice(whole: ClusterProcesses) -> None:
    load = Load(whole, "farewell")
    victim = whole.leader_of("farewell")
    whole.stop(victim)
    assert whole.leader_of("farewell") != victim
    load.flow()
    whole.start(victim)
    whole.wait_whole()
    assert again(load) == []


def test_a_rolling_restart_is_not_noticed_by_producers_and_consumers(whole: ClusterProcesses) -> None:
    load = Load(whole, "rolling")
    for name in whole.members:
        whole.stop(name)
        whole.start(name)
        whole.wait_whole()
        load.flow(100)
    assert again(load) == []


def test_the_cluster_leader_hands_its_office_over(whole: ClusterProcesses) -> None:
    victim = whole.cluster_leader()
    whole.stop(victim)
    assert whole.cluster_leader(other_than=victim)
    whole.start(victim)
    whole.wait_whole()
