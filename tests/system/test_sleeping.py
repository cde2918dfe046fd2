"""Sleeping is free and waking is fast: no polling, one sleeper woken for one message, and help when a wake-up gets lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.system.cable import Cable
from tests.system.processes import BrokerProcess, Programs, cpu_seconds, eventually, stopped
from tests.system.wire_client import Eavesdropper
from zmqmq import Admin, Consumer, Producer
from zmqmq.errors import ClosedError
from zmqmq.testing import TestBroker

TOPIC = "alarms"
SLEEPERS = 40
QUICK = 0.5
"""Seconds: far less than the beacon's in these tests, far more than a wake-up needs on a busy machine."""


@contextmanager
def asleep(endpoint: str, count: int) -> Iterator[list[Consumer]]:
    """Consumers of one group that have asked, were told that there is nothing, and sleep."""
    with ExitStack() as stack:
        consumers = [stack.enter_context(Consumer(endpoint, TOPIC, session_timeout=60)) for _ in range(count)]
        for consumer in consumers:
            assert consumer.receive(timeout=0.01) is None
        with Admin(endpoint) as admin:
            eventually(lambda: TOPIC in {topic.topic for topic in admin.topics()}, "the first of them has made the topic")
            eventually(lambda: sum(group.members for group in admin.groups(TOPIC)) == count, "all consumers have joined")
        for consumer in consumers:
            eventually(lambda consumer=consumer: consumer._consuming.is_asleep, "the consumer sleeps")  # type: ignore[misc]
        yield consumers


def gather(consumers: list[Consumer], arrived: list[float]) -> None:
    """Lets a thread wait on each consumer; the moments at which something comes go to `arrived`."""

    def wait(consumer: Consumer) -> None:
        with suppress(ClosedError):
            if (message := consumer.receive(timeout=20)) is not None:
                arrived.append(time.monotonic())
                message.ack()

    for consumer in consumers:
        threading.Thread(target=wait, args=(consumer,), daemon=True).start()


def test_one_message_wakes_one_of_many_sleepers_at_once() -> None:
    with TestBroker(beacon_interval_seconds=2.0) as broker, asleep(broker.endpoint, SLEEPERS) as consumers:
        arrived: list[float] = []
        gather(consumers, arrived)
        with Eavesdropper(broker.endpoint) as everybody, Producer(broker.endpoint) as producer:
            producer.send("others", b"warm").result()
            assert everybody.wakes(1) == []
            sent = time.monotonic()
            producer.send(TOPIC, b"fire").result()
            assert len(everybody.wakes(2)) == 1
        eventually(lambda: arrived, "the message is delivered")
        assert len(arrived) == 1 and arrived[0] - sent < QUICK


def test_idle_consumers_cost_the_broker_nothing(programs: Programs, broker: BrokerProcess) -> None:
    with asleep(broker.endpoint, SLEEPERS), Eavesdropper(broker.endpoint) as everybody:
        before, began = cpu_seconds(broker.program.pid), time.monotonic()
        assert everybody.wakes(4) == []
        assert (cpu_seconds(broker.program.pid) - before) / (time.monotonic() - began) < 0.03


def test_when_the_woken_consumer_has_hung_another_one_gets_the_message(programs: Programs, broker: BrokerProcess) -> None:
    with Admin(broker.endpoint) as admin, Producer(broker.endpoint) as producer, Eavesdropper(broker.endpoint) as everybody:
        admin.create_topic(TOPIC)
        hung, other = (programs.worker(name, "listen", broker.endpoint, TOPIC, name, "--session-timeout", 60) for name in ("hung", "other"))
        eventually(lambda: sum(group.members for group in admin.groups(TOPIC)) == 2, "both have joined")
        everybody.next_beacon()
        with stopped(hung):
            for number in range(2):  # whoever of the two is woken first, one of these finds the one that hangs
                sent = time.time()
                producer.send(TOPIC, b"alarm %d" % number).result()
                heard = other.line(rf"^(\S+) alarm {number}")
                assert float(heard[1]) - sent < 2.5, "a beacon is due every second"
        assert "alarm" not in hung.text


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut in the middle", "never there"])
def test_without_wake_ups_messages_come_within_about_the_beacons_second(is_cut: bool, programs: Programs, tmp_path: Path) -> None:
    broker = programs.broker(tmp_path / "data", wake_bind="tcp://127.0.0.2:{next_port}")
    told, real = (("127.0.0.1", broker.port + 1), ("127.0.0.2", broker.port + 1))
    with ExitStack() as stack:
        cable = stack.enter_context(Cable(told, real)) if is_cut else None
        producer = stack.enter_context(Producer(broker.endpoint))
        consumers = stack.enter_context(asleep(broker.endpoint, 1))
        if cable is not None:
            _deliver(producer, consumers[0], b"with the cable")
            cable.cut()
        for number in range(2):
            took = _deliver(producer, consumers[0], b"without %d" % number)
            assert took < 2.5, "a beacon is due every second"


def _deliver(producer: Producer, consumer: Consumer, value: bytes) -> float:
    """Seconds from a message's confirmation to its delivery."""
    producer.send(TOPIC, value).result()
    began = time.monotonic()
    message = consumer.receive(timeout=20)
    assert message is not None and message.value == value
    message.ack().result()
    return time.monotonic() - began
