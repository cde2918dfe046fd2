"""The volatile half of a group by itself: limbo, followers, windows, and order per key against a dumb oracle."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.core.acts import settings
from zmqmq.core.gates import Pair
from zmqmq.core.group import GroupState
from zmqmq.core.leases import Lease, LeaseNumbers
from zmqmq.core.model import GroupLimits
from zmqmq.core.operations import Acked, Died, Failed, Operation
from zmqmq.core.queue import Queue

KEY = b"k"


class Desk:
    """A queue, a log of operations that commits when told, and leases granted by hand."""

    def __init__(self, state: GroupState | None = None, limits: GroupLimits | None = None, **changes: object) -> None:
        self.log: list[Operation] = []
        self.applied = 0
        self.queue = Queue(state or GroupState("g", 0, 100), settings(**changes), limits or GroupLimits(), self.append, Random(0).random, LeaseNumbers())

    def append(self, operation: Operation) -> int:
        self.log.append(operation)
        return len(self.log) - 1

    def grant(self, member: str, *pairs: Pair) -> Lease:
        holder = self.queue.book.holder(member)
        for _, key in pairs:
            if key is not None:
                self.queue.gates.make(key).hold(holder)
        return self.queue.book.grant(holder, [offset for offset, _ in pairs], [key for _, key in pairs], 0.0, 100.0)

    def commit(self) -> int:
        """What is in the log is on disk: applied first, then the gates."""
        for operation in self.log[self.applied :]:
            if isinstance(operation, Acked):
                self.queue.state.apply_acked(operation)
            elif isinstance(operation, Failed):
                self.queue.state.apply_failed(operation)
            elif isinstance(operation, Died):
                self.queue.state.apply_died(operation)
        self.applied = len(self.log)
        return self.queue.committed(self.applied, 0.0)

    def behind(self) -> list[int]:
        gate = self.queue.gates.get(KEY)
        return list(gate.behind) if gate else []


def test_an_ack_leaves_the_lease_at_once_and_opens_the_key_at_the_commit() -> None:
    desk = Desk()
    lease = desk.grant("a", (1, KEY), (2, KEY))
    desk.queue.ack(lease, [1, 2])
    gate = desk.queue.gates.get(KEY)
    assert desk.queue.book.held == 0 and gate is not None and gate.held == 2
    desk.commit()
    assert desk.queue.gates.get(KEY) is None and desk.log == [Acked("g", [(1, 3)])]


def test_a_nack_takes_back_what_the_consumer_holds_behind_it() -> None:
    desk = Desk()
    first, second = desk.grant("a", (1, KEY), (2, KEY), (3, None)), desk.grant("a", (4, KEY))
    recalls = desk.queue.nack(first, [1], "no", 5.0, 0.0)
    assert [(recall.lease, recall.offsets) for recall in recalls] == [(first.number, [2]), (second.number, [4])]
    assert list(first.open) == [3], "what has no key stays"
    desk.commit()
    assert desk.behind() == [1, 2, 4] and not desk.queue.gates.ready()
    assert desk.queue.mature(5.0) == 1 and desk.queue.gates.ready()


def test_nothing_of_a_key_is_ready_before_its_failure_is_committed() -> None:
    desk = Desk()
    lease = desk.grant("a", (1, KEY))
    desk.queue.nack(lease, [1], "no", 0.0, 0.0)
    gate = desk.queue.gates.get(KEY)
    assert gate is not None and not gate.admits(desk.queue.book.holder("b"), 0.0)
    assert desk.commit() == 1 and gate.admits(desk.queue.book.holder("b"), 0.0)


def test_the_last_attempt_makes_a_dead_letter_and_the_followers_return() -> None:
    desk = Desk(max_attempts=1)
    lease = desk.grant("a", (1, KEY), (2, KEY))
    desk.queue.nack(lease, [1], "no", None, 0.0)
    assert any(isinstance(operation, Died) and operation.offsets == [1] for operation in desk.log)
    desk.commit()
    assert desk.behind() == [2] and desk.queue.gates.ready()


def test_nothing_of_a_key_is_ready_before_the_death_of_a_returned_message_is_committed() -> None:
    desk = Desk(max_attempts=1)
    lease = desk.grant("a", (1, KEY), (2, KEY))
    desk.queue.nack(lease, [1], "no", None, 0.0)
    gate = desk.queue.gates.get(KEY)
    assert gate is not None and not gate.admits(desk.queue.book.holder("a"), 0.0), "not even for the consumer itself: it has forgotten what came behind"
    assert desk.behind() == []
    assert desk.commit() == 1 and desk.behind() == [2] and gate.admits(desk.queue.book.holder("b"), 0.0)


def test_failures_with_different_attempts_wait_differently() -> None:
    desk = Desk(max_attempts=9)
    desk.queue.state.apply_failed(Failed("g", [2], 0.0, "before"))
    lease = desk.grant("a", (1, None), (2, None))
    desk.queue.nack(lease, [1, 2], "no", None, 0.0)
    failed = [operation for operation in desk.log if isinstance(operation, Failed)]
    assert [operation.offsets for operation in failed] == [[1], [2]] and failed[0].due < failed[1].due


def test_who_crashes_leaves_suspects_and_who_leaves_does_not() -> None:
    desk = Desk()
    desk.grant("a", (1, None))
    desk.grant("b", (2, None))
    desk.queue.leave("a", 0.0, True, "silent")
    desk.queue.leave("b", 0.0, False, "goodbye")
    desk.queue.leave("nobody", 0.0, True, "silent")
    desk.commit()
    assert {offset: failure.crashed for offset, failure in desk.queue.state.failures.items()} == {1: True}
    assert sorted(desk.queue.loose) == [1, 2]


def test_a_lease_that_expires_counts_as_failed_and_is_recalled() -> None:
    desk = Desk()
    lease = desk.grant("a", (1, KEY), (2, KEY))
    recalls = desk.queue.expire(lease, 0.0)
    assert recalls[0].offsets == [1, 2]
    desk.commit()
    assert {offset: failure.attempts for offset, failure in desk.queue.state.failures.items()} == {1: 1, 2: 1}


def test_a_seek_recalls_everything_and_lease_numbers_grow_on() -> None:
    desk = Desk()
    lease = desk.grant("a", (1, KEY))
    recalls = desk.queue.end_seek()
    assert [(holder.member, recall.lease, recall.offsets) for holder, recall in recalls] == [("a", lease.number, [1])]
    assert len(desk.queue.gates) == 0 and desk.grant("a", (1, KEY)).number > lease.number


def test_limits_hold_reading_back_only_beyond_what_was_read_before() -> None:
    state = GroupState("g", 0, 100)
    state.apply_acked(Acked("g", [(offset, offset + 1) for offset in range(1, 21, 2)]))
    queue = Desk(state, GroupLimits(max_holes=5)).queue
    assert queue.reached == 20 and not queue.is_full()
    queue.cursor = 20
    assert queue.is_full() and queue.offer(100) == 0


def test_loose_messages_wait_for_their_time() -> None:
    desk = Desk()
    desk.queue.state.apply_failed(Failed("g", [1], 5.0, "no"))
    assert not desk.queue.put_loose(1, 0.0) and desk.queue.put_loose(2, 0.0)
    assert desk.queue.next_due() == 5.0
    assert desk.queue.mature(5.0) == 1 and desk.queue.loose == [1, 2]
    assert desk.queue.take_loose(2) and not desk.queue.take_loose(2)


def test_what_enters_from_the_side_waits_first_of_its_key() -> None:
    desk = Desk()
    desk.queue.gates.pass_over(desk.queue.gates.make(KEY), 9)
    assert desk.queue.add_waiting([(3, KEY), (4, None)], 0.0) == 2
    assert desk.behind() == [3, 9] and desk.queue.loose == [4]


@hypothesis_settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(("grant", "ack", "nack", "release", "leave", "commit")), st.integers(0, 3)), max_size=40))
def test_one_keys_messages_are_granted_in_order_and_to_one_at_a_time(steps: list[tuple[str, int]]) -> None:
    desk = Desk(max_attempts=1000)
    gates, waiting = desk.queue.gates, list(range(10))
    for offset in waiting:
        gates.pass_over(gates.make(KEY), offset)
    gates.review(gates.make(KEY), 0.0)
    done: set[int] = set()
    for action, number in steps:
        gate, holder = gates.get(KEY), desk.queue.book.holder(f"c{number % 2}")
        leases = [lease for lease in holder.leases.values() if lease.open]
        if action == "commit":
            desk.commit()
        elif action == "grant" and gate and gate.behind and gate.admits(holder, 0.0):
            offset = gates.take(gate, 1)[0]
            held = {other for lease in desk.queue.book.leases.values() for other in lease.open}
            assert all(other in done or other in held for other in range(offset)), f"{offset} overtook one of {set(range(offset)) - done - held}"
            assert all(lease.holder is holder for lease in desk.queue.book.leases.values() if lease.open)
            desk.grant(holder.member, (offset, KEY))
            desk.queue.refile(gate, 0.0)
        elif action == "leave":
            desk.queue.leave(holder.member, 0.0, bool(number & 2), "gone")
        elif leases and action == "ack":
            done |= set(leases[0].open)
            desk.queue.ack(leases[0], list(leases[0].open))
        elif leases and action == "nack":
            desk.queue.nack(leases[0], list(leases[0].open), "no", 0.0, 0.0)
        elif leases and action == "release":
            desk.queue.release(leases[0], list(leases[0].open), 0.0)
    desk.commit()
    held = {offset for lease in desk.queue.book.leases.values() for offset in lease.open}
    assert sorted([*done, *held, *desk.behind()]) == list(range(10)), "nothing is lost or doubled"
