"""A leader that is stopped or cut off for longer than its session lasts: another one leads, and the old one confirms and delivers nothing when it goes on."""

from __future__ import annotations

from tests.system.cluster import ANSWER, SLOW, ClusterProcesses
from tests.system.cluster_load import Load
from tests.system.cluster_witness import Witness
from tests.system.processes import eventually
from zmqmq import Admin, Consumer, Producer
from zmqmq.core.commands import Delivery, Produced

CLUSTER = {"proxies": True, "zookeeper": {"session_timeout_seconds": 2.0}}
"""Each has a cable of its own to ZooKeeper and to the others; sessions are the shortest that are allowed, so that these tests need not wait for long."""


def topic_with_one_leader(cluster: ClusterProcesses, topic: str) -> str:
    with Admin(cluster.brokers) as admin:
        admin.create_topic(topic, partitions=1, replicas=3)
    return cluster.leader_of(topic)


def check_the_old_leader_says_nothing(cluster: ClusterProcesses, topic: str, old: str, witness: Witness) -> None:
    """What was said to the old leader while it could not lead was neither confirmed nor stored, and nothing was delivered by it."""
    confirmed = [answer for answer in witness.hear(Produced, Delivery, within=ANSWER) if isinstance(answer, Produced) or answer.lots]  # type: ignore[attr-defined]
    witness.close()
    assert confirmed == []
    with Producer(cluster.brokers) as producer:
        producer.send(topic, b"the last").result(timeout=SLOW)
    values: list[bytes] = []
    with Consumer(cluster.brokers, topic, group="readers") as consumer:
        while b"the last" not in values:
            messages = consumer.receive_many(100, timeout=SLOW)
            assert messages, f"after {values} nothing comes any more"
            values += [message.value for message in messages]
            consumer.ack(messages)
    assert values == [b"the first", b"meanwhile", b"the last"]


def begin(cluster: ClusterProcesses, topic: str) -> tuple[str, Witness]:
    leader = topic_with_one_leader(cluster, topic)
    witness = Witness(cluster, leader, topic)
    witness.send(b"the first")
    assert len(witness.hear(Produced, within=ANSWER)) == 1
    return leader, witness


def others_go_on(cluster: ClusterProcesses, topic: str, old: str) -> None:
    """Another broker leads, and confirms."""
    assert cluster.leader_of(topic, other_than=old)
    with Producer([member.endpoint for name, member in cluster.members.items() if name != old]) as producer:
        producer.send(topic, b"meanwhile").result(timeout=SLOW)


def test_a_leader_that_was_stopped_confirms_and_delivers_nothing_when_it_wakes_up(whole: ClusterProcesses) -> None:
    old, witness = begin(whole, "awake")
    with whole.paused(old):
        witness.send(b"to a stopped leader")
        witness.pull()
        others_go_on(whole, "awake", old)
    check_the_old_leader_says_nothing(whole, "awake", old, witness)


def test_a_leader_that_is_cut_from_zookeeper_confirms_and_delivers_nothing(whole: ClusterProcesses) -> None:
    old, witness = begin(whole, "hermit")
    whole.cut_from_zookeeper(old)
    others_go_on(whole, "hermit", old)
    witness.send(b"to a leader without a session")
    witness.pull()
    check_the_old_leader_says_nothing(whole, "hermit", old, witness)


def test_a_leader_that_is_cut_from_everybody_else_confirms_and_delivers_nothing(whole: ClusterProcesses) -> None:
    old, witness = begin(whole, "island")
    whole.cut_from_zookeeper(old)
    whole.cut_from_brokers(*whole.members)
    witness.send(b"to an island")
    assert whole.leader_of("island", other_than=old)
    witness.pull()
    whole.mend_to_brokers(*(name for name in whole.members if name != old))
    others_go_on(whole, "island", old)
    check_the_old_leader_says_nothing(whole, "island", old, witness)


def test_a_leader_that_nobody_can_follow_gives_way_to_one_that_is_followed(whole: ClusterProcesses) -> None:
    old = topic_with_one_leader(whole, "unfollowed")
    whole.cut_from_brokers(old)
    with Producer(whole.brokers) as producer:
        producer.send("unfollowed", b"a message").result(timeout=SLOW)
    whole.mend()
    whole.wait_whole()
    with Consumer(whole.brokers, "unfollowed", group="readers") as consumer:
        message = consumer.receive(SLOW)
        assert message is not None and message.value == b"a message"
        message.ack().result(SLOW)


def test_a_stopped_leader_under_load_costs_nothing_that_was_confirmed(whole: ClusterProcesses) -> None:
    load = Load(whole, "stopped")
    old = whole.leader_of("stopped")
    with whole.paused(old):
        eventually(lambda: old not in {place.leader for place in report.places} if (report := whole.report()) else False, f"{old} leads nothing", SLOW)
        load.flow()
    whole.wait_whole()
    load.flow()
    load.finish()


def test_a_leader_cut_from_zookeeper_under_load_costs_nothing_that_was_confirmed(whole: ClusterProcesses) -> None:
    load = Load(whole, "cut")
    old = whole.leader_of("cut")
    whole.cut_from_zookeeper(old)
    assert whole.leader_of("cut", other_than=old)
    load.flow()
    whole.mend()
    whole.wait_whole()
    load.flow()
    load.finish()
