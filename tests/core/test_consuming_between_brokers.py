"""The consumer's state when partitions are led by several brokers: what is held is presented where its partition is led now, and nowhere else."""

from __future__ import annotations

from itertools import count
from typing import Literal, TypeVar

import pytest

from zmqmq.core.checksum import checksums
from zmqmq.core.client_session import PATIENCE_PART
from zmqmq.core.commands import (
    Command,
    Delivery,
    Describe,
    Described,
    Empty,
    KeptLease,
    Lot,
    Moved,
    Pull,
    Refused,
    Settle,
    Settled,
    Subscribe,
    Subscribed,
    Welcome,
)
from zmqmq.core.consuming import Consuming
from zmqmq.core.model import Limits, Placement, TopicSettings
from zmqmq.core.pulling import SILENT_INTERVALS
from zmqmq.core.topology import LOOK_INTERVAL

Kind = TypeVar("Kind", bound=Command)
SESSION_TIMEOUT = 9.0
PATIENCE = SESSION_TIMEOUT * PATIENCE_PART
"""Seconds that a consumer keeps what nobody confirms."""
BEACON_INTERVAL = 1.0
QUEUES = {"a": 11, "b": 12, "c": 13}


class Cluster:
    """A consumer under test, and what the cluster would tell it now."""

    def __init__(self, *leaders: str, brokers: str = "abc", prefetch: int = 1000, start: Literal["earliest", "latest"] = "earliest") -> None:
        """`leaders` by partition, one letter each; "" for none."""
        self.now = 100.0
        self.places = [(leader, 1) for leader in leaders]
        self.lines: list[str] = []
        self.consuming = Consuming(["t"], "g", count(1).__next__, lambda: 0.5, prefetch=prefetch, start=start)
        self.consuming.is_wanted = True
        for broker in brokers:
            self.open(broker)

    def open(self, broker: str) -> None:
        self.consuming.opened(broker, Welcome(1, "c", broker, 1, 1, Limits(), SESSION_TIMEOUT, BEACON_INTERVAL, "tcp://127.0.0.1:1", b"12345678", "test", 0.0))
        self.lines = [*(line for line in self.lines if line != broker), broker]

    def lose(self, broker: str) -> None:
        self.lines.remove(broker)
        self.consuming.down(broker, self.now + PATIENCE)

    def lead(self, partition: int, leader: str) -> None:
        """Another leadership, which the consumer does not know of yet."""
        self.places[partition] = (leader, self.places[partition][1] + 1)

    def letters(self, kind: type[Kind], answer: bool = True) -> list[tuple[str, Kind]]:
        """What is sent now, to whom; questions about the topic are answered if wanted."""
        letters = self.consuming.step(self.now, self.lines)
        asked = [command for _, command in letters if isinstance(command, Describe)] if answer else []
        for question in asked:
            self.describe(question)
        found = [(broker, command) for broker, command in letters if isinstance(command, kind)]
        return found + (self.letters(kind) if asked else [])

    def describe(self, asked: Describe) -> None:
        placements = [Placement(number, epoch, leader, f"tcp://{leader}:1") for number, (leader, epoch) in enumerate(self.places)]
        assert self.consuming.hear(asked.topic, Described(asked.id, "t", 1, 3, placements, TopicSettings()), self.now)

    def join(self, broker: str, asked: Subscribe, *leases: KeptLease, partitions: list[int] | None = None) -> None:
        joined = asked.partitions if partitions is None else partitions
        assert self.consuming.hear(broker, Subscribed(asked.id, QUEUES[broker], "t", "g", list(leases), joined), self.now)

    def join_all(self) -> dict[str, list[int]]:
        """Everybody answers its Subscribe; gives who was asked for which partitions."""
        asked = self.letters(Subscribe)
        for broker, subscribe in asked:
            self.join(broker, subscribe)
        return {broker: subscribe.partitions for broker, subscribe in asked}

    def deliver(self, broker: str, partition: int, *offsets: int, epoch: int = 1, lease: int = 1) -> None:
        values = [b"v%d" % offset for offset in offsets]
        lot = Lot(QUEUES[broker], partition, epoch, lease, list(offsets), [0.0] * len(offsets), values, checksums(values), None, None, None)
        self.consuming.hear(broker, Delivery(self.consuming._pullers[broker].turn, [lot]), self.now)

    def taken(self) -> list[tuple[int, int]]:
        return [(held.partition, held.offsets[index]) for held, index in self.consuming.take(1000)]

    def ack(self, partition: int, offset: int) -> None:
        for held in self.consuming.subscriptions["t"].held.values():
            index = held.index_of(offset)
            if held.partition == partition and index is not None:
                self.consuming.settle(held, [index], "ack", None, "")
                return
        raise AssertionError("it is not held")


def test_every_leader_is_asked_for_its_own_partitions_only() -> None:
    cluster = Cluster("a", "b", "a")
    assert cluster.join_all() == {"a": [0, 2], "b": [1]}


def test_it_can_be_told_why_something_is_not_consumed() -> None:
    cluster = Cluster("a", "", "b", brokers="a")
    subscription = cluster.consuming.subscriptions["t"]
    assert "no broker has described the topic" in str(subscription.hindrance)
    cluster.join_all()
    assert "nobody leads the partition (topic t, partition 1)" in str(subscription.hindrance)
    cluster.lead(1, "a")
    cluster.now += LOOK_INTERVAL
    cluster.join_all()
    assert "b, which leads the partition, has not answered yet (topic t, partition 2)" in str(subscription.hindrance)
    cluster.open("b")
    ((_, asked),) = cluster.letters(Subscribe)
    cluster.consuming.hear("b", Refused(asked.id, "NotEnoughReplicas", "too few are in sync", "", {}), cluster.now)
    assert "too few are in sync" in str(subscription.hindrance)
    cluster.now += 10.0
    cluster.join_all()
    cluster.consuming.hear("a", Empty(cluster.consuming._pullers["a"].turn, 1), cluster.now)
    assert subscription.hindrance is None


def test_it_can_be_told_that_a_leader_has_gone_or_is_silent_though_its_line_is_open() -> None:
    cluster = Cluster("a", "b", brokers="ab")
    subscription = cluster.consuming.subscriptions["t"]
    cluster.join_all()
    cluster.letters(Pull)
    cluster.consuming.hear("b", Empty(cluster.consuming._pullers["b"].turn, 1), cluster.now)
    assert subscription.hindrance is None
    cluster.lead(1, "")
    cluster.consuming.hear("b", Moved("t"), cluster.now)
    cluster.letters(Pull)
    assert "nobody leads the partition (topic t, partition 1)" in str(subscription.hindrance)
    cluster.now += SILENT_INTERVALS * BEACON_INTERVAL
    cluster.letters(Pull)
    assert "a, which leads the partition, has not answered yet (topic t, partition 0)" in str(subscription.hindrance)


def test_what_a_leader_did_not_take_part_in_is_described_again() -> None:
    cluster = Cluster("a", "a")
    ((broker, asked),) = cluster.letters(Subscribe)
    cluster.lead(1, "b")
    cluster.join(broker, asked, partitions=[0])
    assert cluster.join_all() == {"b": [1]}


def test_a_standalone_broker_that_names_no_partitions_has_all_of_them() -> None:
    cluster = Cluster("a", "a", brokers="a")
    ((broker, asked),) = cluster.letters(Subscribe)
    cluster.join(broker, asked, partitions=[])
    assert [type(command) for _, command in cluster.letters(Command)] == [Pull]


def test_the_credit_is_shared_and_never_more_than_what_may_wait_here() -> None:
    cluster = Cluster("a", "b", "c", prefetch=100)
    cluster.join_all()
    pulls = dict(cluster.letters(Pull))
    assert set(pulls) == {"a", "b", "c"}
    shares = [pull.credit for pull in pulls.values()]
    assert max(shares) - min(shares) <= 1
    assert sum(shares) == cluster.consuming._buffer.credit
    for broker in "ab":
        cluster.consuming.hear(broker, Empty(pulls[broker].turn, 1), cluster.now)
    cluster.deliver("c", 2, *range(pulls["c"].credit))
    assert sum(puller.reserved for puller in cluster.consuming._pullers.values()) + cluster.consuming.buffered <= cluster.consuming._buffer.credit


def test_turns_are_counted_for_each_broker() -> None:
    cluster = Cluster("a", "b")
    cluster.join_all()
    pulls = dict(cluster.letters(Pull))
    cluster.consuming.hear("a", Empty(pulls["a"].turn, 1), cluster.now)
    cluster.consuming.woken("a")
    ((broker, again),) = cluster.letters(Pull)
    assert (broker, again.turn) == ("a", pulls["a"].turn + 1)
    assert cluster.consuming._pullers["b"].turn == pulls["b"].turn


def test_what_is_held_is_presented_to_the_new_leader_of_its_partition_and_nobody_else() -> None:
    cluster = Cluster("a", "b")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5, 6)
    cluster.deliver("b", 1, 9)
    cluster.lead(0, "c")
    assert cluster.consuming.hear("a", Moved("t"), cluster.now)
    ((broker, asked),) = cluster.letters(Subscribe)
    assert (broker, asked.partitions) == ("c", [0])
    assert [(lease.partition, lease.epoch, lease.lease, lease.offsets) for lease in asked.held] == [(0, 1, 1, [5, 6])]


def test_an_unconfirmed_ack_goes_to_the_new_leader_under_the_leases_new_number() -> None:
    cluster = Cluster("a")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5, 6)
    assert cluster.taken() == [(0, 5), (0, 6)]
    cluster.ack(0, 5)
    ((broker, _),) = cluster.letters(Settle)
    assert broker == "a"
    cluster.lead(0, "b")
    cluster.lose("a")
    ((broker, asked),) = cluster.letters(Subscribe)
    assert broker == "b"
    cluster.join("b", asked, KeptLease(0, 1, 1, 2, 77, [5, 6], []))
    ((broker, again),) = cluster.letters(Settle)
    (settlement,) = again.settlements
    assert (broker, settlement.queue, settlement.epoch, settlement.lease, settlement.offsets) == ("b", QUEUES["b"], 2, 77, [5])
    assert cluster.consuming.hear("b", Settled(again.id, []), cluster.now)
    cluster.ack(0, 6)
    ((broker, last),) = cluster.letters(Settle)
    assert [(part.epoch, part.lease) for part in last.settlements] == [(2, 77)]
    assert cluster.consuming.losses == []


def test_what_the_new_leader_does_not_mention_is_lost() -> None:
    cluster = Cluster("a")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5, 6)
    cluster.lead(0, "b")
    cluster.lose("a")
    ((_, asked),) = cluster.letters(Subscribe)
    cluster.join("b", asked, KeptLease(0, 1, 1, 2, 77, [6], []))
    assert [(held.offsets[index]) for held, indices in cluster.consuming.losses for index in indices] == [5]
    assert cluster.taken() == [(0, 6)]


def test_an_ack_that_the_old_leader_refuses_is_repeated_at_the_new_one() -> None:
    cluster = Cluster("a")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5)
    cluster.taken()
    cluster.ack(0, 5)
    ((_, settle),) = cluster.letters(Settle)
    cluster.lead(0, "b")
    assert cluster.consuming.hear("a", Refused(settle.id, "NotLeader", "no"), cluster.now)
    ((broker, asked),) = cluster.letters(Subscribe)
    assert broker == "b"
    cluster.join("b", asked, KeptLease(0, 1, 1, 2, 3, [5], []))
    cluster.now += 1.0
    ((broker, again),) = cluster.letters(Settle)
    assert (broker, again.settlements[0].epoch) == ("b", 2)


def test_a_delivery_of_an_older_leadership_is_void() -> None:
    cluster = Cluster("a")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.lead(0, "b")
    cluster.consuming.hear("a", Moved("t"), cluster.now)
    assert cluster.join_all() == {"b": [0]}
    cluster.deliver("a", 0, 5, epoch=1)
    assert cluster.consuming.buffered == 0
    cluster.deliver("b", 0, 5, epoch=2)
    assert cluster.taken() == [(0, 5)]


def test_messages_that_cross_the_question_what_is_held_go_back() -> None:
    cluster = Cluster("a")
    ((_, asked),) = cluster.letters(Subscribe)
    cluster.join("a", asked)
    cluster.letters(Pull)
    cluster.lead(0, "a")
    cluster.consuming.hear("a", Moved("t"), cluster.now)
    ((_, asked),) = cluster.letters(Subscribe)
    cluster.deliver("a", 0, 5, epoch=2, lease=9)
    assert cluster.consuming.buffered == 0
    cluster.join("a", asked)
    assert all(verdict.outcome == "release" for _, settle in cluster.letters(Settle) for verdict in settle.settlements)


def test_a_pull_without_an_answer_makes_others_be_asked_and_its_share_goes_to_them() -> None:
    cluster = Cluster("a", "b")
    cluster.join_all()
    pulls = dict(cluster.letters(Pull))
    cluster.consuming.hear("b", Empty(pulls["b"].turn, 1), cluster.now)
    cluster.now += SILENT_INTERVALS * BEACON_INTERVAL
    asked = cluster.letters(Describe, answer=False)
    assert [broker for broker, _ in asked] == ["b"]
    assert cluster.consuming._pullers["a"].reserved == 0
    cluster.lead(0, "b")
    cluster.describe(asked[0][1])
    assert cluster.join_all() == {"b": [0]}


@pytest.mark.parametrize("is_told", [True, False], ids=["somebody says so", "nobody says so"])
def test_partitions_that_were_added_are_consumed(is_told: bool) -> None:
    cluster = Cluster("a")
    cluster.join_all()
    cluster.places.append(("b", 1))
    if is_told:
        cluster.consuming.hear("a", Moved("t"), cluster.now)
    else:
        assert cluster.consuming.deadline() <= cluster.now + LOOK_INTERVAL
        cluster.now += LOOK_INTERVAL
    assert cluster.join_all() == {"b": [1]}


def starts(cluster: Cluster) -> list[tuple[str, list[int] | None, str]]:
    """Who is asked for which partitions now, and where a group that is new there shall begin; all answer."""
    asked = cluster.letters(Subscribe)
    for broker, subscribe in asked:
        cluster.join(broker, subscribe)
    return [(broker, subscribe.partitions, subscribe.start) for broker, subscribe in asked]


def test_in_a_partition_that_is_added_while_a_consumer_takes_part_its_group_misses_nothing() -> None:
    cluster = Cluster("a", start="latest")
    assert starts(cluster) == [("a", [0], "latest")]
    cluster.places += [("b", 1), ("a", 1)]
    cluster.now += LOOK_INTERVAL
    cluster.consuming.hear("a", Moved("t"), cluster.now)
    assert sorted(starts(cluster)) == [("a", [2], "earliest"), ("b", [1], "earliest")]
    cluster.open("a")
    assert starts(cluster) == [("a", [0, 2], "latest")], "who has been there once begins where it says, should the group have been deleted"


def test_what_was_there_before_is_not_asked_for_together_with_what_was_added() -> None:
    cluster = Cluster("a", start="latest")
    assert starts(cluster) == [("a", [0], "latest")]
    cluster.places += [("a", 1)]
    cluster.open("a")
    assert starts(cluster) == [("a", [0], "latest")]
    assert starts(cluster) == [("a", [1], "earliest")]
    assert starts(cluster) == []


def test_for_a_consumer_that_comes_later_an_added_partition_is_as_any_other() -> None:
    cluster = Cluster("a", "a", start="latest")
    assert starts(cluster) == [("a", [0, 1], "latest")]
