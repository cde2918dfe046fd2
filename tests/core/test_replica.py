"""A replica's role machine by itself: what it learns, and what it takes over from others."""

from __future__ import annotations

from random import Random

import pytest
from msgspec import structs

from tests.core.acts import Producer
from tests.core.cluster_world import ClusterWorld
from tests.core.small_cluster import a_member, a_place, a_topic
from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core.follower import take
from zmqmq.core.model import GroupLimits, Kind
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import AskSnapshot, Block, FetchedPart, Snapshot
from zmqmq.core.places import begin_move, end_move
from zmqmq.core.replica import Replica, Role
from zmqmq.core.replication import is_wanted, picture
from zmqmq.core.writes import AppendOperation, CreateLog, LogState, PutEpoch, PutMissing, PutTopic

ME = a_member("c")


@pytest.fixture
def replica() -> Replica:
    state = LogState(1, 7, 0, 0, 0, 0, 0, 0, 0, 0, (), (), (), ())
    return Replica(Partition(a_topic(), 0, state, GroupLimits(), Random(0).random, 0), 0)


def learn(replica: Replica, place: object, version: int) -> bool:
    return replica.learn(place, version, ME, 0.0, 4.0)  # type: ignore[arg-type]


def test_a_replica_that_is_taken_in_again_follows_within_the_same_leadership(replica: Replica) -> None:
    place = end_move(begin_move(a_place("abc"), ["a", "b"]), 2)
    assert learn(replica, place, 1) and replica.role is Role.NONE
    assert learn(replica, begin_move(place, ["a", "b", "c"]), 2)
    assert replica.role is Role.FOLLOWER and replica.epoch == place.epoch
    assert not learn(replica, begin_move(place, ["a", "b", "c"]), 3), "nothing has changed"


def test_a_leadership_of_an_earlier_life_is_not_followed_either(replica: Replica) -> None:
    place = a_place("cab", leader_be=ME.be - 1)
    assert learn(replica, place, 1) and replica.role is Role.NONE
    assert not learn(replica, place, 2) and replica.role is Role.NONE


def test_a_snapshot_that_comes_when_records_are_here_already_is_not_taken(replica: Replica) -> None:
    snapshot = Snapshot(1, 0, 7, 0, 1, 50, 60, 0, 0, 0, [], [], [], [], [])
    assert is_wanted(replica, snapshot)
    replica.partition.log.end = 70
    assert not is_wanted(replica, snapshot), "what was reported stays"
    replica.partition.log.end = 0
    replica.installing, replica.install_applied = True, 60
    assert not is_wanted(replica, snapshot), "one is being taken over"
    assert is_wanted(replica, structs.replace(snapshot, start=61, applied=80)), "and will never be whole, since the leader has deleted more"


def test_what_the_leader_has_deleted_counts_even_if_its_state_does_not_know_it_yet(replica: Replica) -> None:
    replica.partition.log.end = 24
    snapshot = Snapshot(1, 0, 7, 0, 1, 23, 28, 0, 0, 0, [], [], [], [], [])
    assert not is_wanted(replica, snapshot)
    assert is_wanted(replica, structs.replace(snapshot, trimmed=28))


def test_a_copy_that_is_taken_over_remembers_what_was_gone_where_it_came_from(replica: Replica) -> None:
    replica.installing, replica.install_applied = True, 60
    take(replica, FetchedPart(7, 0, 1, 0, "data", 60, 40, [], next=50))
    take(replica, FetchedPart(7, 0, 1, 50, "data", 60, 40, [], next=60))
    assert replica.partition.writes == [PutMissing(1, 40)], "once, and nothing is deleted: the tables do not know yet what must stay"
    assert (replica.partition.log.trimmed, replica.partition.log.start) == (40, 0)


def test_a_copy_that_is_taken_over_knows_no_leadership_of_which_nothing_is_committed(replica: Replica) -> None:
    storage = MemoryStorage.open(MemoryDisk())
    begun = [write for epoch, offset in [(1, 0), (2, 1), (3, 3)] for write in (PutEpoch(1, epoch, offset), AppendOperation(1, offset, epoch, 0.0, b"{}"))]
    storage.commit([PutTopic(a_topic()), CreateLog(1, 7, "t", 0), *begun])
    unsure = Replica(Partition(a_topic(), 0, storage.reader.log(1), GroupLimits(), Random(0).random, committed=3), 0)
    snapshot = picture(storage.reader, unsure, AskSnapshot(1, "cluster", "c", 1, 7, 0, 3))
    assert snapshot.epochs == [(1, 0), (2, 1)]
    for epoch, start in snapshot.epochs:
        replica.partition.log.begin_epoch(epoch, start)
    elsewhere = [Block(Kind.OPERATION, offset, epoch, 0.0, 0, 0, [b"{}"], [0], None, None) for offset, epoch in [(3, 2), (4, 4)]]
    take(replica, FetchedPart(7, 0, 4, 0, "data", 3, 0, elsewhere, next=5))
    assert not replica.damage and replica.partition.log.epochs == [(1, 0), (2, 1), (4, 4)]


def test_a_copy_that_only_is_behind_deletes_when_its_own_log_says_so(replica: Replica) -> None:
    take(replica, FetchedPart(7, 0, 1, 0, "data", 60, 40, [], next=50))
    assert replica.partition.writes == [] and replica.partition.log.trimmed == 0


def test_what_was_deleted_on_disk_is_no_gap_to_a_state_that_does_not_know_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ClusterWorld("ab")
    Producer(cluster["a"]).send(b"x")
    follower = next(machine for machine in cluster.living if machine is not cluster.leader_of())
    (replica,) = follower.cluster.roles
    looked: list[int] = []
    monkeypatch.setattr(Partition, "skip_gaps", lambda self, reader: looked.append(self.log.end))
    replica.read_end = replica.absorbed + 1
    follower.cluster.roles.snapshot(replica)
    assert looked == []
    replica.read_end = replica.absorbed
    follower.cluster.roles.snapshot(replica)
    assert looked == [replica.partition.log.end]
