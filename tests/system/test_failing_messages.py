"""Messages that fail: held back, tried again, given up, brought back by the command line; and one that kills whoever touches it."""

from __future__ import annotations

import json
import time

from tests.system.processes import BrokerProcess, Programs
from zmqmq import Admin, Consumer, Producer
from zmqmq.testing import TestBroker

TOPIC, GROUP = "orders", "workers"


def make_topic(endpoint: str) -> None:
    """One partition; a message may fail twice."""
    with Admin(endpoint) as admin:
        admin.create_topic(TOPIC, partitions=1, max_attempts=2, retry_delay=0.3, max_retry_delay=0.3)


def test_a_nacked_message_holds_back_its_own_key_only_and_comes_back_after_its_delay(inner: TestBroker) -> None:
    make_topic(inner.endpoint)
    with Producer(inner.endpoint) as producer, Consumer(inner.endpoint, TOPIC, GROUP) as consumer:
        for value, key in ((b"a1", "a"), (b"a2", "a"), (b"b1", "b")):
            producer.send(TOPIC, value, key=key).result()
        first = consumer.receive()
        assert first is not None and first.value == b"a1"
        nacked = time.monotonic()
        first.nack(delay=0.5, reason="not now").result()
        values = []
        while len(values) < 3:
            message = consumer.receive()
            assert message is not None
            message.ack().result()
            values.append(message.value)
            if message.value == b"a1":
                assert time.monotonic() - nacked >= 0.5 and message.attempt == 2
        assert values == [b"b1", b"a1", b"a2"]


def test_a_message_that_always_fails_becomes_a_dead_letter_that_the_command_line_brings_back(programs: Programs, broker: BrokerProcess) -> None:
    make_topic(broker.endpoint)
    with Admin(broker.endpoint) as admin, Producer(broker.endpoint) as producer, Consumer(broker.endpoint, TOPIC, GROUP) as consumer:
        producer.send(TOPIC, b"bad", key="k", headers={"unit": "C"}).result()
        producer.send(TOPIC, b"next", key="k").result()
        for attempt in (1, 2):
            message = consumer.receive()
            assert message is not None and (message.value, message.attempt) == (b"bad", attempt)
            message.nack(reason=f"failure {attempt}").result()
        following = consumer.receive()
        assert following is not None and following.value == b"next", "the key goes on without the dead letter"
        following.ack().result()
        letters = json.loads(programs.command(broker.endpoint, "dead", "list", TOPIC, GROUP, "--json").text)
        assert [(letter["value"], letter["attempts"], letter["reason"]) for letter in letters] == [("bad", 2, "failure 2")]
        shown = programs.command(broker.endpoint, "dead", "show", TOPIC, GROUP, 0, letters[0]["offset"])
        assert "unit=C" in shown.text
        assert "replayed 1" in programs.command(broker.endpoint, "dead", "replay", TOPIC, GROUP).text
        again = consumer.receive()
        assert again is not None and (again.value, again.attempt) == (b"bad", 1)
        again.reject(reason="hopeless").result()
        assert "purged 1" in programs.command(broker.endpoint, "dead", "purge", TOPIC, GROUP, "--yes").text
        assert list(admin.dead_letters(TOPIC, GROUP)) == []


def test_a_message_that_kills_its_consumer_ends_as_a_dead_letter_and_its_neighbours_are_done(programs: Programs, broker: BrokerProcess) -> None:
    neighbours = {f"good-{number}" for number in range(6)}
    make_topic(broker.endpoint)
    with Admin(broker.endpoint) as admin, Producer(broker.endpoint) as producer:
        for number, value in enumerate(["good-0", "good-1", "poison", "good-2", "good-3", "good-4", "good-5"]):
            producer.send(TOPIC, value.encode(), key=f"key-{number % 3}").result()
        done: set[str] = set()
        for life in (1, 2):
            victim = programs.worker(f"life {life}", "die", broker.endpoint, TOPIC, "poison", "--session-timeout", 1)
            assert victim.wait() == 86, victim.errors
            done |= {line.removeprefix("did ") for line in victim.out.lines if line.startswith("did ")}
        survivor = programs.worker("survivor", "die", broker.endpoint, TOPIC, "poison", "--session-timeout", 1)
        survivor.lines("did good", len(neighbours - done))
        letters = list(admin.dead_letters(TOPIC, GROUP))
        assert [(letter.value, letter.attempts) for letter in letters] == [(b"poison", 2)]
        assert admin.lag(TOPIC, GROUP).lag == 0
