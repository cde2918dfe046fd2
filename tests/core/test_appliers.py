"""What each operation does to its partition once it is committed."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, partition_of, queue_of
from tests.core.world import World
from zmqmq.core import operations as op
from zmqmq.core.appliers import Applier
from zmqmq.core.writes import DropDead, DropDelayed, DropGroup, DropMember, PutDead, ReviveDead, TrimLog


def bench() -> tuple[World, Applier, int]:
    """A partition with a group that has seen none of four messages; the offset of the first."""
    world = World()
    producer = Producer(world)
    Consumer(world)
    first = producer.send(b"a", b"b", b"c", b"d")
    partition_of(world).writes.clear()
    return world, Applier(partition_of(world)), first


def kinds(world: World) -> list[type[object]]:
    return [type(write) for write in partition_of(world).writes]


def test_dead_letters_are_counted_where_they_are_written() -> None:
    world, applier, first = bench()
    applier.apply(50, op.Died("g", [first, first + 1], "no", "c", [3, 4]))
    state = queue_of(world).state
    assert (state.dead, state.lag, kinds(world)) == (2, 2, [PutDead])
    applier.apply(51, op.Buried("g", [first]))
    assert (state.dead, state.lag, kinds(world)[-1]) == (1, 2, DropDead)
    applier.apply(52, op.Revived("g", [first + 1]))
    assert (state.dead, state.lag, kinds(world)[-1]) == (0, 3, ReviveDead)
    assert partition_of(world).revived == [("g", [first + 1])]
    applier.apply(53, op.Acked("g", [(first + 1, first + 2)]))
    assert (state.lag, kinds(world)[-1]) == (2, DropDead), "its record may go now"


def test_a_seek_drops_replays_in_progress_and_tells_the_holders() -> None:
    world, applier, first = bench()
    applier.apply(50, op.Died("g", [first], "no", "c", [3]))
    applier.apply(51, op.Revived("g", [first]))
    queue = queue_of(world)
    queue.book.grant(queue.book.holder("c"), [first + 1], [None], 0.0, 100.0)
    applier.apply(52, op.GroupMoved("g", first + 2, 2))
    assert (queue.state.lag, queue.cursor, kinds(world)[-1]) == (2, first + 2, DropDead)
    assert [(group, member, offsets) for group, member, _, offsets in partition_of(world).recalls] == [("g", "c", [first + 1])]


def test_a_seek_to_the_start_counts_what_is_there_when_it_is_applied() -> None:
    world, applier, _ = bench()
    applier.apply(50, op.GroupMoved("g", 0, 999))
    assert queue_of(world).state.lag == 4


def test_a_deletion_moves_the_start_and_every_group() -> None:
    world, applier, first = bench()
    partition = partition_of(world)
    applier.apply(50, op.Trimmed(first + 3, 3, 3, {"g": 3}))
    assert (partition.log.start, partition.messages, partition.size, kinds(world)) == (first + 3, 1, 1, [TrimLog])
    assert (queue_of(world).state.lag, queue_of(world).cursor) == (1, first + 3)


def test_matured_messages_leave_the_list_of_delayed_ones() -> None:
    world, applier, _ = bench()
    partition = partition_of(world)
    partition.delayed = 2
    applier.apply(50, op.Matured([7, 8]))
    assert (partition.delayed, partition.next_due, kinds(world)) == (0, float("inf"), [DropDelayed])
    partition.delayed = 2
    applier.apply(51, op.Matured([9]))
    assert (partition.delayed, partition.next_due) == (1, float("-inf"))


def test_members_and_groups_leave_the_tables() -> None:
    world, applier, _ = bench()
    applier.apply(50, op.MemberLeft("g", "c"))
    applier.apply(51, op.GroupDeleted("g"))
    assert kinds(world) == [DropMember, DropGroup] and partition_of(world).queues == {}


def test_a_group_that_has_read_everything_moves_past_an_operation() -> None:
    world, applier, _ = bench()
    queue = queue_of(world)
    queue.cursor = 50
    applier.apply(50, op.Opened(9, "b"))
    assert queue.cursor == 51 and 50 in queue.state.settled


def test_a_deletion_keeps_the_attempts_of_replayed_letters() -> None:
    world, applier, first = bench()
    state = queue_of(world).state
    applier.apply(50, op.Died("g", [first], "no", "c", [5]))
    applier.apply(51, op.Revived("g", [first]))
    applier.apply(52, op.Failed("g", [first, first + 1], 7.0, "nacked"))
    applier.apply(53, op.Trimmed(first + 2, 2, 2, {"g": 1}))
    assert (state.attempts(first), state.attempts(first + 1)) == (1, 0)


def test_what_is_deleted_is_not_waited_for_any_more() -> None:
    world, applier, first = bench()
    queue = queue_of(world)
    queue.known = {first, first + 3}
    applier.apply(50, op.Trimmed(first + 2, 2, 2, {"g": 2}))
    assert (queue.cursor, queue.known) == (first + 2, {first + 3})
