"""Too few replicas, an emptied directory, an old copy of one, a leader killed again and again: what was confirmed is never lost for it."""

from __future__ import annotations

from pathlib import Path

from tests.system.cluster import ANSWER, SLOW, ClusterProcesses
from tests.system.cluster_load import read
from tests.system.cluster_witness import Witness
from tests.system.processes import eventually
from zmqmq import Admin, Producer
from zmqmq.core.commands import Produced, Refused


def single(cluster: ClusterProcesses, topic: str) -> str:
    """A topic of one partition with three replicas; gives its leader."""
    with Admin(cluster.brokers) as admin:
        admin.create_topic(topic, partitions=1, replicas=3)
    cluster.wait_whole()
    return cluster.leader_of(topic)


def test_with_two_of_three_replicas_down_nothing_is_confirmed_until_one_returns(whole: ClusterProcesses) -> None:
    leader = single(whole, "lonely")
    witness = Witness(whole, leader, "lonely")
    others = [name for name in whole.members if name != leader]
    with Producer(whole.brokers) as producer:
        producer.send("lonely", b"before", key="k").result(SLOW)
        whole.kill(*others)
        eventually(lambda: whole.place("lonely").in_sync == [leader], "the leader is in sync alone")
        witness.send(b"refused")
        answers = witness.hear(Refused, Produced, within=ANSWER)
        witness.close()
        assert [getattr(answer, "code", "confirmed") for answer in answers] == ["NotEnoughReplicas"]
        patient = producer.send("lonely", b"accepted", key="k")
        whole.start(others[0])
        patient.result(SLOW)
    whole.start()
    whole.wait_whole()
    assert read(whole, "lonely", 2) == [b"before", b"accepted"]


def test_a_broker_whose_directory_was_emptied_is_not_trusted_until_it_has_caught_up(whole: ClusterProcesses) -> None:
    leader = single(whole, "emptied")
    with Producer(whole.brokers) as producer:
        for number in range(300):
            producer.send("emptied", b"%d" % number, key="k")
    follower = next(name for name in whole.members if name != leader)
    whole.kill(leader)
    whole.wipe(leader)
    whole.leader_of("emptied", other_than=leader)
    whole.start(leader)
    whole.wait_whole()
    whole.kill(follower)
    assert read(whole, "emptied", 300) == [b"%d" % number for number in range(300)]
    whole.start(follower)
    whole.wait_whole()


def test_the_only_replica_that_is_left_is_not_led_from_an_emptied_directory(whole: ClusterProcesses) -> None:
    leader = single(whole, "precious")
    others = [name for name in whole.members if name != leader]
    with Producer(whole.brokers) as producer:
        for number in range(50):
            producer.send("precious", b"%d" % number, key="k")
    whole.kill(*whole.members)
    whole.wipe(others[0])
    whole.start(others[0])
    report = eventually(lambda: whole.report(others[0]), "the emptied broker tells what it sees")
    assert report is not None and "precious" not in {place.topic for place in report.places if place.leader == others[0]}
    whole.start()
    whole.wait_whole()
    assert read(whole, "precious", 50) == [b"%d" % number for number in range(50)]


def test_a_broker_that_comes_back_with_an_old_copy_of_its_directory_is_brought_up_to_date(whole: ClusterProcesses, tmp_path: Path) -> None:
    victim = single(whole, "copied")
    with Producer(whole.brokers) as producer:
        for number in range(100):
            producer.send("copied", b"%d" % number, key="k")
        producer.flush()
        whole.stop(victim)
        whole.copy_data(victim, tmp_path / "copy")
        whole.start(victim)
        whole.wait_whole()
        for number in range(100, 200):
            producer.send("copied", b"%d" % number, key="k")
        producer.flush()
    whole.kill(victim)
    whole.restore_data(victim, tmp_path / "copy")
    whole.start(victim)
    whole.wait_whole()
    other = next(name for name in whole.members if name != victim)
    whole.kill(other)
    assert read(whole, "copied", 200) == [b"%d" % number for number in range(200)]
    whole.start(other)
    whole.wait_whole()


def test_five_hundred_elements_come_out_in_order_while_the_leader_is_killed_again_and_again(whole: ClusterProcesses) -> None:
    single(whole, "elements")
    with Producer(whole.brokers, delivery_timeout=300) as producer:
        for number in range(500):
            if number % 100 == 50:
                victim = whole.leader_of("elements")
                whole.kill(victim)
                whole.start(victim)
            producer.send("elements", b"%d" % number, key="one").result(SLOW)
    numbers = [int(value) for value in read(whole, "elements", 500)]
    assert numbers == list(range(500))
