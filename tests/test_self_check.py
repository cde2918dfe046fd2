"""A broker asks whether its advertised address leads to itself."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator

import pytest

from devices.demo_children import free_ports
from tests.system.wire_client import WireClient
from zmqmq.core.admin_commands import AskStatus, BrokerStatus
from zmqmq.shell.self_check import check_in_background, reaches_itself
from zmqmq.testing import TestBroker

PATIENCE = 30.0


@pytest.fixture(scope="module")
def broker() -> Iterator[TestBroker]:
    with TestBroker() as broker:
        yield broker


def incarnation(broker: TestBroker) -> tuple[str, int]:
    with WireClient(broker.endpoint) as client:
        welcome = client.greet()
    return welcome.broker_id, welcome.incarnation


def test_a_broker_reaches_itself_and_leaves_no_session_behind(broker: TestBroker) -> None:
    answers: queue.Queue[str | None] = queue.Queue()
    check_in_background(broker.endpoint, *incarnation(broker), answers.put)
    assert answers.get(timeout=PATIENCE) is None
    with WireClient(broker.endpoint) as client:
        client.greet("observer")
        assert "self check" not in [session.name for session in client.ask(AskStatus(1, 100), BrokerStatus).session_list]


def test_another_broker_or_another_life_of_it_is_named(broker: TestBroker) -> None:
    broker_id, start = incarnation(broker)
    for other in (("b-9", start), (broker_id, start + 1)):
        text = reaches_itself(broker.endpoint, *other)
        assert text is not None
        assert text.startswith(f"advertise: {broker.endpoint} does not lead to this broker: there answers broker {broker_id} ")


def test_an_address_where_nobody_listens_is_named() -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports()}"
    text = reaches_itself(endpoint, "b-1", 1)
    assert text is not None
    assert f"advertise: {endpoint} does not lead to this broker: connection refused; set advertise to" in text


def test_a_name_that_does_not_resolve_is_named() -> None:
    text = reaches_itself("tcp://no-such-host.invalid:7400", "b-1", 1)
    assert text is not None
    assert "the host name does not resolve" in text


def test_an_address_that_is_none_is_named() -> None:
    text = reaches_itself("tcp://127.0.0.1:none", "b-1", 1)
    assert text is not None
    assert "no address of the form" in text


def test_something_that_is_no_broker_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = reaches_itself(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "b-1", 1, timeout=0.3)
    assert text is not None
    assert "does not speak ZeroMQ" in text
