"""What is committed and who is in sync, as a leader sees it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from zmqmq.core.leader import Leader
from zmqmq.core.places import Member, Place

A, B, C = (Member(name, 1, f"store-{name}") for name in "abc")
PLACE = Place(replicas=["a", "b", "c"], leader="a", leader_be=1, epoch=3, isr=[A, B, C])
NEVER = float("-inf")


def silent(broker: str) -> float:
    return NEVER


@pytest.fixture
def leader() -> Leader:
    made = Leader("a", start=10, now=100.0, needed=2, max_lag=4.0)
    made.agreed(PLACE, 7)
    return made


def with_isr(*members: Member) -> Place:
    return Place(replicas=PLACE.replicas, leader="a", leader_be=1, epoch=3, isr=list(members))


def test_nothing_is_committed_until_every_in_sync_follower_has_fetched_in_this_leadership(leader: Leader) -> None:
    leader.fetched("b", 1, 15, 15, 100.0)
    assert leader.committed(15) == -1
    leader.fetched("c", 1, 12, 15, 100.0)
    assert leader.committed(15) == 12


def test_what_is_not_on_the_leaders_own_disk_is_not_committed(leader: Leader) -> None:
    leader.fetched("b", 1, 15, 15, 100.0)
    leader.fetched("c", 1, 15, 15, 100.0)
    assert leader.committed(13) == 13


def test_with_too_few_in_sync_members_nothing_more_is_committed(leader: Leader) -> None:
    leader.agreed(with_isr(A), 8)
    assert leader.committed(15) == -1


def test_while_others_are_eligible_nothing_is_committed_however_few_are_asked_for(leader: Leader) -> None:
    leader.fetched("b", 1, 15, 15, 100.0)
    leader.agreed(replace(with_isr(A, B), elr=[C]), 8)
    assert leader.committed(15) == -1
    freed = leader.propose(replace(with_isr(A, B), elr=[C]), 8, [A, B], "n1")
    assert not freed.elr and leader.committed(15) == -1, "nobody knows yet whether that was written"
    leader.agreed(freed, 9)
    assert leader.committed(15) == 15


def test_while_a_smaller_set_is_proposed_the_larger_one_still_counts(leader: Leader) -> None:
    leader.fetched("b", 1, 15, 15, 100.0)
    leader.propose(PLACE, 7, [A, B], "n1")
    assert leader.committed(15) == -1
    leader.agreed(with_isr(A, B), 8)
    assert leader.committed(15) == 15


def test_while_a_larger_set_is_proposed_it_counts_already(leader: Leader) -> None:
    leader.agreed(with_isr(A, B), 8)
    leader.fetched("b", 1, 15, 15, 100.0)
    leader.fetched("c", 1, 11, 15, 100.0)
    leader.propose(with_isr(A, B), 8, [A, B, C], "n1")
    assert leader.committed(15) == 11


def test_only_the_refusal_of_the_present_proposal_ends_it(leader: Leader) -> None:
    leader.propose(PLACE, 7, [A, B], "n2")
    leader.refused("n1")
    assert leader.maximal == {"a", "b", "c"} and leader.pending is not None
    leader.refused("n2")
    assert leader.pending is None


def test_a_record_of_the_same_version_settles_no_proposal(leader: Leader) -> None:
    leader.propose(PLACE, 7, [A, B], "n1")
    leader.agreed(PLACE, 7)
    assert leader.pending is not None


def test_a_follower_that_does_not_catch_up_is_behind_after_the_lag(leader: Leader) -> None:
    leader.fetched("b", 1, 12, 20, 101.0)
    leader.fetched("c", 1, 20, 20, 103.5)
    assert leader.behind(104.0, silent) == []
    assert leader.behind(104.5, silent) == ["b"]


def test_a_follower_that_reaches_the_end_of_its_last_fetch_each_time_keeps_up_with_live_traffic(leader: Leader) -> None:
    for second in range(10):
        leader.fetched("b", 1, 20 + 10 * second, 30 + 10 * second, 101.0 + second)
        leader.fetched("c", 1, 30 + 10 * second, 30 + 10 * second, 101.0 + second)
    assert leader.behind(111.0, silent) == []


def test_an_idle_follower_that_asks_again_and_again_is_not_behind_when_news_comes_after_an_hour(leader: Leader) -> None:
    leader.advanced(20, silent)
    for follower in ("b", "c"):
        leader.fetched(follower, 1, 20, 20, 101.0)
    heard = {"b": 3700.0, "c": 3600.0 - 10}
    assert leader.behind(3700.0, heard.__getitem__) == ["c"]
    leader.advanced(25, heard.__getitem__)
    assert leader.behind(3700.1, heard.__getitem__) == ["c"], "b had everything a moment ago"


def test_a_follower_is_taken_in_when_it_has_what_the_leader_began_with(leader: Leader) -> None:
    leader.agreed(with_isr(A, B), 8)
    leader.fetched("c", 1, 9, 9, 100.0)
    assert leader.ready(5, with_isr(A, B), [A, B, C], 100.0, silent) == []
    leader.fetched("c", 1, 10, 10, 100.5)
    assert leader.ready(5, with_isr(A, B), [A, B, C], 100.5, silent) == [C]


def test_a_follower_of_an_earlier_life_is_not_taken_in(leader: Leader) -> None:
    leader.agreed(with_isr(A, B), 8)
    leader.fetched("c", 1, 15, 15, 100.0)
    reborn = Member("c", 2, "store-c")
    assert leader.ready(5, with_isr(A, B), [A, B, reborn], 100.0, silent) == []


def test_who_leaves_below_the_quorum_stays_eligible(leader: Leader) -> None:
    place = leader.propose(with_isr(A, B), 8, [A], "n1")
    assert [member.broker for member in place.isr] == ["a"]
    assert [member.broker for member in place.elr] == ["b"]
