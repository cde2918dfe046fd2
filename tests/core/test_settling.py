"""The consumer's decisions when a broker cannot take some of them: which go again, where to, and which are over."""

from __future__ import annotations

from tests.core.test_consuming_between_brokers import QUEUES, Cluster
from zmqmq.core.commands import Command, KeptLease, Pull, Refused, Settle, Settled, Settlement, Subscribe
from zmqmq.core.held import LOST, SETTLED, SETTLING
from zmqmq.errors import UnknownTopic


def holding_one_of_each(*leaders: str) -> Cluster:
    """A consumer that works on message 5 of every partition."""
    cluster = Cluster(*leaders)
    cluster.join_all()
    cluster.letters(Pull)
    for partition, leader in enumerate(leaders):
        cluster.deliver(leader, partition, 5)
    cluster.taken()
    return cluster


def test_what_a_broker_has_not_decided_is_repeated_at_the_new_leader_and_the_rest_is_settled() -> None:
    cluster = holding_one_of_each("a", "a")
    kept, moved = sorted(cluster.consuming.subscriptions["t"].held.values(), key=lambda held: held.partition)
    cluster.ack(0, 5)
    cluster.ack(1, 5)
    ((_, settle),) = cluster.letters(Settle)
    cluster.lead(1, "b")
    (elsewhere,) = (settlement for settlement in settle.settlements if settlement.partition == 1)
    assert cluster.consuming.hear("a", Settled(settle.id, [elsewhere], [0]), cluster.now)
    assert (kept.states[0], moved.states[0], cluster.consuming.losses) == (SETTLED, SETTLING, [])
    letters = cluster.letters(Command)
    assert not [command for _, command in letters if isinstance(command, Settle)], "not again to the same broker at once"
    ((broker, asked),) = [(broker, command) for broker, command in letters if isinstance(command, Subscribe)]
    cluster.join(broker, asked, KeptLease(1, 1, 1, 2, 3, [5], []))
    ((broker, again),) = cluster.letters(Settle)
    assert (broker, again.settlements) == ("b", [Settlement(QUEUES["b"], 1, 2, 3, "ack", [5])])
    cluster.consuming.hear("b", Settled(again.id, []), cluster.now)
    assert moved.states[0] == SETTLED and cluster.consuming.is_quiet


def test_when_a_topic_is_gone_nothing_of_it_can_be_settled_or_waits_for_its_broker() -> None:
    cluster = holding_one_of_each("a", "a")
    held = {held.partition: held for held in cluster.consuming.subscriptions["t"].held.values()}
    cluster.ack(0, 5)
    cluster.deliver("a", 0, 6, lease=2)
    cluster.consuming.hear("a", Refused(0, "UnknownTopic", "it was deleted", details={"topic": "t"}), cluster.now)
    assert isinstance(cluster.consuming.error, UnknownTopic)
    assert [held[number].states[0] for number in range(2)] == [LOST, LOST] and cluster.taken() == []
    assert sorted((one.partition, one.offsets[index]) for one, indices in cluster.consuming.losses for index in indices) == [(0, 5), (0, 6), (1, 5)]
    cluster.letters(Settle)
    assert cluster.consuming.is_quiet, "a consumer that closes waits for nothing"


def test_what_a_broker_keeps_for_a_subscription_that_is_over_goes_back() -> None:
    cluster = holding_one_of_each("a", "b")
    cluster.consuming.hear("a", Refused(0, "UnknownTopic", "it was deleted", details={"topic": "t"}), cluster.now)
    cluster.deliver("b", 1, 6, lease=2)
    back = [(broker, settlement) for broker, settle in cluster.letters(Settle) for settlement in settle.settlements]
    assert back == [
        ("a", Settlement(QUEUES["a"], 0, 1, 1, "release")),
        ("b", Settlement(QUEUES["b"], 1, 1, 1, "release")),
        ("b", Settlement(QUEUES["b"], 1, 1, 2, "release")),
    ]
    assert cluster.letters(Settle) == [] and cluster.taken() == []


def test_of_a_lease_that_moves_what_came_too_late_is_lost_all_the_same() -> None:
    cluster = Cluster("a")
    cluster.join_all()
    cluster.letters(Pull)
    cluster.deliver("a", 0, 5, 6)
    ((held, first), (_, second)) = cluster.consuming.take(2)
    cluster.consuming.settle(held, [first, second], "ack", None, "")
    ((_, settle),) = cluster.letters(Settle)
    late, moved = Settlement(QUEUES["a"], 0, 1, 1, "ack", [5]), settle.settlements[0]
    cluster.consuming.hear("a", Settled(settle.id, [late, moved], [1]), cluster.now)
    assert list(held.states) == [LOST, SETTLING]


def test_a_broker_that_can_take_nothing_now_holds_up_no_settlement_for_another_one() -> None:
    cluster = holding_one_of_each("a", "b")
    cluster.ack(0, 5)
    ((_, settle),) = cluster.letters(Settle)
    cluster.consuming.hear("a", Refused(settle.id, "StorageFull", "full"), cluster.now)
    cluster.ack(1, 5)
    assert [broker for broker, _ in cluster.letters(Settle)] == ["b"]
    assert cluster.consuming.settling.deadline() > cluster.now
    cluster.now = cluster.consuming.settling.deadline()
    assert [broker for broker, _ in cluster.letters(Settle)] == ["a"]
