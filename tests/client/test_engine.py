"""The engine against a scripted broker: brokers that forget, refuse, talk nonsense or fall silent; and one whose hints are cut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.scripted import ScriptedBroker
from zmqmq import Admin, Consumer, Producer
from zmqmq.config import TopicsConfig
from zmqmq.core.checksum import checksums
from zmqmq.core.commands import (
    Command,
    Delivery,
    Empty,
    Goodbye,
    Hello,
    Lot,
    Produce,
    Produced,
    Pull,
    Refused,
    Subscribe,
    Subscribed,
    WhoAreYou,
)
from zmqmq.errors import UnknownTopic, Unreachable
from zmqmq.testing import TestBroker


@pytest.fixture
def script() -> Iterator[ScriptedBroker]:
    broker = ScriptedBroker()
    yield broker
    broker.close()


def test_a_broker_that_forgot_us_is_told_everything_again(script: ScriptedBroker) -> None:
    producer = Producer(script.endpoint)
    receipt = producer.send("t", b"a")
    first = script.welcome()
    script.describe()
    sent = script.expect(Produce)
    script.say(WhoAreYou())
    second = script.welcome()
    assert (second.client_id, second.session_epoch) == (first.client_id, first.session_epoch + 1)
    script.describe()
    again = script.expect(Produce)
    assert (again.producer, again.sequence, again.values) == (sent.producer, sent.sequence, sent.values)
    script.say(Produced(again.id, 17, 1.0))
    assert receipt.result(5).offset == 17
    producer.close(0.5)


def test_nothing_is_said_before_the_welcome(script: ScriptedBroker) -> None:
    producer = Producer(script.endpoint)
    producer.send("t", b"a")
    assert isinstance(script.expect(Command), Hello)
    with pytest.raises(Unreachable):
        producer.close(0.2)


def test_a_broker_that_talks_nonsense_is_left_and_tried_again(script: ScriptedBroker) -> None:
    admin = Admin(script.endpoint, timeout=1)
    with pytest.raises(Unreachable):
        admin.topics()
    script.expect(Hello)
    script.say_frame(b"nonsense")
    assert script.expect(Hello).session_epoch == 2
    admin.close(0.5)


def test_a_refused_greeting_is_the_reason_why_no_broker_answers(script: ScriptedBroker) -> None:
    producer = Producer(script.endpoint)
    receipt = producer.send("t", b"a")
    script.expect(Hello)
    script.say(Refused(0, "UnsupportedVersion", "version 1 is not spoken here"))
    script.expect(Hello)
    with pytest.raises(Unreachable, match="version 1 is not spoken here"):
        receipt.result(0)
    with pytest.raises(Unreachable):
        producer.close(0)


def test_a_closing_client_says_goodbye(script: ScriptedBroker) -> None:
    consumer = Consumer(script.endpoint, "t")
    script.welcome()
    script.describe()
    asked = script.expect(Subscribe)
    script.say(Subscribed(asked.id, 1, "t", "default"))
    consumer.close(0.5)
    script.expect(Goodbye)


def test_a_client_that_waits_for_the_farewell_is_not_busy(script: ScriptedBroker) -> None:
    consumer = Consumer(script.endpoint, "t")
    script.welcome()
    script.describe()
    asked = script.expect(Subscribe)
    script.say(Subscribed(asked.id, 1, "t", "default"))
    assert consumer.receive(0) is None
    lot = Lot(1, 0, 1, 1, [0], [1.0], [b"v"], checksums([b"v"], None, None), None, None, None)
    script.say(Delivery(script.expect(Pull).turn, [lot]))
    message = consumer.receive(5)
    assert message is not None
    message.ack()  # nobody confirms it: the time to close runs out
    turns, turn = [], consumer._engine.turn

    def counted(now: float) -> None:
        turns.append(now)
        turn(now)

    consumer._engine.turn = counted  # type: ignore[method-assign]
    consumer.close(0.1)
    script.expect(Goodbye)
    assert len(turns) < 50


def test_without_wake_ups_and_beacons_a_message_comes_within_about_the_beacons_interval(script: ScriptedBroker) -> None:
    with Consumer(script.endpoint, "t") as consumer:
        script.welcome(beacon_interval=0.2)
        script.describe()
        asked = script.expect(Subscribe)
        script.say(Subscribed(asked.id, 1, "t", "default"))
        assert consumer.receive(0) is None
        script.say(Empty(script.expect(Pull).turn, 1))
        lot = Lot(1, 0, 1, 1, [7], [0.0], [b"v"], checksums([b"v"]), None, None, None)
        script.say(Delivery(script.expect(Pull).turn, [lot]))
        message = consumer.receive(5)
        assert message is not None
        assert message.offset == 7
        consumer.stop()


def test_a_topic_that_may_not_be_created_is_unknown_to_producer_and_consumer() -> None:
    with TestBroker(topics=TopicsConfig(auto_create=False)) as broker:
        producer = Producer(broker.endpoint)
        with pytest.raises(UnknownTopic):
            producer.send("t", b"x").result(5)
        producer.close()
        with Consumer(broker.endpoint, "t") as consumer, pytest.raises(UnknownTopic):
            consumer.receive(5)


def test_any_of_several_brokers_will_do(script: ScriptedBroker) -> None:
    with TestBroker() as broker, Producer(["127.0.0.1:1", broker.endpoint, "127.0.0.1:2"]) as producer:
        assert producer.send("t", b"x").result(10).offset >= 0
