"""How long a cluster does not confirm when a leader is killed, is stopped, or hands over: the longest gap between two confirmed sends.

    python -m benchmarks.failover [--runs N] [--kinds kill,stop,hand-over] [--json]

Three brokers over three ZooKeeper servers, all on this machine. One producer sends one message at a time, the next when the one before is confirmed; the
leader of the partition is killed (SIGKILL), stopped for longer than its session lasts (SIGSTOP), or ended in good order (SIGTERM). Then it comes
back, and when every replica is in sync again the next run begins. Exit code 0 if every send was confirmed.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import HEAL_SECONDS, NAMES, Brokers
from devices.ensemble import Ensemble, missing_parts
from zmqmq import Admin, Producer
from zmqmq.errors import ZmqmqError

TOPIC = "failover"
CALM_BEFORE = 0.5
"""Seconds of service before something happens."""
WATCHED = {"kill": 2.5, "stop": 7.0, "hand-over": 2.0}
"""Seconds of sending, from the moment at which it happens."""
CONFIRM_SECONDS = 30.0


class Failover:
    """Runs of all kinds on one cluster."""

    def __init__(self, brokers: Brokers, producer: Producer) -> None:
        self._brokers, self._producer = brokers, producer
        self._sent = 0

    def run(self, kind: str) -> float:
        """One run; gives the longest time between two confirmations, in seconds."""
        leader = self._brokers.wait_whole(TOPIC)
        self.longest_gap(CALM_BEFORE)
        self._brokers.signal(leader, {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "hand-over": signal.SIGTERM}[kind])
        gap = self.longest_gap(WATCHED[kind])
        if kind == "stop":
            self._brokers.signal(leader, signal.SIGCONT)
        else:
            self._brokers.processes[leader].wait(HEAL_SECONDS)
            self._brokers.start(leader)
        return gap

    def longest_gap(self, seconds: float) -> float:
        """Sends one message at a time for so long. Raises ZmqmqError if one is not confirmed."""
        last = time.monotonic()
        until, longest = last + seconds, 0.0
        while last < until:
            self._sent += 1
            self._producer.send(TOPIC, b"%d" % self._sent, key="one").result(timeout=CONFIRM_SECONDS)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        return longest


def measure(runs: int, kinds: list[str], tell: Callable[[str], None]) -> dict[str, list[float]]:
    """The gaps of all runs, by kind."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zmqmq-failover-")))
        ensemble = stack.enter_context(Ensemble(directory / "zookeeper"))
        ensemble.wait_ready()
        brokers = stack.enter_context(Brokers(directory, ensemble.hosts))
        brokers.wait_members()
        with Admin(brokers.endpoints) as admin:
            admin.create_topic(TOPIC, partitions=1, replicas=len(NAMES))
        failover = Failover(brokers, stack.enter_context(Producer(brokers.endpoints)))
        gaps: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(runs):
            for kind in kinds:
                gaps[kind].append(failover.run(kind))
                tell(f"run {number + 1} of {runs}, {kind}: {gaps[kind][-1]:.3f} s")
        return gaps


def show(gaps: dict[str, list[float]], console: Console) -> None:
    """Prints the table."""
    table = Table(title="Longest gap between two confirmed sends", title_justify="left")
    for column in ("what happens to the leader", "runs", "least", "p50", "p90", "max"):
        table.add_column(column, justify="left" if column.startswith("what") else "right")
    for kind, found in gaps.items():
        ordered = sorted(found)
        figures = (ordered[0], statistics.median(ordered), ordered[int(0.9 * (len(ordered) - 1))], ordered[-1])
        table.add_row(kind, str(len(ordered)), *(f"{figure:.3f} s" for figure in figures))
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; gives the exit code."""
    made = argparse.ArgumentParser(prog="failover", description="Measures for how long nothing is confirmed when a leader goes.")
    made.add_argument("--runs", type=int, default=20, help="runs of each kind (default 20)")
    made.add_argument("--kinds", default=",".join(WATCHED), help=f"what happens, separated by commas (default {','.join(WATCHED)})")
    made.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    given = made.parse_args(arguments)
    if unknown := set(given.kinds.split(",")) - set(WATCHED):
        made.error(f"--kinds: {', '.join(sorted(unknown))} is none of {', '.join(WATCHED)}")
    kinds = [kind for kind in WATCHED if kind in given.kinds.split(",")]
    progress = Console(stderr=True, highlight=False)
    if missing := missing_parts():
        progress.print(f"error: {missing}", markup=False)
        return 1
    try:
        gaps = measure(given.runs, kinds, lambda text: progress.print(text, style="dim"))
    except (ZmqmqError, TimeoutError) as error:
        progress.print(f"error: {error}", markup=False)
        return 1
    if given.json:
        print(json.dumps({kind: [round(gap, 4) for gap in found] for kind, found in gaps.items()}))
    else:
        show(gaps, Console(highlight=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
