"""The head of a log."""

from __future__ import annotations

import pytest

from zmqmq.core.log import Log


def test_offsets_are_given_in_order_and_committed_when_on_disk() -> None:
    log = Log(1, 0, 0, 0, ())
    assert (log.give(3), log.give(2)) == (0, 3)
    assert (log.end, log.durable, log.committed) == (5, 0, 0)
    log.persisted(5)
    assert (log.durable, log.committed) == (5, 5)


def test_a_leadership_begins_at_the_end_with_a_higher_epoch() -> None:
    log = Log(1, 0, 9, 2, [(1, 0), (2, 5)])
    log.lead(3)
    assert (log.epoch, log.epochs[-1]) == (3, (3, 9))
    with pytest.raises(AssertionError, match="epochs grow"):
        log.lead(3)


def test_only_committed_records_are_deleted() -> None:
    log = Log(1, 0, 5, 1, ())
    log.give(5)
    log.trim(5)
    log.trim(3)
    assert log.start == 5, "the start never goes back"
    with pytest.raises(AssertionError, match="only committed"):
        log.trim(6)


def test_durable_never_goes_back_nor_beyond_the_end() -> None:
    log = Log(1, 0, 5, 1, ())
    for end in (4, 6):
        with pytest.raises(AssertionError):
            log.persisted(end)


def test_a_log_shows_its_marks() -> None:
    assert repr(Log(1, 2, 5, 3, ())) == "[2..5/5/5 epoch 3]"
