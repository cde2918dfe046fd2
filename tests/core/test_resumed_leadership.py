"""A leader that cannot hand over goes on: what happened meanwhile counts."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer, queue_of
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_full_disk_of_a_leader import led


def resumed_after(leader: Machine, consumer: Consumer, *, crashed: bool) -> None:
    """A hand-over begins, the consumer goes, and nobody takes over."""
    (replica,) = leader.cluster.roles
    leader.cluster.agreements.release(replica)
    session = leader.node.context.sessions.of(consumer.name)
    assert session is not None
    leader.node.consumers.leave_all(session, crashed=crashed, reason="gone")
    leader.node.context.sessions.remove(session)
    leader.cluster.agreements._resume(replica)


def served() -> tuple[ClusterWorld, Machine, Consumer]:
    cluster, leader = led()
    Producer(leader).send(b"x")
    return cluster, leader, Consumer(leader, timeout=5.0)


@pytest.mark.parametrize("crashed", [True, False])
def test_who_left_during_a_hand_over_that_failed_is_no_member_and_holds_nothing(crashed: bool) -> None:
    cluster, leader, consumer = served()
    assert consumer.take().values == [b"x"]
    resumed_after(leader, consumer, crashed=crashed)
    cluster.pass_time(20.0)
    queue = queue_of(leader)
    assert not queue.state.members and not queue.consumers and not queue.book.holders and not queue.reclaim
    assert Consumer(leader, "other").values() == [b"x"]


def test_who_comes_back_in_time_is_a_member_still() -> None:
    cluster, leader, consumer = served()
    lot = consumer.take()
    held = consumer.holding(lot)
    resumed_after(leader, consumer, crashed=False)
    assert [entry.kept for entry in consumer.join([held])] == [lot.offsets]
    assert set(queue_of(leader).state.members) == {consumer.name} and not queue_of(leader).reclaim


def test_who_stayed_is_not_asked_to_report() -> None:
    cluster, leader, consumer = served()
    (replica,) = leader.cluster.roles
    leader.cluster.agreements.release(replica)
    leader.cluster.agreements._resume(replica)
    assert not queue_of(leader).reclaim
    assert consumer.values() == [b"x"]
