"""What zmqmq costs when nothing happens: import, memory, start-up, idling, waking.

    python -m benchmarks.footprint [--json] [--backlog N] [--consumers N] [--sensors N] [--seconds N]

Each figure stands beside its limit. Exit code 0 whatever the figures are, 1 if a process failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.children import ROOT, BenchmarkFailed, Broker, Child, Worker
from benchmarks.crowd import Crowd, IdleConsumer, IdleSensor
from zmqmq import Admin, Producer

MIB = 1 << 20
CONNECT_SECONDS = 60.0
SETTLE_SECONDS = 3.0
"""In which what connecting has stirred up comes to rest."""
IMPORTS = 7
"""Interpreters started to time the import."""
SHARED_TOPICS = 10
KNOCKS = 20
"""Messages sent, one after the other, to a crowd that sleeps."""
IMPORT = "import time; began = time.perf_counter(); import zmqmq; print(time.perf_counter() - began)"


class Figure(msgspec.Struct, frozen=True):
    """One figure with its limit (None: for information)."""

    what: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def is_good(self) -> bool:
        """Within its limit."""
        return self.limit is None or self.value < self.limit


def importing() -> Iterator[Figure]:
    """How long `import zmqmq` takes in a fresh interpreter."""
    taken = [float(subprocess.run([sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True, check=True).stdout) for _ in range(IMPORTS)]
    yield Figure("import zmqmq", median(taken) * 1000, "ms", 150)


def sensor(broker: Broker) -> Iterator[Figure]:
    """The memory of a sensor's process."""
    with Child([str(ROOT / "run_sensor.py"), "temp", "bench", "0.02", "--brokers", broker.endpoint], "the sensor") as child:
        for _ in range(40):
            child.line(10)
        yield Figure("memory of a sensor", child.rss / MIB, "MiB", 45)


def idling(broker: Broker, consumers: int, seconds: float) -> Iterator[Figure]:
    """What sleeping consumers cost the broker, and how many of them a message wakes."""
    parts = [IdleConsumer("bench.idle", "bench") for _ in range(consumers)]
    with Admin(broker.endpoint) as admin:
        admin.create_topic("bench.idle")
    with Crowd(broker.endpoint, parts) as crowd, Producer(broker.endpoint) as producer:
        if not crowd.serve(CONNECT_SECONDS, lambda: crowd.is_open):
            raise BenchmarkFailed("not all consumers could connect")
        crowd.serve(min(SETTLE_SECONDS, seconds))
        before, began = broker.cpu_seconds, time.monotonic()
        crowd.serve(seconds)
        yield Figure(f"broker with {consumers} idle consumers", 100 * (broker.cpu_seconds - before) / (time.monotonic() - began), "% of a core", 2)
        yield from _waking(crowd, parts, producer)


def _waking(crowd: Crowd, parts: list[IdleConsumer], producer: Producer) -> Iterator[Figure]:
    before = [sum(part.wakes for part in parts), sum(part.pulls for part in parts)]
    taken = []
    for number in range(KNOCKS):
        wanted = number + 1
        began = time.monotonic()
        producer.send("bench.idle", b"knock")
        if not crowd.serve(5.0, lambda wanted=wanted: sum(part.messages for part in parts) >= wanted):  # type: ignore[misc]
            raise BenchmarkFailed("a message was not delivered")
        taken.append(time.monotonic() - began)
        crowd.serve(0.05)
    wakes, pulls = sum(part.wakes for part in parts) - before[0], sum(part.pulls for part in parts) - before[1]
    yield Figure("sleepers woken by one message", wakes / KNOCKS, "of them", 1.5)
    yield Figure("pulls after one message", pulls / KNOCKS, "pulls")
    yield Figure("delivered to one of them within (median)", median(taken) * 1000, "ms", 10)


def backlog(data: Path, messages: int) -> Iterator[Figure]:
    """Start-up and memory with many messages waiting."""
    with Broker(data) as broker, Worker("produce", endpoint=broker.endpoint, topic="bench.backlog", size=100, count=messages, keys=0) as worker:
        worker.go()
        worker.result()
        yield Figure(f"memory after taking {messages:,} messages", broker.rss / MIB, "MiB", 150)
    with Broker(data) as broker:
        yield Figure(f"start with {messages:,} messages waiting", broker.start_seconds, "s", 1)
        yield Figure("memory then", broker.rss / MIB, "MiB", 150)
        with Worker("consume", endpoint=broker.endpoint, topic="bench.backlog", count=messages // 10, asleep=False) as worker:
            worker.go()
            worker.result()
        yield Figure("memory after a tenth was consumed", broker.rss / MIB, "MiB", 150)
        broker.process.kill()
        broker.process.wait()
    with Broker(data) as broker:
        yield Figure("start after it was killed", broker.start_seconds, "s", 1)


def crowded(data: Path, sensors: int, topics: int) -> Iterator[Figure]:
    """Start-up and memory with many connected sensors."""
    who = f"{sensors:,} sensors on {topics:,} topics"
    with Broker(data) as broker, Crowd(broker.endpoint, [IdleSensor(f"temp_{number % topics}") for number in range(sensors)]) as crowd:

        def is_served() -> bool:
            return crowd.is_open and all(isinstance(client.part, IdleSensor) and client.part.is_confirmed for client in crowd.clients)

        began = time.monotonic()
        if not crowd.serve(CONNECT_SECONDS, is_served):
            raise BenchmarkFailed("not all sensors were served")
        yield Figure(f"{who} connected and served within", time.monotonic() - began, "s")
        yield Figure(f"memory with {who}", broker.rss / MIB, "MiB", 150)
        broker.process.kill()
        broker.process.wait()
        with Broker(data, broker.port) as again:
            yield Figure(f"start, killed before, while {who} knock", again.start_seconds, "s", 1)
            for client in crowd.clients:
                client.session.down()
            if not crowd.serve(CONNECT_SECONDS, lambda: crowd.is_open):
                raise BenchmarkFailed("not all sensors came back")
            yield Figure(f"memory when {who} are back", again.rss / MIB, "MiB", 150)


def figures(given: argparse.Namespace) -> Iterator[Figure]:
    """All figures, one after the other."""
    yield from importing()
    with TemporaryDirectory(prefix="zmqmq-footprint-", dir=given.directory) as where:
        data = Path(where)
        with Broker(data / "idle") as broker:
            yield Figure("start of an empty broker", broker.start_seconds, "s", 1)
            yield Figure("memory of an empty broker", broker.rss / MIB, "MiB", 150)
            yield from sensor(broker)
            yield from idling(broker, given.consumers, given.seconds)
        for topics in dict.fromkeys([given.topics] if given.topics else [SHARED_TOPICS, given.sensors]):
            yield from crowded(data / f"crowd-{topics}", given.sensors, topics)
        yield from backlog(data / "backlog", given.backlog)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="footprint", description="Measures memory, start-up and idle costs.")
    made.add_argument("--json", action="store_true", help="a JSON list instead of the table")
    made.add_argument("--consumers", type=int, default=200, help="that sleep (default 200)")
    made.add_argument("--seconds", type=float, default=20.0, help="for which they are watched (default 20)")
    made.add_argument("--sensors", type=int, default=1000, help="that are connected (default 1000)")
    made.add_argument("--topics", type=int, help=f"that they share (default: both {SHARED_TOPICS} and one each)")
    made.add_argument("--backlog", type=int, default=2_000_000, help="messages of 100 B that wait (default 2000000)")
    made.add_argument("--directory", help="where the databases are put (default: the system's temporary directory)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; gives the exit code."""
    given = parser().parse_args(arguments)
    progress = Console(stderr=True)
    found = []
    try:
        for figure in figures(given):
            found.append(figure)
            progress.print(f"{figure.what}: {figure.value:.2f} {figure.unit}", style="dim", markup=False, highlight=False)
    except BenchmarkFailed as error:
        progress.print(f"error: {error}", markup=False)
        return 1
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        show(found, Console(highlight=False))
    return 0


def show(found: list[Figure], console: Console, title: str = "footprint") -> None:
    """Prints the table for people."""
    table = Table("", title=title, title_justify="left")
    for name in ("measured", "limit", ""):
        table.add_column(name, justify="right")
    for figure in found:
        limit = "" if figure.limit is None else f"< {figure.limit:g}"
        colour = "green" if figure.is_good else "red"
        table.add_row(figure.what, f"[{colour}]{figure.value:.2f}[/]", limit, figure.unit)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
