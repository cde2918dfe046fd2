"""While no broker is there: clients say which endpoints they tried and why each failed, keep trying until their deadline, and go on when one comes."""

from __future__ import annotations

import socket
import time

import pytest

from devices.demo_children import free_ports
from tests.system.processes import Programs
from zmqmq import Admin, Consumer, Producer
from zmqmq.errors import BufferFull, Unreachable
from zmqmq.testing import TestBroker


def test_the_error_names_every_endpoint_with_its_own_reason() -> None:
    closed = f"tcp://127.0.0.1:{free_ports()}"
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        silent = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        unknown = "tcp://no-such-host.invalid:7400"
        with Admin([closed, silent, unknown], timeout=8) as admin:
            began = time.monotonic()
            with pytest.raises(Unreachable) as caught:
                admin.topics()
            assert 7.5 < time.monotonic() - began < 15, "it tries until its deadline"
    details = caught.value.details
    assert "connection refused" in details[closed]
    assert details[silent] not in ("", "not tried yet")
    assert "does not resolve" in details[unknown] or "not tried" not in details[unknown]
    assert all(endpoint in str(caught.value) for endpoint in (closed, silent, unknown))


def test_a_send_waits_for_the_broker_to_come() -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports()}"
    with Producer(endpoint) as producer, Consumer(endpoint, "t") as consumer:
        pending = producer.send("t", b"early")
        with pytest.raises(Unreachable, match="connection refused"):
            pending.result(timeout=0.5)
        assert consumer.receive(timeout=0.2) is None
        with TestBroker(bind=endpoint):
            assert pending.result(timeout=20).offset >= 0
            message = consumer.receive(timeout=20)
            assert message is not None and message.value == b"early"
            message.ack().result()


def test_a_receipt_fails_at_its_delivery_timeout_and_says_why() -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports()}"
    producer = Producer(endpoint, delivery_timeout=1.0)
    pending = producer.send("t", b"never")
    began = time.monotonic()
    with pytest.raises(Unreachable, match=endpoint):
        pending.result(timeout=20)
    assert time.monotonic() - began < 5
    producer.close()


def test_a_full_buffer_blocks_for_its_time_and_then_says_why() -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports()}"
    producer = Producer(endpoint, buffer_messages=2, block_timeout=0.5)
    for _ in range(2):
        producer.send("t", b"x")
    with pytest.raises(BufferFull, match=endpoint):
        producer.send("t", b"x")
    with pytest.raises(Unreachable):
        producer.close(timeout=0.1)


def test_of_several_addresses_one_broker_is_enough(inner: TestBroker) -> None:
    closed = f"tcp://127.0.0.1:{free_ports()}"
    for brokers in ([closed, inner.endpoint], [inner.endpoint, closed]):
        with Producer(brokers) as producer:
            assert producer.send("t", b"x").result(timeout=20).offset >= 0


def test_the_command_ends_with_its_own_code_and_names_the_address(programs: Programs) -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports()}"
    program = programs.command(endpoint, "topics", "--timeout", 1, expect=3)
    assert endpoint in program.errors and "connection refused" in program.errors
    assert "Traceback" not in program.errors


def test_a_sensor_and_a_controller_say_so_once_and_go_on(programs: Programs) -> None:
    endpoint = f"tcp://127.0.0.1:{free_ports()}"
    sensor = programs.start("sensor", "run_sensor.py", "temp", 1, 0.1, "--count", 30, "--brokers", endpoint)
    controller = programs.start("controller", "run_controller.py", "temp_1", "--count", 30, "--brokers", endpoint)
    for program in (sensor, controller):
        program.line(f"no broker answers, still trying: .*{endpoint}", stderr=True)
    with TestBroker(bind=endpoint):
        assert sensor.wait() == 0, sensor.errors
        assert controller.wait() == 0, controller.errors
    for program in (sensor, controller):
        assert program.errors.count("no broker answers") == 1
        assert program.errors.count("a broker answers again") == 1
    assert "30 readings confirmed, 0 unconfirmed, 0 dropped" in sensor.text
