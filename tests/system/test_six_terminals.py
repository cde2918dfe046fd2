"""Three sensors and three controllers with the broker killed and started again in the middle: nobody else needs a restart, nothing is lost."""

from __future__ import annotations

import re
from collections import Counter

from tests.system.processes import BrokerProcess, Program, Programs, eventually

CONFIRMED = r"^(\S+) #(\d+) (\S+) \S+ confirmed \[(\d+)/(\d+)\]"
ACTED = r"^(\S+) #(\d+) (\S+) \S+: .+ \[(\d+)/(\d+)\]"
BEFORE, AFTER = 5, 12
"""Readings of each sensor before the crash, and at the end."""


def readings(programs: list[Program], pattern: str) -> Counter[tuple[str, str, str]]:
    """(topic, partition, offset) of every line that matches, counted."""
    lines = (line for program in programs for line in program.out.lines)
    return Counter((match[1], match[4], match[5]) for line in lines if (match := re.match(pattern, line)))


def test_six_terminals_outlive_a_killed_broker(programs: Programs, broker: BrokerProcess) -> None:
    address = ("--brokers", broker.endpoint)
    commands = (("temp", 1, 0.2), ("temp", 1, 0.15), ("temp", 2, 0.3))
    sensors = [programs.start(f"sensor {number}", "run_sensor.py", *command, *address) for number, command in enumerate(commands)]
    controllers = [programs.start(f"controller of {topic}", "run_controller.py", topic, *address) for topic in ("temp_1", "temp_1", "temp_2")]
    for sensor in sensors:
        sensor.lines(CONFIRMED, BEFORE)
    broker.kill()
    held_up = [sensor.out.lines[-1] for sensor in sensors]
    broker.restart()
    for sensor in sensors:
        sensor.lines(CONFIRMED, AFTER)
    assert [sensor.stop() for sensor in sensors] == [0, 0, 0]
    sent = readings(sensors, CONFIRMED)
    eventually(lambda: not sent - readings(controllers, ACTED), "every confirmed reading is acted on")
    assert [controller.stop() for controller in controllers] == [0, 0, 0]
    _check(sensors, controllers, sent)
    assert all(last != sensor.out.lines[-1] for last, sensor in zip(held_up, sensors, strict=True))


def _check(sensors: list[Program], controllers: list[Program], sent: Counter[tuple[str, str, str]]) -> None:
    acted = readings(controllers, ACTED)
    assert max(sent.values()) == 1
    assert set(acted) == set(sent)
    repeated = [line for program in controllers for line in program.out.lines if "(attempt" in line]
    assert sum(acted.values()) - len(acted) <= len(repeated), "a reading came twice without being a redelivery"
    for topic_sensors in (sensors[:2], sensors[2:]):
        numbers = [[int(match[2]) for line in sensor.out.lines if (match := re.match(CONFIRMED, line))] for sensor in topic_sensors]
        assert all(found == list(range(1, len(found) + 1)) for found in numbers), "each sensor's readings are confirmed in order, without a gap"
    assert not any("Traceback" in program.errors for program in [*sensors, *controllers])
