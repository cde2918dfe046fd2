"""One key's gate: closed while its messages are held or come back, and in order whatever comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zmqmq.core.gates import Gate, Gates
from zmqmq.core.leases import Holder


def test_a_free_gate_admits_anybody_and_a_held_one_its_owner() -> None:
    gate, owner, other = Gate(b"k"), Holder("a"), Holder("b")
    assert gate.admits(owner, 0.0) and gate.admits(other, 0.0)
    gate.hold(owner, 2)
    assert gate.admits(owner, 0.0) and not gate.admits(other, 0.0)
    gate.let_go()
    assert not gate.admits(other, 0.0)
    gate.let_go()
    assert gate.admits(other, 0.0)


def test_nobody_is_admitted_before_a_failure_is_committed_or_its_wait_is_over() -> None:
    gate, holder = Gate(b"k"), Holder("a")
    gate.returning = 1
    assert not gate.admits(holder, 0.0)
    gate.returning, gate.due = 0, 5.0
    assert not gate.admits(holder, 4.9)
    assert gate.admits(holder, 5.0)


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_what_comes_back_takes_its_old_place(behind: set[int], returned: set[int]) -> None:
    gates = Gates()
    gate = gates.make(b"k")
    for offset in sorted(behind - returned):
        gates.pass_over(gate, offset)
    gates.put_back(gate, returned)
    assert list(gate.behind) == sorted(behind | returned)
    assert gates.waiting == len(gate.behind)


def test_a_gate_is_ready_when_something_waits_and_nothing_stands_against_it() -> None:
    gates = Gates()
    gate = gates.make(b"k")
    gates.pass_over(gate, 4)
    assert gates.review(gate, 0.0) and gates.ready()
    assert not gates.review(gate, 0.0), "it is ready already"
    gate.due = 9.0
    assert not gates.review(gate, 0.0) and not gates.ready()
    assert gates.review(gate, 9.0)
    assert gates.take(gate, 5) == [4]
    gates.review(gate, 9.0)
    assert len(gates) == 0, "a key without a gate is free"


def test_gates_are_served_in_the_order_in_which_they_became_ready() -> None:
    gates = Gates()
    for key in (b"b", b"a", b"c"):
        gate = gates.make(key)
        gates.pass_over(gate, 1)
        gates.review(gate, 0.0)
    assert [gate.key for gate in gates.ready()] == [b"b", b"a", b"c"]
    assert {gate.key for gate in gates} == {b"a", b"b", b"c"}
    assert gates.get(b"x") is None


def test_passing_over_tells_the_owner_that_there_is_more() -> None:
    gates, owner = Gates(), Holder("a")
    gate = gates.make(b"k")
    gate.hold(owner)
    gates.pass_over(gate, 7)
    assert list(owner.more) == [b"k"]


def test_one_particular_offset_can_be_taken_out() -> None:
    gates = Gates()
    gate = gates.make(b"k")
    gates.put_back(gate, [1, 2, 3])
    assert gates.remove(gate, 2) and not gates.remove(gate, 9)
    assert list(gate.behind) == [1, 3] and gates.waiting == 2
