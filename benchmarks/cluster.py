"""The processes of a cluster for benchmarks: three ZooKeeper servers and three brokers on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from zmqmq.core.cluster_commands import AskCluster, ClusterReport
from zmqmq.core.commands import VERSIONS_SPOKEN, Command, Goodbye, Hello
from zmqmq.testing import free_port
from zmqmq.wire import decode_answer, encode

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("b1", "b2", "b3")
HEAL_SECONDS = 60.0
"""In which a broker that comes back must be in sync."""
ANSWER_SECONDS = 2.0
LOOK = 0.1
"""Seconds between two looks at the cluster."""


class Brokers:
    """Three brokers over a ZooKeeper ensemble, as processes of their own."""

    def __init__(self, directory: Path, zookeeper: str) -> None:
        self.directory, self.zookeeper = directory, zookeeper
        self.ports = {name: free_port() for name in NAMES}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in NAMES:
            self.start(name)

    @property
    def endpoints(self) -> list[str]:
        """Where clients find them."""
        return [f"tcp://127.0.0.1:{port}" for port in self.ports.values()]

    def start(self, name: str) -> None:
        """Starts a broker, over what it left behind if it has run before."""
        file = self.directory / f"{name}.yaml"
        lines = [
            f"broker_id: {name}", f"bind: tcp://127.0.0.1:{self.ports[name]}", f"data: {self.directory / name}", "ballast_bytes: 0",
            f'zookeeper: {{hosts: "{self.zookeeper}"}}',
        ]  # fmt: skip
        file.write_text("\n".join(lines) + "\n")
        with (self.directory / f"{name}.log").open("ab") as log:
            command = [sys.executable, str(ROOT / "run_broker.py"), "--config", str(file)]
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a broker a signal."""
        self.processes[name].send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    def report(self) -> ClusterReport | None:
        """The cluster, as the first broker sees it that answers and is connected."""
        for endpoint in self.endpoints:
            report = _ask(endpoint)
            if report is not None and report.connected:
                return report
        return None

    def wait_members(self) -> None:
        """Waits until all are registered. Raises TimeoutError."""
        wait(lambda: sum(member.live for member in report.members) == len(NAMES) if (report := self.report()) else False, "all brokers are registered")

    def wait_whole(self, topic: str) -> str:
        """Waits until all replicas of the topic are in sync; gives the leader of its first partition. Raises TimeoutError."""
        leaders: list[str] = []

        def is_whole() -> bool:
            report = self.report()
            places = [place for place in report.places if place.topic == topic] if report else []
            leaders[:] = [place.leader for place in places]
            return bool(places) and all(leaders) and all(len(place.in_sync) == len(NAMES) for place in places)

        wait(is_whole, f"every replica of {topic} is in sync")
        return leaders[0]


def wait(look: Callable[[], bool], what: str) -> None:
    """Looks again and again. Raises TimeoutError when HEAL_SECONDS are over."""
    deadline = time.monotonic() + HEAL_SECONDS
    while not look():
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {HEAL_SECONDS:g} s: {what}")
        time.sleep(LOOK)


def _ask(endpoint: str) -> ClusterReport | None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    deadline = time.monotonic() + ANSWER_SECONDS
    try:
        dealer.setsockopt(zmq.IMMEDIATE, 1)
        dealer.connect(endpoint)
        questions: list[Command] = [Hello(VERSIONS_SPOKEN, "benchmark", 1, "benchmark", 5.0, "benchmark"), AskCluster(1)]
        if not dealer.poll(int(ANSWER_SECONDS * 1000), zmq.POLLOUT):
            return None
        for question in questions:
            dealer.send(encode(question))
        while (left := deadline - time.monotonic()) > 0 and dealer.poll(int(left * 1000)):
            answer = decode_answer(dealer.recv())
            if isinstance(answer, ClusterReport):
                dealer.send(encode(Goodbye(2)))
                return answer
        return None
    finally:
        context.destroy(linger=100)
