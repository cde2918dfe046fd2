"""A broker that leads some partitions of a topic: what it says of the others, and what happens when one comes or goes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.core.acts import Consumer, Producer, done, partition_of, queue_of, refused, settings, settle_all
from tests.core.world import World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Describe, Described, Lot, Moved, Produced, Refused, Settled, Subscribe, Subscribed
from zmqmq.core.context import Leadership
from zmqmq.core.partition import Partition
from zmqmq.errors import NotLeader

GONE = NotLeader("the leadership is over")


@pytest.fixture
def world() -> World:
    """A broker that leads three partitions of the topic "t"."""
    world = World(default_partitions=3)
    world.node.context.leader_of = lambda topic_id, number: Leadership("broker-2", "tcp://127.0.0.1:7500", 9)
    return world


def leave(world: World, number: int) -> Partition:
    """The partition is led elsewhere from now on."""
    partition = partition_of(world, number)
    world.node.catalogue.give_up(partition.topic, partition, GONE)
    return partition


def mail(world: World, address: bytes, kind: type[Any]) -> list[Any]:
    world.turn()
    return [answer for answer in world.take(address) if isinstance(answer, kind)]


def subscribe(world: World, partitions: list[int] | None) -> Subscribe:
    return Subscribe(world.next_id(), "t", "g", "earliest", True, [], partitions)


def test_a_topic_is_described_with_those_who_lead_elsewhere(world: World) -> None:
    producer = Producer(world)
    leave(world, 1)
    described = world.ask(producer.address, Describe(world.next_id(), "t"), Described)
    assert [(place.partition, place.leader, place.epoch) for place in described.placements] == [(0, "broker-1", 1), (1, "broker-2", 9), (2, "broker-1", 1)]


def test_a_batch_for_a_partition_elsewhere_is_told_who_leads_it(world: World) -> None:
    producer = Producer(world)
    leave(world, 1)
    answer = refused(world, producer.address, producer.batch(b"x", partition=1))
    assert answer.code == "NotLeader"
    assert answer.details == {"topic": "t", "partition": "1", "leader": "broker-2", "endpoint": "tcp://127.0.0.1:7500"}
    assert refused(world, producer.address, producer.batch(b"x", partition=3)).code == "InvalidValue"
    producer.send(b"x", partition=2)


def test_a_topic_of_a_cluster_is_not_made_where_it_is_not_known_yet(world: World) -> None:
    producer = Producer(world)
    world.node.catalogue.is_shared = True
    answer = refused(world, producer.address, Subscribe(world.next_id(), "new", "g"))
    assert answer.code == "UnknownTopic" and world.node.catalogue.find("new") is None


def test_a_settling_that_is_faster_than_the_lease_it_is_about_is_asked_for_again(world: World) -> None:
    Producer(world).send(b"x", partition=0)
    consumer = Consumer(world)
    lot = consumer.take()
    partition = partition_of(world, 0)
    partition.expect_members(world.now)
    partition.log.lead(2)
    answer = world.ask(consumer.address, world.settle(lot, "ack"), Settled)
    assert answer.elsewhere == [0], "the consumer may still bring the lease along into the new leadership"


def test_a_seek_on_a_partition_elsewhere_is_refused_and_one_on_all_moves_those_here(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    for number in range(3):
        producer.send(b"x", partition=number)
    assert len(consumer.drain()) == 3
    leave(world, 1)
    seek = admin.Seek(world.next_id(), "t", "g", "earliest", partition=1)
    assert refused(world, producer.address, seek).code == "NotLeader"
    assert done(world, producer.address, admin.Seek(world.next_id(), "t", "g", "earliest")) == 2


def test_a_broker_that_leads_nothing_of_a_topic_says_so(world: World) -> None:
    producer = Producer(world)
    Consumer(world)
    for number in range(3):
        leave(world, number)
    for command in (admin.AskLag(1, "t", "g"), admin.Replay(2, "t", "g"), subscribe(world, None)):
        assert refused(world, producer.address, command).code == "NotLeader"


def test_consumers_are_told_once_that_a_partition_has_moved(world: World) -> None:
    Producer(world)
    consumer = Consumer(world)
    partition = leave(world, 1)
    assert mail(world, consumer.address, Moved) == [Moved("t")]
    partition.closed = False
    world.node.catalogue.adopt(partition.topic, partition)
    assert mail(world, consumer.address, Moved) == [Moved("t")]
    assert list(world.node.catalogue.get("t").partitions) == [0, 1, 2]
    assert list(world.node.context.hubs["t", "g"].partitions) == [0, 1, 2], "the hub follows"


def test_a_subscription_names_the_partitions_that_it_joins(world: World) -> None:
    Producer(world)
    consumer = Consumer(world)
    leave(world, 1)
    answer = world.ask(consumer.address, subscribe(world, [0, 1]), Subscribed)
    assert answer.partitions == [0] and answer.queue == consumer.queue
    assert refused(world, consumer.address, subscribe(world, [1])).code == "NotLeader"
    assert refused(world, consumer.address, subscribe(world, [3])).code == "InvalidValue"


def test_a_partition_that_others_know_before_this_broker_is_elsewhere(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    world.node.catalogue.is_shared = True
    assert refused(world, producer.address, producer.batch(b"x", partition=3)).code == "NotLeader"
    assert refused(world, consumer.address, subscribe(world, [3])).code == "NotLeader"
    answer = world.ask(consumer.address, subscribe(world, [0, 3]), Subscribed)
    assert answer.partitions == [0]
    seek = admin.Seek(world.next_id(), "t", "g", "earliest", partition=3)
    assert refused(world, producer.address, seek).code == "InvalidValue", "an administrator may well have named one that there is not"


def test_nothing_is_delivered_of_partitions_that_a_session_has_not_named(world: World) -> None:
    producer = Producer(world)
    for number in range(3):
        producer.send(str(number).encode(), partition=number)
    address = world.connect("c", timeout=300.0)
    world.ask(address, Subscribe(world.next_id(), "t", "g", partitions=[0, 2]), Subscribed)
    assert sorted(value for lot in world.pull(address) for value in lot.values) == [b"0", b"2"]
    world.ask(address, Subscribe(world.next_id(), "t", "g", partitions=[1]), Subscribed)
    assert [value for lot in world.pull(address) for value in lot.values] == [b"1"]


def test_a_second_subscription_leaves_leases_on_other_partitions_alone(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"x", partition=0)
    lot = consumer.take()
    world.ask(consumer.address, subscribe(world, [1, 2]), Subscribed)
    assert consumer.ack(lot) == [], "it was held all the time"


def test_each_partition_waits_for_its_own_members_only(world: World) -> None:
    producer, first, other = Producer(world), Consumer(world, "first"), Consumer(world, "other", timeout=5.0)
    for number in range(3):
        producer.send(str(number).encode(), partition=number)
    queue_of(world, number=1).reclaim = {"other": world.now + 5.0}
    world.node.catalogue.reclaiming[partition_of(world, 1)] = None
    assert sorted(first.values()) == [b"0", b"2"]
    world.ask(other.address, subscribe(world, [0]), Subscribed)
    assert first.values() == [], "the other one has not reported about partition 1"
    world.ask(other.address, subscribe(world, [1]), Subscribed)
    assert first.values() == [b"1"]


def test_who_does_not_report_about_a_partition_is_dismissed_there_only(world: World) -> None:
    producer, first, other = Producer(world), Consumer(world, "first"), Consumer(world, "other")
    producer.send(b"1", partition=1)
    queue_of(world, number=1).reclaim = {"other": world.now + 2.0}
    world.node.catalogue.reclaiming[partition_of(world, 1)] = None
    world.pass_time(3.0)
    assert [sorted(queue_of(world, number=number).state.members) for number in range(3)] == [["first", "other"], ["first"], ["first", "other"]]
    assert first.values() == [b"1"] and not world.node.catalogue.reclaiming
    world.ask(other.address, subscribe(world, [1]), Subscribed)
    assert sorted(queue_of(world, number=1).state.members) == ["first", "other"]


def hold_each(world: World) -> tuple[Consumer, dict[int, Lot]]:
    """A consumer that holds a message of each of two partitions."""
    producer, consumer = Producer(world), Consumer(world)
    for number in range(2):
        producer.send(b"x", partition=number)
    return consumer, {lot.partition: lot for lot in consumer.pull()}


def test_of_a_settle_what_concerns_partitions_elsewhere_is_to_be_repeated_there_and_the_rest_is_done(world: World) -> None:
    consumer, lots = hold_each(world)
    leave(world, 1)
    both = settle_all(world, lots[1], lots[0])
    answer = world.ask(consumer.address, both, Settled)
    assert [answer.lost[place] for place in answer.elsewhere] == [both.settlements[0]] == answer.lost
    assert queue_of(world, number=0).state.lag == 0
    assert consumer.ack(lots[0]) == [world.settle(lots[0], "ack").settlements[0]], "it was carried out"


def test_what_came_too_late_is_told_from_what_is_to_be_repeated_elsewhere(world: World) -> None:
    consumer, lots = hold_each(world)
    consumer.ack(lots[0])
    leave(world, 1)
    both = settle_all(world, lots[1], lots[0])
    assert world.ask(consumer.address, both, Settled) == Settled(both.id, [both.settlements[1], both.settlements[0]], [1])


# --- what was not committed ----------------------------------------------------------------------------------------


def hold_back(world: World, number: int = 0) -> Partition:
    """From now on no follower of the partition reports."""
    partition = partition_of(world, number)
    end = partition.log.committed
    partition.log.agree = lambda durable: end
    return partition


def test_answers_wait_for_the_followers(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    partition = hold_back(world)
    world.turn((producer.address, producer.batch(b"x")))
    assert mail(world, producer.address, Produced) == [] and consumer.pull() == []
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    assert len(mail(world, producer.address, Produced)) == 1
    assert consumer.values() == [b"x"]


def test_a_lost_leadership_refuses_what_was_not_committed(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"x")
    lot = consumer.take()
    hold_back(world)
    world.turn((producer.address, producer.batch(b"y")), (consumer.address, world.settle(lot, "ack")))
    leave(world, 0)
    assert [answer.code for answer in mail(world, producer.address, Refused)] == ["NotLeader"]
    assert [(answer.lost, answer.elsewhere) for answer in mail(world, consumer.address, Settled)] == [(world.settle(lot, "ack").settlements, [0])]


def test_a_seek_that_is_lost_with_its_leadership_makes_nothing_come_too_late(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"x")
    lot = consumer.take()
    hold_back(world)
    ack = world.settle(lot, "ack")
    world.turn((producer.address, admin.Seek(world.next_id(), "t", "g", "earliest", 0.0, 0)))
    world.turn((consumer.address, ack))
    leave(world, 0)
    assert mail(world, consumer.address, Settled) == [Settled(ack.id, ack.settlements, [0])]


def test_what_is_committed_is_confirmed_though_another_partition_of_the_same_settle_is_lost_meanwhile(world: World) -> None:
    consumer, lots = hold_each(world)
    hold_back(world, 1)
    both = settle_all(world, lots[0], lots[1])
    world.turn((consumer.address, both))
    assert mail(world, consumer.address, Settled) == []
    leave(world, 1)
    assert mail(world, consumer.address, Settled) == [Settled(both.id, [both.settlements[1]], [0])]
    assert queue_of(world, number=0).state.lag == 0


def test_a_subscription_goes_on_with_the_partitions_that_remain(world: World) -> None:
    Producer(world)
    hold_back(world, 1)
    address = world.connect("c")
    world.turn((address, Subscribe(world.next_id(), "t", "g")))
    assert mail(world, address, Subscribed) == []
    leave(world, 1)
    assert [answer.partitions for answer in mail(world, address, Subscribed)] == [[0, 2]]


def test_a_subscription_of_which_nothing_remains_is_refused(world: World) -> None:
    Producer(world)
    hold_back(world, 1)
    address = world.connect("c")
    world.turn((address, Subscribe(world.next_id(), "t", "g", partitions=[1])))
    leave(world, 1)
    assert [answer.code for answer in mail(world, address, Refused)] == ["NotLeader"]


def test_who_comes_back_while_its_leaving_is_not_committed_is_a_member(world: World) -> None:
    Producer(world)
    Consumer(world, timeout=2.0)
    hold_back(world, 1)
    world.pass_time(3.0)
    assert "c" in queue_of(world, number=1).state.members, "its leaving is in the log, no more"
    address = world.connect("c", epoch=9)
    world.turn((address, Subscribe(world.next_id(), "t", "g")))
    partition = partition_of(world, 1)
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    world.turn()
    assert "c" in queue_of(world, number=1).state.members


def test_messages_are_refused_while_too_few_replicas_are_in_sync_or_too_much_waits_for_them() -> None:
    world = World(defaults=settings(min_in_sync=2), max_uncommitted=3)
    producer = Producer(world)
    assert refused(world, producer.address, producer.batch(b"x")).code == "NotEnoughReplicas"
    partition = partition_of(world)
    partition.in_sync = 2
    hold_back(world)
    world.turn((producer.address, producer.batch(b"1", b"2", b"3", sequence=0)))
    full = refused(world, producer.address, producer.batch(b"4", sequence=3))
    assert full.code == "Overloaded" and "3 records wait" in full.message


def test_a_topic_that_grew_is_known_with_all_its_partitions(world: World) -> None:
    Producer(world)
    consumer = Consumer(world)
    record = world.node.catalogue.get("t").record
    world.node.catalogue.know(msgspec.structs.replace(record, partitions=5))
    assert mail(world, consumer.address, Moved) == [Moved("t")]
    described = world.ask(consumer.address, Describe(world.next_id(), "t"), Described)
    assert len(described.placements) == 5 and partition_of(world, 2).topic.partitions == 5


def test_a_subscription_that_crossed_a_new_leadership_reports_nothing(world: World) -> None:
    address = world.connect("c", timeout=300.0)
    old = Subscribe(world.next_id(), "t", "g", partitions=[0, 2], epochs=[1, 0])
    answer = world.ask(address, old, Subscribed)
    assert answer.partitions == [0], "what was delivered under the earlier leadership of partition 2 is not among what it presents"
    alone = Subscribe(world.next_id(), "t", "g", partitions=[2], epochs=[0])
    assert refused(world, address, alone).code == "NotLeader"


def test_nothing_is_delivered_between_a_subscription_and_its_answer(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"x", b"y", key=b"k")
    consumer.take()
    partition = hold_back(world)
    world.turn((producer.address, producer.batch(b"z", key=b"k")))
    world.turn((consumer.address, subscribe(world, [0])))
    assert mail(world, consumer.address, Subscribed) == [], "what else is in the log has to be committed first"
    assert consumer.pull() == [], "it would not be among what the answer says that it holds"
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    assert len(mail(world, consumer.address, Subscribed)) == 1
    assert consumer.take().values == [b"x", b"y", b"z"]


def test_who_comes_over_another_connection_gets_nothing_before_it_has_subscribed_anew(world: World) -> None:
    producer, consumer = Producer(world), Consumer(world)
    producer.send(b"x")
    consumer.address = world.connect("c", epoch=9, timeout=300.0)
    assert consumer.pull() == []
    world.ask(consumer.address, subscribe(world, [0]), Subscribed)
    assert consumer.values() == [b"x"]
