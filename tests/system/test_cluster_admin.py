"""An administrator of three brokers sees and changes them as one: what each of them leads is put together, whoever leads it at the moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.cluster import SLOW, ClusterProcesses
from tests.system.processes import eventually
from zmqmq import Admin, Consumer, Message, Producer
from zmqmq.errors import InvalidValue, NotLeader, UnknownGroup, UnknownTopic

PARTITIONS = 6
MESSAGES = 60


@pytest.fixture
def admin(cluster: ClusterProcesses) -> Iterator[Admin]:
    """For a cluster that is whole when the test begins."""
    cluster.start()
    cluster.wait_whole()
    with Admin(cluster.brokers, timeout=30) as made:
        yield made
    cluster.check_no_traceback()


def fill(cluster: ClusterProcesses, admin: Admin, topic: str) -> None:
    """A topic over all brokers, with messages in each of its partitions."""
    created = admin.create_topic(topic, partitions=PARTITIONS, replicas=3, keep="log", max_attempts=1)
    assert {part.leader for part in created.partitions} == set(cluster.members)
    with Producer(cluster.brokers) as producer:
        receipts = [producer.send(topic, b"%d" % number, key=f"k{number}") for number in range(MESSAGES)]
        assert {receipt.result(30).partition for receipt in receipts} == set(range(PARTITIONS))


def consume(cluster: ClusterProcesses, topic: str, group: str, count: int) -> tuple[Consumer, list[Message]]:
    """A consumer that holds so many messages."""
    consumer = Consumer(cluster.brokers, topic, group=group)
    messages: list[Message] = []
    eventually(lambda: len(messages.extend(consumer.receive_many(count - len(messages), 1)) or messages) == count, "messages come", SLOW)
    return consumer, messages


def test_what_brokers_lead_is_shown_as_one_topic_and_one_group(cluster: ClusterProcesses, admin: Admin) -> None:
    fill(cluster, admin, "whole")
    consumer, messages = consume(cluster, "whole", "readers", MESSAGES)
    consumer.ack(messages[:20]).result(30)
    topic = admin.topic("whole")
    assert [part.partition for part in topic.partitions] == list(range(PARTITIONS))
    assert topic.messages == MESSAGES
    assert all(sorted(part.in_sync) == sorted(cluster.members) for part in topic.partitions)
    (summary,) = [summary for summary in admin.topics() if summary.topic == "whole"]
    assert (summary.partitions, summary.replicas, summary.messages, summary.groups) == (PARTITIONS, 3, MESSAGES, 1)
    for groups in (admin.groups("whole"), [group for group in admin.groups() if group.topic == "whole"]):
        assert [(group.group, group.members, group.lag, group.held, group.dead) for group in groups] == [("readers", 1, 40, 40, 0)]
    lag = admin.lag("whole", "readers")
    assert (lag.lag, lag.held, [part.partition for part in lag.partitions]) == (40, 40, list(range(PARTITIONS)))
    explained = admin.explain("whole", "readers")
    assert {reason.partition for reason in explained.reasons} == set(range(PARTITIONS))
    assert "held" in {reason.code for reason in explained.reasons}
    consumer.close()


def test_dead_letters_of_all_brokers_come_in_order_and_go_back_or_away(cluster: ClusterProcesses, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zmqmq.client.admin.DEAD_PAGE", 4)
    fill(cluster, admin, "dead")
    consumer, messages = consume(cluster, "dead", "g", MESSAGES)
    for message in messages:
        message.reject("no use").result(30)
    letters = list(admin.dead_letters("dead", "g"))
    places = [(letter.partition, letter.offset) for letter in letters]
    assert places == sorted((message.partition, message.offset) for message in messages)
    first = [offset for partition, offset in places if partition == 3][:2]
    assert admin.replay("dead", "g", partition=3, offsets=first) == 2
    assert admin.purge("dead", "g", partition=4) == sum(partition == 4 for partition, _ in places)
    left = admin.lag("dead", "g").dead
    assert admin.replay("dead", "g") == left
    assert list(admin.dead_letters("dead", "g")) == []
    assert admin.purge("dead", "g") == 0
    consumer.close()


def test_a_group_is_moved_and_forgotten_everywhere(cluster: ClusterProcesses, admin: Admin) -> None:
    fill(cluster, admin, "moved")
    consumer, messages = consume(cluster, "moved", "g", MESSAGES)
    consumer.ack(messages).result(30)
    consumer.close()
    assert admin.lag("moved", "g").lag == 0
    assert admin.seek("moved", "g", "earliest") == MESSAGES
    assert admin.seek("moved", "g", "latest") == 0
    assert admin.seek("moved", "g", 0, partition=2) == admin.topic("moved").partitions[2].messages
    with pytest.raises(InvalidValue, match="no partition 99"):
        admin.seek("moved", "g", 0, partition=99)
    admin.delete_group("moved", "g")
    for call in (admin.lag, admin.explain, admin.delete_group, admin.replay, admin.purge):
        with pytest.raises(UnknownGroup):
            call("moved", "g")
    assert admin.groups("moved") == []


def test_the_report_knows_what_each_leader_alone_knows(cluster: ClusterProcesses, admin: Admin) -> None:
    fill(cluster, admin, "report")
    report = admin.cluster("report")
    assert [place.partition for place in report.places] == list(range(PARTITIONS))
    assert sum(place.committed for place in report.places) >= MESSAGES
    assert all(set(place.lag) == set(cluster.members) - {place.leader} for place in report.places)
    assert [member.broker_id for member in report.members if member.live] == sorted(cluster.members)
    leader = admin.leader()
    assert leader is not None
    assert leader.broker_id == report.leader
    assert [admin.status(broker=name).broker_id for name in cluster.members] == list(cluster.members)
    with pytest.raises(InvalidValue, match="b9"):
        admin.status(broker="b9")
    with pytest.raises(UnknownTopic):
        admin.cluster("never_made")


def test_a_broker_is_drained_and_leads_again(cluster: ClusterProcesses, admin: Admin) -> None:
    fill(cluster, admin, "drained")
    assert admin.drain_broker("b1") >= 1
    try:
        eventually(lambda: "b1" not in {part.leader for part in admin.topic("drained").partitions}, "b1 leads nothing", SLOW)
        assert admin.topic("drained").messages == MESSAGES
        (member,) = [member for member in admin.cluster().members if member.broker_id == "b1"]
        assert (member.live, member.draining, member.leads) == (True, True, 0)
    finally:
        admin.drain_broker("b1", undo=True)
    eventually(lambda: "b1" in {part.leader for part in admin.topic("drained").partitions}, "b1 leads again", SLOW)


def test_partitions_are_moved_and_added(cluster: ClusterProcesses, admin: Admin) -> None:
    admin.create_topic("grown", partitions=1, replicas=1)
    (before,) = admin.topic("grown").partitions
    others = [name for name in cluster.members if name != before.leader]
    admin.reassign("grown", 0, others)
    eventually(lambda: [place.replicas for place in admin.cluster("grown").places] == [others], "it has moved", SLOW)
    eventually(lambda: admin.topic("grown").partitions[0].leader in others, "one of them leads", SLOW)
    assert [part.partition for part in admin.add_partitions("grown", 4).partitions] == [0, 1, 2, 3]
    assert all(part.leader for part in admin.topic("grown").partitions)
    with pytest.raises(InvalidValue):
        admin.add_partitions("grown", 3)
    with pytest.raises(InvalidValue):
        admin.reassign("grown", 0, ["b9"])
    with pytest.raises(UnknownTopic):
        admin.reassign("never_made", 0, ["b1"])


def test_a_broker_that_the_others_cannot_replace_is_not_removed(cluster: ClusterProcesses, admin: Admin) -> None:
    fill(cluster, admin, "kept")
    with pytest.raises(InvalidValue, match="replicas"):
        admin.remove_broker("b2")
    assert not any(member.removing for member in admin.cluster().members)


def test_answers_stay_complete_while_a_leader_dies(cluster: ClusterProcesses, admin: Admin) -> None:
    fill(cluster, admin, "dying")
    consumer, messages = consume(cluster, "dying", "g", MESSAGES)
    consumer.ack(messages).result(30)
    consumer.close()
    victim = admin.topic("dying").partitions[0].leader
    cluster.kill(victim)
    assert [part.partition for part in admin.lag("dying", "g").partitions] == list(range(PARTITIONS))
    assert admin.seek("dying", "g", "earliest") == MESSAGES
    assert admin.topic("dying").messages == MESSAGES
    assert victim not in {part.leader for part in admin.topic("dying").partitions}
    (member,) = [member for member in admin.cluster().members if member.broker_id == victim]
    assert not member.live


def test_a_broker_that_hangs_holds_answers_up_until_others_lead_and_a_report_hardly(cluster: ClusterProcesses, admin: Admin) -> None:
    fill(cluster, admin, "hanging")
    victim = admin.topic("hanging").partitions[0].leader
    with cluster.paused(victim):
        assert [place.partition for place in admin.cluster("hanging").places] == list(range(PARTITIONS))
        eventually(lambda: admin.topic("hanging").messages == MESSAGES, "the others tell what they lead", SLOW)
        assert victim not in {part.leader for part in admin.topic("hanging").partitions}
        eventually(lambda: [one.messages for one in admin.topics() if one.topic == "hanging"] == [MESSAGES], "the sum is whole again", SLOW)


def test_a_partition_that_nobody_leads_is_named_and_never_passed_over(cluster: ClusterProcesses, admin: Admin) -> None:
    admin.create_topic("alone", partitions=3, replicas=1, keep="log")
    with Producer(cluster.brokers) as producer:
        for number in range(30):
            producer.send("alone", b"x", key=f"k{number}").result(30)
    consumer, messages = consume(cluster, "alone", "g", 30)
    consumer.ack(messages).result(30)
    consumer.close()
    victim = admin.topic("alone").partitions[1].leader
    cluster.kill(victim)
    eventually(lambda: not all(place.leader for place in admin.cluster("alone").places), "partition 1 is offline", SLOW)
    assert [(part.partition, part.replicas) for part in admin.topic("alone").partitions if not part.leader] == [(1, [victim])]
    explained = admin.explain("alone", "g")
    assert [(reason.partition, reason.code) for reason in explained.reasons if reason.code == "offline"] == [(1, "offline")]
    assert explained.verdict.startswith("partition 1: nobody leads")
    with Consumer(cluster.brokers, "alone", group="g") as consumer:
        assert consumer.receive(timeout=0.1) is None
        eventually(lambda: "nobody leads the partition (topic alone, partition 1)" in str(consumer.obstacle), "the consumer says what it waits for", SLOW)
    with Admin(cluster.brokers, timeout=1) as hurried:
        with pytest.raises(NotLeader, match="partition 1"):
            hurried.lag("alone", "g")
        with pytest.raises(NotLeader, match="partition 1"):
            hurried.seek("alone", "g", "earliest")
    cluster.start(victim)
    assert admin.lag("alone", "g").lag == 30 - admin.topic("alone").partitions[1].messages
