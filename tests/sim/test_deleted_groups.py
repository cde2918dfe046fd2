"""The history knows what the deletion of a group makes of it, and the referee which group a lease was granted to: hand-made logs."""

from __future__ import annotations

import pytest

from tests.sim.history import History, Violation
from tests.sim.stage import KEY, message, operation
from zmqmq.core import operations as op


@pytest.fixture
def history() -> History:
    """Two messages at 1 and 2, of which the group has settled the first; its only consumer has left."""
    history = History()
    records = [operation(0, op.GroupCreated("g", 0)), message(1), message(2), operation(3, op.MemberJoined("g", "c", 5.0))]
    history.adopt(KEY, "t", [*records, operation(4, op.Acked("g", [(1, 2)])), operation(5, op.MemberLeft("g", "c"))])
    return history


def test_a_group_that_is_made_again_is_owed_everything_and_is_another_one(history: History) -> None:
    log = history.log(*KEY)
    before = log.groups["g"]
    history.adopt(KEY, "t", [operation(6, op.GroupDeleted("g"))])
    assert "g" not in log.groups
    history.adopt(KEY, "t", [operation(7, op.GroupCreated("g", 0))])
    after = log.groups["g"]
    assert (before.life, before.unsettled) == (0, 1)
    assert (after.life, after.unsettled, after.concluded) == (1, 2, set())


def test_nothing_is_owed_to_a_group_that_is_deleted(history: History) -> None:
    history.adopt(KEY, "t", [operation(6, op.GroupDeleted("g")), operation(7, op.Trimmed(3, 2, 2))])
    assert history.log(*KEY).start == 3


def test_a_group_is_not_deleted_under_its_consumers(history: History) -> None:
    history.adopt(KEY, "t", [operation(6, op.MemberJoined("g", "d", 5.0))])
    with pytest.raises(Violation, match="deleted under its consumers"):
        history.adopt(KEY, "t", [operation(7, op.GroupDeleted("g"))])
