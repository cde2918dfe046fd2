"""Producers and competing consumers that go on while a cluster has trouble, and what must be true of all that they wrote down."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.system.cluster import SLOW, ClusterProcesses
from tests.system.processes import LOOK, Program, eventually, json_lines
from tests.system.verdict import Delivery, Verdict, judge, read_diary
from tests.system.workers import GROUP
from zmqmq import Admin, Consumer
from zmqmq.core.admin_commands import AskExplain, AskLag, Explanation, LagReport

KEYS = 20
QUIET = 3.0
"""Seconds without an acknowledgement after which there is no service: many times what is under way needs to be written down."""


class Outcome(NamedTuple):
    """How it went."""

    verdict: Verdict
    sent: int
    longest: float
    """Longest time between two confirmations of any producer, in seconds."""
    deliveries: list[Delivery]


class Load:
    """Some producers and consumers on one topic."""

    def __init__(self, cluster: ClusterProcesses, topic: str, *, partitions: int = 3, replicas: int = 3, consumers: int = 2, producers: int = 2) -> None:
        """Makes the topic, starts everybody, and returns when messages are acknowledged."""
        self.cluster, self.topic, self._partitions = cluster, topic, partitions
        self._rest = threading.Event()
        with Admin(cluster.brokers) as admin:
            admin.create_topic(topic, partitions=partitions, replicas=replicas)
        self._diaries = {f"{topic}-{number}": cluster.directory / f"{topic}-{number}.diary" for number in range(consumers)}
        self._consumers = {name: self._consumer(name, path) for name, path in self._diaries.items()}
        self._producers = [self._producer(number) for number in range(producers)]
        for producer in self._producers:
            producer.line("flows")
        self.flow(20)

    def _consumer(self, name: str, path: Path) -> Program:
        options = ["--session-timeout", 3, "--prefetch", 50]
        program = self.cluster.programs.worker(name, "consume", self.cluster.brokers, self.topic, name, path, *options)
        program.line("ready")
        return program

    def _producer(self, number: int) -> Program:
        arguments = [self.cluster.brokers, self.topic, number, KEYS]
        return self.cluster.programs.start(f"producer {number}", "-m", "tests.system.cluster_workers", *arguments)

    def flow(self, count: int = 200) -> None:
        """Waits until so many more messages are acknowledged: there is service (again)."""
        before = self._acknowledged()
        eventually(lambda: self._acknowledged() >= before + count, f"{count} more messages of {self.topic} are acknowledged", SLOW)

    def pause(self, until: float) -> None:
        """Waits until nothing is acknowledged any more, and demands that it stays so until a moment of the monotonic clock: there is no service."""
        count, since = -1, 0.0
        while (now := time.monotonic()) < until:
            if (found := self._acknowledged()) != count:
                assert not since or now < since + QUIET, f"{self.topic} is served again"
                count, since = found, now
            self._rest.wait(LOOK)
        assert now >= since + QUIET, f"{self.topic} is still served"

    def _acknowledged(self) -> int:
        return sum(path.read_bytes().count(b" ack\n") for path in self._diaries.values() if path.exists())

    def finish(self) -> Outcome:
        """Lets producers end and consumers settle everything. Everything sent must be confirmed and settled, once, in order, by one holder at a time."""
        for producer in self._producers:
            assert producer.stop(SLOW * 2) == 0, producer.errors
        ended = [json_lines(producer)[-1] for producer in self._producers]
        failures = [failure for line in ended for failure in line["failures"]]
        assert failures == [], failures[:10]
        expected = {f"{number}:{index}" for number, line in enumerate(ended) for index in range(line["sent"])}
        self._wait_settled()
        for program in self._consumers.values():
            assert program.stop() == 0, program.errors
            assert "Traceback" not in program.errors, program.errors
        deliveries = [delivery for path in self._diaries.values() for delivery in read_diary(path)]
        verdict = judge(expected, deliveries, {}, broker_was_gone=True)
        violations = [*verdict.violations, *produced_out_of_order(deliveries)]
        assert violations == [], violations
        assert verdict.settled == len(expected), f"{verdict.settled} settled of {len(expected)}"
        return Outcome(verdict, len(expected), max(line["longest"] for line in ended), deliveries)

    def _wait_settled(self) -> None:
        try:
            eventually(lambda: sum(self._lags()) == 0, f"the consumers settle all of {self.topic}", SLOW)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._lags()}, {self._explained()}, {self.cluster.report()}") from error

    def _explained(self) -> dict[str, object]:
        """Why nothing is delivered, by the broker that says so."""
        names = {self.cluster.leader_of(self.topic, number) for number in range(self._partitions)}
        return {name: self.cluster.ask(name, AskExplain(1, self.topic, GROUP), Explanation) for name in sorted(names)}

    def _lags(self) -> list[int]:
        """What is left in each partition, as its leader says; 1 where nobody leads."""
        report = self.cluster.report()
        leaders = {place.partition: place.leader for place in report.places if place.topic == self.topic} if report else {}
        lags = dict.fromkeys(range(self._partitions), 1)
        for leader in {name for name in leaders.values() if name}:
            answer = self.cluster.ask(leader, AskLag(1, self.topic, GROUP), LagReport)
            lags |= {part.partition: part.lag for part in answer.partitions} if answer else {}
        return list(lags.values())


def read(cluster: ClusterProcesses, topic: str, count: int) -> list[bytes]:
    """The values of so many messages, which are acknowledged."""
    values: list[bytes] = []
    with Consumer(cluster.brokers, topic, group="readers") as consumer:
        while len(values) < count:
            messages = consumer.receive_many(count - len(values), timeout=SLOW)
            assert messages, f"after {len(values)} messages nothing comes any more; {cluster.report()}"
            values += [message.value for message in messages]
            consumer.ack(messages).result(SLOW)
    return values


def produced_out_of_order(deliveries: Iterable[Delivery]) -> list[str]:
    """One producer's messages of one key lie in the order in which it sent them."""
    lines: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for partition, offset, key, value in {(*one.place, one.key, one.value) for one in deliveries}:
        producer, index = value.split(":")
        lines[producer, key].append((partition, offset, int(index)))
    found: list[str] = []
    for (producer, key), places in lines.items():
        places.sort()
        wrong = [f"producer {producer}, {key}: {b} lies behind {a}" for a, b in zip(places, places[1:], strict=False) if b[2] <= a[2] or b[0] != a[0]]
        found += wrong[:3]
    return found
