"""Ranges of offsets against plain sets of integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zmqmq.core.ranges import RangeSet, Settled, to_ranges

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda span: (span[0], span[0] + span[1])), max_size=40)


def check_shape(ranges: RangeSet) -> None:
    """Ascending, not empty, never touching."""
    last = -1
    for start, stop in ranges:
        assert last < start < stop
        last = stop


@given(SPANS)
def test_adding_counts_what_is_new_and_keeps_the_shape(spans: list[tuple[int, int]]) -> None:
    ranges, plain = RangeSet(), set[int]()
    for start, stop in spans:
        new = set(range(start, stop)) - plain
        assert ranges.add(start, stop) == len(new)
        plain |= new
        check_shape(ranges)
        assert ranges.total == len(plain)
    assert {item for start, stop in ranges for item in range(start, stop)} == plain
    assert all((item in ranges) == (item in plain) for item in range(-1, 75))


@given(SPANS, st.integers(0, 70))
def test_removing_below_a_limit_leaves_the_rest(spans: list[tuple[int, int]], limit: int) -> None:
    ranges = RangeSet(spans)
    plain = {item for start, stop in spans for item in range(start, stop) if item >= limit}
    ranges.remove_below(limit)
    check_shape(ranges)
    assert ranges.total == len(plain)
    assert all((item in ranges) == (item in plain) for item in range(75))


@given(SPANS, st.integers(0, 70), st.integers(0, 20))
def test_covered_counts_what_is_inside(spans: list[tuple[int, int]], start: int, length: int) -> None:
    plain = {item for low, high in spans for item in range(low, high)}
    assert RangeSet(spans).covered(start, start + length) == len(plain & set(range(start, start + length)))


@given(st.integers(0, 20), SPANS)
def test_settled_counts_what_is_new_and_swallows_what_touches_the_floor(floor: int, spans: list[tuple[int, int]]) -> None:
    settled, plain = Settled(floor), set(range(floor))
    for start, stop in spans:
        new = set(range(start, stop)) - plain
        assert settled.add(start, stop) == len(new)
        plain |= new
        first = settled.ranges.first()
        assert first is None or first[0] > settled.floor, "a range at the floor belongs to it"
        assert settled.floor not in plain
    assert all((item in settled) == (item in plain) for item in range(80))


def test_settling_in_order_holds_no_range_at_all() -> None:
    settled = Settled(0)
    for offset in range(1000):
        settled.add(offset, offset + 1)
    assert settled.floor == 1000 and len(settled.ranges) == 0


def test_settling_the_hole_swallows_everything_behind_it() -> None:
    settled = Settled(0, [(1, 3), (4, 6)])
    assert settled.add(0, 1) == 1
    assert settled.floor == 3
    assert settled.add(3, 4) == 1
    assert (settled.floor, list(settled.ranges)) == (6, [])


@given(st.sets(st.integers(0, 100)))
def test_offsets_become_the_fewest_ranges(offsets: set[int]) -> None:
    ranges = to_ranges(sorted(offsets))
    assert [item for start, stop in ranges for item in range(start, stop)] == sorted(offsets)
    assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:], strict=False))


@given(SPANS)
def test_the_end_is_one_past_the_highest(spans: list[tuple[int, int]]) -> None:
    assert RangeSet(spans).end == max((stop for start, stop in spans if start < stop), default=0)
