"""A leader that cannot hand over goes on: what happened meanwhile counts."""

from __future__ import annotations

import pytest

from tests.core.acts import Consumer, Producer, done, partition_of, queue_of, refused
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_full_disk_of_a_leader import led
from zmqmq.core.admin_commands import CreateTopic, DeleteTopic
from zmqmq.core.commands import HeldLease, Subscribe, Subscribed
from zmqmq.core.replica import Replica


def resumed_after(leader: Machine, consumer: Consumer, *, crashed: bool) -> None:
    """A hand-over begins, the consumer goes, and nobody takes over."""
    (replica,) = leader.cluster.roles
    leader.cluster.agreements.release(replica)
    session = leader.node.context.sessions.of(consumer.name)
    assert session is not None
    leader.node.consumers.leave_all(session, crashed=crashed, reason="gone")
    leader.node.context.sessions.remove(session)
    leader.cluster.agreements._resume(replica)


def served() -> tuple[ClusterWorld, Machine, Consumer]:
    cluster, leader = led()
    Producer(leader).send(b"x")
    return cluster, leader, Consumer(leader, timeout=5.0)


@pytest.mark.parametrize("crashed", [True, False])
def test_who_left_during_a_hand_over_that_failed_is_no_member_and_holds_nothing(crashed: bool) -> None:
    cluster, leader, consumer = served()
    assert consumer.take().values == [b"x"]
    resumed_after(leader, consumer, crashed=crashed)
    cluster.pass_time(20.0)
    queue = queue_of(leader)
    assert not queue.state.members and not queue.consumers and not queue.book.holders and not queue.reclaim
    assert Consumer(leader, "other").values() == [b"x"]


@pytest.mark.parametrize(("crashed", "attempts"), [(True, [2]), (False, None)])
def test_what_was_held_counts_as_failed_only_for_who_was_lost_during_a_hand_over_that_failed(crashed: bool, attempts: list[int] | None) -> None:
    cluster, leader, consumer = served()
    consumer.take()
    resumed_after(leader, consumer, crashed=crashed)
    cluster.pass_time(20.0)
    assert Consumer(leader, "other").take().attempts == attempts


def test_who_comes_back_in_time_is_a_member_still() -> None:
    cluster, leader, consumer = served()
    lot = consumer.take()
    held = consumer.holding(lot)
    resumed_after(leader, consumer, crashed=True)
    assert [entry.kept for entry in consumer.join([held])] == [lot.offsets]
    assert set(queue_of(leader).state.members) == {consumer.name} and not queue_of(leader).reclaim


def test_who_stayed_is_not_asked_to_report() -> None:
    cluster, leader, consumer = served()
    (replica,) = leader.cluster.roles
    leader.cluster.agreements.release(replica)
    leader.cluster.agreements._resume(replica)
    assert not queue_of(leader).reclaim
    assert consumer.values() == [b"x"]


def releasing(leader: Machine, number: int = 0) -> Replica:
    """One of its partitions is being handed over: the write is out and not answered yet."""
    (replica,) = [replica for replica in leader.cluster.roles if replica.partition.number == number]
    leader.cluster.agreements.release(replica)
    leader.cluster.agreements._sent[replica.key] = replica.epoch
    return replica


def resume(leader: Machine, replica: Replica) -> None:
    """The write was refused."""
    leader.cluster.agreements._failed(replica, replica.epoch)
    leader.turn()


def subscribe_to(consumer: Consumer, number: int) -> None:
    """On a new connection, to one partition, presenting nothing."""
    consumer.epoch += 1
    consumer.address = consumer.world.connect(consumer.name, consumer.epoch, consumer.timeout)
    command = Subscribe(consumer.world.next_id(), "t", "g", partitions=[number])
    assert consumer.world.ask(consumer.address, command, Subscribed).partitions == [number]


def halves() -> tuple[Machine, Producer, Consumer]:
    """A leader of two partitions, and a consumer that holds the first message of a key of the first one."""
    (leader,) = ClusterWorld("a").living
    maker = leader.connect("maker", timeout=300.0)
    leader.turn((maker, CreateTopic(leader.next_id(), "t", 2, 1, {})))
    leader.pass_time(10.0)
    producer = Producer(leader)
    producer.send(b"k1", key=b"k")
    consumer = Consumer(leader, timeout=5.0)
    assert consumer.take().values == [b"k1"]
    return leader, producer, consumer


@pytest.mark.parametrize("lost", [False, True])
def test_over_a_new_connection_a_resumed_partition_delivers_nothing_before_it_is_subscribed_to(lost: bool) -> None:
    leader, producer, consumer = halves()
    replica = releasing(leader)
    if lost:
        leader.pass_time(6.0)
        assert leader.node.context.sessions.of(consumer.name) is None
        producer.connect()
    subscribe_to(consumer, 1)
    resume(leader, replica)
    producer.send(b"k2", key=b"k")
    assert consumer.values() == [], "the first message of the key was lost with the connection"
    consumer.join()
    assert consumer.values() == [b"k1", b"k2"]


def test_who_never_subscribes_over_its_new_connection_holds_nobody_up_for_ever() -> None:
    leader, producer, consumer = halves()
    replica = releasing(leader)
    subscribe_to(consumer, 1)
    resume(leader, replica)
    other = Consumer(leader, "other")
    assert other.values() == []
    for _ in range(12):
        leader.ping(consumer.address)
        leader.pass_time(0.5)
    assert other.values() == [b"k1"]
    assert queue_of(leader).state.members.keys() == {"other"}


def test_a_subscription_on_its_way_when_the_leadership_is_resumed_counts_as_report() -> None:
    cluster, leader, consumer = served()
    held = consumer.holding(consumer.take())
    producer = Producer(leader, "late", number=8)
    others = [machine for machine in cluster.living if machine is not leader]
    for other in others:
        other.is_alive = False
    leader.turn((producer.address, producer.batch(b"y")), (consumer.address, leader.subscribe(consumer.address, held=[held])))
    resume(leader, releasing(leader))
    assert set(queue_of(leader).reclaim) == {consumer.name}
    reconnect(leader, others)
    assert not queue_of(leader).reclaim
    assert [type(answer).__name__ for answer in leader.take(consumer.address) if isinstance(answer, Subscribed)] == ["Subscribed"]


def test_who_sleeps_is_woken_when_a_subscription_that_was_on_its_way_ends_the_waiting() -> None:
    leader, producer, consumer = halves()
    other, stranger = Consumer(leader, "other"), leader.connect("stranger", timeout=300.0)
    late = partition_of(leader, 1)
    end = late.log.committed
    late.log.agree = lambda durable: end
    joining = Subscribe(leader.next_id(), "t", "another", partitions=[1])
    leader.turn((stranger, joining), (consumer.address, leader.subscribe(consumer.address)))
    assert other.values() == [b"k1"] and other.values() == []
    resume(leader, releasing(leader))
    producer.send(b"m")
    leader.published.clear()
    late.log.agree = lambda durable: durable
    leader.node.context.touch(late)
    leader.turn()
    assert [frame for frame in leader.published if isinstance(frame, bytes)]
    assert other.values() == [b"m"]


def test_a_subscription_of_an_earlier_connection_lets_nothing_be_delivered_over_the_new_one() -> None:
    cluster, leader = led()
    Producer(leader).send(b"x")
    first = leader.connect("c", timeout=60.0)
    others = [machine for machine in cluster.living if machine is not leader]
    for other in others:
        other.is_alive = False
    leader.turn((first, leader.subscribe(first)))
    second = leader.connect("c", 2, 60.0)
    reconnect(leader, others)
    assert queue_of(leader).is_member("c")
    assert leader.pull(second) == []
    assert not [answer for answer in leader.take(second) if isinstance(answer, Subscribed)]
    leader.ask(second, leader.subscribe(second), Subscribed)
    assert [lot.values for lot in leader.pull(second)] == [[b"x"]]


def awaiting(timeout: float) -> tuple[ClusterWorld, Machine, Consumer, HeldLease]:
    """A new leader that waits for a member, and what that one holds."""
    cluster, first = led()
    Producer(first).send(b"x")
    consumer = Consumer(first, timeout=timeout)
    held = consumer.holding(consumer.take())
    first.die()
    cluster.pass_time(0.3)
    consumer.world = second = cluster.leader_of()
    assert second is not first and set(queue_of(second).reclaim) == {consumer.name}
    return cluster, second, consumer, held


def test_nobody_is_dismissed_while_nobody_can_report() -> None:
    cluster, leader, consumer, held = awaiting(timeout=1.0)
    replica = releasing(leader)
    cluster.pass_time(3.0)
    del leader.cluster.agreements._sent[replica.key]
    cluster.pass_time(0.5)
    successor = cluster.leader_of()
    assert successor is not leader
    assert Consumer(successor, "other").values() == [], "the member may hold it"
    consumer.world = successor
    assert [entry.kept for entry in consumer.join([held])] == [held.offsets]


def test_a_resumed_leader_gives_members_that_have_not_reported_all_their_time() -> None:
    cluster, leader, consumer, held = awaiting(timeout=2.0)
    cluster.pass_time(1.5)
    replica = releasing(leader)
    cluster.pass_time(1.5)
    resume(leader, replica)
    cluster.pass_time(1.5)
    assert Consumer(leader, "other").values() == []
    assert [entry.kept for entry in consumer.join([held])] == [held.offsets]


def test_a_resumed_leader_goes_on_without_members_that_do_not_report() -> None:
    cluster, leader, consumer, held = awaiting(timeout=2.0)
    resume(leader, releasing(leader))
    other = Consumer(leader, "other")
    assert other.values() == []
    cluster.pass_time(3.0)
    assert other.values() == [b"x"]


def test_a_topic_deleted_during_a_hand_over_that_fails_stays_deleted() -> None:
    cluster, leader = led()
    replica = releasing(leader)
    epoch = replica.epoch
    admin = leader.connect("admin", timeout=300.0)
    done(leader, admin, DeleteTopic(leader.next_id(), "t"))
    cluster.pass_time(1.0)
    leader.cluster.agreements._failed(replica, epoch)
    cluster.pass_time(5.0)
    assert not leader.node.catalogue.names() and not leader.cluster.agreements.releasing
    assert "no topic" in refused(leader, admin, leader.subscribe(admin)).message


def reconnect(leader: Machine, others: list[Machine]) -> None:
    """Brokers that stood still for a moment go on."""
    for other in others:
        other.is_alive = True
        leader.node.connected(other.name)
        other.node.connected(leader.name)
    leader.pass_time(1.0)
