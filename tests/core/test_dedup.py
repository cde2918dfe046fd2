"""Idempotent producers: against an oracle that remembers every sequence it has accepted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmqmq.core.dedup import FRESH, RUNS_MAX, ProducerTable, Run
from zmqmq.errors import OutOfOrder


def table_with(*batches: tuple[int, int, int], producer: int = 7) -> ProducerTable:
    """A table that has accepted (first sequence, count, offset) batches."""
    table = ProducerTable()
    for first, count, offset in batches:
        table.accept(producer, first, count, offset, 1.0)
    return table


def test_the_next_sequence_is_fresh() -> None:
    table = table_with((0, 3, 10))
    assert table.judge(7, 3, 2, 0) == FRESH
    assert table.judge(8, 0, 2, 0) == FRESH, "another producer counts for itself"


def test_a_whole_repeat_finds_its_first_offset() -> None:
    table = table_with((0, 3, 10), (3, 2, 20))
    assert table.judge(7, 0, 3, 0) == (3, 10)
    assert table.judge(7, 3, 2, 0) == (2, 20)
    assert table.judge(7, 1, 1, 0) == (1, 11)


def test_a_partial_repeat_says_how_much_is_known() -> None:
    assert table_with((0, 3, 10)).judge(7, 1, 5, 0) == (2, 11)


def test_a_gap_is_refused_and_says_what_is_expected() -> None:
    with pytest.raises(OutOfOrder) as caught:
        table_with((0, 3, 10)).judge(7, 5, 1, 3)
    assert caught.value.details == {"expected": "3"}


def test_a_gap_that_the_producer_gave_up_is_accepted() -> None:
    assert table_with((0, 3, 10)).judge(7, 5, 1, 5) == FRESH
    assert ProducerTable().judge(7, 90, 1, 90) == FRESH, "a producer may begin anywhere with its oldest"


def test_a_repeat_of_what_is_forgotten_is_accepted_without_a_place() -> None:
    batches = [(index, 1, 10 * index) for index in range(RUNS_MAX + 1)]
    assert table_with(*batches).judge(7, 0, 1, 0) == (1, -1)


def test_neighbouring_batches_share_a_run() -> None:
    table = table_with(*[(index, 1, 100 + index) for index in range(1000)])
    assert table.take_changed() == [(7, 999, "[[0,999,100]]", 1.0)]
    assert table.take_changed() == []


def test_what_could_not_be_stored_is_undone() -> None:
    table = table_with((0, 1, 5))
    before = table.accept(7, 1, 1, 6, 2.0)
    table.undo(7, before)
    assert table.judge(7, 1, 1, 1) == FRESH
    new = table.accept(9, 0, 1, 7, 2.0)
    table.undo(9, new)
    assert len(table) == 1


def test_a_stored_row_restores_the_same_verdicts() -> None:
    table = table_with((0, 3, 10), (3, 1, 20))
    again = ProducerTable()
    for row in table.take_changed():
        again.restore(*row)
    assert again.judge(7, 0, 4, 0) == table.judge(7, 0, 4, 0) == (4, 10)
    assert Run(3, 3, 20) in again._states[7].runs


def test_idle_producers_and_those_beyond_the_limit_expire() -> None:
    table = ProducerTable()
    for producer in range(1, 6):
        table.accept(producer, 0, 1, producer, float(producer))
    assert table.expired(3.0, 100) == [1, 2]
    assert table.expired(0.0, 3) == [1, 2]
    table.forget([1, 2])
    assert len(table) == 3 and table.judge(1, 0, 1, 0) == FRESH


@settings(max_examples=100)
@given(st.data())
def test_every_repeat_gets_the_offsets_of_the_first_time(data: st.DataObject) -> None:
    """A producer that repeats recent batches while another one takes offsets in between."""
    table, offset, sequence = ProducerTable(), 0, 0
    sent: list[tuple[int, int, int]] = []
    for _ in range(data.draw(st.integers(1, 30))):
        action = data.draw(st.sampled_from(("new", "repeat", "other")))
        if action == "other":
            offset += data.draw(st.integers(1, 3))
        elif action == "new":
            count = data.draw(st.integers(1, 4))
            assert table.judge(7, sequence, count, sequence) == FRESH
            table.accept(7, sequence, count, offset, 0.0)
            sent.append((sequence, count, offset))
            sequence, offset = sequence + count, offset + count
        elif sent:
            first, count, place = data.draw(st.sampled_from(sent[-RUNS_MAX:]))
            assert table.judge(7, first, count, first) == (count, place)
