"""The history knows what a seek makes of a group: hand-made logs."""

from __future__ import annotations

import pytest

from tests.sim.history import History, Violation
from tests.sim.stage import KEY, message, operation
from zmqmq.core import operations as op


@pytest.fixture
def history() -> History:
    """Three messages at 1 to 3, of which the group has settled the first and failed with the second."""
    history = History()
    records = [operation(0, op.GroupCreated("g", 0)), message(1), message(2), message(3)]
    history.adopt(KEY, "t", [*records, operation(4, op.Acked("g", [(1, 2)])), operation(5, op.Failed("g", [2], 0.0, "nacked"))])
    return history


def test_after_a_seek_what_is_behind_the_position_is_owed_as_if_it_never_had_been(history: History) -> None:
    group = history.log(*KEY).groups["g"]
    assert (group.unsettled, group.failures[2]) == (2, 1)
    history.adopt(KEY, "t", [operation(6, op.GroupMoved("g", 1, 3, 1, 7))])
    assert (group.unsettled, group.concluded, dict(group.failures), group.voided) == (3, set(), {}, (1, 7))
    assert group.ever_concluded == {1}, "its settling was confirmed all the same"
    history.adopt(KEY, "t", [operation(7, op.Acked("g", [(1, 4)]))])
    assert group.unsettled == 0


def test_after_a_seek_what_is_before_the_position_is_over(history: History) -> None:
    history.adopt(KEY, "t", [operation(6, op.GroupMoved("g", 3, 1, 1, 7))])
    group = history.log(*KEY).groups["g"]
    assert (group.unsettled, group.concluded) == (1, {1, 2})
    assert group.ever_concluded == {1, 2}, "the seek has settled what it passed over, and a consumer may be told so"
    with pytest.raises(Violation, match="settled twice"):
        history.adopt(KEY, "t", [operation(7, op.Acked("g", [(2, 3)]))])


def test_what_was_deleted_before_a_seek_is_not_owed(history: History) -> None:
    history.adopt(KEY, "t", [operation(6, op.Trimmed(2, 1, 2)), operation(7, op.GroupMoved("g", 1, 2, 1, 7))])
    assert history.log(*KEY).groups["g"].unsettled == 2
