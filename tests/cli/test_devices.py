"""Sensors and controllers: believable readings, rules, and what they do when brokers or arguments are wrong."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from random import Random

import pytest

from devices import controller, sensor
from devices.controller import Controller
from devices.demo_tally import Tally
from devices.readings import KINDS, Gauge
from devices.rules import Rules
from devices.sensor import Sensor
from zmqmq import Consumer, Producer
from zmqmq.config import DeviceConfig, RulesConfig, load_device
from zmqmq.errors import NotLeader
from zmqmq.testing import TestBroker


def settings(broker: TestBroker, **flags: object) -> DeviceConfig:
    return load_device(flags={"client.brokers": [broker.endpoint], **{name.replace("__", "."): value for name, value in flags.items()}}, environ={})


def read_all(text: str) -> Tally:
    """What the printed lines of one sensor and one controller say."""
    tally = Tally()
    for line in text.splitlines():
        tally.sensor_said("sensor", line)
        tally.controller_said("controller", line)
    return tally


@pytest.mark.parametrize("kind", KINDS)
def test_readings_stay_within_their_kind_and_move_in_small_steps(kind: str) -> None:
    gauge = Gauge(kind, Random(7))
    values = [float(gauge.read()) for _ in range(2000)]
    limits = KINDS[kind]
    assert limits.low <= min(values) and max(values) <= limits.high
    if kind == "motion":
        assert set(values) == {0.0, 1.0}
    else:
        assert max(abs(after - before) for before, after in zip(values, values[1:], strict=False)) < 8 * limits.step
        assert len(set(values)) > 10


def test_the_rules_act_beyond_their_thresholds_only() -> None:
    rules = Rules(RulesConfig(temp_high=25, temp_low=18))
    assert rules.act("temp", "25.1") == "cooling on (above 25)"
    assert rules.act("temp", "17.9") == "heating on (below 18)"
    assert rules.act("temp", "25.0") == rules.act("temp", "18.0") == "heating and cooling off"
    assert rules.act("motion", "1") == "light on"
    assert rules.act("noise", "80") == "noted"
    with pytest.raises(ValueError, match="could not convert"):
        rules.act("temp", "warm")


def test_what_a_sensor_sends_a_controller_acts_on(broker: TestBroker, capsys: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()
    assert Sensor("temp", "1", 0.01, settings(broker, sensor__count=20)).run(stop) == 0
    assert Controller("temp_1", settings(broker, controller__count=20)).run(stop) == 0
    out = capsys.readouterr().out
    tally = read_all(out)
    assert (len(tally.all_sent), tally.all_acted.total(), tally.lost, tally.duplicated) == (20, 20, 0, 0)
    assert "temp_1: 20 readings confirmed, 0 unconfirmed, 0 dropped" in out
    assert "temp_1: acted on 20 readings, 0 rejected, 0 taken over by others" in out
    numbers = [int(number) for number in re.findall(r"#(\d+) .* confirmed", out)]
    assert numbers == list(range(1, 21))


def test_a_reading_that_makes_no_sense_becomes_a_dead_letter(broker: TestBroker, capsys: pytest.CaptureFixture[str]) -> None:
    with Producer(broker.endpoint) as producer:
        producer.send("temp_7", b"warm", key="k").result()
        producer.send("temp_7", b"21", key="k").result()
    assert Controller("temp_7", settings(broker, controller__count=1)).run(threading.Event()) == 0
    told = capsys.readouterr()
    assert "rejected, 'warm' is no reading" in told.err
    assert "acted on 1 readings, 1 rejected" in told.out


def test_a_sensor_without_a_broker_says_so_once_keeps_its_bound_and_ends_when_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(sensor, "DRAIN_SECONDS", 0.1)
    config = load_device(flags={"client.brokers": ["127.0.0.1:1"], "sensor.max_unconfirmed": 3}, environ={})
    device, stop = Sensor("temp", "1", 0.01, config), threading.Event()
    running = threading.Thread(target=device.run, args=[stop])
    running.start()
    pause = threading.Event()
    while device.dropped < 5:
        assert running.is_alive()
        pause.wait(0.01)
    stop.set()
    running.join(20)
    assert not running.is_alive()
    told = capsys.readouterr()
    assert told.err.count("no broker answers, still trying") == 1 and "127.0.0.1:1" in told.err
    assert told.err.count("dropping new readings") == 1
    assert f"temp_1: 0 readings confirmed, 3 unconfirmed, {device.dropped} dropped" in told.out
    assert "Traceback" not in told.err


def test_an_outbox_keeps_readings_for_the_next_start(
    broker: TestBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor, "DRAIN_SECONDS", 0.1)
    outbox = str(tmp_path / "outbox.db")
    absent = load_device(flags={"client.brokers": ["127.0.0.1:1"], "sensor.outbox.path": outbox}, environ={})
    device, stop = Sensor("temp", "8", 0.01, absent), threading.Event()
    running = threading.Thread(target=device.run, args=[stop])
    running.start()
    pause = threading.Event()
    while device.sent < 5:
        assert running.is_alive()
        pause.wait(0.01)
    stop.set()
    running.join(20)
    kept = device.sent
    Sensor("temp", "8", 0.01, settings(broker, sensor__outbox__path=outbox, sensor__count=1)).run(threading.Event())
    capsys.readouterr()
    Controller("temp_8", settings(broker, controller__count=kept + 1)).run(threading.Event())
    assert f"acted on {kept + 1} readings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["noise", "1", "5"], "KIND 'noise' is unknown; known are: temp, humidity, pressure, motion"),
        (["temp", "a/b", "5"], "ID 'a/b' is not allowed"),
        (["temp", "1", "0"], "INTERVAL 0.0 is not allowed"),
        (["temp", "1", "nan"], "INTERVAL nan is not allowed"),
        (["temp", "1", "5", "--count", "0"], "sensor.count: 0 is not allowed; allowed: a whole number from 1 up"),
        (["temp", "1", "5", "--brokers", "nonsense"], "client.brokers"),
        (["temp", "1", "5", "--config", "/nowhere.yaml"], "/nowhere.yaml: no such file"),
    ],
)
def test_wrong_arguments_of_a_sensor_are_named(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sensor.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_controller_to_which_readings_come_says_nothing_of_a_leader_that_has_not_answered_yet(
    broker: TestBroker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Producer(broker.endpoint) as producer:
        producer.send("temp_9", b"20.0").result()
    monkeypatch.setattr(Consumer, "obstacle", NotLeader("nobody leads the partition"))
    device = Controller("temp_9", settings(broker, controller__count=1))
    assert device._receive() is not None and not capsys.readouterr().err
    assert device._receive() is None and "still trying: nobody leads the partition" in capsys.readouterr().err
    device._consumer.close()


def test_wrong_arguments_of_a_controller_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert controller.main(["a/b"]) == 2
    assert "topic name 'a/b'" in capsys.readouterr().err
    assert controller.main(["temp_1", "--group", ""]) == 2
    assert "controller.group" in capsys.readouterr().err


def test_the_tally_sees_what_is_lost_and_what_is_done_twice() -> None:
    tally = read_all(
        "temp_1 #1 20.1 C confirmed [2/3]\ntemp_1 #2 20.1 C confirmed [2/4]\n"
        "temp_1 #1 20.1 C: heating and cooling off [2/3]\ntemp_1 #1 20.1 C: heating and cooling off (attempt 2) [2/3]\nsomething else\n"
    )
    assert (len(tally.all_sent), tally.all_acted.total(), tally.lost, tally.duplicated) == (2, 2, 1, 1)


def test_settings_reach_the_clients_by_their_names() -> None:
    config = load_device(flags={"sensor.outbox.path": "x"}, environ={})
    options = sensor.producer_options(config)
    assert options["delivery_timeout"] == 86400.0 and options["outbox"] == "x" and options["outbox_when_full"] == "drop_oldest"
    assert controller.consumer_options(config) == {"prefetch": 1000, "session_timeout": 0.0}
