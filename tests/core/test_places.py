"""Where a partition lives: who is in sync, who may lead, how moves go; each rule as a sentence, and the laws that hold for all records."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.small_cluster import a_member, a_place, fence
from zmqmq.core.places import (
    Member,
    Place,
    begin_move,
    elect,
    end_move,
    hand_over,
    is_moved,
    needed_of,
    quorum,
    release,
    with_in_sync,
)

NAMES = "abcde"
Lives = Callable[[str], Member | None]


def alive(*members: Member) -> Lives:
    return {member.broker: member for member in members}.get


A, B, C = (a_member(name) for name in "abc")

MEMBERS = st.builds(Member, st.sampled_from(NAMES), st.integers(0, 2), st.sampled_from(["s", "z"]))


@st.composite
def lives_of(draw: st.DrawFn) -> Lives:
    return {member.broker: member for member in draw(st.lists(MEMBERS, max_size=5))}.get


@st.composite
def places(draw: st.DrawFn) -> tuple[Place, int]:
    """A record such as it may be found, and how many in-sync replicas its messages need."""
    replicas = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    members = [Member(name, draw(st.integers(0, 2)), draw(st.sampled_from(["s", "z"]))) for name in sorted(replicas)]
    isr = [member for member in members if draw(st.booleans())]
    needed = draw(st.integers(1, len(replicas)))
    elr = [member for member in members if member not in isr and draw(st.booleans())] if len(isr) < needed else []
    leader = draw(st.sampled_from([None, *isr]))
    name, be = (leader.broker, leader.be) if leader else ("", 0)
    return Place(replicas=replicas, leader=name, leader_be=be, epoch=draw(st.integers(1, 9)), isr=isr, elr=elr), needed


@pytest.mark.parametrize(("replicas", "setting", "expected"), [(1, 0, 1), (2, 0, 2), (3, 0, 2), (5, 0, 3), (3, 1, 1)])
def test_without_a_setting_the_majority_is_needed(replicas: int, setting: int, expected: int) -> None:
    assert quorum(replicas, setting) == expected


def test_replicas_that_come_do_not_count_towards_the_majority() -> None:
    assert needed_of(begin_move(a_place("abc"), ["b", "c", "d"]), 0) == 2


def test_who_leaves_while_enough_remain_is_forgotten() -> None:
    place = with_in_sync(a_place("abc"), [A, B], 2)
    assert (place.isr, place.elr) == ([A, B], [])


def test_who_leaves_while_too_few_remain_stays_eligible() -> None:
    place = with_in_sync(with_in_sync(a_place("abc"), [A, B], 2), [A], 2)
    assert (place.isr, place.elr) == ([A], [B])
    assert with_in_sync(place, [A, C], 2).elr == []


def test_the_preferred_live_member_leads_and_drained_ones_come_last() -> None:
    place = a_place("abc")
    assert elect(place, alive(B, C), 2).leader == "b"
    assert elect(place, alive(A, B, C), 2, avoid=["a"]).leader == "b"
    assert elect(place, alive(A), 2, avoid=["a"]).leader == "a"


def test_an_earlier_life_of_a_member_may_not_lead() -> None:
    place = elect(a_place("a"), alive(a_member("a", 1)), 1)
    assert (place.leader, place.epoch) == ("", 2)


def test_an_eligible_replica_on_the_same_store_leads_alone() -> None:
    again = a_member("b", 1)
    place = elect(a_place("abc", isr=[A], elr=[B]), alive(again, C), 2)
    assert (place.leader, place.leader_be, place.isr, place.elr) == ("b", 1, [again], [A])


def test_a_wiped_eligible_replica_may_not_lead() -> None:
    assert elect(a_place("abc", isr=[], elr=[B]), alive(a_member("b", 1, "new"), C), 2).leader == ""


def test_a_single_replica_leads_again_when_it_returns() -> None:
    gone = fence(a_place("a"), "a", alive(), 1)
    assert (gone.leader, gone.isr, gone.elr) == ("", [], [A])
    again = a_member("a", 1)
    back = elect(gone, alive(again), 1)
    assert (back.leader, back.isr, back.elr, back.epoch) == ("a", [again], [], 3)


def test_fencing_a_follower_keeps_leader_and_epoch() -> None:
    place = fence(a_place("abc"), "b", alive(A, C), 2)
    assert (place.leader, place.epoch, place.isr) == ("a", 1, [A, C])


def test_a_broker_whose_present_life_is_recorded_is_not_fenced() -> None:
    place = a_place("abc")
    assert fence(place, "a", alive(A, B, C), 2) == place


def test_a_leader_gives_up_or_names_its_successor() -> None:
    place = a_place("abc", target="b")
    assert (release(place).leader, release(place).epoch, release(place).target) == ("", 2, "")
    given_on = hand_over(place, B)
    assert (given_on.leader, given_on.epoch, given_on.target) == ("b", 2, "")
    with pytest.raises(AssertionError, match="in sync"):
        hand_over(place, a_member("b", 5))


def test_a_move_ends_when_all_that_come_are_in_sync_and_the_leader_stays() -> None:
    place = begin_move(a_place("abc"), ["d", "b", "c"])
    assert (place.replicas, place.adding, place.removing, place.epoch) == (["d", "b", "c", "a"], ["d"], ["a"], 1)
    assert not is_moved(place, 2)
    place = with_in_sync(place, [*place.isr, a_member("d")], 2)
    assert not is_moved(place, 2), "the leader is to go"
    place = hand_over(place, B)
    assert is_moved(place, 2)
    ended = end_move(place, 2)
    assert (ended.replicas, ended.adding, ended.removing, ended.epoch, ended.in_sync("a")) == (["d", "b", "c"], [], [], 3, None)


def test_a_move_with_a_new_goal_still_waits_for_those_that_come() -> None:
    place = begin_move(begin_move(a_place("abc"), ["d", "b", "c"]), ["d", "b", "e"])
    assert (sorted(place.adding), sorted(place.removing)) == (["d", "e"], ["a", "c"])


def test_who_was_to_come_and_is_not_wanted_any_more_goes_at_once_and_counts_for_nothing() -> None:
    moving = begin_move(a_place("a"), ["b"])
    other = begin_move(moving, ["c"])
    assert (other.replicas, other.adding, other.removing) == (["c", "a"], ["c"], ["a"])
    assert needed_of(moving, 0) == needed_of(other, 0) == 1
    assert other.epoch == moving.epoch + 1, "what the leader remembers of it is void, should it come back"
    back = begin_move(begin_move(a_place("abc"), ["d", "b", "c"]), ["a", "b", "c"])
    assert (back.replicas, back.adding, back.removing) == (["a", "b", "c"], [], [])


def test_who_has_come_and_is_not_wanted_any_more_goes_when_the_others_have_caught_up() -> None:
    moving = begin_move(a_place("a"), ["b"])
    both = with_in_sync(moving, [a_member("a"), a_member("b")], 1)
    other = begin_move(both, ["c"])
    assert (other.replicas, other.adding, other.removing, other.epoch) == (["c", "b", "a"], ["c"], ["b", "a"], both.epoch)


@given(places(), lives_of())
def test_only_live_and_complete_replicas_are_elected_and_the_epoch_grows_by_one(case: tuple[Place, int], lives: Lives) -> None:
    place, needed = case
    elected = elect(place, lives, needed)
    assert elected.epoch == place.epoch + 1
    if elected.leader:
        life = lives(elected.leader)
        assert life is not None and life.be == elected.leader_be and life in elected.isr
        former = [member for member in place.elr if member.broker == life.broker and member.storage == life.storage]
        assert life in place.isr or (len(place.isr) < needed and former)


@given(places(), lives_of(), st.sampled_from(NAMES))
def test_fencing_twice_is_fencing_once(case: tuple[Place, int], lives: Lives, broker: str) -> None:
    place, needed = case
    once = fence(place, broker, lives, needed)
    assert fence(once, broker, lives, needed) == once
    assert (once.epoch > place.epoch) == ((once.leader, once.leader_be) != (place.leader, place.leader_be))


@given(places(), st.lists(st.sampled_from(NAMES)))
def test_no_complete_replica_is_forgotten_while_too_few_are_in_sync(case: tuple[Place, int], leaving: list[str]) -> None:
    place, needed = case
    after = with_in_sync(place, [member for member in place.isr if member.broker not in leaving], needed)
    assert after.epoch == place.epoch
    if len(after.isr) < needed:
        assert {*after.isr, *after.elr} == {*place.isr, *place.elr}
    else:
        assert after.elr == []


@given(places(), st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
def test_a_move_changes_nothing_but_its_goal_until_it_ends(case: tuple[Place, int], goal: list[str]) -> None:
    place, needed = case
    moving = begin_move(place, goal)
    assert (moving.isr, moving.elr, moving.leader) == (place.isr, place.elr, place.leader)
    dropped = {*place.replicas, *goal} - set(moving.replicas)
    assert dropped <= set(place.adding) and moving.epoch == place.epoch + bool(dropped)
    if is_moved(moving, needed):
        ended = end_move(moving, needed)
        assert ended.replicas == goal and ended.leader in goal and ended.epoch == place.epoch + 1
        assert {member.broker for member in (*ended.isr, *ended.elr)} <= set(goal)


def test_a_weary_leader_lets_an_eligible_replica_try_although_it_is_in_sync_itself() -> None:
    place = release(Place(replicas=["a", "b", "c"], leader="a", leader_be=A.be, epoch=3, isr=[A], elr=[B, C]))
    assert place.leader == "" and place.weary == "a"
    elected = elect(place, alive(A, B, C), 2)
    assert (elected.leader, elected.isr, elected.elr, elected.weary) == ("b", [B], [A, C], "a")


def test_a_weary_leader_leads_again_if_nobody_else_can() -> None:
    place = release(Place(replicas=["a", "b", "c"], leader="a", leader_be=A.be, epoch=3, isr=[A], elr=[B, C]))
    elected = elect(place, alive(A), 2)
    assert (elected.leader, elected.weary) == ("a", "")


def test_who_is_weary_leads_after_all_others_and_drained_ones() -> None:
    place = a_place("abc", weary="a")
    assert elect(place, alive(A, B, C), 2).leader == "b"
    assert elect(place, alive(A, B), 2, avoid=["b"]).leader == "b"
    handed = hand_over(place, C)
    assert (handed.leader, handed.weary) == ("c", "a")
    assert hand_over(place, A).weary == ""
