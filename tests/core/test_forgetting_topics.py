"""What the brokers of a cluster keep of topics that were deleted: nothing."""

from __future__ import annotations

from tests.core.acts import Producer, done
from tests.core.cluster_world import ClusterWorld
from zmqmq.core.admin_commands import DeleteTopic
from zmqmq.core.peer_commands import Fetch


def with_a_topic_deleted() -> ClusterWorld:
    """Three brokers have held a topic for a while."""
    cluster = ClusterWorld("abc")
    for machine in cluster.living:
        machine.disk.ballast = 0
    cluster["a"].topic(cluster["a"].connect("maker", timeout=300.0))
    cluster.pass_time(2.0)
    leader = cluster.leader_of()
    Producer(leader).send(b"x")
    cluster.pass_time(1.0)
    done(leader, leader.connect("operator"), DeleteTopic(leader.next_id(), "t"))
    cluster.pass_time(10.0)
    assert not any(machine.disk.logs for machine in cluster.living)
    return cluster


def test_followers_do_not_ask_for_a_topic_that_was_deleted() -> None:
    cluster = with_a_topic_deleted()
    asked: list[Fetch] = []
    for machine in cluster.living:
        for other in cluster.living:
            machine.node.connected(other.name)  # whoever asks again lists everything
    for machine in cluster.living:
        machine.one_turn(())
        asked += [command for other in cluster.living for _, command in other.frames if isinstance(command, Fetch)]
    assert [fetch.parts for fetch in asked if fetch.parts] == []


def test_a_leader_keeps_nothing_of_a_topic_that_was_deleted_for_its_followers() -> None:
    cluster = with_a_topic_deleted()
    for machine in cluster.living:
        feeder = machine.cluster.replication._feeder
        assert not feeder.tails and not any(peer.parts or peer.committed or peer.moved or peer.fresh for peer in feeder.peers.values())
