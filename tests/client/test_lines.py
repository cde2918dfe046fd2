"""Clients of several brokers over real sockets: whom they connect to, whom they follow, and whom they ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.client.scripted import ScriptedBroker
from zmqmq import Admin, Producer
from zmqmq.core.admin_commands import BrokerList, BrokerSummary, ListBrokers, ListTopics, TopicList, TopicSummary
from zmqmq.core.commands import Command, Describe, Described, Farewell, Produce, Produced, Refused
from zmqmq.core.model import Placement, TopicSettings

Result = TypeVar("Result")


@pytest.fixture
def pair() -> Iterator[tuple[ScriptedBroker, ScriptedBroker]]:
    one, other = ScriptedBroker("a"), ScriptedBroker("b")
    yield one, other
    one.close()
    other.close()


def both(one: ScriptedBroker, other: ScriptedBroker, id: int, topic: str) -> Described:
    """Partition 0 is led by the one, partition 1 by the other."""
    placements = [Placement(0, 1, one.broker_id, one.endpoint), Placement(1, 1, other.broker_id, other.endpoint)]
    return Described(id, topic, 1, 2, placements, TopicSettings())


class Call:
    """A blocking call on a thread of its own, while the test speaks for the brokers."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._found: list[object] = []
        self._thread = threading.Thread(target=lambda: self._found.append(function()), daemon=True)
        self._thread.start()

    def result(self) -> object:
        self._thread.join(10)
        assert self._found, "the call has not returned"
        return self._found[0]


def test_a_producer_dials_the_leader_that_another_broker_names(pair: tuple[ScriptedBroker, ScriptedBroker]) -> None:
    first, leader = pair
    producer = Producer(first.endpoint)
    receipt = producer.send("t", b"x")
    hello = first.welcome()
    first.describe(leader)
    assert leader.welcome().client_id == hello.client_id
    first.describe(leader)  # once more, with the session that there is now
    leader.say(Produced(leader.expect(Produce).id, 7, 1.0))
    assert receipt.result(5).offset == 7
    producer.close(0)


def test_a_producer_follows_when_its_leader_says_that_it_is_none(pair: tuple[ScriptedBroker, ScriptedBroker]) -> None:
    old, new = pair
    producer = Producer(old.endpoint)
    receipt = producer.send("t", b"x")
    old.welcome()
    old.describe()
    produce = old.expect(Produce)
    old.say(Refused(produce.id, "NotLeader", "another one leads"))
    old.describe(new, epoch=2)
    new.welcome()
    old.describe(new, epoch=2)
    again = new.expect(Produce)
    assert (again.sequence, again.values, again.epoch) == (produce.sequence, produce.values, 2)
    new.say(Produced(again.id, 3, 1.0))
    assert receipt.result(5).offset == 3
    producer.close(0)


def test_a_producer_whose_leader_leaves_asks_another_broker_at_once(pair: tuple[ScriptedBroker, ScriptedBroker]) -> None:
    old, new = pair
    producer = Producer(old.endpoint)
    receipt = producer.send("t", b"x")
    old.welcome()
    asked = old.expect(Describe)
    old.say(both(old, new, asked.id, "t"))
    produce = old.expect(Produce)
    new.welcome()
    asked = old.expect(Describe)
    old.say(both(old, new, asked.id, "t"))
    old.say(Farewell(0))
    asked = new.expect(Describe)
    placements = [Placement(0, 2, "b", new.endpoint), Placement(1, 1, "b", new.endpoint)]
    new.say(Described(asked.id, "t", 1, 2, placements, TopicSettings()))
    again = new.expect(Produce)
    assert (again.sequence, again.partition) == (produce.sequence, 0)
    new.say(Produced(again.id, 4, 1.0))
    assert receipt.result(5).offset == 4
    producer.close(0)


def test_a_silent_broker_is_no_obstacle_while_another_one_answers(pair: tuple[ScriptedBroker, ScriptedBroker]) -> None:
    silent, well = pair
    admin = Admin(silent.endpoint + "," + well.endpoint)
    call = Call(admin.brokers)
    listed = [BrokerSummary("b", well.endpoint, "member", 0, "scripted")]
    well.welcome()  # soon, whichever was dialled first
    asked = well.expect(ListBrokers)
    well.say(BrokerList(asked.id, "c", "b", listed))
    assert call.result() == listed
    admin.close(0)


def brokers_are(one: ScriptedBroker, other: ScriptedBroker) -> None:
    asked = one.expect(ListBrokers)
    one.say(BrokerList(asked.id, "c", "a", [BrokerSummary(broker.broker_id, broker.endpoint, "member", 1, "scripted") for broker in (one, other)]))


def answer(broker: ScriptedBroker, kind: type[Command], build: Callable[[int], Command]) -> None:
    broker.say(build(broker.expect(kind).id))  # type: ignore[attr-defined]


def test_an_administrator_asks_every_broker_and_sums_up(pair: tuple[ScriptedBroker, ScriptedBroker]) -> None:
    one, other = pair
    admin = Admin(one.endpoint)
    call = Call(admin.topics)
    one.welcome()
    brokers_are(one, other)
    other.welcome()
    for broker, messages in ((one, 3), (other, 4)):
        answer(broker, ListTopics, lambda id, messages=messages: TopicList(id, [TopicSummary("t", 2, 2, messages, 10, 1, 0)]))  # type: ignore[misc]
    assert call.result() == [TopicSummary("t", 2, 2, 7, 20, 1, 0)]
    admin.close(0)


