"""What a thousand partitions on three brokers cost: made, idle, listed, and when a broker is killed.

    python -m benchmarks.large_cluster [--partitions N] [--topics N] [--seconds N] [--json]

Brokers and ZooKeeper servers are processes on this machine; each partition has three replicas. The broker that is killed is the cluster leader,
and a producer sends to all partitions meanwhile. Exit code 0 whatever the figures are, 1 if a process failed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console

from benchmarks.children import BenchmarkFailed
from benchmarks.footprint import MIB, Figure, show
from benchmarks.members import Members, is_whole, until
from zmqmq import Admin, Producer

SETTLE_SECONDS = 4.0
"""In which what creation has stirred up comes to rest."""
BATCH = 20
"""Messages that the producer sends before it waits for all of them."""
SEND_TIMEOUT = 30.0
STEADY_SECONDS = 2.0
"""How long the producer is at work before a broker is killed, and after all partitions are led again."""


class Load:
    """A producer that sends to all partitions, and how long it has waited. Use it in a `with` block."""

    def __init__(self, endpoints: list[str], topics: int) -> None:
        self._endpoints, self._topics = endpoints, topics
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.longest = 0.0
        """Seconds of the longest wait for a batch since this was set to 0."""
        self.sent = 0
        self.failure = ""

    def _run(self) -> None:
        with Producer(self._endpoints) as producer:
            while not self._ended.is_set():
                began = time.monotonic()
                numbers = range(self.sent, self.sent + BATCH)
                receipts = [producer.send(f"bench.{number % self._topics}", b"21.5", key=f"key-{number}") for number in numbers]
                try:
                    for receipt in receipts:
                        receipt.result(SEND_TIMEOUT)
                except Exception as error:
                    self.failure = str(error)
                    return
                self.sent += BATCH
                self.longest = max(self.longest, time.monotonic() - began)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def measure(partitions: int, topics: int, seconds: float) -> Iterator[Figure]:
    """Everything, figure by figure."""
    with TemporaryDirectory(prefix="zmqmq-bench-") as where, Members(Path(where)) as members:
        members.start()
        with Admin(members.endpoints, timeout=60) as admin:
            members.wait_registered(admin)
            began = time.monotonic()
            for number in range(topics):
                members.create_topic(admin, f"bench.{number}", partitions // topics)
            yield Figure(f"{partitions} partitions made and led within", time.monotonic() - began, "s")
            yield from _status(admin)
            yield from _idling(members, seconds)
            yield from _failing_over(members, admin, topics)


def _status(admin: Admin) -> Iterator[Figure]:
    began = time.monotonic()
    admin.cluster()
    yield Figure("status of all of them", (time.monotonic() - began) * 1000, "ms")


def _idling(members: Members, seconds: float) -> Iterator[Figure]:
    time.sleep(SETTLE_SECONDS)
    before, began = {name: broker.cpu_seconds for name, broker in members.brokers.items()}, time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    shares = [100 * (broker.cpu_seconds - before[name]) / passed for name, broker in members.brokers.items()]
    yield Figure("idle, the busiest broker", max(shares), "% of a core", 3)
    yield Figure("memory of the largest broker", max(broker.rss for broker in members.brokers.values()) / MIB, "MiB", 150)


def _failing_over(members: Members, admin: Admin, topics: int) -> Iterator[Figure]:
    leader = admin.leader()
    if leader is None:
        raise BenchmarkFailed("the cluster has no leader")
    victim = leader.broker_id
    with Load(members.endpoints, topics) as load:
        until("the producer is at work", lambda: load.sent >= BATCH or bool(load.failure))
        time.sleep(STEADY_SECONDS)
        load.longest = 0.0
        killed = members.brokers[victim].kill()
        until("all partitions are led again", lambda: all(place.leader not in ("", victim) for place in admin.cluster().places))
        yield Figure("after kill -9 of the cluster leader all are led again within", time.monotonic() - killed, "s")
        time.sleep(STEADY_SECONDS)
        yield Figure("longest wait of a producer to all of them", load.longest, "s")
        yield Figure("the killed broker starts again within", members.start(victim), "s")
        yield Figure("and is in sync with all of them after", until("all are in sync", lambda: all(map(is_whole, admin.cluster().places))), "s")
    if load.failure:
        raise BenchmarkFailed(f"the producer failed: {load.failure}")


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; gives the exit code."""
    parser = argparse.ArgumentParser(prog="large_cluster", description="Measures three brokers that hold many partitions.")
    parser.add_argument("--partitions", type=int, default=1_000, help="of all topics together (default 1000)")
    parser.add_argument("--topics", type=int, default=10, help="default 10")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of idling (default 10)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    given = parser.parse_args(arguments)
    progress = Console(stderr=True)
    figures: list[Figure] = []
    try:
        for figure in measure(given.partitions // given.topics * given.topics, given.topics, given.seconds):
            progress.print(f"{figure.what}: {figure.value:.2f} {figure.unit}", style="dim", markup=False, highlight=False)
            figures.append(figure)
    except (BenchmarkFailed, RuntimeError) as error:
        progress.print(f"error: {error}", markup=False)
        return 1
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(figures)).decode())
    else:
        show(figures, Console(highlight=False), "a large cluster")
    return 0


if __name__ == "__main__":
    sys.exit(main())
