"""Brokers of a cluster for benchmarks: processes of their own over a real ZooKeeper ensemble, all on this machine.

Needs Java and ZooKeeper's jars (Debian: apt-get install zookeeper). Every process is ended by its own id, whatever happens.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.children import ROOT, START_SECONDS, BenchmarkFailed, Child
from devices.ensemble import Ensemble, free_ports
from zmqmq import Admin
from zmqmq.core.cluster_commands import PlaceSummary
from zmqmq.errors import UnknownTopic

READY_SECONDS = 60.0
"""In which all brokers must be registered."""
LOOK = 0.02
"""Seconds between two looks at a cluster that is changing."""


class Member(Child):
    """One broker of a cluster. `directory` keeps its configuration and its data, so that it can be started again."""

    def __init__(self, name: str, directory: Path, port: int, zookeeper: str, runner: Sequence[str] = ()) -> None:
        """`runner`: what to run in place of plain Python, e.g. a profiler's arguments."""
        self.name, self.port = name, port
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.data = directory / name
        file = directory / f"{name}.yaml"
        settings = [f"broker_id: {name}", f"bind: {self.endpoint}", f"data: {self.data}", "zookeeper:", f'  hosts: "{zookeeper}"']
        file.write_text("\n".join(settings) + "\n")
        super().__init__([*runner, str(ROOT / "run_broker.py"), "--config", str(file)], f"broker {name}")

    def wait_ready(self) -> None:
        """Returns when it listens."""
        while " ready " not in self.line(START_SECONDS):
            pass

    def kill(self) -> float:
        """SIGKILL; gives the moment."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return time.monotonic()


class Members:
    """Three brokers and what they agree through. Use it in a `with` block."""

    def __init__(self, directory: Path, brokers: int = 3, runner: Sequence[str] = ()) -> None:
        self._directory, self._runner = directory, runner
        self.ensemble = Ensemble(directory / "zookeeper")
        self.brokers: dict[str, Member] = {}
        self.ports = {f"b{number + 1}": port for number, port in enumerate(_pairs(brokers))}

    @property
    def endpoints(self) -> list[str]:
        """Of all brokers, running or not."""
        return [f"tcp://127.0.0.1:{port}" for port in self.ports.values()]

    def start(self, *names: str) -> float:
        """Starts brokers, all if none are named; returns the seconds until each of them listens."""
        began = time.monotonic()
        wanted = names or tuple(self.ports)
        for name in wanted:
            self.brokers[name] = Member(name, self._directory, self.ports[name], self.ensemble.hosts, self._runner)
        for name in wanted:
            self.brokers[name].wait_ready()
        return time.monotonic() - began

    def wait_registered(self, admin: Admin) -> float:
        """Returns the seconds until every running broker is registered."""
        running = {name for name, broker in self.brokers.items() if broker.process.poll() is None}
        return until("all brokers are registered", lambda: {found.broker_id for found in admin.brokers()} >= running)

    def create_topic(self, admin: Admin, topic: str, partitions: int) -> None:
        """A topic on three brokers. Returns when all of them serve it."""
        with contextlib.suppress(UnknownTopic):  # it is made; who was asked about it has not heard of it yet
            admin.create_topic(topic, partitions=partitions, replicas=3)
        until(f"{topic} is served", lambda: sum(is_whole(place) for place in admin.cluster(topic).places) == partitions)

    def wait_until_quiet(self) -> None:
        """Returns when the running brokers have stopped tidying up."""
        for broker in self.brokers.values():
            if broker.process.poll() is None:
                broker.wait_until_quiet()

    def close(self) -> None:
        """Ends everything."""
        for broker in self.brokers.values():
            broker.stop()
        self.ensemble.close()

    def __enter__(self) -> Self:
        try:
            self.ensemble.wait_ready()
        except BaseException:
            self.ensemble.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def is_whole(place: PlaceSummary) -> bool:
    """Whether somebody leads it and all replicas are in sync."""
    return bool(place.leader) and len(place.in_sync) == len(place.replicas)


def _pairs(count: int) -> list[int]:
    """Ports of which the next one is free too, for wake-ups."""
    found: list[int] = []
    while len(found) < count:
        [first] = free_ports(1)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", first + 1))
            found.append(first)
    return found


def until(what: str, is_so: Callable[[], bool], limit: float = READY_SECONDS) -> float:
    """Returns the seconds until it is so. Raises BenchmarkFailed after `limit` seconds."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > limit:
            raise BenchmarkFailed(f"after {limit:g} s still not: {what}")
        time.sleep(LOOK)
    return time.monotonic() - began
