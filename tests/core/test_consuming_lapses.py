"""What a consumer holds and no leader confirms in time: it gives that up by itself, as whoever leads now has done."""

from __future__ import annotations

import pytest

from tests.core.test_consuming_between_brokers import PATIENCE, SESSION_TIMEOUT, Cluster
from zmqmq.core.commands import Command, KeptLease, Moved, Pull, Refused, Subscribe


def lost(cluster: Cluster) -> list[tuple[int, int]]:
    """(partition, offset) of what the application was told to have lost."""
    return [(held.partition, held.offsets[index]) for held, indices in cluster.consuming.losses for index in indices]


def lost_to_one_of_two() -> Cluster:
    """A consumer holds a message of each of two brokers, and the session with the first is over."""
    cluster = Cluster("a", "b")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5)
    cluster.deliver("b", 1, 6)
    cluster.lose("a")
    return cluster


def test_a_session_that_is_surely_over_takes_only_what_that_broker_kept() -> None:
    cluster = lost_to_one_of_two()
    cluster.now += SESSION_TIMEOUT
    cluster.letters(Command)
    assert lost(cluster) == [(0, 5)]
    assert cluster.taken() == [(1, 6)]


def handed_over(brokers: str = "ab") -> tuple[Cluster, list[tuple[str, Subscribe]]]:
    """A consumer works on a message whose partition another broker leads since, as it hears now; and what it asks that one."""
    cluster = Cluster("a", brokers=brokers)
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5)
    assert cluster.taken() == [(0, 5)]
    cluster.lead(0, "b")
    cluster.consuming.hear("a", Moved("t"), cluster.now)
    return cluster, cluster.letters(Subscribe)


def wait(cluster: Cluster) -> None:
    """Until the session timeout is nearly over; the deadline says when."""
    cluster.now += PATIENCE - 0.1
    cluster.letters(Command)
    assert lost(cluster) == []
    assert cluster.consuming.deadline() <= cluster.now + 0.1
    cluster.now += 0.1
    cluster.letters(Command)


@pytest.mark.parametrize("brokers", ["a", "ab"], ids=["it cannot be reached", "it does not answer"])
def test_what_the_new_leader_does_not_confirm_in_time_is_lost_though_the_old_one_lives(brokers: str) -> None:
    cluster, asked = handed_over(brokers)
    assert len(asked) == len(brokers) - 1
    wait(cluster)
    assert lost(cluster) == [(0, 5)]


def test_what_the_new_leader_refuses_to_confirm_is_lost_in_time() -> None:
    cluster, ((_, asked),) = handed_over()
    cluster.consuming.hear("b", Refused(asked.id, "NotLeader", "not yet"), cluster.now)
    wait(cluster)
    assert lost(cluster) == [(0, 5)]


def test_what_the_new_leader_has_confirmed_is_not_lost_with_the_old_ones_session() -> None:
    cluster, ((_, asked),) = handed_over()
    cluster.join("b", asked, KeptLease(0, 1, 1, 2, 3, [5], []))
    cluster.lose("a")
    cluster.now += SESSION_TIMEOUT
    cluster.letters(Command)
    assert lost(cluster) == []


def test_a_leader_that_takes_the_session_over_and_is_slow_to_answer_still_keeps_what_is_held() -> None:
    cluster = Cluster("a")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5)
    cluster.lose("a")
    cluster.open("a")
    ((_, asked),) = cluster.letters(Subscribe)
    cluster.now += SESSION_TIMEOUT + 0.5
    cluster.letters(Command)
    assert lost(cluster) == []
    cluster.join("a", asked, KeptLease(0, 1, 1, 1, 1, [5], []))
    assert cluster.taken() == [(0, 5)]


def test_a_former_leader_that_takes_the_session_over_keeps_nothing() -> None:
    cluster = Cluster("a", brokers="a")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5)
    cluster.lose("a")
    cluster.now += PATIENCE - 1.0
    cluster.lead(0, "b")
    cluster.open("a")
    cluster.letters(Command)
    cluster.now += 1.01
    cluster.letters(Command)
    assert lost(cluster) == [(0, 5)], "the new leader has waited since before that session"


def test_what_waits_for_a_slow_leader_does_not_hide_what_lapses_later() -> None:
    cluster = lost_to_one_of_two()
    cluster.open("a")
    cluster.letters(Command)
    cluster.now += 4.0
    cluster.lead(1, "c")
    cluster.consuming.hear("b", Moved("t"), cluster.now)
    cluster.letters(Command)
    wait(cluster)
    assert lost(cluster) == [(1, 6)]
