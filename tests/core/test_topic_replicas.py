"""Replicas that come later, or are not wanted any more: topics that begin with fewer than they shall have, partitions that are given more or fewer."""

from __future__ import annotations

import pytest

from tests.core.small_cluster import Broker, SmallCluster, a_topic
from tests.core.test_topic_writes import outcome, topic
from zmqmq.core import layout
from zmqmq.core.layout import Wish
from zmqmq.core.model import TopicSettings
from zmqmq.core.topic_writes import RETRY_INTERVAL
from zmqmq.errors import Overloaded, ZmqmqError


def test_a_topic_may_begin_with_fewer_replicas_than_it_shall_have() -> None:
    cluster = SmallCluster("ab")
    broker = cluster["a"]
    broker.jobs.create(broker.mirror.view, a_topic(4), cluster.now, broker.errors.append, few=True)
    assert outcome(broker) is None
    assert topic(cluster) == a_topic(4), "the record says what there shall be"
    assert all(sorted(place.replicas) == ["a", "b"] for place in cluster.places().values())
    broker.jobs.add_partitions(broker.mirror.view, "t", 6, cluster.now, broker.errors.append)
    assert outcome(broker) is None
    assert [len(place.replicas) for place in cluster.places().values()] == [2] * 6


def test_without_any_broker_that_may_hold_something_no_topic_begins() -> None:
    cluster = SmallCluster("a")
    cluster.tree.put(layout.wish_path("a"), layout.encode(Wish(remove=True)))
    cluster.settle()
    broker = cluster["a"]
    broker.jobs.create(broker.mirror.view, a_topic(1), cluster.now, broker.errors.append, few=True)
    assert "there are 0 brokers" in str(outcome(broker))


def reassign(cluster: SmallCluster, replicas: str, partition: int = 0) -> ZmqmqError | None:
    broker = cluster.live[0]
    broker.jobs.reassign(broker.mirror.view, "t", partition, list(replicas), cluster.now, broker.errors.append)
    return outcome(broker)


def test_a_partition_that_is_given_more_replicas_gives_them_to_the_topic() -> None:
    cluster = SmallCluster("abc", partitions=2, replicas=1)
    assert reassign(cluster, "abc") is None
    record = topic(cluster)
    assert record is not None and record.replicas == 3
    assert sorted(cluster.place().replicas) == ["a", "b", "c"]


def test_a_partition_that_is_given_fewer_replicas_says_that_these_are_enough() -> None:
    cluster = SmallCluster("abc", partitions=2, replicas=3)
    assert reassign(cluster, cluster.place().leader) is None
    record = topic(cluster)
    assert record is not None and record.replicas == 1
    assert len(cluster.place(1).replicas) == 3, "the others keep what they have"


def test_another_order_of_too_few_replicas_does_not_say_that_they_are_enough() -> None:
    cluster = SmallCluster("ab")
    broker = cluster["a"]
    broker.jobs.create(broker.mirror.view, a_topic(1), cluster.now, broker.errors.append, few=True)
    assert outcome(broker) is None
    assert reassign(cluster, "".join(reversed(cluster.place().replicas))) is None
    assert topic(cluster) == a_topic(1)


def test_a_move_that_changes_the_topic_happens_with_it_or_not_at_all() -> None:
    cluster = SmallCluster("abc", partitions=1, replicas=1)
    broker, other, before = cluster["a"], cluster["b"], cluster.place()
    broker.jobs.reassign(broker.mirror.view, "t", 0, list("abc"), cluster.now, broker.errors.append)
    other.jobs.alter(other.mirror.view, "t", TopicSettings(max_attempts=9), cluster.now, other.errors.append)
    other.turn()
    assert isinstance(outcome(broker), Overloaded)
    record = topic(cluster)
    assert record is not None and (record.replicas, record.settings.max_attempts) == (1, 9)
    assert cluster.place() == before


@pytest.mark.parametrize("applied", [True, False])
def test_a_move_whose_answer_was_lost_happens_once(applied: bool) -> None:
    cluster = SmallCluster("abc", partitions=1, replicas=1)
    broker = cluster["a"]
    broker.jobs.reassign(broker.mirror.view, "t", 0, list("abc"), cluster.now, broker.errors.append)
    broker.seat.cut(applied=applied)
    broker.seat.connect(broker.seat.session)
    cluster.wait(RETRY_INTERVAL)
    assert outcome(broker) is None
    record = topic(cluster)
    assert record is not None and record.replicas == 3 and len(cluster.place().adding) == 2


def test_brokers_that_are_being_removed_do_not_count_as_homes() -> None:
    cluster = SmallCluster("abc", partitions=1, replicas=1)
    cluster.tree.put(layout.wish_path("c"), layout.encode(Wish(remove=True)))
    cluster.settle()
    assert "there are 2 brokers that may hold one" in str(reassign(cluster, "abc"))


def test_a_broker_can_be_removed_when_what_is_missing_was_missing_before() -> None:
    cluster = SmallCluster("a")
    first = cluster["a"]
    first.jobs.create(first.mirror.view, a_topic(1), cluster.now, first.errors.append, few=True)
    assert outcome(first) is None
    cluster.brokers["b"] = Broker(cluster, "b")
    cluster["b"].join()
    cluster["b"].turn()
    first.turn()
    first.jobs.wish(first.mirror.view, "b", cluster.now, first.errors.append, remove=True)
    assert outcome(first) is None
