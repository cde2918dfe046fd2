"""The system's clock is set back an hour under a running broker: nothing is stamped out of order, no delay becomes an hour longer."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tests.system.processes import eventually
from zmqmq import Admin, Consumer, Producer
from zmqmq.shell import clock
from zmqmq.testing import TestBroker

HOUR = 3600.0
TOPIC = "readings"


class Shift:
    """How far the system's clock is from the truth."""

    seconds = 0.0


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Shift:
    made = Shift()
    monkeypatch.setattr(clock.Clock, "system", staticmethod(lambda: time.time() + made.seconds))
    return made


@pytest.mark.parametrize("hours", [-1, 1], ids=["back", "forward"])
def test_a_clock_that_is_set_disturbs_nobody(hours: int, shift: Shift) -> None:
    with TestBroker() as broker, Producer(broker.endpoint) as producer, Consumer(broker.endpoint, TOPIC) as consumer:
        stamps = [producer.send(TOPIC, b"%d" % number, key="k").result().timestamp for number in range(3)]
        delayed = producer.send(TOPIC, b"later", key="d", delay=1.0)
        delayed.result()
        held = consumer.receive()
        assert held is not None
        shift.seconds = hours * HOUR
        stamps += [producer.send(TOPIC, b"%d" % number, key="k").result().timestamp for number in range(3, 6)]
        assert all(later >= earlier for earlier, later in pairwise(stamps))
        held.ack().result()
        values = {held.value}
        began = time.monotonic()
        while len(values) < 7:
            message = consumer.receive(timeout=10)
            assert message is not None, f"only {values} came"
            values.add(message.value)
            message.ack().result()
        assert time.monotonic() - began < 8, "a delay of a second stays one"
        assert consumer.lost == 0


def test_retries_go_on_after_the_clock_was_set_back_even_over_a_restart(shift: Shift) -> None:
    with TestBroker() as broker, Consumer(broker.endpoint, TOPIC) as consumer, Producer(broker.endpoint) as producer, Admin(broker.endpoint) as admin:
        producer.send(TOPIC, b"x").result()
        message = consumer.receive()
        assert message is not None
        message.nack(delay=0.5).result()
        shift.seconds = -HOUR
        message = consumer.receive(timeout=10)
        assert message is not None and message.attempt == 2
        broker.restart()
        message.ack().result(timeout=20)
        eventually(lambda: admin.lag(TOPIC, "default").lag == 0, "it is settled")
        first = producer.send(TOPIC, b"y").result(timeout=20).timestamp
        assert producer.send(TOPIC, b"z").result().timestamp >= first
