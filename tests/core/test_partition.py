"""One partition by itself: a turn of it, what a full disk takes back, what a restart applies again."""

from __future__ import annotations

from random import Random

import pytest

from tests.core.acts import settings
from tests.core.world import World
from zmqmq.core.appliers import Applier
from zmqmq.core.commands import Produce
from zmqmq.core.model import GroupLimits, TopicRecord
from zmqmq.core.operations import Acked, Failed, GroupCreated, GroupDeleted, Matured, MemberJoined, Operation, ProducersExpired, Trimmed
from zmqmq.core.partition import SNAPSHOT_RECORDS, Partition
from zmqmq.core.writes import AppendDelayed, AppendMessages, AppendOperation, DropProducers, LogState, PutGroup, PutHead, PutMember, TrimLog
from zmqmq.errors import StorageFull, ZmqmqError

WALL = 1000.0


class Bench:
    """A partition, and what it has confirmed and refused."""

    def __init__(self) -> None:
        record = TopicRecord(1, "t", 1, 1, settings(), WALL)
        state = LogState(5, 1, 0, 0, 0, 0, 0, 0, 0, 0, (), (), (), ())
        self.partition = Partition(record, 0, state, GroupLimits(), Random(0).random)
        self.confirmed: list[tuple[int, float]] = []
        self.refused: list[ZmqmqError] = []
        self.sequence = 0
        self.partition.lead(1, "b", WALL)
        self.end_turn()

    def produce(self, *values: bytes, delays: list[float | None] | None = None, sequence: int | None = None) -> None:
        first = self.sequence if sequence is None else sequence
        batch: Produce = World.produce(_NUMBERS, list(values), sequence=first, delays=delays)  # type: ignore[arg-type]
        self.partition.produce(batch, WALL, lambda offset, time: self.confirmed.append((offset, time)), self.refused.append)
        self.sequence = first + len(values)

    def append(self, *operations: Operation) -> None:
        for operation in operations:
            self.partition.append_operation(operation)

    def end_turn(self) -> list[object]:
        writes: list[object] = list(self.partition.take_writes())
        self.partition.persisted(WALL)
        return writes


class _Numbers:
    def next_id(self) -> int:
        return 1


_NUMBERS = _Numbers()


def test_a_batch_is_confirmed_when_its_turn_is_on_disk_and_not_before() -> None:
    bench = Bench()
    bench.produce(b"a", b"b")
    assert bench.confirmed == []
    writes = bench.end_turn()
    assert [type(write) for write in writes] == [AppendMessages]
    assert bench.confirmed == [(1, WALL)]
    assert (bench.partition.messages, bench.partition.size) == (2, 2)


def test_what_comes_after_the_writes_were_taken_is_not_on_disk_with_them() -> None:
    bench = Bench()
    bench.produce(b"a")
    bench.partition.take_writes()
    bench.append(GroupCreated("g", 0))
    bench.partition.persisted(WALL)
    assert bench.confirmed == [(1, WALL)] and bench.partition.queues == {}
    assert bench.partition.log.durable == bench.partition.log.committed == bench.partition.log.end - 1
    bench.end_turn()
    assert list(bench.partition.queues) == ["g"]


def test_an_operation_takes_effect_only_when_it_is_committed() -> None:
    bench = Bench()
    bench.append(GroupCreated("g", 0))
    assert bench.partition.queues == {}
    bench.end_turn()
    assert list(bench.partition.queues) == ["g"]


def test_operations_and_messages_are_applied_in_the_order_of_the_log() -> None:
    bench = Bench()
    bench.produce(b"before")
    bench.append(GroupCreated("late", bench.partition.log.end))
    bench.produce(b"after")
    bench.end_turn()
    assert bench.partition.queues["late"].state.lag == 1


def test_a_full_disk_takes_messages_back_and_leaves_operations() -> None:
    bench = Bench()
    bench.produce(b"a")
    bench.append(GroupCreated("g", 0))
    bench.partition.drop_appends(StorageFull("full"))
    bench.end_turn()
    assert [error.code for error in bench.refused] == ["StorageFull"] and bench.confirmed == []
    assert list(bench.partition.queues) == ["g"] and bench.partition.messages == 0
    bench.produce(b"a", sequence=0)
    bench.end_turn()
    assert len(bench.confirmed) == 1, "the same sequence is new again"


def test_a_full_disk_takes_back_what_had_matured() -> None:
    bench = Bench()
    bench.produce(b"a", delays=[5.0])
    bench.end_turn()
    assert bench.partition.delayed == 1
    bench.append()
    bench.partition.mature([1], [], WALL)
    assert bench.partition.drop_appends(StorageFull("full")) == {2}
    assert bench.partition.maturing == set() and bench.partition.delayed == 1


def test_a_batch_with_some_delayed_messages_is_written_one_by_one() -> None:
    bench = Bench()
    bench.produce(b"a", b"b", b"c", delays=[None, 5.0, 0.0])
    assert [type(write) for write in bench.end_turn()] == [AppendMessages, AppendDelayed, AppendMessages]
    assert (bench.partition.messages, bench.partition.size, bench.partition.delayed) == (2, 2, 1)


def test_a_snapshot_is_due_after_so_many_records() -> None:
    bench = Bench()
    assert bench.partition.is_dirty() and not bench.partition.is_snapshot_due()
    bench.produce(*[b"x"] * SNAPSHOT_RECORDS)
    bench.end_turn()
    assert bench.partition.is_snapshot_due()
    bench.append(GroupCreated("g", 0))
    bench.end_turn()
    bench.partition.snapshot()
    kinds = [type(write) for write in bench.partition.take_writes()]
    assert kinds[-1] is PutHead and PutGroup in kinds
    assert not bench.partition.is_dirty()


def test_a_snapshot_does_not_fall_into_a_batch_that_is_committed_in_part() -> None:
    bench = Bench()
    bench.produce(b"a", b"b", b"c")
    first, end = bench.partition.log.durable, bench.partition.log.end
    bench.partition.log.agree = lambda durable: min(durable, end - 1)
    bench.end_turn()
    assert first < bench.partition.log.committed < end and bench.partition.messages == 0
    bench.partition.snapshot()
    assert not any(isinstance(write, PutHead) for write in bench.partition.take_writes())
    bench.partition.log.agree = lambda durable: durable
    bench.end_turn()
    bench.partition.snapshot()
    (head,) = [write for write in bench.partition.take_writes() if isinstance(write, PutHead)]
    assert (head.applied, head.messages) == (end, 3)


def test_a_snapshot_counts_no_record_that_may_still_be_dropped() -> None:
    bench = Bench()
    bench.produce(b"a", b"b")
    bench.end_turn()
    on_disk = bench.partition.log.end
    bench.produce(b"c")
    bench.partition.snapshot()
    (head,) = [write for write in bench.end_turn() if isinstance(write, PutHead)]
    assert head.end == on_disk < bench.partition.log.end


def test_who_waits_for_a_commit_is_called_once_and_in_order() -> None:
    bench, called = Bench(), list[int]()
    bench.produce(b"a")
    for number in range(3):
        bench.partition.after_commit(lambda number=number: called.append(number))  # type: ignore[misc]
    assert called == []
    bench.end_turn()
    bench.end_turn()
    assert called == [0, 1, 2]


def test_who_waits_on_a_deleted_topic_is_handed_over() -> None:
    bench, called = Bench(), list[int]()
    bench.partition.after_commit(lambda: called.append(1))
    for waiter in bench.partition.take_waiters():
        waiter()
    bench.end_turn()
    assert called == [1]


@pytest.mark.parametrize(
    "operation, kind",
    [
        (MemberJoined("g", "c", 5.0), PutMember),
        (ProducersExpired([7]), DropProducers),
        (Trimmed(1, 0, 0), TrimLog),
    ],
)
def test_table_changes_follow_in_the_next_turns_writes(operation: Operation, kind: type[object]) -> None:
    bench = Bench()
    bench.append(GroupCreated("g", 0), operation)
    assert [type(write) for write in bench.end_turn()] == [AppendOperation, AppendOperation]
    assert kind in [type(write) for write in bench.end_turn()]


@pytest.mark.parametrize("operation", [Acked("gone", [(0, 1)]), Failed("gone", [0], 1.0, "x"), GroupDeleted("gone"), Matured([])])
def test_operations_of_a_group_that_is_gone_do_nothing(operation: Operation) -> None:
    bench = Bench()
    Applier(bench.partition).apply(1, operation)
    assert bench.partition.queues == {}


def test_applying_the_log_again_gives_the_same_members_and_groups() -> None:
    bench = Bench()
    bench.append(GroupCreated("g", 0), MemberJoined("g", "c", 5.0))
    bench.end_turn()
    before = bench.partition.queues["g"].state.to_write(5)
    Applier(bench.partition).apply(1, GroupCreated("g", 0))
    Applier(bench.partition).apply(2, MemberJoined("g", "c", 5.0))
    assert bench.partition.queues["g"].state.to_write(5) == before
