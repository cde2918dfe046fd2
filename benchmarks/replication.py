"""What replication costs: three brokers beside a single one, on the same machine, in the same minutes.

    python -m benchmarks.replication [--rounds N] [--count N] [--singles N] [--size BYTES] [--json]

Each round measures both, one after the other, through the public API; each message is confirmed when it is on the disks of all three
brokers. Ratios are taken within a round, and the table shows medians over rounds. Exit code 0 whatever the figures are, 1 if a process failed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.children import BenchmarkFailed, Broker, Worker
from benchmarks.members import Members
from zmqmq import Admin

TOPICS = ("bench.warm-up", "bench.produce", "bench.single")
SHARE_TARGET = 0.25
"""Of the single broker's rate that three brokers must reach."""
DELAY_TARGET = 3.0
"""How much longer than on a single broker one confirmed message may take."""


class Side(msgspec.Struct, frozen=True):
    """One round on one side. Messages per second; seconds."""

    rate: float
    single: float
    """The median of messages sent one at a time."""
    single_p99: float


class Figures(msgspec.Struct, frozen=True):
    """Medians over rounds."""

    alone: Side
    together: Side
    share: float
    """Rate of three brokers / of one."""
    delay: float
    """Time of one message on three brokers / on one."""
    rounds: list[tuple[Side, Side]]


def one_side(endpoints: list[str], count: int, singles: int, size: int) -> Side:
    """Measures whoever listens there."""
    with Worker("single", endpoint=endpoints, topic="bench.single", size=size, count=singles) as worker:
        worker.go()
        taken = sorted(worker.result()["seconds"])
    with Worker("produce", endpoint=endpoints, topic="bench.produce", size=size, count=count, keys=100) as worker:
        worker.go()
        found = worker.result()
    return Side(count / (found["ended"] - found["began"]), median(taken), taken[len(taken) * 99 // 100])


def measure(rounds: int, count: int, singles: int, size: int, console: Console) -> Figures:
    """All rounds, the two sides taking turns."""
    found: list[tuple[Side, Side]] = []
    with TemporaryDirectory(prefix="zmqmq-bench-") as where, Broker(Path(where) / "alone") as broker, Members(Path(where)) as members:
        members.start()
        with Admin(members.endpoints, timeout=60) as admin, Admin(broker.endpoint) as lonely:
            members.wait_registered(admin)
            for topic in TOPICS:
                lonely.create_topic(topic, partitions=3)
                members.create_topic(admin, topic, partitions=3)
        for number in range(rounds):
            console.print(f"round {number + 1} of {rounds}", style="dim")
            broker.wait_until_quiet()
            alone = one_side([broker.endpoint], count, singles, size)
            members.wait_until_quiet()
            found.append((alone, one_side(members.endpoints, count, singles, size)))
    shares = [together.rate / alone.rate for alone, together in found]
    delays = [together.single / alone.single for alone, together in found]
    return Figures(_middle([alone for alone, _ in found]), _middle([together for _, together in found]), median(shares), median(delays), found)


def _middle(sides: list[Side]) -> Side:
    return Side(*(median(getattr(side, field) for side in sides) for field in Side.__struct_fields__))


def show(figures: Figures, size: int, console: Console) -> None:
    """The table."""
    table = Table(title=f"what replication costs, {size} B")
    for name in ("", "one broker", "three brokers", "three / one", "target"):
        table.add_column(name, justify="left" if not name else "right")
    alone, together = figures.alone, figures.together
    share, delay = f"{figures.share:.0%}", f"{figures.delay:.2f}"
    table.add_row("produce, messages/s", f"{alone.rate:,.0f}", f"{together.rate:,.0f}", share, f">= {SHARE_TARGET:.0%}")
    table.add_row("one at a time, ms p50", f"{alone.single * 1e3:.2f}", f"{together.single * 1e3:.2f}", delay, f"< {DELAY_TARGET:g}")
    table.add_row("one at a time, ms p99", f"{alone.single_p99 * 1e3:.2f}", f"{together.single_p99 * 1e3:.2f}", "", "")
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; gives the exit code."""
    parser = argparse.ArgumentParser(prog="replication", description="Measures three brokers beside a single one.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=100_000, help="messages of each produce run (default 100000)")
    parser.add_argument("--singles", type=int, default=1_000, help="messages sent one at a time (default 1000)")
    parser.add_argument("--size", type=int, default=100, help="bytes of a message (default 100)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    given = parser.parse_args(arguments)
    progress = Console(stderr=True)
    try:
        figures = measure(given.rounds, given.count, given.singles, given.size, progress)
    except (BenchmarkFailed, RuntimeError) as error:
        progress.print(f"error: {error}", markup=False)
        return 1
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(figures)).decode())
    else:
        show(figures, given.size, Console(highlight=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
