"""Changes that administrators ask for: whole or not at all, clear refusals, and lost answers cleared up."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.core.small_cluster import WALL, Broker, SmallCluster, a_topic
from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.layout import Tombstone
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.core.topic_writes import DEADLINE, JOBS_MAX, RETRY_INTERVAL
from zmqmq.errors import BrokerError, InvalidValue, OutcomeUnknown, Overloaded, TopicExists, UnknownTopic, ZmqmqError


def create(broker: Broker, record: TopicRecord) -> None:
    broker.jobs.create(broker.mirror.view, record, broker.cluster.now, broker.errors.append)


def outcome(broker: Broker) -> ZmqmqError | None:
    """What the one job that was asked for came to."""
    broker.cluster.settle()
    (error,) = broker.errors
    broker.errors.clear()
    return error


def topic(cluster: SmallCluster, name: str = "t") -> TopicRecord | None:
    node = cluster.tree.nodes.get(layout.topic_path(name))
    record = layout.decode(layout.topic_path(name), node.data, TopicRecord) if node is not None else None
    assert record is None or isinstance(record, TopicRecord)
    return record


@pytest.mark.parametrize("partitions", [1, 99, 100, 250])
def test_a_new_topic_is_whole_when_its_name_appears(partitions: int) -> None:
    cluster = SmallCluster()
    create(cluster["a"], a_topic(partitions))
    cluster["a"].one_round()
    assert topic(cluster) is None
    assert outcome(cluster["a"]) is None
    assert topic(cluster) == a_topic(partitions)
    places = cluster.places().values()
    assert len(places) == partitions
    for place in places:
        assert place.epoch == 1 and place.leader == place.replicas[0]
        assert {member.broker for member in place.isr} == set(place.replicas) == {"a", "b", "c"}
    assert all(len(change.steps) <= 100 for change in cluster["a"].changes)


def test_more_replicas_than_brokers_are_refused_by_name_and_number() -> None:
    cluster = SmallCluster("ab")
    create(cluster["a"], a_topic(1, replicas=3))
    error = outcome(cluster["a"])
    assert isinstance(error, InvalidValue)
    assert "replicas is 3, but there are 2 brokers" in str(error)


def test_of_two_brokers_that_make_the_same_topic_one_wins_and_the_other_cleans_up() -> None:
    cluster = SmallCluster()
    create(cluster["a"], a_topic(3, topic_id=7))
    create(cluster["b"], a_topic(3, topic_id=8))
    cluster.settle()
    assert cluster["a"].errors == [None]
    assert isinstance(cluster["b"].errors[0], TopicExists)
    assert cluster.tree.children(layout.PARTS) == ["7"]


def test_a_topic_id_that_is_taken_is_never_built_upon() -> None:
    cluster = SmallCluster(partitions=1)
    before = cluster.place()
    create(cluster["a"], a_topic(2, name="other"))
    assert isinstance(outcome(cluster["a"]), BrokerError)
    assert (topic(cluster, "other"), cluster.place()) == (None, before)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("answered", range(3))
def test_a_topic_is_made_once_whichever_answer_is_lost(answered: int, applied: bool) -> None:
    cluster = SmallCluster()
    broker = cluster["a"]
    create(broker, a_topic(150))
    before = len(broker.changes)
    for _ in range(answered):
        broker.one_round()
    assert len(broker.changes) == before + answered
    broker.seat.cut(applied=applied)
    broker.seat.connect(broker.seat.session)
    cluster.wait(RETRY_INTERVAL)
    assert outcome(broker) is None
    assert topic(cluster) == a_topic(150)
    assert len(cluster.places()) == 150


def test_a_lost_session_ends_no_job() -> None:
    cluster = SmallCluster()
    broker = cluster["a"]
    create(broker, a_topic(2))
    broker.die()
    broker.join()
    cluster.wait(RETRY_INTERVAL)
    cluster.wait(1.0)
    assert outcome(broker) is None
    assert topic(cluster) == a_topic(2)


def test_what_takes_too_long_is_told_to_be_unknown() -> None:
    cluster = SmallCluster()
    broker = cluster["a"]
    create(broker, a_topic(2))
    broker.seat.cut()
    assert broker.jobs.deadline() <= cluster.now + DEADLINE
    broker.jobs.tick(cluster.now + DEADLINE)
    assert isinstance(broker.errors[0], OutcomeUnknown)
    assert broker.jobs.deadline() == float("inf")


def test_more_jobs_than_the_limit_are_refused() -> None:
    cluster = SmallCluster()
    for number in range(JOBS_MAX + 1):
        create(cluster["a"], a_topic(1, topic_id=100 + number, name=f"t{number}"))
    assert isinstance(cluster["a"].errors.pop(), Overloaded)
    cluster.settle()
    assert cluster["a"].errors == [None] * JOBS_MAX


def test_settings_change_unless_somebody_else_was_faster() -> None:
    cluster = SmallCluster(partitions=1)
    broker, other = cluster["a"], cluster["b"]
    broker.jobs.alter(broker.mirror.view, "t", TopicSettings(max_attempts=3), cluster.now, broker.errors.append)
    other.jobs.alter(other.mirror.view, "t", TopicSettings(max_attempts=4), cluster.now, other.errors.append)
    cluster.settle()
    assert broker.errors == [None]
    assert isinstance(other.errors[0], Overloaded)
    record = topic(cluster)
    assert record is not None and record.settings.max_attempts == 3


def test_what_is_not_there_cannot_be_changed() -> None:
    cluster = SmallCluster()
    broker = cluster["a"]
    view, jobs = broker.mirror.view, broker.jobs
    jobs.alter(view, "no", TopicSettings(), cluster.now, broker.errors.append)
    jobs.delete(view, "no", cluster.now, broker.errors.append)
    jobs.add_partitions(view, "no", 2, cluster.now, broker.errors.append)
    jobs.reassign(view, "no", 0, ["a"], cluster.now, broker.errors.append)
    assert [type(error) for error in broker.errors] == [UnknownTopic] * 4


def ask(broker: Broker, what: str, view: ClusterView) -> None:
    """A change of the topic, by what the broker has seen."""
    now, jobs, then = broker.cluster.now, broker.jobs, broker.errors.append
    if what == "alter":
        jobs.alter(view, "t", TopicSettings(max_attempts=9), now, then)
    elif what == "add_partitions":
        jobs.add_partitions(view, "t", 2, now, then)
    else:
        jobs.reassign(view, "t", 0, ["a", "b"], now, then)


def make_anew(cluster: SmallCluster, broker: Broker) -> TopicRecord:
    """The broker deletes the topic and makes another one of that name; nobody else has heard of it yet."""
    broker.jobs.delete(broker.mirror.view, "t", cluster.now, broker.errors.append, wall=WALL)
    broker.seat.run()
    broker.mirror.tick(cluster.now)
    broker.seat.run()
    create(broker, record := a_topic(1, topic_id=99))
    broker.seat.run()
    assert broker.errors == [None, None]
    return record


@pytest.mark.parametrize("what", ["alter", "add_partitions", "reassign"])
def test_a_topic_that_was_made_again_is_not_taken_for_the_one_that_was_deleted(what: str) -> None:
    cluster = SmallCluster(partitions=1)
    late = cluster["b"]
    ask(late, what, late.mirror.view)
    second = make_anew(cluster, cluster["a"])
    late.seat.run()
    assert isinstance(outcome(late), UnknownTopic | Overloaded)
    assert topic(cluster) == second


@pytest.mark.parametrize("applied", [True, False])
def test_a_change_whose_answer_was_lost_is_not_repeated_on_another_topic_of_that_name(applied: bool) -> None:
    cluster = SmallCluster(partitions=1)
    late = cluster["b"]
    ask(late, "alter", late.mirror.view)
    late.seat.cut(applied=applied)
    cluster["a"].seat.run()
    second = make_anew(cluster, cluster["a"])
    late.seat.connect(late.seat.session)
    assert isinstance(outcome(late), UnknownTopic)
    assert topic(cluster) == second


@pytest.mark.parametrize("applied", [True, False])
def test_a_deletion_whose_answer_was_lost_happens_once(applied: bool) -> None:
    cluster = SmallCluster(partitions=2)
    broker = cluster["a"]
    broker.jobs.delete(broker.mirror.view, "t", cluster.now, broker.errors.append)
    broker.seat.cut(applied=applied)
    broker.seat.connect(broker.seat.session)
    cluster.wait(RETRY_INTERVAL)
    assert outcome(broker) is None
    assert topic(cluster) is None and layout.deleted_path(7) in cluster.tree.nodes


def test_partitions_are_added_and_never_taken_away() -> None:
    cluster = SmallCluster(partitions=2)
    broker = cluster["a"]
    broker.jobs.add_partitions(broker.mirror.view, "t", 150, cluster.now, broker.errors.append)
    assert outcome(broker) is None
    record = topic(cluster)
    assert record is not None and record.partitions == 150 and len(cluster.places()) == 150
    broker.jobs.add_partitions(broker.mirror.view, "t", 149, cluster.now, broker.errors.append)
    assert isinstance(outcome(broker), InvalidValue)


def test_partitions_left_behind_by_a_failed_attempt_are_written_over() -> None:
    cluster = SmallCluster(partitions=2)
    broker = cluster["a"]
    cluster.tree.put(layout.place_path(7, 2), b"something")
    broker.jobs.add_partitions(broker.mirror.view, "t", 4, cluster.now, broker.errors.append)
    assert outcome(broker) is None
    assert cluster.place(2).epoch == cluster.place(3).epoch == 1


def test_the_epoch_goes_on_from_what_a_failed_attempt_has_left() -> None:
    cluster = SmallCluster(partitions=1)
    broker = cluster["a"]
    left = replace(cluster.place(0), leader="b", epoch=4, nonce="b/1/t9")
    cluster.tree.put(layout.place_path(7, 1), layout.encode(left))
    broker.jobs.add_partitions(broker.mirror.view, "t", 2, cluster.now, broker.errors.append)
    assert outcome(broker) is None
    assert cluster.place(1).epoch == 5 and cluster.place(1).nonce != left.nonce


def test_a_partition_is_moved_by_naming_its_brokers() -> None:
    cluster = SmallCluster("abcd", partitions=1)
    broker, place = cluster["a"], cluster.place()
    (new,) = {"a", "b", "c", "d"} - set(place.replicas)
    goal = [place.replicas[0], place.replicas[1], new]
    broker.jobs.reassign(broker.mirror.view, "t", 0, goal, cluster.now, broker.errors.append)
    assert outcome(broker) is None
    assert (cluster.place().adding, cluster.place().removing) == ([new], [place.replicas[2]])
    broker.jobs.reassign(broker.mirror.view, "t", 0, goal, cluster.now, broker.errors.append)
    assert "being moved already" in str(outcome(broker))


@pytest.mark.parametrize(
    ("partition", "replicas", "reason"),
    [(5, ["a"], "no partition 5"), (0, [], "no replicas"), (0, ["a", "x"], "no broker 'x'"), (0, ["a", "a"], "named twice"), (0, list("abcab"), "5 replicas")],
)
def test_a_senseless_move_is_refused(partition: int, replicas: list[str], reason: str) -> None:
    cluster = SmallCluster(partitions=1)
    broker, before = cluster["a"], cluster.place()
    broker.jobs.reassign(broker.mirror.view, "t", partition, replicas, cluster.now, broker.errors.append)
    error = outcome(broker)
    assert isinstance(error, InvalidValue) and reason in str(error)
    assert cluster.place() == before


def test_wishes_are_kept_and_one_leaves_the_other_as_it_is() -> None:
    cluster = SmallCluster("abcd", partitions=1)
    broker = cluster["a"]
    broker.jobs.wish(broker.mirror.view, "b", cluster.now, broker.errors.append, drain=True)
    assert outcome(broker) is None
    broker.jobs.wish(broker.mirror.view, "b", cluster.now, broker.errors.append, remove=True)
    assert outcome(broker) is None
    wish = cluster["c"].mirror.view.wishes["b"]
    assert (wish.drain, wish.remove) == (True, True)
    broker.jobs.wish(broker.mirror.view, "b", cluster.now, broker.errors.append, drain=False, remove=False)
    assert outcome(broker) is None
    assert not cluster["c"].mirror.view.is_draining("b")


@pytest.mark.parametrize(
    ("brokers", "replicas", "broker", "reason"),
    [
        ("abc", 3, "x", "no broker 'x'"),
        ("abc", 3, "b", "the topic 't' has 3 replicas"),
        ("ab", 2, "b", "needs 2 in-sync replicas"),
        ("a", 1, "a", "the only broker"),
    ],
)
def test_a_broker_that_is_needed_cannot_be_removed(brokers: str, replicas: int, broker: str, reason: str) -> None:
    cluster = SmallCluster(brokers, partitions=1, replicas=replicas)
    asked = cluster["a"]
    asked.jobs.wish(asked.mirror.view, broker, cluster.now, asked.errors.append, remove=True)
    error = outcome(asked)
    assert isinstance(error, InvalidValue) and reason in str(error)
    assert cluster.tree.children(layout.WISHES) == []


def test_the_last_broker_that_may_lead_cannot_be_drained() -> None:
    cluster = SmallCluster("a", partitions=1, replicas=1)
    broker = cluster["a"]
    broker.jobs.wish(broker.mirror.view, "a", cluster.now, broker.errors.append, drain=True)
    assert "no other broker could lead" in str(outcome(broker))


def test_a_deletion_is_dated() -> None:
    cluster = SmallCluster(partitions=1)
    broker = cluster["a"]
    broker.jobs.delete(broker.mirror.view, "t", cluster.now, broker.errors.append, wall=1_700_000_000.0)
    assert outcome(broker) is None
    path = layout.deleted_path(7)
    assert layout.decode(path, cluster.tree.nodes[path].data, Tombstone) == Tombstone("t", 1_700_000_000.0)
