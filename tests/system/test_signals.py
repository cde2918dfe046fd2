"""SIGINT and SIGTERM at any moment: every program ends by itself, soon, with its exit code and without a traceback."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path

import pytest

from devices.demo_children import free_ports
from tests.system.processes import BrokerProcess, Program, Programs
from zmqmq import Consumer, Producer

SIGNALS = [signal.SIGINT, signal.SIGTERM]
INTERRUPTED = 130
SOON = 15.0
"""Seconds that a program may take to end, drain included."""
MOMENTS = random.Random(7400)
BEGIN = "import runpy, sys; print('begun', flush=True); del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
"""Runs a program once Python itself has started: what a signal does to the interpreter before that is not the program's to decide."""


def later(program: Program, longest: float) -> None:
    """Lets a random time pass while the program runs; one that ends is heard of at its end."""
    threading.Event().wait(MOMENTS.uniform(0.0, longest))


def ends_well(program: Program, number: int, codes: set[int]) -> None:
    program.signal(number)
    assert program.wait(SOON) in codes, f"{program.name}: {program.process.returncode}\n{program.errors}"
    assert "Traceback" not in program.errors, program.errors


@pytest.mark.parametrize("number", SIGNALS)
def test_a_broker_ends_in_good_order_under_load(number: int, programs: Programs, tmp_path: Path) -> None:
    broker = programs.broker(tmp_path / "data")
    producer = Producer(broker.endpoint)
    receipts = [producer.send("readings", b"%d" % index, key="k") for index in range(5000)]
    receipts[100].result()
    ends_well(broker.program, number, {0})
    broker.restart()
    assert len({receipt.result(timeout=20).offset for receipt in receipts}) == 5000
    producer.close()


@pytest.mark.parametrize("number", SIGNALS)
def test_programs_end_cleanly_at_any_moment(number: int, programs: Programs, broker: BrokerProcess) -> None:
    address = ("--brokers", broker.endpoint)
    with Producer(broker.endpoint) as producer:
        producer.send("temp_1", b"21.5").result()
    for _ in range(2):
        started = [
            programs.start("sensor", "run_sensor.py", "temp", 1, 0.01, *address),
            programs.start("controller", "run_controller.py", "temp_1", *address),
            programs.start("consume", "-m", "zmqmq", "consume", "temp_1", "--group", "tail", "--follow", *address),
        ]
        for program in started:
            program.line("temp|21|[0-9]")
        later(started[0], 0.3)
        for program, codes in zip(started, ({0}, {0}, {0, INTERRUPTED, -signal.SIGTERM}), strict=True):
            ends_well(program, number, codes)


@pytest.mark.parametrize("number", SIGNALS)
def test_programs_without_a_broker_end_soon(number: int, programs: Programs) -> None:
    address = ("--brokers", f"tcp://127.0.0.1:{free_ports()}")
    sensor = programs.start("sensor", "run_sensor.py", "temp", 1, 0.1, *address)
    controller = programs.start("controller", "run_controller.py", "temp_1", *address)
    for program in (sensor, controller):
        program.line("no broker answers", stderr=True)
    for program in (sensor, controller):
        ends_well(program, number, {0})


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_in_the_middle_of_its_input_ends_soon(number: int, programs: Programs, broker: BrokerProcess) -> None:
    program = programs.start("produce", "-m", "zmqmq", "produce", "lines", "--brokers", broker.endpoint, typed=True)
    assert program.process.stdin is not None
    program.process.stdin.write("one\ntwo\n")
    program.process.stdin.flush()
    with Consumer(broker.endpoint, "lines") as consumer:
        for _ in range(2):
            message = consumer.receive(timeout=SOON)
            assert message is not None
            message.ack().result()
    ends_well(program, number, {INTERRUPTED, -number})


def test_a_broker_that_is_stopped_while_it_starts_ends_too(programs: Programs, tmp_path: Path) -> None:
    for index in range(6):
        program = programs.start("broker", "-c", BEGIN, "run_broker.py", "--port", free_ports(), "--data", tmp_path / f"data-{index}")
        program.line("begun")
        later(program, 0.6)
        program.signal(SIGNALS[index % 2])
        assert program.wait(SOON) in (0, INTERRUPTED, -signal.SIGINT, -signal.SIGTERM), program.errors
    again = programs.broker(tmp_path / "data-0")
    assert again.program.stop() == 0


def test_a_second_signal_ends_a_sensor_at_once(programs: Programs) -> None:
    sensor = programs.start("sensor", "run_sensor.py", "temp", 1, 0.1, "--brokers", f"tcp://127.0.0.1:{free_ports()}")
    sensor.line("no broker answers", stderr=True)
    sensor.signal(signal.SIGTERM)
    sensor.signal(signal.SIGTERM)
    assert sensor.wait(SOON) in (0, -signal.SIGTERM)
