"""`zmqmq consume` when there is nobody to ask: not the same as nothing to print."""

from __future__ import annotations

import threading

import pytest

from devices.demo_children import free_ports
from tests.cli.conftest import Command
from tests.client.conftest import eventually
from zmqmq import Consumer, Producer
from zmqmq.cli import exits
from zmqmq.cli.consume import receive
from zmqmq.testing import TestBroker


def test_without_a_broker_it_fails_and_says_why(zmqmq: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQMQ_BROKERS", f"127.0.0.1:{free_ports()}")
    monkeypatch.setenv("ZMQMQ_CLIENT_REQUEST_TIMEOUT_SECONDS", "1")
    ran = zmqmq("consume", "one", "--timeout", "0.2")
    assert (ran.code, ran.out) == (exits.UNREACHABLE, "") and "connection refused" in ran.err


def test_who_follows_is_warned_and_gets_the_messages_when_the_broker_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    got: list[bytes] = []
    told: list[str] = []

    def follow() -> None:
        got.extend(message.value for message in receive(consumer, 1, None, 0.5))

    def is_warned() -> bool:
        told.append(capsys.readouterr().err)
        return "warning: no broker answered" in "".join(told)

    with TestBroker() as broker:
        broker.stop()
        with Consumer(broker.endpoint, "t") as consumer:
            thread = threading.Thread(target=follow)
            thread.start()
            eventually(is_warned)
            broker.restart()
            with Producer(broker.endpoint) as producer:
                producer.send("t", b"late").result(10)
            thread.join(10)
    assert got == [b"late"]
