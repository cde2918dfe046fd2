"""Placement: balanced, over racks, with as little movement as possible, and always the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.core.small_cluster import a_member, a_place, a_view
from zmqmq.core.cluster_view import ClusterView, WishEntry
from zmqmq.core.placement import MOVES_MAX, REPLACE_AFTER, homes, is_moving, loads, place_new, plan, preferred_leader
from zmqmq.core.places import Place, begin_move, end_move, hand_over, is_moved, with_in_sync
from zmqmq.errors import InvalidValue

REMOVED = WishEntry(False, True, 0)
DRAINED = WishEntry(True, False, 0)


def spread(counts: Mapping[str, int], brokers: str) -> int:
    return max(counts[broker] for broker in brokers) - min(counts[broker] for broker in brokers)


def placed(brokers: str, partitions: int, replicas: int) -> list[Place]:
    return [a_place("".join(names)) for names in place_new(partitions, replicas, dict.fromkeys(brokers, ""), {}, {})]


def carry_out(view: ClusterView, gone: Mapping[str, float] | None = None, now: float = 0.0) -> tuple[ClusterView, int]:
    """Plans and carries out until nothing is left; the view then, and how many replicas were made anew."""
    racks = {broker: info.rack for broker, info in view.brokers.items()}
    copied = 0
    for _ in range(200):
        moves = plan(view, gone or {}, now)
        if not moves:
            return view, copied
        states = [view.places[key].place for key in sorted(view.places)]
        for move in moves:
            states[move.key[1]] = begin_move(states[move.key[1]], move.replicas)
        assert sum(map(is_moving, states)) <= MOVES_MAX
        copied += sum(len(place.adding) for place in states)
        states = [finish(place) for place in states]
        view = a_view(racks, states, view.wishes, view.topics["t"].record.replicas)
    raise AssertionError("it never ends")


def finish(place: Place) -> Place:
    """Those that come catch up, the leader hands over if it is to go, and the move ends."""
    if not is_moving(place):
        return place
    before = set(place.isr)
    place = with_in_sync(place, [*place.isr, *(a_member(broker) for broker in place.adding)], 1)
    assert before <= set(place.isr), "nobody leaves before those that come are in sync"
    if place.leader in place.removing:
        place = hand_over(place, next(member for member in place.isr if member.broker not in place.removing))
    assert is_moved(place, 1)
    return end_move(place, 1)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 5))
def test_new_partitions_are_spread_evenly(partitions: int, brokers: int, replicas: int) -> None:
    names = "abcde"[:brokers]
    if replicas > brokers:
        with pytest.raises(InvalidValue, match=f"replicas is {replicas}, but there are {brokers} brokers"):
            placed(names, partitions, replicas)
        return
    places = placed(names, partitions, replicas)
    assert all(len(set(place.replicas)) == replicas for place in places)
    assert spread(Counter(broker for place in places for broker in place.replicas), names) <= 1
    assert spread(Counter(place.replicas[0] for place in places), names) <= 1


def test_new_partitions_go_to_those_who_hold_least() -> None:
    assert place_new(1, 2, {"a": "", "b": "", "c": ""}, {"a": 5, "b": 1, "c": 2}, {"b": 1, "c": 0}) == [["c", "b"]]


def test_replicas_of_a_partition_stand_in_different_racks() -> None:
    racks = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z"}
    for names in place_new(20, 3, racks, {}, {}):
        assert {racks[name] for name in names} == {"x", "y", "z"}


def test_new_replicas_avoid_drained_brokers_unless_there_are_too_few_others() -> None:
    view = a_view("abcd", [], {"a": DRAINED, "b": REMOVED})
    assert sorted(homes(view, 2)) == ["c", "d"]
    assert sorted(homes(view, 3)) == ["a", "c", "d"]


@pytest.mark.parametrize("left", [a_place("a"), a_place("ab", adding=["b"])])
def test_what_a_failed_attempt_to_add_partitions_has_left_is_not_moved_and_hinders_nothing(left: Place) -> None:
    view = a_view("abc", [a_place("abc"), a_place("acb"), left], replicas=3)
    entry = view.topics["t"]
    view.topics_by_id[entry.record.topic_id] = entry._replace(record=replace(entry.record, partitions=2))
    moved = {move.key[1] for move in plan(view, {}, 0.0)}
    assert moved and moved <= {0, 1}, "one of the two that the same broker leads"
    assert loads(view)[0] == {"a": 2, "b": 2, "c": 2}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 3))
def test_a_broker_that_is_added_takes_over_its_share_and_nothing_else_moves(partitions: int, brokers: int, replicas: int) -> None:
    names = "abcd"[:brokers]
    places = placed(names, partitions, min(replicas, brokers))
    view, copied = carry_out(a_view(names + "e", places))
    holds, leads = loads(view)
    assert spread(holds, names + "e") <= 1
    assert copied == holds["e"]
    assert spread(leads, names + "e") <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(3, 5))
def test_a_broker_that_is_removed_gives_away_what_it_holds_and_no_more_than_that(partitions: int, brokers: int) -> None:
    names = "abcde"[:brokers]
    places = placed(names, partitions, 2)
    before, _ = loads(a_view(names, places))
    view, copied = carry_out(a_view(names, places, {"a": REMOVED}))
    holds, leads = loads(view)
    assert holds["a"] == leads["a"] == 0
    assert spread(holds, names[1:]) <= 1
    assert copied <= before["a"] + partitions // 4


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_cluster_comes_to_rest(data: st.DataObject) -> None:
    racks = {name: data.draw(st.sampled_from(["", "x", "y"])) for name in "abcde"}
    replicas = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True).map("".join)
    places = [a_place(names) for names in data.draw(st.lists(replicas, min_size=1, max_size=25))]
    wishes = {name: data.draw(st.sampled_from([DRAINED, REMOVED])) for name in data.draw(st.sets(st.sampled_from("abcde"), max_size=2))}
    view, _ = carry_out(a_view(racks, places, wishes))
    for key, entry in view.places.items():
        assert len(entry.place.replicas) == len(places[key[1]].replicas)
        assert not [name for name in entry.place.replicas if wishes.get(name) == REMOVED]
    if not any(racks.values()) and not wishes:
        assert spread(loads(view)[0], "abcde") <= 1


def test_a_difference_of_one_replica_moves_nothing() -> None:
    assert plan(a_view("abc", [a_place("ab"), a_place("ca")]), {}, 0.0) == []


def test_nothing_is_placed_on_a_drained_broker_and_nothing_leaves_it() -> None:
    places = placed("ab", 6, 2)
    assert plan(a_view("abc", places, {"c": DRAINED}), {}, 0.0) == []


def test_a_broker_that_is_gone_is_replaced_only_after_a_long_time() -> None:
    view = a_view("abd", [a_place("abc"), a_place("cab")])
    assert all(move.reason != "leaving" for move in plan(view, {"c": 100.0}, 100.0 + REPLACE_AFTER - 1))
    moves = plan(view, {"c": 100.0}, 100.0 + REPLACE_AFTER)
    assert [(move.key[1], move.replicas, move.reason) for move in moves] == [(0, ["a", "b", "d"], "leaving"), (1, ["d", "a", "b"], "leaving")]


def test_without_a_substitute_replicas_stay_where_they_are() -> None:
    assert plan(a_view("ab", [a_place("abc")]), {"c": 0.0}, REPLACE_AFTER) == []


def test_a_move_towards_a_broker_that_is_to_go_gets_another_goal() -> None:
    place = begin_move(a_place("abc"), ["d", "b", "c"])
    (move,) = plan(a_view("abcde", [place], {"d": REMOVED}), {}, 0.0)
    assert "d" not in move.replicas and len(move.replicas) == 3


def test_partitions_under_move_are_left_alone() -> None:
    place = begin_move(a_place("abc"), ["d", "b", "c"])
    assert plan(a_view("abcde", [place] * MOVES_MAX + placed("abc", 5, 3)), {}, 0.0) == []


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_is_missing_is_made_up_for_as_far_as_there_are_brokers_and_nothing_else_is_copied(data: st.DataObject) -> None:
    brokers = "abcde"[: data.draw(st.integers(1, 5))]
    replicas = st.lists(st.sampled_from(brokers), min_size=1, max_size=3, unique=True).map("".join)
    places = [a_place(names) for names in data.draw(st.lists(replicas, min_size=1, max_size=25))]
    wishes = {name: REMOVED for name in data.draw(st.sets(st.sampled_from(brokers), max_size=1)) if len(brokers) > 3}
    view, _ = carry_out(a_view(brokers, places, wishes, replicas=3))
    wanted = min(3, len(brokers) - len(wishes))
    for entry in view.places.values():
        assert len(entry.place.replicas) == wanted
        assert not set(entry.place.replicas) & set(wishes)


def test_missing_replicas_come_before_balance_and_a_bounded_number_at_a_time() -> None:
    places = [a_place("a") for _ in range(MOVES_MAX + 5)]
    moves = plan(a_view("abc", places, replicas=3), {}, 0.0)
    assert len(moves) == MOVES_MAX
    assert {(move.reason, len(move.replicas), move.replicas[0]) for move in moves} == {("missing", 3, "a")}


def test_missing_replicas_go_to_those_who_hold_least_in_other_racks_and_to_drained_brokers_last() -> None:
    (move,) = plan(a_view({"a": "x", "b": "x", "c": "y", "d": "z"}, [a_place("a")], {"d": DRAINED}, replicas=2), {}, 0.0)
    assert move.replicas == ["a", "c"]
    (move,) = plan(a_view("abd", [a_place("a")], {"b": REMOVED, "d": DRAINED}, replicas=3), {}, 0.0)
    assert move.replicas == ["a", "d"]


def test_replicas_on_a_broker_that_is_away_for_a_moment_are_not_missing() -> None:
    assert plan(a_view("abd", [a_place("abc")], replicas=3), {"c": 0.0}, 1.0) == []


def test_what_nobody_leads_cannot_be_copied_for_whatever_reason() -> None:
    alone = a_place("a", leader="")
    assert plan(a_view("abc", [alone], replicas=3), {}, 0.0) == []
    assert plan(a_view("bc", [alone]), {"a": 0.0}, REPLACE_AFTER) == []
    assert plan(a_view({"a": "x", "b": "x", "c": "y"}, [a_place("ab", leader="")]), {}, 0.0) == []
    assert plan(a_view("abc", [alone] * 9), {}, 0.0) == []


def test_moves_of_what_nobody_leads_keep_no_other_partition_waiting() -> None:
    stuck = [begin_move(a_place("x", leader=""), ["a"])] * MOVES_MAX
    view = a_view("abc", [*stuck, *[a_place("x", leader="")] * MOVES_MAX, a_place("ax")])
    (move,) = plan(view, {"x": 0.0}, REPLACE_AFTER)
    assert (move.key[1], move.reason, "x" in move.replicas) == (2 * MOVES_MAX, "leaving", False)


def test_replicas_spread_over_racks_that_come_later() -> None:
    view, copied = carry_out(a_view({"a": "x", "b": "x", "c": "y"}, [a_place("ab"), a_place("ac")]))
    assert sorted(view.places[7, 0].place.replicas) in (["a", "c"], ["b", "c"])
    assert copied == 1


def test_first_places_are_shared_without_moving_any_replica() -> None:
    view, copied = carry_out(a_view("abc", [a_place("abc") for _ in range(9)]))
    assert copied == 0 and sorted(loads(view)[1].values()) == [3, 3, 3]


def test_a_broker_that_is_away_for_a_moment_keeps_its_first_places() -> None:
    assert plan(a_view("ab", [a_place("abc") for _ in range(9)]), {"c": 0.0}, 1.0) == []


def test_the_first_that_is_in_sync_and_live_should_lead_and_drained_brokers_last() -> None:
    place = a_place("abc", isr=[a_member("b"), a_member("c")])
    assert preferred_leader(a_view("abc", [place]), place) == "b"
    assert preferred_leader(a_view("abc", [place], {"b": DRAINED}), place) == "c"
    assert preferred_leader(a_view("ab", [place], {"b": DRAINED}), place) == "b"
    assert preferred_leader(a_view("a", [place]), place) == ""


def test_who_is_weary_should_lead_only_if_nobody_else_can() -> None:
    place = a_place("abc", weary="a")
    assert preferred_leader(a_view("abc", [place]), place) == "b"
    assert preferred_leader(a_view("ab", [place], {"b": DRAINED}), place) == "b"
    assert preferred_leader(a_view("a", [place]), place) == "a"


def test_the_same_view_gives_the_same_plan() -> None:
    places = placed("abc", 30, 2)
    assert plan(a_view("abcd", places), {}, 0.0) == plan(a_view("dcba", places), {}, 0.0)
