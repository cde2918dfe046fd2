"""The demonstration of a cluster: ZooKeeper, three brokers, sensors and controllers as processes; a leader is killed and comes back.

    make demo-cluster

Each sensor has a topic with three replicas. In the middle the broker that leads the first topic is killed with SIGKILL; sensors and controllers go on
with another leader by themselves. Later it is started again and catches up. At the end a table says what became of every reading, and
how long the longest time without a confirmation was. Exit code 0 only if nothing was lost or out of order, and every process ended well.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devices.demo_brokers import NAMES, Brokers
from devices.demo_children import ROOT, Child, Choir, Line, Lines
from devices.demo_service import Services
from devices.ensemble import Ensemble, missing_parts
from zmqmq import Admin
from zmqmq.errors import ZmqmqError

SENSORS = {"sensor 1": ("temp", "1"), "sensor 2": ("temp", "2"), "sensor 3": ("humidity", "1")}
"""Kind and id; each has the topic KIND_ID."""
CONTROLLERS = {"controller 1": "temp_1", "controller 2": "temp_1", "controller 3": "temp_2", "controller 4": "temp_2", "controller 5": "humidity_1"}
INTERVAL_SECONDS = 0.05
"""From one reading of a sensor to its next."""
READINGS = 280
"""Of each sensor: 14 seconds."""
KILL_AFTER, BACK_AFTER = 4.0, 4.0
"""Seconds of service before the leader is killed, and from there until it is started again."""
READY_SECONDS = 20.0
RUN_SECONDS = 30.0
"""Time in which everything must be sent and acted on."""
HEAL_SECONDS = 10.0
"""Time for the returned broker to be in sync again."""
DIGEST_SECONDS = 1.0


class Demo:
    """One demonstration."""

    def __init__(self, directory: Path, ensemble: Ensemble, console: Console) -> None:
        self.topics = [f"{kind}_{identity}" for kind, identity in SENSORS.values()]
        self.services = Services(self.topics)
        self.codes: dict[str, int] = {}
        self.killed = ""
        self.is_healed = False
        self._console = console
        self._lines: Lines = queue.SimpleQueue()
        self._brokers = Brokers(directory, ensemble.hosts, self._lines)
        self._devices: dict[str, Child] = {}
        self._ended: set[str] = set()
        self._began = time.monotonic()

    def run(self) -> None:
        """Starts everything, kills a leader, brings it back, waits for the end, stops everything."""
        with self._all_ended(), Admin(self._brokers.endpoints, timeout=READY_SECONDS) as admin:
            self._start_brokers(admin)
            leader = self._make_topics(admin)
            self._start_devices()
            self._listen(KILL_AFTER, self._is_done)
            self._say(f"kill -9 {leader}, which leads {self.topics[0]}")
            self.killed = leader
            self._brokers.kill(leader)
            self._listen(BACK_AFTER, self._is_done)
            self._say(f"{leader} is started again")
            self._brokers.start(leader)
            self._listen(RUN_SECONDS, self._is_done)
            self._heal(admin)
            self._show_status()

    def _start_brokers(self, admin: Admin) -> None:
        for name in NAMES:
            self._brokers.start(name)
        ready: set[str] = set()

        def is_ready(line: Line | None) -> bool:
            if line is not None and " ready on " in (line.text or ""):
                ready.add(line.child)
            return len(ready) == len(NAMES)

        if not self._listen(READY_SECONDS, is_ready):
            raise DemoError(f"only {sorted(ready)} are ready after {READY_SECONDS:g} s")
        self._wait(lambda: len(admin.brokers()) == len(NAMES) and admin.leader() is not None, READY_SECONDS, "all brokers are registered")

    def _make_topics(self, admin: Admin) -> str:
        for topic in self.topics:
            admin.create_topic(topic, partitions=1, replicas=len(NAMES))
        self._wait(lambda: all(self._leaders(admin).values()), READY_SECONDS, "every topic has a leader")
        leaders = self._leaders(admin)
        chief = admin.leader()
        self._say(", ".join(f"{topic} is led by {leader}" for topic, leader in leaders.items()) + f"; cluster leader: {chief.broker_id if chief else '-'}")
        return leaders[self.topics[0]]

    def _leaders(self, admin: Admin) -> dict[str, str]:
        leaders = {place.topic: place.leader for place in admin.cluster().places}
        return {topic: leaders.get(topic, "") for topic in self.topics}

    def _start_devices(self) -> None:
        brokers = ["--brokers", ",".join(self._brokers.endpoints)]
        choir = Choir("controllers", self._lines)
        whole_lines = {"PYTHONUNBUFFERED": ""}  # each is one write, so that none gets between the parts of another
        for name, topic in CONTROLLERS.items():
            self._devices[name] = Child(name, "run_controller.py", [topic, *brokers], self._lines, whole_lines, choir)
        choir.complete()
        for name, (kind, identity) in SENSORS.items():
            arguments = [kind, identity, str(INTERVAL_SECONDS), "--count", str(READINGS), *brokers]
            self._devices[name] = Child(name, "run_sensor.py", arguments, self._lines)

    def _heal(self, admin: Admin) -> None:
        def is_whole() -> bool:
            return all(len(place.in_sync) == len(NAMES) for place in admin.cluster().places)

        try:
            self._wait(is_whole, HEAL_SECONDS, "every replica is in sync")
            self.is_healed = True
        except DemoError as error:
            self._say(str(error))

    def _show_status(self) -> None:
        command = [sys.executable, "-m", "zmqmq", "cluster", "status", "--brokers", ",".join(self._brokers.endpoints)]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=READY_SECONDS, cwd=ROOT, check=False)
        self._console.print("\n$ zmqmq cluster status\n" + escape((shown.stdout + shown.stderr).rstrip()))

    # --- listening -------------------------------------------------------------------------------------------------

    def _is_done(self, line: Line | None) -> bool:
        return self._ended >= SENSORS.keys() and not self.services.lost

    def _listen(self, seconds: float, is_over: Callable[[Line | None], bool]) -> bool:
        """Notes what is said until `is_over` or the time is."""
        now = time.monotonic()
        deadline, digest = now + seconds, now + DIGEST_SECONDS
        while (now := time.monotonic()) < deadline:
            line = self._next(min(deadline, digest) - now)
            if is_over(line):
                return True
            if self._devices and time.monotonic() >= digest:
                digest += DIGEST_SECONDS
                self._say(f"{self.services.confirmed} confirmed, {self.services.received} received, longest gap {self.services.gap.seconds:.2f} s")
        return False

    def _wait(self, look: Callable[[], bool], seconds: float, what: str) -> None:
        """Asks again and again, and listens meanwhile."""
        deadline, trouble = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            try:
                if look():
                    return
                trouble = ""
            except ZmqmqError as error:
                trouble = f" ({error})"
            self._next(0.1)
        raise DemoError(f"not within {seconds:g} s: {what}{trouble}")

    def _next(self, seconds: float) -> Line | None:
        try:
            line = self._lines.get(timeout=max(0.001, seconds))
        except queue.Empty:
            return None
        self._note(line)
        return line

    def _note(self, line: Line) -> None:
        role = line.child.split()[0]
        if line.text is None:
            self._ended.add(line.child)
        elif role == "sensor":
            self.services.sensor_said(line.text, line.at)
        elif role == "controllers":
            self.services.controller_said(line.text)
        elif not line.text.startswith("{") or '"level": "error"' in line.text:
            self._console.print(f"[magenta]{line.child:<9}[/]│ {escape(line.text)}")

    def _say(self, text: str) -> None:
        self._console.print(f"[bold]{time.monotonic() - self._began:7.1f} s[/]│ {escape(text)}")

    @contextmanager
    def _all_ended(self) -> Iterator[None]:
        """Ends devices first and brokers last, also after Ctrl-C, and hears them out."""
        try:
            yield
        finally:
            for child in self._devices.values():
                child.ask_to_end()
            self.codes |= {name: child.wait() for name, child in self._devices.items()}
            self.codes |= self._brokers.stop()
            while not self._lines.empty():
                self._note(self._lines.get())


class DemoError(Exception):
    """The demonstration cannot go on."""


def report(demo: Demo, console: Console) -> bool:
    """Prints what came of it; whether all is well."""
    services, expected = demo.services, READINGS * len(SENSORS)
    table = Table(title=f"\n{demo.killed} was killed and came back", title_justify="left")
    for column in ("topic", "confirmed", "received", "again", "lost", "order violations", "longest gap"):
        table.add_column(column, justify="left" if column == "topic" else "right")
    for topic, service in services.of.items():
        figures = (len(service.confirmed), len(service.received), service.again, service.lost, service.out_of_order)
        table.add_row(topic, *map(str, figures), f"{service.gap.seconds:.2f} s")
    table.add_section()
    bad = bool(services.lost or services.out_of_order)
    all_figures = (services.confirmed, services.received, services.again, services.lost, services.out_of_order)
    table.add_row("all", *map(str, all_figures), f"{services.gap.seconds:.2f} s", style="bold red" if bad else "bold green")
    console.print(table)
    failed = {name: code for name, code in demo.codes.items() if code}
    for name, code in failed.items():
        console.print(f"[red]{name} ended with exit code {code}[/]")
    if services.confirmed != expected:
        console.print(f"[red]{expected} readings were to be sent, {services.confirmed} were confirmed[/]")
    if not demo.is_healed:
        console.print("[red]not every replica is in sync at the end[/]")
    return not (bad or failed) and services.confirmed == expected and demo.is_healed


def main() -> int:
    """Runs the demonstration; gives the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if missing := missing_parts():
        console.print(f"[red]{missing}[/]")
        return 1
    with tempfile.TemporaryDirectory(prefix="zmqmq-demo-") as directory:
        try:
            with Ensemble(Path(directory) / "zookeeper") as ensemble:
                console.print(f"three ZooKeeper servers are ready after {ensemble.wait_ready():.1f} s")
                demo = Demo(Path(directory), ensemble, console)
                demo.run()
        except KeyboardInterrupt:
            console.print("interrupted")
            return 130
        except (DemoError, ZmqmqError, TimeoutError) as error:
            console.print(f"[red]{escape(str(error))}[/]")
            return 1
        return 0 if report(demo, console) else 1


if __name__ == "__main__":
    sys.exit(main())
