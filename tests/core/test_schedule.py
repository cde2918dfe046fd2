"""When things come back."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.core.acts import settings
from zmqmq.core.schedule import JITTER, DueHeap, retry_due


@given(st.integers(1, 1000), st.integers(0, 99))
def test_a_retry_waits_twice_as_long_each_time_up_to_the_bound(attempts: int, seed: int) -> None:
    wait = retry_due(settings(retry_delay=2.0, max_retry_delay=50.0), attempts, 1000.0, Random(seed).random) - 1000.0
    expected = min(2.0 * 2.0 ** (attempts - 1), 50.0)
    assert expected * (1 - JITTER) <= wait <= expected * (1 + JITTER)


def test_an_explicit_delay_is_taken_as_it_is() -> None:
    assert retry_due(settings(), 3, 1000.0, Random(0).random, delay=7.5) == 1007.5
    assert retry_due(settings(), 3, 1000.0, Random(0).random, delay=0.0) == 1000.0


def test_what_failed_together_does_not_come_back_together() -> None:
    rng = Random(1).random
    assert len({retry_due(settings(), 1, 0.0, rng) for _ in range(10)}) == 10


@given(st.lists(st.floats(0, 100)), st.floats(0, 100))
def test_the_heap_gives_what_is_due_in_order_and_keeps_the_rest(times: list[float], now: float) -> None:
    heap: DueHeap[int] = DueHeap()
    for index, due in enumerate(times):
        heap.push(due, index)
    expected = sorted((due, index) for index, due in enumerate(times) if due <= now)
    assert heap.take_due(now) == [index for _, index in expected]
    assert len(heap) == len(times) - len(expected)
    assert heap.next_due() == min((due for due in times if due > now), default=None)
