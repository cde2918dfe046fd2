"""Records that a follower has on disk and has not applied yet."""

from __future__ import annotations

from zmqmq.core.peer_commands import Block
from zmqmq.core.unapplied import UNAPPLIED_BYTES, Unapplied


def block(first: int, count: int, size: int = 1) -> Block:
    return Block(0, first, 1, 0.0, 1, first, [b"x" * size] * count, [0] * count, None, None)


def firsts(taken: tuple[list[Block], int]) -> list[int]:
    return [found.first for found in taken[0]]


def test_blocks_are_given_when_they_are_wholly_committed() -> None:
    unapplied = Unapplied()
    unapplied.restart(10)
    unapplied.add(block(10, 5))
    unapplied.add(block(15, 5))
    assert unapplied.take(17) == ([block(10, 5)], 15)
    assert unapplied.take(17) == ([], 15)
    assert unapplied.take(20) == ([block(15, 5)], 20)


def test_a_gap_at_the_end_is_covered_when_nothing_waits() -> None:
    unapplied = Unapplied()
    unapplied.restart(10)
    unapplied.add(block(12, 3))
    assert unapplied.take(15) == ([block(12, 3)], 15)
    assert unapplied.since == 15


def test_what_does_not_fit_has_to_be_read_from_disk() -> None:
    unapplied = Unapplied()
    unapplied.restart(0)
    unapplied.add(block(0, 1, UNAPPLIED_BYTES + 1))
    assert unapplied.since == 1
    unapplied.add(block(1, 1))
    assert firsts(unapplied.take(2)) == [1]


def test_after_a_cut_only_what_comes_later_is_here() -> None:
    unapplied = Unapplied()
    unapplied.restart(0)
    unapplied.add(block(0, 5))
    unapplied.restart(3)
    assert unapplied.take(3) == ([], 3)
    unapplied.add(block(3, 2))
    assert firsts(unapplied.take(5)) == [3]


def test_nothing_is_covered_while_what_is_committed_is_on_disk_only() -> None:
    unapplied = Unapplied()
    unapplied.restart(20)
    assert unapplied.take(12) == ([], 0)
    assert unapplied.take(20) == ([], 20)
