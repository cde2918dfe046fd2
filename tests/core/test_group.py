"""A group's durable state, which is exactly what the operations say, against a dumb oracle of sets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from zmqmq.core.group import Failure, GroupState
from zmqmq.core.operations import Acked, Buried, Died, Failed, GroupMoved, MemberJoined, MemberLeft, Revived, Trimmed
from zmqmq.core.ranges import to_ranges

COUNT = 30


def state_of(messages: int = COUNT) -> GroupState:
    return GroupState("g", 0, messages)


def test_acking_counts_each_message_once() -> None:
    state = state_of()
    state.apply_acked(Acked("g", [(0, 3)]))
    state.apply_acked(Acked("g", [(2, 5)]))
    assert (state.lag, state.settled.floor) == (COUNT - 5, 5)


def test_a_failure_is_counted_and_forgotten_when_the_message_is_done() -> None:
    state = state_of()
    state.apply_failed(Failed("g", [3], 9.0, "no"))
    state.apply_failed(Failed("g", [3], 12.0, "no", True))
    assert state.failures == {3: Failure(2, 12.0, True)}
    assert (state.attempts(3), state.attempts(4)) == (2, 0)
    state.apply_acked(Acked("g", [(3, 4)]))
    assert state.failures == {}


def test_a_failure_of_what_is_settled_is_ignored() -> None:
    state = state_of()
    state.apply_acked(Acked("g", [(0, 4)]))
    state.apply_failed(Failed("g", [3], 9.0, "no"))
    assert state.failures == {}


def test_a_revived_letter_is_unsettled_until_it_is_acked() -> None:
    state = state_of()
    state.apply_died(Died("g", [0], "no", "c", [5]))
    assert (state.lag, state.is_settled(0)) == (COUNT - 1, True)
    state.apply_revived(Revived("g", [0]))
    assert (state.lag, state.is_settled(0), state.attempts(0)) == (COUNT, False, 0)
    assert state.apply_acked(Acked("g", [(0, 1)])) == [0]
    assert (state.lag, state.is_settled(0)) == (COUNT - 1, True)


def test_a_revived_letter_can_die_again() -> None:
    state = state_of()
    state.apply_died(Died("g", [0], "no", "c", [5]))
    state.apply_revived(Revived("g", [0]))
    state.apply_failed(Failed("g", [0], 9.0, "no"))
    state.apply_died(Died("g", [0], "no", "c", [2]))
    assert (state.lag, state.revived, state.failures) == (COUNT - 1, set(), {})
    state.apply_buried(Buried("g", [0]))
    assert state.lag == COUNT - 1


def test_a_seek_forgets_failures_and_replays() -> None:
    state = state_of()
    state.apply_failed(Failed("g", [3], 9.0, "no"))
    state.apply_died(Died("g", [0], "no", "c", [5]))
    state.apply_revived(Revived("g", [0]))
    state.apply_moved(GroupMoved("g", 10, 20))
    assert (state.lag, state.settled.floor, state.failures, state.revived) == (20, 10, {}, set())


def test_members_come_and_go() -> None:
    state = state_of()
    state.apply_joined(MemberJoined("g", "c", 10.0))
    assert state.members == {"c": 10.0}
    state.apply_left(MemberLeft("g", "c"))
    state.apply_left(MemberLeft("g", "c"))
    assert state.members == {}


def test_what_is_deleted_unsettled_counts_as_settled() -> None:
    state = state_of()
    state.apply_acked(Acked("g", [(2, 4)]))
    state.apply_failed(Failed("g", [0], 9.0, "no"))
    state.apply_trimmed(Trimmed(5, 5, 50, {"g": 3, "other": 1}))
    assert (state.lag, state.settled.floor, state.failures) == (COUNT - 5, 5, {})


OFFSETS = st.sets(st.integers(0, COUNT - 1), min_size=1, max_size=5)
STEPS = st.lists(st.tuples(st.sampled_from(("ack", "fail", "die", "revive", "store")), OFFSETS), max_size=40)


@settings(max_examples=150)
@given(STEPS)
def test_the_state_is_what_sets_would_say_and_survives_storage(steps: list[tuple[str, set[int]]]) -> None:
    state, settled, dead, attempts = state_of(), set[int](), set[int](), dict[int, int]()
    for action, offsets in steps:
        open_ones = offsets - settled
        if action == "ack":
            state.apply_acked(Acked("g", to_ranges(sorted(open_ones))))
            settled |= open_ones
        elif action == "fail":
            state.apply_failed(Failed("g", sorted(open_ones), 1.0, "no"))
            attempts.update({offset: attempts.get(offset, 0) + 1 for offset in open_ones})
        elif action == "die":
            state.apply_died(Died("g", sorted(open_ones), "no", "c", [1] * len(open_ones)))
            settled |= open_ones
            dead |= open_ones
        elif action == "revive":
            state.apply_revived(Revived("g", sorted(offsets & dead)))
            settled -= dead & offsets
            dead -= offsets
        else:
            again = GroupState.from_write(state.to_write(1))
            again.dead = state.dead
            assert again.to_write(1) == state.to_write(1)
            state = again
        attempts = {offset: count for offset, count in attempts.items() if offset not in settled}
        assert state.lag == COUNT - len(settled)
        assert {offset for offset in range(COUNT) if state.is_settled(offset)} == settled
        assert {offset: failure.attempts for offset, failure in state.failures.items()} == attempts
