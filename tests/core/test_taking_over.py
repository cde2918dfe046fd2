"""A follower that is too far behind takes over its leader's tables: what may happen meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tests.core.acts import Consumer, Producer, done
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_full_disk_of_a_leader import CATCH_UP, led, records
from zmqmq.core.admin_commands import DeleteTopic
from zmqmq.core.commands import Command
from zmqmq.core.peer_commands import Snapshot


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
