"""Many producers and competing consumers, while consumers are killed and stopped and the broker is killed, at random moments.

    python -m tests.system.chaos --producers 10 --messages 100000 --consumers 5 --broker-kills 3

Prints what was counted and every violation (see `tests.system.verdict`), and ends with 0 only if there was none.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import NamedTuple

from tests.system.processes import BrokerProcess, Program, Programs, eventually, json_lines, stopped
from tests.system.verdict import Absence, Verdict, judge, read_diary
from tests.system.workers import GROUP
from zmqmq import Admin
from zmqmq.errors import ZmqmqError

TOPIC = "chaos"
DIARY_BYTES = 110
"""About what a consumer writes down for one message."""
MIN_PATIENCE = 60.0
SLOWEST = 2000.0
"""Messages per second; a run that is slower has got stuck."""


class Plan(NamedTuple):
    """What is to happen."""

    producers: int = 10
    messages: int = 100_000
    """Per producer."""
    keys: int = 100
    consumers: int = 5
    partitions: int = 4
    work: float = 0.0
    """Seconds that a consumer works on a message."""
    padding: int = 0
    """Bytes added to each value."""
    broker_kills: int = 0
    session_timeout: float = 2.0
    seed: int = 0

    @property
    def total(self) -> int:
        return self.producers * self.messages

    @property
    def patience(self) -> float:
        return MIN_PATIENCE + self.total / SLOWEST


class Chaos:
    """One run."""

    def __init__(self, plan: Plan, programs: Programs, directory: Path, tell: Callable[[str], object] = print) -> None:
        self._plan, self._programs, self._directory, self._tell = plan, programs, directory, tell
        self._random = random.Random(plan.seed)
        self._broker = programs.broker(directory / "data", session_timeout_seconds=plan.session_timeout)
        self._gone: dict[str, Absence] = {}
        self._diaries = {f"consumer-{number}": directory / f"consumer-{number}" for number in range(plan.consumers)}
        self._consumers: dict[str, Program] = {}

    @property
    def broker(self) -> BrokerProcess:
        return self._broker

    def run(self) -> Verdict:
        """Everything, to the end. Fails if it gets stuck."""
        plan = self._plan
        with Admin(self._broker.endpoint) as admin:
            admin.create_topic(TOPIC, partitions=plan.partitions)
            self._consumers = {name: self._consumer(name, path) for name, path in self._diaries.items()}
            producers = [self._producer(number) for number in range(plan.producers)]
            self._mischief(admin)
            expected = set[str]()
            for number, producer in enumerate(producers):
                assert producer.wait(plan.patience) == 0, producer.errors
                assert json_lines(producer) == [{"confirmed": plan.messages}]
                expected |= {f"{number}:{index}" for index in range(plan.messages)}
            self._tell("everything is confirmed to its producer")
            eventually(lambda: self._lag(admin) == 0, "the consumers settle everything", plan.patience)
        self._end_consumers()
        deliveries = [delivery for path in self._diaries.values() for delivery in read_diary(path)]
        return judge(expected, deliveries, self._gone, broker_was_gone=self._plan.broker_kills > 0)

    def _consumer(self, name: str, path: Path) -> Program:
        plan = self._plan
        options = ["--work", plan.work, "--session-timeout", plan.session_timeout]
        program = self._programs.worker(name, "consume", self._broker.endpoint, TOPIC, name, path, *options)
        program.line("ready")
        return program

    def _producer(self, number: int) -> Program:
        plan = self._plan
        arguments = [self._broker.endpoint, TOPIC, number, plan.messages, plan.keys, "--padding", plan.padding]
        return self._programs.worker(f"producer-{number}", "produce", *arguments)

    # --- What goes wrong -------------------------------------------------------------------------------------------

    def _mischief(self, admin: Admin) -> None:
        """One consumer is killed, one is stopped until it was given up, the broker is killed as often as planned; in random order."""
        victims = self._random.sample(sorted(self._consumers), 2)
        acts: list[Callable[[], None]] = [lambda: self._kill(victims[0]), lambda: self._stop(victims[1], admin)]
        acts += [self._kill_broker] * self._plan.broker_kills
        self._random.shuffle(acts)
        moments = sorted(self._random.uniform(0.05, 0.7) for _ in acts)
        for moment, act in zip(moments, acts, strict=True):
            eventually(lambda moment=moment: self._progress() >= moment, f"{moment:.0%} done", self._plan.patience)  # type: ignore[misc]
            act()

    def _progress(self) -> float:
        written = sum(path.stat().st_size for path in self._diaries.values() if path.exists())
        return written / (DIARY_BYTES * self._plan.total)

    def _kill(self, name: str) -> None:
        self._gone[name] = (time.monotonic(), inf)
        self._consumers.pop(name).kill()
        self._tell(f"{self._progress():.0%}: killed {name}")

    def _stop(self, name: str, admin: Admin) -> None:
        went = time.monotonic()
        with stopped(self._consumers[name]):
            self._tell(f"{self._progress():.0%}: stopped {name}")
            eventually(lambda: name not in {session.name for session in admin.status().session_list}, f"{name} is given up")
        self._gone[name] = (went, time.monotonic())
        self._tell(f"{self._progress():.0%}: {name} goes on")

    def _kill_broker(self) -> None:
        self._broker.restart()
        self._tell(f"{self._progress():.0%}: killed the broker and started it again")

    # --- The end ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _lag(admin: Admin) -> int:
        try:
            return admin.lag(TOPIC, GROUP).lag
        except ZmqmqError:
            return -1

    def _end_consumers(self) -> None:
        for program in self._consumers.values():
            assert program.stop() == 0, program.errors
            assert "Traceback" not in program.errors, program.errors


def main() -> int:
    made = argparse.ArgumentParser(description="Producers and consumers under failures; ends with 0 only if nothing was wrong.")
    for name, default in Plan()._asdict().items():
        made.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"default {default}")
    plan = Plan(**vars(made.parse_args()))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, Programs() as programs:
        verdict = Chaos(plan, programs, Path(directory)).run()
    print("\n".join(verdict.violations))
    counted = {"messages": plan.total, "settled": verdict.settled, "deliveries": verdict.deliveries, "violations": len(verdict.violations)}
    print(json.dumps(counted | {"seconds": round(time.monotonic() - began, 1)}))
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
