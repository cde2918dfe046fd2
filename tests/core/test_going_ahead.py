"""Records go ahead: followers write a turn while its leader does, and from then on it is not taken back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from tests.core.acts import Consumer, Producer
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_full_disk_of_a_leader import CATCH_UP, led, records, stuff
from zmqmq.core.commands import Produced, Refused
from zmqmq.core.peer_commands import Fetched
from zmqmq.core.writes import AppendMessages, Write

BALLAST = 1 << 20


class Died(Exception):
    """The process ends in the middle of a commit."""


def with_ballast() -> tuple[ClusterWorld, Machine, Producer]:
    cluster, leader = led(BALLAST)
    producer = Producer(leader)
    producer.send(b"before")
    return cluster, leader, producer


def given(machine: Machine) -> list[bytes]:
    """Values of the records that lie in front of a broker."""
    answers = [answer for _, answer in machine.answers if isinstance(answer, Fetched)]
    return [value for answer in answers for part in answer.parts for block in part.blocks for value in block.values if value]


def given_when_written(cluster: ClusterWorld, leader: Machine) -> list[list[bytes]]:
    """What lies in front of each follower whenever the leader begins to write messages."""
    seen: list[list[bytes]] = []
    commit = leader.storage.commit

    def watched(writes: Sequence[Write]) -> None:
        if any(isinstance(write, AppendMessages) for write in writes):
            seen.append([value for machine in cluster.living if machine is not leader for value in given(machine)])
        commit(writes)

    leader.storage.commit = watched  # type: ignore[method-assign]
    return seen


def die_in_the_next_commit(leader: Machine) -> None:
    def fail(writes: Sequence[Write]) -> None:
        if writes:
            raise Died

    leader.storage.commit = fail  # type: ignore[method-assign]


def told(leader: Machine, producer: Producer) -> list[str]:
    return [type(answer).__name__ for answer in leader.take(producer.address) if isinstance(answer, Produced | Refused)]


def test_followers_have_a_message_in_front_of_them_when_the_leader_begins_to_write_it() -> None:
    cluster, leader, producer = with_ballast()
    seen = given_when_written(cluster, leader)
    producer.send(b"x", b"y")
    assert seen == [[b"x", b"y"] * 2]


def test_a_follower_that_is_not_in_sync_gets_it_when_it_is_written() -> None:
    cluster, leader, producer = with_ballast()
    seen = given_when_written(cluster, leader)
    (replica,) = leader.cluster.roles
    assert replica.leader is not None
    out = next(name for name in replica.leader.isr if name != leader.name)
    member = replica.leader.isr.pop(out)
    producer.send(b"x")
    replica.leader.isr[out] = member
    cluster.pass_time(CATCH_UP)
    assert seen == [[b"x"]], "one of two"
    assert records(cluster[out]) == records(leader)


def test_without_a_ballast_nothing_goes_ahead() -> None:
    cluster, leader = led(0)
    producer = Producer(leader)
    seen = given_when_written(cluster, leader)
    producer.send(b"x")
    assert seen == [[]]


def test_nothing_goes_ahead_while_the_disk_is_full() -> None:
    cluster, leader, producer = with_ballast()
    leader.node.begin(leader.now, leader.wall)
    leader.node.receive(producer.address, producer.batch(b"x"))
    leader.node.set_storage_full(True)
    leader.node.take_writes()
    assert not leader.node.ahead()
    leader.node.set_storage_full(False)
    assert len(leader.node.ahead()) == len(cluster.living) - 1


def test_what_went_ahead_and_does_not_fit_is_left_to_another_leader() -> None:
    cluster, leader, producer = with_ballast()
    has_room = stuff(leader)
    leader.turn((producer.address, producer.batch(b"x")))
    cluster.pass_time(1.0)
    assert [answer.code for answer in leader.take(producer.address) if isinstance(answer, Refused)] == ["NotLeader"]
    successor = cluster.leader_of()
    assert successor is not leader
    assert records(successor)[2][2] == b"x"
    again = Producer(successor, number=producer.number)
    again.sequence[0] = 1
    again.send(b"x")
    has_room()
    leader.node.set_storage_full(False)
    cluster.pass_time(CATCH_UP)
    assert records(cluster["a"]) == records(cluster["b"]) == records(cluster["c"])
    assert Consumer(cluster.leader_of()).drain() == [b"before", b"x"]


def test_a_broker_that_gives_way_is_soon_a_member_again_with_another_registration() -> None:
    cluster, leader, producer = with_ballast()
    before = leader.cluster.me()
    assert before is not None
    has_room = stuff(leader)
    leader.turn((producer.address, producer.batch(b"x")))
    has_room()
    leader.node.set_storage_full(False)
    cluster.pass_time(CATCH_UP)
    me = leader.cluster.me()
    assert me is not None and me.be > before.be
    (place,) = cluster.report("t").places
    assert len(place.in_sync) == 3


def test_who_waits_for_another_partition_is_answered_when_all_is_written() -> None:
    cluster, leader, producer = with_ballast()
    seen = given_when_written(cluster, leader)
    name, peer = next(iter(leader.cluster.replication._feeder.peers.items()))
    peer.fresh.update(peer.parts.fromkeys(peer.parts))
    producer.send(b"x")
    assert seen == [[b"x"]], "one of two"
    cluster.pass_time(CATCH_UP)
    assert records(cluster[name]) == records(leader)


@pytest.mark.parametrize("change", [{"last_epoch": 0}, {"epoch": 0}, {"offset": 1}])
def test_who_has_another_log_or_leader_gets_nothing_ahead(change: dict[str, int]) -> None:
    cluster, leader, producer = with_ballast()
    seen = given_when_written(cluster, leader)
    for peer in leader.cluster.replication._feeder.peers.values():
        for key, part in peer.parts.items():
            peer.parts[key] = msgspec.structs.replace(part, **change)
    leader.turn((producer.address, producer.batch(b"x")))
    assert seen == [[]]


def test_what_nobody_was_sent_is_refused_by_the_same_full_disk() -> None:
    cluster, leader, producer = with_ballast()
    alone = Producer(leader, "alone", number=8)
    (replica,) = leader.cluster.roles
    assert replica.leader is not None
    isr, replica.leader.isr = replica.leader.isr, {leader.name: replica.leader.isr[leader.name]}
    has_room = stuff(leader)
    leader.turn((alone.address, alone.batch(b"x")))
    replica.leader.isr = isr
    assert not any(b"x" in given(machine) for machine in cluster.living)
    has_room()
    leader.node.set_storage_full(False)
    cluster.pass_time(CATCH_UP)
    assert told(leader, alone) == ["Refused"]
    producer.send(b"y")
    assert [value for _, _, value, _ in records(leader) if value] == [b"before", b"y"]


def test_a_leader_that_dies_while_it_writes_leaves_all_copies_alike_and_the_message_once() -> None:
    cluster, leader, producer = with_ballast()
    die_in_the_next_commit(leader)
    with pytest.raises(Died):
        leader.turn((producer.address, producer.batch(b"x")))
    leader.die()
    cluster.pass_time(CATCH_UP)
    successor = cluster.leader_of()
    assert successor is not leader
    again = Producer(successor, number=producer.number)
    again.sequence[0] = 1
    again.send(b"x")
    leader.start()
    cluster.pass_time(CATCH_UP)
    assert records(cluster["a"]) == records(cluster["b"]) == records(cluster["c"])
    assert Consumer(cluster.leader_of()).drain() == [b"before", b"x"]


def test_what_went_ahead_to_one_follower_is_cut_there_when_another_one_leads() -> None:
    cluster, leader, producer = with_ballast()
    one, other = (machine for machine in cluster.living if machine is not leader)
    die_in_the_next_commit(leader)
    with pytest.raises(Died):
        leader.turn((producer.address, producer.batch(b"x")))
    other.answers.clear()
    one.one_turn(())
    assert records(one)[-1][2] == b"x"
    one.die()
    leader.die()
    leader.start()
    cluster.pass_time(CATCH_UP)
    one.start()
    cluster.pass_time(CATCH_UP)
    assert [value for _, _, value, _ in records(one) if value] == [b"before"]
    assert records(cluster["a"]) == records(cluster["b"]) == records(cluster["c"])
