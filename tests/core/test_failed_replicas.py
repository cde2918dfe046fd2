"""Replicas that have failed: they take part in nothing more, and nobody relies on them."""

from __future__ import annotations

from tests.core.acts import Consumer
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_damage import CATCH_UP, MESSAGES, cluster, leader, names, place, produce
from zmqmq.core.replica import Replica

__all__ = ["cluster"]


CONTRADICTION = "its log contradicts what is committed"


def the_replica(machine: Machine) -> Replica:
    (replica,) = machine.cluster.roles
    return replica


def others(cluster: ClusterWorld) -> list[Machine]:
    return [machine for machine in cluster.living if machine is not leader(cluster)]


def test_a_follower_that_has_failed_is_neither_in_sync_nor_eligible_any_more(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    before, failed = place(cluster), others(cluster)[0]
    failed.cluster.roles.fail(the_replica(failed), CONTRADICTION)
    cluster.pass_time(1.0)
    after = place(cluster)
    assert (after.leader, after.epoch) == (before.leader, before.epoch + 1)
    assert failed.name not in names([*after.isr, *after.elr]) and len(after.isr) == 2
    produce(cluster, MESSAGES)
    cluster.pass_time(CATCH_UP)
    assert place(cluster) == after, "and it does not come back"


def test_a_failed_follower_of_which_too_few_are_left_is_not_kept_as_eligible(cluster: ClusterWorld) -> None:
    failed, dead = others(cluster)
    dead.die()
    cluster.pass_time(CATCH_UP)
    failed.cluster.roles.fail(the_replica(failed), CONTRADICTION)
    cluster.pass_time(CATCH_UP)
    after = place(cluster)
    assert (names(after.isr), names(after.elr)) == (after.leader, "")


def test_a_failed_replica_that_is_elected_before_it_could_leave_lets_another_one_lead(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first, (failed, whole) = leader(cluster), others(cluster)
    the_replica(failed).fail(CONTRADICTION)
    first.die()
    cluster.pass_time(1.0)
    after = place(cluster)
    assert (after.leader, names(after.isr), failed.name in names(after.elr)) == (whole.name, whole.name, False)
    first.start()
    cluster.pass_time(CATCH_UP)
    assert names(place(cluster).isr) == "abc".replace(failed.name, "")
    assert Consumer(leader(cluster)).drain() == MESSAGES


def test_a_failed_replica_that_has_everything_alone_stays_named_and_leads_after_a_restart(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first, (failed, last) = leader(cluster), others(cluster)
    last.die()
    cluster.pass_time(CATCH_UP)
    first.die()
    cluster.pass_time(CATCH_UP)
    assert names(place(cluster).isr) == failed.name
    failed.cluster.roles.fail(the_replica(failed), CONTRADICTION)
    cluster.pass_time(CATCH_UP)
    assert names(place(cluster).isr) == failed.name
    failed.die()
    cluster.pass_time(CATCH_UP)
    for machine in (failed, last):
        machine.start()
    cluster.pass_time(CATCH_UP)
    assert Consumer(leader(cluster)).drain() == MESSAGES
