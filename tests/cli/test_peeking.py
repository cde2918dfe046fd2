"""`zmqmq consume --no-ack`: looking without taking."""

from __future__ import annotations

import pytest

from zmqmq import Admin, Consumer, Producer
from zmqmq.cli import main
from zmqmq.testing import TestBroker


def test_looking_at_several_messages_of_one_key_puts_all_of_them_back_uncounted(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with TestBroker() as broker:
        with Producer(broker.endpoint) as producer:
            for number in range(5):
                producer.send("orders", b"%d" % number, key="one")
        for _ in range(2):
            assert main(["consume", "orders", "--group", "g", "--no-ack", "--timeout", "0.5", "--brokers", broker.endpoint]) == 0
        assert capfdbinary.readouterr().out.split(b"\n").count(b"4") == 2
        with Admin(broker.endpoint) as admin:
            assert admin.lag("orders", "g").lag == 5
        with Consumer(broker.endpoint, "orders", group="g") as consumer:
            message = consumer.receive(timeout=10)
            assert message is not None and (message.value, message.attempt) == (b"0", 1)
