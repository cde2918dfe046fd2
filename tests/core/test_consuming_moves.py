"""The consumer's state when partitions are led by several brokers, and move from one to another."""

from __future__ import annotations

from itertools import count
from typing import TypeVar

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
    Recalled,
    Refused,
    Settle,
    Settled,
    Settlement,
    Subscribe,
    Subscribed,
    Welcome,
)
from zmqmq.core.consuming import Consuming
from zmqmq.core.held import LOST, SETTLED, SETTLING, Held
from zmqmq.core.model import Limits, Placement, TopicSettings
from zmqmq.core.topology import LOOK_INTERVAL

Kind = TypeVar("Kind", bound=Command)
SESSION_TIMEOUT = 9.0
QUEUES = {"a": 3, "b": 5, "c": 7}


class Cluster:
    """A consumer under test, and what the cluster would tell it now."""

    def __init__(self, *leaders: str, prefetch: int = 1000) -> None:
        """`leaders` by partition, one letter each; "" for none."""
        self.now = 100.0
        self.places = [(leader, 1) for leader in leaders]
        self.lines = list("abc")
        self.consuming = Consuming(["t"], "g", count(1).__next__, lambda: 0.5, prefetch=prefetch)
        self.consuming.is_wanted = True
        self.leases = count(1)
        for broker in self.lines:
            self.open(broker)

    def open(self, broker: str) -> None:
        self.consuming.opened(broker, Welcome(1, "c", broker, 1, 1, Limits(), SESSION_TIMEOUT, 1.0, "tcp://127.0.0.1:7401", b"12345678", "test", 0.0))

    def down(self, broker: str) -> None:
        self.lines.remove(broker)
        self.consuming.down(broker, self.now + SESSION_TIMEOUT * PATIENCE_PART)

    def lead(self, partition: int, leader: str) -> None:
        """Another leadership, which the consumer does not know of yet."""
        self.places[partition] = (leader, self.places[partition][1] + 1)

    def letters(self) -> list[tuple[str, Command]]:
        """What is sent now, to whom; questions who leads are answered."""
        letters = self.consuming.step(self.now, self.lines)
        asked = [command for _, command in letters if isinstance(command, Describe)]
        for question in asked:
            placements = [Placement(number, epoch, leader, f"tcp://{leader}:1") for number, (leader, epoch) in enumerate(self.places)]
            self.hear("a", Described(question.id, "t", 1, 3, placements, TopicSettings()))
        others = [letter for letter in letters if not isinstance(letter[1], Describe)]
        return others + (self.letters() if asked else [])

    def sent(self, kind: type[Kind]) -> dict[str, Kind]:
        """What of that kind is sent now, by broker."""
        return {broker: command for broker, command in self.letters() if isinstance(command, kind)}

    def hear(self, broker: str, command: Command) -> None:
        assert self.consuming.hear(broker, command, self.now)

    def join(self) -> dict[str, Subscribe]:
        """Subscribes wherever it wants to, and is taken; nothing presented is kept."""
        asked = self.sent(Subscribe)
        for broker, subscribe in asked.items():
            self.take(broker, subscribe)
        return asked

    def make_anew(self, epoch: int) -> None:
        """Another topic, of one partition, has the name, as the consumer hears now."""
        self.hear("a", Moved("t"))
        ((_, question),) = [letter for letter in self.consuming.step(self.now, self.lines) if isinstance(letter[1], Describe)]
        self.hear("a", Described(question.id, "t", 2, 3, [Placement(0, epoch, "a", "tcp://a:1")], TopicSettings()))

    def take(self, broker: str, subscribe: Subscribe, *leases: KeptLease, partitions: list[int] | None = None) -> None:
        here = partitions if partitions is not None else list(subscribe.partitions or [])
        self.hear(broker, Subscribed(subscribe.id, QUEUES[broker], "t", "g", list(leases), here))

    def deliver(self, broker: str, partition: int, *offsets: int, epoch: int | None = None) -> int:
        """A lot of a broker, in answer to its present pull; gives the lease."""
        values = [b"v%d" % offset for offset in offsets]
        lease, epoch = next(self.leases), self.places[partition][1] if epoch is None else epoch
        lot = Lot(QUEUES[broker], partition, epoch, lease, list(offsets), [0.0] * len(offsets), values, checksums(values), None, None, None)
        self.hear(broker, Delivery(self.consuming._pullers[broker].turn, [lot]))
        return lease

    def taken(self) -> list[tuple[int, int]]:
        return [(held.partition, held.offsets[index]) for held, index in self.consuming.take(100)]

    def held(self, partition: int) -> Held:
        (held,) = [held for held in self.consuming.subscriptions["t"].held.values() if held.partition == partition]
        return held

    def ack(self, held: Held) -> None:
        for index in range(len(held.offsets)):
            held.states[index] = SETTLING
            self.consuming.settling.ack(held, index)


def joined(*leaders: str) -> Cluster:
    cluster = Cluster(*leaders)
    cluster.join()
    cluster.sent(Pull)
    return cluster


def test_a_leader_with_nothing_to_give_leaves_the_whole_room_to_the_others() -> None:
    cluster = joined("a", "b")
    cluster.hear("a", Empty(cluster.consuming._pullers["a"].turn, 1))
    cluster.deliver("b", 1, 0)
    cluster.taken()
    assert cluster.sent(Pull)["b"].credit == 64


def test_a_wake_up_of_one_broker_asks_that_one_only() -> None:
    cluster = joined("a", "b")
    for broker in "ab":
        cluster.hear(broker, Empty(cluster.consuming._pullers[broker].turn, 1))
    assert cluster.consuming.is_asleep
    cluster.consuming.woken("b")
    assert list(cluster.sent(Pull)) == ["b"]


def test_a_settlement_that_its_old_leader_never_answers_goes_to_the_new_one() -> None:
    cluster = joined("a", "b")
    lease = cluster.deliver("a", 0, 10)
    cluster.taken()
    cluster.ack(cluster.held(0))
    old = cluster.sent(Settle)["a"]
    cluster.lead(0, "b")
    cluster.hear("b", Moved("t"))
    subscribe = cluster.sent(Subscribe)["b"]
    cluster.take("b", subscribe, KeptLease(0, 1, lease, 2, 50, [10], []))
    again = cluster.sent(Settle)["b"]
    assert again.settlements == [Settlement(QUEUES["b"], 0, 2, 50, "ack", [10])]
    cluster.hear("a", Settled(old.id, []))
    assert not cluster.consuming.is_quiet
    cluster.hear("b", Settled(again.id, []))
    assert cluster.consuming.is_quiet


def test_what_the_old_leader_recalls_while_the_new_one_is_asked_goes_back_to_the_new_one() -> None:
    cluster = joined("a", "b")
    lease = cluster.deliver("a", 0, 10, 11)
    cluster.taken()
    cluster.lead(0, "b")
    cluster.hear("b", Moved("t"))
    subscribe = cluster.sent(Subscribe)["b"]
    cluster.hear("a", Recalled(QUEUES["a"], 0, 1, lease, [10]))
    cluster.take("b", subscribe, KeptLease(0, 1, lease, 2, 50, [10, 11], []))
    assert cluster.sent(Settle)["b"].settlements == [Settlement(QUEUES["b"], 0, 2, 50, "release", [10])]
    assert cluster.held(0).open == 1, "the other one goes on"
    assert not cluster.sent(Settle), "it is said once"


def test_what_the_old_leader_takes_back_while_the_new_one_is_asked_goes_back_to_the_new_one() -> None:
    cluster = joined("a", "b")
    lease = cluster.deliver("a", 0, 10)
    cluster.taken()
    cluster.consuming.settle(cluster.held(0), [0], "nack", None, "")
    nack = cluster.sent(Settle)["a"]
    cluster.lead(0, "b")
    cluster.hear("b", Moved("t"))
    subscribe = cluster.sent(Subscribe)["b"]
    cluster.hear("a", Settled(nack.id, []))
    cluster.take("b", subscribe, KeptLease(0, 1, lease, 2, 50, [10], []))
    assert cluster.sent(Settle)["b"].settlements == [Settlement(QUEUES["b"], 0, 2, 50, "release", [10])]


def test_a_topic_of_several_brokers_is_looked_at_from_time_to_time() -> None:
    cluster = joined("a")
    cluster.hear("a", Empty(cluster.consuming._pullers["a"].turn, 1))
    cluster.lead(0, "b")
    cluster.now += LOOK_INTERVAL
    assert cluster.sent(Subscribe)["b"].partitions == [0]


def test_a_broken_line_is_followed_at_once_even_if_the_leader_was_in_doubt_before() -> None:
    cluster = Cluster("a")
    subscribe = cluster.sent(Subscribe)["a"]
    cluster.hear("a", Refused(subscribe.id, "NotLeader", "not yet"))
    cluster.now += 1.0
    cluster.join()
    cluster.sent(Pull)
    assert cluster.consuming.subscriptions["t"].where.is_current
    cluster.lead(0, "b")
    cluster.down("a")
    assert cluster.sent(Subscribe)["b"].partitions == [0]


def test_a_topic_made_again_under_its_name_begins_with_low_epochs() -> None:
    cluster = joined("a")
    cluster.lead(0, "a")
    cluster.hear("a", Moved("t"))
    cluster.join()
    cluster.deliver("a", 0, 10)
    cluster.taken()
    cluster.hear("a", Moved("t"))
    ((_, question),) = [letter for letter in cluster.consuming.step(cluster.now, cluster.lines) if isinstance(letter[1], Describe)]
    assert isinstance(question, Describe) and not question.create
    cluster.places[0] = ("a", 1)
    cluster.hear("a", Described(question.id, "t", 2, 3, [Placement(0, 1, "a", "tcp://a:1")], TopicSettings()))
    cluster.join()
    cluster.sent(Pull)
    cluster.deliver("a", 0, 0)
    assert cluster.taken() == [(0, 0)]


def test_what_is_held_of_a_deleted_topic_is_lost_and_not_presented_to_another_one_of_its_name() -> None:
    cluster = joined("a")
    cluster.deliver("a", 0, 10)
    cluster.taken()
    held = cluster.held(0)
    cluster.make_anew(2)
    assert cluster.consuming.losses == [(held, [0])]
    subscribe = cluster.join()["a"]
    assert (subscribe.held, subscribe.topic_id) == ([], 2)


@pytest.mark.parametrize("is_asleep", [True, False], ids=["it slept", "its pull was not answered"])
def test_who_takes_part_in_nothing_until_a_broker_answers_waits_for_that_and_does_not_spin(is_asleep: bool) -> None:
    cluster = joined("a")
    if is_asleep:
        cluster.hear("a", Empty(cluster.consuming._pullers["a"].turn, 0))
    cluster.make_anew(1)
    assert cluster.sent(Subscribe)
    cluster.now += SESSION_TIMEOUT / 2
    assert not cluster.letters()
    assert cluster.consuming.deadline() > cluster.now


def test_what_was_asked_of_who_leads_nothing_of_the_new_topic_takes_no_room_from_its_leaders() -> None:
    cluster = joined("b")
    cluster.make_anew(1)
    cluster.join()
    assert list(cluster.sent(Pull)) == ["a"]


def test_an_answer_about_a_deleted_topic_says_nothing_of_another_one_of_its_name() -> None:
    cluster = Cluster("a")
    old = cluster.sent(Subscribe)["a"]
    cluster.make_anew(1)
    new = cluster.sent(Subscribe)["a"]
    cluster.consuming.hear("a", Subscribed(old.id, QUEUES["a"], "t", "g", [], [0]), cluster.now)
    assert cluster.consuming.subscriptions["t"].queue("a") is None
    cluster.take("a", new)
    assert cluster.consuming.subscriptions["t"].queue("a") == QUEUES["a"]


def test_a_failure_that_the_new_leader_knows_of_confirms_a_nack_and_nothing_else() -> None:
    cluster = joined("a")
    lease = cluster.deliver("a", 0, 10, 11, 12)
    cluster.taken()
    held = cluster.held(0)
    cluster.consuming.settle(held, [0], "nack", None, "")
    cluster.consuming.settle(held, [1], "reject", None, "")
    cluster.lead(0, "b")
    cluster.hear("b", Moved("t"))
    subscribe = cluster.sent(Subscribe)["b"]
    assert subscribe.held[0].offsets == [10, 11, 12]
    cluster.take("b", subscribe, KeptLease(0, 1, lease, 2, 0, [], [], [10, 11, 12]))
    assert list(held.states) == [SETTLED, LOST, LOST]
    assert cluster.consuming.losses == [(held, [1, 2])]
    assert not cluster.sent(Settle)
