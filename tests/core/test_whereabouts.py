"""Whom a client asks where a topic is, when some brokers cannot tell."""

from __future__ import annotations

from itertools import count
from math import inf

from msgspec.structs import replace

from zmqmq.core.commands import Described
from zmqmq.core.model import Placement, TopicSettings
from zmqmq.core.topology import Topology, Whereabouts
from zmqmq.errors import NotLeader


def asked(topic: Whereabouts, lines: list[str], now: float, ids: count[int]) -> tuple[str, int]:
    letter = topic.ask(now, lines, ids.__next__, True)
    assert letter is not None
    return letter[0], letter[1].id  # type: ignore[attr-defined]


def described(id: int) -> Described:
    return Described(id, "readings", 7, 3, [Placement(0, 1, "b2", "tcp://b2:7400")], TopicSettings())


def test_somebody_else_is_wanted_when_a_broker_that_lost_its_cluster_cannot_tell() -> None:
    topic, ids = Whereabouts("readings", lambda: 0.5), count(1)
    broker, id = asked(topic, ["b1"], 0.0, ids)
    assert not topic.needs_another(["b1"])
    topic.refused(id, NotLeader("lost touch"), 0.1)
    assert topic.needs_another(["b1"])
    assert not topic.needs_another(["b1", "b2"])
    assert asked(topic, ["b1", "b2"], 5.0, ids)[0] == "b2"


def test_who_could_not_tell_is_asked_again_when_there_is_nobody_else_and_forgiven_when_it_can() -> None:
    topic, ids = Whereabouts("readings", lambda: 0.5), count(1)
    topic.refused(asked(topic, ["b1"], 0.0, ids)[1], NotLeader("lost touch"), 0.1)
    broker, id = asked(topic, ["b1"], 5.0, ids)
    assert broker == "b1"
    topic.described(described(id), 5.1)
    assert not topic.needs_another(["b1"])


def test_a_topic_with_one_replica_that_has_moved_is_looked_at_from_time_to_time() -> None:
    topology = Topology(lambda: 0.5)
    topic = topology.topic("readings")
    one = Described(0, "readings", 7, 1, [Placement(0, 1, "b2", "tcp://b2:7400")], TopicSettings())
    topic.described(replace(one, id=asked(topic, ["b2"], 0.0, count(1))[1]), 0.1)
    assert topic.look_at() == inf, "it has one broker, and says so itself"
    topology.hint("readings")
    topic.described(replace(one, id=asked(topic, ["b1"], 1.0, count(2))[1]), 1.1)
    assert topic.look_at() < inf, "who was asked may not have seen yet that it has moved"


def test_everybody_who_has_told_of_news_is_asked_for_it() -> None:
    topology, ids = Topology(lambda: 0.5), count(1)
    topic, lines = topology.topic("readings"), ["b1", "b2", "b3"]
    topic.described(described(asked(topic, lines, 0.0, ids)[1]), 0.1)
    topology.hint("readings", "b3")
    broker, id = asked(topic, lines, 1.0, ids)
    topology.hint("readings", "b2")
    topic.described(described(id), 1.1)
    assert broker == "b3" and not topic.is_current, "b2 may know more"
    broker, id = asked(topic, lines, 1.2, ids)
    topic.described(described(id), 1.3)
    assert broker == "b2" and topic.is_current


def test_who_told_of_news_and_is_gone_is_not_waited_for() -> None:
    topology, ids = Topology(lambda: 0.5), count(1)
    topic = topology.topic("readings")
    topic.described(described(asked(topic, ["b1", "b3"], 0.0, ids)[1]), 0.1)
    topology.hint("readings", "b3")
    topology.hint("readings", "b1")
    topic.down("b3")
    broker, id = asked(topic, ["b1"], 1.0, ids)
    topic.described(described(id), 1.1)
    assert broker == "b1" and topic.is_current
