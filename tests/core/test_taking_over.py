"""A follower that is too far behind takes over its leader's tables: what may happen meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec

from tests.core.acts import Consumer, Producer, done
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.small_cluster import a_member, a_place, a_topic
from tests.core.test_full_disk_of_a_follower import takes_no_messages
from tests.core.test_full_disk_of_a_leader import CATCH_UP, led, records
from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core import operations as op
from zmqmq.core.admin_commands import DeleteTopic
from zmqmq.core.checksum import checksums
from zmqmq.core.commands import Command
from zmqmq.core.follower import take
from zmqmq.core.model import GroupLimits, Kind
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import Block, FetchedPart, Snapshot
from zmqmq.core.replica import Replica
from zmqmq.core.writes import CreateLog, PutSnapshot, PutTopic


def left_behind() -> tuple[ClusterWorld, Machine, Machine, Producer]:
    """A partition's leader has deleted what a follower that is away would need next."""
    cluster, leader = led()
    producer, consumer = Producer(leader), Consumer(leader, timeout=10_000.0)
    producer.send(*[b"before"] * 10)
    behind = next(machine for machine in cluster.living if machine not in (leader, cluster.leader))
    behind.die()
    cluster.pass_time(CATCH_UP)
    producer.send(*[b"meanwhile"] * 10)
    consumer.drain()
    cluster.pass_time(2 * CATCH_UP)
    return cluster, leader, behind, producer


def hold_snapshots(leader: Machine) -> list[Snapshot]:
    """From now on the snapshots that it gives get no further than into this list."""
    held: list[Snapshot] = []
    answer = leader._answer

    def hold(answers: Iterable[tuple[bytes, Command]]) -> None:
        mine = list(answers)
        held.extend(command for _, command in mine if isinstance(command, Snapshot))
        answer(sent for sent in mine if not isinstance(sent[1], Snapshot))

    leader._answer = hold  # type: ignore[method-assign]
    return held


def test_a_follower_that_is_too_far_behind_is_whole_again() -> None:
    cluster, leader, behind, producer = left_behind()
    behind.start()
    cluster.pass_time(CATCH_UP)
    producer.send(b"after")
    cluster.pass_time(1.0)
    assert "snapshot taken over" in [event for event, _ in behind.events]
    assert records(behind) == records(leader)


def test_a_snapshot_of_a_topic_that_was_deleted_meanwhile_finds_nobody() -> None:
    cluster, leader, behind, _ = left_behind()
    held = hold_snapshots(leader)
    behind.start()
    cluster.pass_time(1.0)
    (late,) = held
    done(leader, leader.connect("operator"), DeleteTopic(leader.next_id(), "t"))
    cluster.pass_time(1.0)
    behind.answers.append((leader.name, late))
    behind.one_turn(())
    assert not behind.disk.logs


def test_a_snapshot_from_before_the_deletion_was_on_disk_is_followed_by_another_one() -> None:
    cluster, leader, behind, _ = left_behind()
    held = hold_snapshots(leader)
    behind.start()
    cluster.pass_time(1.0)
    del leader._answer  # type: ignore[method-assign]
    behind.answers.append((leader.name, msgspec.structs.replace(held[0], start=0, trimmed=0)))
    behind.one_turn(())
    cluster.pass_time(CATCH_UP)
    assert records(behind) == records(leader)
    assert len(cluster.report("t").places[0].in_sync) == 3


class Copy:
    """What takes over tables as of offset 95, from a leader that had deleted what is below 50. Offset 60 is not settled yet."""

    def __init__(self) -> None:
        self.store = MemoryStorage.open(MemoryDisk())
        groups = [("g", 60, "[[61, 95]]", "{}", "[]", 1, 0)]
        self.store.commit([PutTopic(a_topic()), CreateLog(1, 7, "t", 0), PutSnapshot(1, 50, 95, 45, 90, 0, [(1, 0)], [], groups, [], [], 50)])
        state = self.store.log(1)._replace(end=0)
        self.replica = Replica(Partition(a_topic(), 0, state, GroupLimits(), Random(0).random, 0), 0)
        self.replica.learn(a_place("abc"), 3, a_member("c"), 0.0, 4.0)
        self.replica.installing, self.replica.install_applied, self.replica.install_end = True, 95, 95

    def take(self, offset: int, start: int, *blocks: Block) -> None:
        """The leader, which has deleted what is below `start` by now, sends these; they are written."""
        after = blocks[-1].first + len(blocks[-1].values)
        take(self.replica, FetchedPart(7, 0, 1, offset, "data", after, start, list(blocks), next=after))
        self.store.commit(self.replica.partition.take_writes())
        self.replica.partition.stored()

    def absorb(self) -> None:
        """All that is here is applied, after a restart."""
        partition = Partition(a_topic(), 0, self.store.log(1), GroupLimits(), Random(0).random, self.store.log(1).end)
        partition.absorb(self.store.blocks(1, 95, partition.log.end, 1 << 20))
        partition.snapshot()
        self.store.commit(partition.take_writes())

    def kept(self) -> list[int]:
        return [row.offset for row in self.store.read(1, 0, 100, 1 << 20)]


def messages(start: int, stop: int) -> Block:
    values = [b"m%d" % offset for offset in range(start, stop)]
    return Block(Kind.MESSAGE, start, 1, 1.0, 0, 0, values, checksums(values, None, None), None, None)


def operation(offset: int, what: op.Operation) -> Block:
    return Block(Kind.OPERATION, offset, 1, 2.0, 0, 0, [op.encode(what)], [0], None, None)


def test_a_message_that_dies_at_the_leader_meanwhile_is_a_dead_letter_of_the_copy_too() -> None:
    copy = Copy()
    copy.take(0, 50, messages(50, 70))
    died, trimmed = operation(96, op.Died("g", [60], "bad", "c", [1])), operation(97, op.Trimmed(95, 44, 88, {}))
    copy.take(70, 95, messages(95, 96), died, trimmed)
    assert copy.store.log(1).trimmed == 95, "what lies between is not here: nobody may take this copy for whole"
    copy.absorb()
    assert [letter.row.value for letter in copy.store.dead(1, "g", -1, 10)] == [b"m60"]
    assert copy.kept() == [60, 95], "and what nobody needs went"


def test_what_a_full_disk_refuses_of_a_copy_that_is_taken_over_moves_no_beginning_of_a_leadership() -> None:
    cluster, leader, behind, _ = left_behind()
    for _ in range(2):
        leader.cluster.registrar.start_over("for a test")
        cluster.pass_time(CATCH_UP)
        leader = cluster.leader_of()
    Producer(leader, "late", number=8).send(b"new")
    cluster.pass_time(1.0)
    behind.start()
    has_room = takes_no_messages(behind)
    cluster.pass_time(1.0)
    (replica,) = behind.cluster.roles
    assert replica.installing and not records(behind)
    has_room()
    cluster.pass_time(CATCH_UP)
    (led_here,) = leader.cluster.roles
    assert len(led_here.partition.log.epochs) == 3
    (log,) = behind.disk.logs.values()
    assert replica.partition.log.epochs == sorted(log.epochs.items()) == led_here.partition.log.epochs
    assert records(behind) == records(leader)
