"""The producer's state when partitions are led by several brokers, which come, go, fall silent and take over from each other."""

from __future__ import annotations

from itertools import count
from typing import TypeVar

import pytest

from zmqmq.core.commands import Command, Describe, Described, Moved, Produce, Produced, Refused
from zmqmq.core.model import Limits, Placement, TopicSettings
from zmqmq.core.parcel import Parcel
from zmqmq.core.producing import Producing
from zmqmq.core.topology import DESCRIBE_TIMEOUT, LOOK_INTERVAL, SUSPECT_AFTER

Kind = TypeVar("Kind", bound=Command)


class Cluster:
    """A producer under test, and what the cluster would tell it now."""

    def __init__(self, *leaders: str, brokers: str = "abc") -> None:
        """`leaders` by partition, one letter each; "" for none."""
        self.now = 100.0
        self.places = [(leader, 1) for leader in leaders]
        self.lines = list(brokers)
        self.producing = Producing(99, count(1).__next__, lambda: 0.5, 60.0)
        for broker in brokers:
            self.producing.opened(broker, Limits())

    def lead(self, partition: int, leader: str) -> None:
        """Another leadership, which the producer does not know of yet."""
        self.places[partition] = (leader, self.places[partition][1] + 1)

    def send(self, *values: bytes, key: bytes | None = None) -> Parcel:
        parcel = Parcel("t", self.now)
        parcel.values = list(values)
        parcel.keys = [key] * len(values) if key is not None else None
        parcel.size = sum(map(len, values))
        parcel.close()
        self.producing.add(parcel)
        return parcel

    def letters(self, kind: type[Kind]) -> list[tuple[str, Kind]]:
        """What is sent now, to whom; questions are not answered."""
        return [(broker, command) for broker, command in self.producing.step(self.now, self.lines) if isinstance(command, kind)]

    def describe(self, asked: Describe) -> None:
        placements = [Placement(number, epoch, leader, f"tcp://{leader}:1") for number, (leader, epoch) in enumerate(self.places)]
        assert self.producing.hear(Described(asked.id, "t", 1, 3, placements, TopicSettings()), self.now)

    def produces(self) -> list[tuple[str, Produce]]:
        """What is sent now; questions are answered."""
        letters = self.producing.step(self.now, self.lines)
        asked = [command for _, command in letters if isinstance(command, Describe)]
        for question in asked:
            self.describe(question)
        found = [(broker, command) for broker, command in letters if isinstance(command, Produce)]
        return found + (self.produces() if asked else [])

    def refuse(self, produce: Produce, code: str = "NotLeader") -> None:
        assert self.producing.hear(Refused(produce.id, code, "no"), self.now)

    def accept(self, produce: Produce, offset: int = 0) -> bool:
        return self.producing.hear(Produced(produce.id, offset, 1000.0), self.now)

    def lose(self, broker: str) -> None:
        self.lines.remove(broker)
        self.producing.down(broker)


def test_each_partition_goes_to_its_own_leader() -> None:
    cluster = Cluster("a", "b")
    cluster.send(b"1")
    cluster.send(b"2")
    assert sorted((broker, produce.partition, produce.epoch) for broker, produce in cluster.produces()) == [("a", 0, 1), ("b", 1, 1)]
    assert dict(cluster.producing.wanted()) == {"a": "tcp://a:1", "b": "tcp://b:1"}


def test_a_broker_that_leads_no_more_makes_another_one_describe_and_the_batch_goes_on_with_its_sequence() -> None:
    cluster = Cluster("a")
    cluster.send(b"1")
    ((_, first),) = cluster.produces()
    cluster.lead(0, "b")
    cluster.refuse(first)
    ((asked, question),) = cluster.letters(Describe)
    assert asked != "a"
    cluster.describe(question)
    ((broker, again),) = cluster.letters(Produce)
    assert (broker, again.epoch, again.sequence, again.values) == ("b", 2, first.sequence, first.values)


def test_who_waits_for_a_topic_that_was_deleted_to_be_made_again_does_not_spin() -> None:
    cluster = Cluster("a")
    cluster.send(b"1")
    ((_, first),) = cluster.produces()
    cluster.producing.hear(Moved("t"), cluster.now)
    ((_, question),) = cluster.letters(Describe)
    assert not question.create
    cluster.refuse(first)
    assert cluster.producing.hear(Refused(question.id, "UnknownTopic", "there is none"), cluster.now)
    cluster.now = cluster.producing.deadline()
    ((_, question),) = cluster.letters(Describe)
    assert question.create and cluster.producing.deadline() > cluster.now
    cluster.now += DESCRIBE_TIMEOUT / 2
    assert not cluster.letters(Command)
    assert cluster.producing.deadline() > cluster.now
    cluster.describe(question)
    assert [produce.sequence for _, produce in cluster.letters(Produce)] == [first.sequence]


def test_a_lost_line_asks_at_once_who_leads_now() -> None:
    cluster = Cluster("a")
    cluster.send(b"1")
    ((_, first),) = cluster.produces()
    cluster.lose("a")
    cluster.lead(0, "c")
    ((broker, again),) = cluster.produces()
    assert (broker, again.sequence) == ("c", first.sequence)


def test_as_long_as_nobody_leads_the_question_is_repeated_soon_and_nothing_is_sent() -> None:
    cluster = Cluster("")
    cluster.send(b"1")
    assert cluster.produces() == []
    waited = []
    for _ in range(8):
        due = cluster.producing.deadline()
        waited.append(due - cluster.now)
        cluster.now = due
        assert cluster.produces() == []
    assert 0 < waited[0] < 0.06
    assert max(waited) <= 1.3
    cluster.lead(0, "a")
    cluster.now = cluster.producing.deadline()
    assert [broker for broker, _ in cluster.produces()] == ["a"]


def test_a_partition_without_a_leader_does_not_hold_up_the_others() -> None:
    cluster = Cluster("a", "")
    for number in range(4):
        cluster.send(b"%d" % number)
    assert {(broker, produce.partition) for broker, produce in cluster.produces()} == {("a", 0)}


def test_a_leader_that_is_silent_for_a_second_is_asked_about_elsewhere_and_left_for_the_new_one() -> None:
    cluster = Cluster("a")
    cluster.send(b"1")
    ((_, first),) = cluster.produces()
    assert cluster.producing.deadline() <= cluster.now + SUSPECT_AFTER
    cluster.now += SUSPECT_AFTER
    cluster.lines = ["b", "c", "a"]  # a is not known to be well
    ((asked, question),) = cluster.letters(Describe)
    assert asked == "b"
    cluster.describe(question)  # nobody else leads yet
    assert cluster.letters(Produce) == []
    cluster.lead(0, "b")
    cluster.now = cluster.producing.deadline()
    ((broker, again),) = cluster.produces()
    assert (broker, again.epoch, again.sequence) == ("b", 2, first.sequence)


def test_a_silent_leader_that_answers_after_all_keeps_its_partition() -> None:
    cluster = Cluster("a")
    parcel = cluster.send(b"1")
    ((_, first),) = cluster.produces()
    cluster.now += SUSPECT_AFTER
    assert cluster.produces() == []
    assert cluster.accept(first, 5)
    assert cluster.producing.completed == [parcel]
    cluster.send(b"2")
    cluster.now += 1.5
    assert [(broker, produce.sequence) for broker, produce in cluster.produces()] == [("a", first.sequence + 1)]


def test_only_brokers_in_doubt_to_ask_means_that_another_one_is_needed() -> None:
    cluster = Cluster("a", brokers="a")
    cluster.send(b"1")
    cluster.produces()
    assert not cluster.producing.needs_another(cluster.lines)
    cluster.now += SUSPECT_AFTER
    cluster.produces()
    assert cluster.producing.needs_another(cluster.lines)
    assert not cluster.producing.needs_another(["a", "b"])


def test_what_another_leader_is_told_keeps_the_order_and_the_old_leaders_answers_count_no_more() -> None:
    cluster = Cluster("a")
    for number in range(3):
        cluster.send(b"%d" % number)
        cluster.produces()
    cluster.lead(0, "b")
    cluster.lose("a")
    again = cluster.produces()
    assert [(broker, produce.sequence, list(produce.values)) for broker, produce in again] == [("b", number, [b"%d" % number]) for number in range(3)]
    cluster.lead(0, "c")
    for _, produce in again:
        cluster.refuse(produce)
    once_more = cluster.produces()
    assert once_more[0][0] == "c"
    assert not cluster.accept(again[0][1])


def test_a_second_election_while_the_first_answer_is_under_way_is_not_undone_by_it() -> None:
    cluster = Cluster("a")
    cluster.send(b"1")
    ((_, produce),) = cluster.produces()
    cluster.refuse(produce)
    ((_, question),) = cluster.letters(Describe)
    cluster.places[0] = ("b", 3)
    cluster.describe(question)
    ((broker, again),) = cluster.letters(Produce)
    assert (broker, again.epoch) == ("b", 3)
    cluster.refuse(again)
    ((_, question),) = cluster.letters(Describe)
    cluster.places[0] = ("a", 2)  # said by a broker that is behind
    cluster.describe(question)
    assert all(broker == "b" for broker, _ in cluster.letters(Produce))


@pytest.mark.parametrize("is_told", [True, False], ids=["somebody says so", "nobody says so"])
def test_partitions_that_were_added_are_used(is_told: bool) -> None:
    cluster = Cluster("a")
    cluster.send(b"1")
    ((_, produce),) = cluster.produces()
    cluster.accept(produce)
    cluster.places.append(("b", 1))
    if is_told:
        assert cluster.producing.hear(Moved("t"), cluster.now)
    else:
        cluster.now += LOOK_INTERVAL
    cluster.send(b"2")
    cluster.produces()
    for number in range(4):
        cluster.send(b"%d" % number)
    assert {(broker, produce.partition) for broker, produce in cluster.produces()} == {("a", 0), ("b", 1)}
