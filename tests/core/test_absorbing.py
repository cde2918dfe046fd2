"""A replica that follows has the same state as its leader, and can lead from there."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from tests.core import test_queue_oracle as oracles
from tests.core.acts import settings
from tests.core.test_partition import WALL
from tests.core.world import World
from zmqmq.core.dispatch import Pull, grant
from zmqmq.core.gaps import GAPS_MAX, Gaps
from zmqmq.core.group import GroupState
from zmqmq.core.model import GroupLimits, Kind, TopicRecord
from zmqmq.core.operations import Acked, Died, GroupCreated, Matured, MemberJoined, Opened, Operation, Revived, Trimmed, encode
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import Block
from zmqmq.core.writes import AppendDelayed, AppendMessages, AppendOperation, DropDelayed, LogState, PutDead, PutGroup, TrimLog, Write


def blocks_of(writes: Iterable[Write], log_id: int) -> list[Block]:
    """What a leader's turn puts into one log, as it is sent."""
    found: list[Block] = []
    for write in writes:
        if isinstance(write, AppendOperation) and write.log_id == log_id:
            found.append(Block(Kind.OPERATION, write.offset, write.epoch, write.time, 0, 0, [write.text], [0], None, None))
        elif isinstance(write, AppendMessages) and write.log_id == log_id:
            columns = [list(column) if column is not None else None for column in (write.values, write.crcs, write.keys, write.headers)]
            found.append(Block(Kind.MESSAGE, write.first, write.epoch, write.time, write.producer, write.sequence, *columns))  # type: ignore[arg-type]
        elif isinstance(write, AppendDelayed) and write.log_id == log_id:
            columns = [[write.value], [write.crc], [write.key], [write.headers]]
            head = (Kind.DELAYED, write.offset, write.epoch, write.time, write.producer, write.sequence)
            found.append(Block(*head, *columns, write.due))  # type: ignore[arg-type]
    return found


def follower(topic: TopicRecord, number: int = 0, log_id: int = 5) -> Partition:
    """A replica that has nothing yet."""
    state = LogState(log_id, topic.topic_id, number, 0, 0, 0, 0, 0, 0, 0, (), (), (), ())
    return Partition(topic, number, state, GroupLimits(), Random(0).random, committed=0)


def messages_of(partition: Partition, ranges: Iterable[tuple[int, int]], messages: set[int]) -> set[int]:
    return {offset for start, stop in ranges for offset in range(start, stop) if offset in messages}


def picture(partition: Partition, messages: set[int]) -> dict[str, Any]:
    """What every replica must agree on: the state without the gaps, which hold nothing."""
    start = partition.log.start
    groups = {}
    for name, queue in partition.queues.items():
        state = queue.state
        settled = {offset for offset in messages if offset >= start and offset in state.settled}
        groups[name] = (settled, state.failures, state.revived, state.members, state.lag, state.dead)
    table = partition.confirmed_producers
    producers = {producer: (known.last, known.runs, known.time) for producer, known in table._states.items()}
    return {"groups": groups, "producers": producers, "figures": (partition.messages, partition.size, partition.delayed, start)}


class Shadow(oracles.Oracle):
    """A broker alone, and beside it a follower of each partition that gets what the broker has committed."""

    def __init__(self, seed: int) -> None:
        self.followers: dict[int, Partition] = {}
        self.messages: dict[int, set[int]] = {}
        self.writes: dict[int, list[Write]] = {}
        super().__init__(seed)
        finish = self.world.finish

        def finish_and_feed() -> None:
            finish()
            self.feed()

        self.world.finish = finish_and_feed  # type: ignore[method-assign]

    def feed(self) -> None:
        """Everything that is on the disk of the broker goes to its followers, in blocks."""
        catalogue = self.world.node.catalogue
        for partition in catalogue.get("t").partitions.values() if "t" in catalogue.names() else ():
            shadow = self.followers.setdefault(partition.number, follower(partition.topic, partition.number, partition.log.log_id))
            messages = self.messages.setdefault(partition.number, set())
            blocks = self.world.storage.reader.blocks(partition.log.log_id, shadow._absorber.reached, partition.log.committed, 1 << 30)
            messages.update(block.first + index for block in blocks if block.kind == Kind.MESSAGE for index in range(len(block.values)))
            shadow.log.end = partition.log.committed
            shadow.log.persisted(shadow.log.end)
            shadow.absorb(blocks)
            self.writes.setdefault(partition.number, []).extend(shadow.take_writes())

    def compare(self) -> None:
        """Called when everything is committed."""
        for partition in self.world.node.catalogue.get("t").partitions.values():
            shadow, messages = self.followers[partition.number], self.messages[partition.number]
            assert picture(shadow, messages) == picture(partition, messages)


@pytest.mark.parametrize("block", range(4))
def test_a_follower_has_the_state_of_its_leader_after_any_history(block: int) -> None:
    for seed in range(block * 5, block * 5 + 5):
        history = Shadow(seed)
        for _ in range(oracles.STEPS):
            history.step()
        history.compare()
        history.heal()
        history.compare()
        for shadow in history.followers.values():
            for queue in shadow.queues.values():
                assert len(queue.state.settled.ranges) <= 1 and len(shadow._absorber.gaps) <= 1, f"seed {seed}: everything is settled"


def drain(world: World, partition: Partition) -> list[int]:
    """What one consumer would get of everything that is due, in the order in which it gets it."""
    queue = partition.queues["g"]
    holder, got = queue.book.holder("heir"), list[int]()
    for _ in range(1000):
        pull = Pull(queue, holder, partition.log.log_id, world.storage.reader, partition.log.committed, world.wall)
        rows = pull.rows(10, 1 << 20)
        if rows:
            queue.ack(grant(pull, rows, world.now), [row.offset for row in rows])
            got += [row.offset for row in rows]
        elif not pull.unfinished:
            return got
    raise AssertionError("there is no end")


@pytest.mark.parametrize("seed", range(8))
def test_a_follower_that_takes_over_delivers_what_a_restarted_leader_would(seed: int) -> None:
    history = Shadow(seed)
    for _ in range(oracles.STEPS):
        history.step()
    world = history.world
    world.crash()
    for partition in world.node.catalogue.get("t").partitions.values():
        shadow = history.followers[partition.number]
        shadow.activate(world.now, world.wall)
        world.node.housekeeping.settle_in(shadow)
        assert shadow.queues["g"].reclaim == partition.queues["g"].reclaim
        expected = drain(world, partition)
        assert drain(world, shadow) == expected
        assert shadow.queues["g"].is_full() == partition.queues["g"].is_full()


class Copy:
    """One follower, fed by hand."""

    def __init__(self, *operations: Operation) -> None:
        self.partition = follower(TopicRecord(1, "t", 1, 3, settings(), WALL))
        self.feed(*operations)

    def feed(self, *entries: Operation | int, skip: int = 0) -> None:
        """Operations, and numbers of messages, as blocks; `skip` offsets before them stay empty."""
        log = self.partition.log
        log.end += skip
        for entry in entries:
            if isinstance(entry, int):
                block = Block(Kind.MESSAGE, log.end, 1, WALL, 7, log.end, [b"x"] * entry, [0] * entry, None, None)
            else:
                block = Block(Kind.OPERATION, log.end, 1, WALL, 0, 0, [encode(entry)], [0], None, None)
            log.end += len(block.values)
            log.persisted(log.end)
            self.partition.absorb([block])

    @property
    def state(self) -> GroupState:
        return self.partition.queues["g"].state


def test_gaps_join_what_is_settled_beside_them() -> None:
    copy = Copy(Opened(1, "b"), GroupCreated("g", 0))
    assert copy.state.settled.floor == 2
    copy.feed(3, Acked("g", [(3, 4)]), 1, Acked("g", [(4, 5)]), Acked("g", [(6, 7)]))
    assert (copy.state.settled.floor, list(copy.state.settled.ranges)) == (2, [(3, 9)])
    copy.feed(Acked("g", [(2, 3)]))
    assert (copy.state.settled.floor, list(copy.state.settled.ranges), copy.state.lag) == (10, [], 0)


def test_a_gap_beside_nothing_settled_is_no_range_of_its_own() -> None:
    copy = Copy(Opened(1, "b"), GroupCreated("g", 0))
    copy.feed(1, MemberJoined("g", "c", 5.0), 1, MemberJoined("g", "d", 5.0), 1)
    assert not copy.state.settled.ranges
    copy.feed(Acked("g", [(2, 3)]), Acked("g", [(4, 5), (6, 7)]))
    assert copy.state.settled.floor == copy.partition.log.end


def test_offsets_that_were_never_written_are_gaps() -> None:
    copy = Copy(Opened(1, "b"), GroupCreated("g", 0))
    copy.feed(1, skip=3)
    assert copy.state.settled.floor == 5
    copy.feed(Acked("g", [(5, 6)]), skip=2)
    assert copy.state.settled.floor == 9


def test_a_floor_passes_over_a_gap_that_only_storage_knows() -> None:
    copy = Copy(Opened(1, "b"), GroupCreated("g", 0))
    copy.feed(1, MemberJoined("g", "c", 5.0), 1)
    copy.partition._absorber.gaps = Gaps()
    copy.feed(Acked("g", [(2, 3)]))
    assert copy.state.settled.floor == 3

    class Storage:
        def read(self, log_id: int, start: int, limit: int, max_bytes: int) -> list[Any]:
            return [type("Row", (), {"offset": offset}) for offset in (4,) if offset >= start][:limit]

    copy.partition.skip_gaps(Storage())  # type: ignore[arg-type]
    assert copy.state.settled.floor == 4
    copy.feed(Acked("g", [(4, 5)]))
    assert copy.state.settled.floor == 7


def test_gaps_are_bounded() -> None:
    gaps = Gaps()
    for offset in range(0, 2 * GAPS_MAX + 10, 2):
        gaps.note(offset, offset + 1, ())
    assert len(gaps) == GAPS_MAX


def test_a_deletion_beyond_the_snapshot_asks_for_one_with_it() -> None:
    copy = Copy(Opened(1, "b"), GroupCreated("g", 0))
    copy.feed(1, Acked("g", [(2, 3)]))
    assert not copy.partition.trimmed_unsaved
    copy.feed(Trimmed(3, 1, 1))
    assert copy.partition.trimmed_unsaved
    copy.partition.log.advance()
    copy.partition.snapshot()
    assert not copy.partition.trimmed_unsaved
    kinds = [type(write) for write in copy.partition.take_writes()]
    assert kinds.index(TrimLog) < kinds.index(PutGroup)


def test_who_leads_after_having_followed_judges_reads_and_waits_as_any_leader() -> None:
    copy = Copy(Opened(1, "b"), GroupCreated("g", 0), MemberJoined("g", "c", 5.0))
    copy.feed(3, Died("g", [3], "because", "c", [1]), Revived("g", [3]), Acked("g", [(4, 5)]))
    partition = copy.partition
    partition.activate(100.0, WALL + 1)
    queue = partition.queues["g"]
    assert queue.cursor == queue.state.settled.floor == 5 and partition.revived == [("g", [3])]
    assert queue.reclaim == {"c": 105.0} and partition.is_reclaiming()
    assert partition.producers.judge(7, 3, 3, 3) == (3, 3) and partition.producers.judge(7, 6, 1, 6).repeated == 0
    assert partition.pending_deaths("g") == [3], "storage does not know of the letter yet"
    assert queue.moving_letters == {3}
    assert any(isinstance(write, PutDead) for write in partition.take_writes())
    partition.stored()
    assert queue.moving_letters == set()


def test_what_matured_at_the_leader_does_not_mature_again() -> None:
    copy = Copy(Opened(1, "b"))
    log = copy.partition.log
    copy.partition.absorb([Block(Kind.DELAYED, 1, 1, WALL, 7, 0, [b"x"], [0], None, None, WALL + 1)])
    log.end = 2
    assert copy.partition.delayed == 1
    copy.feed(Matured([1]), 1)
    copy.partition.activate(100.0, WALL + 2)
    assert copy.partition.maturing == {1} and copy.partition.delayed == 0 and copy.partition.messages == 1
    assert any(isinstance(write, DropDelayed) for write in copy.partition.take_writes())
    copy.partition.stored()
    assert copy.partition.maturing == set()
