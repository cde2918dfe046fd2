"""One round of measurements at one message size, on a broker and a data directory of its own.

Within a round everything follows everything else, so that a machine that gets slower or faster meanwhile does so for all; the report
takes medians over rounds. The bare limit comes right after the produce run whose batches it copies.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.children import Broker, Worker
from zmqmq import Admin


class Plan(msgspec.Struct, frozen=True):
    """How much to measure."""

    sizes: tuple[int, ...] = (100, 1024)
    """Bytes of a message's value."""
    count: int = 100_000
    """Messages of each produce, drain and live run."""
    rounds: int = 3
    singles: int = 1000
    """Messages sent one at a time."""
    knocks: int = 100
    """Times that a sleeping consumer is woken."""
    knock_interval: float = 0.02
    """Seconds between them."""
    partitions: int = 4
    keys: int = 0
    """Different keys; 0: messages without keys."""
    directory: str | None = None
    """Where the databases are put; None: the system's place for temporary files."""


class Round(msgspec.Struct, frozen=True):
    """What one round found. Rates are messages per second; times are seconds."""

    produce: float
    batch: float
    """Messages per commit of the broker in the produce run, on average."""
    bare_plain: float
    """Rows per second of the bare limit without checkpoints."""
    bare_checkpointed: float
    """And with them."""
    drain: float
    live: float
    single: list[float]
    bare_single: list[float]
    """One commit of one row."""
    wake: list[float]

    @property
    def bare(self) -> float:
        """The bare limit that the broker is held to: the better of the two."""
        return max(self.bare_plain, self.bare_checkpointed)


def measure(plan: Plan, size: int) -> Round:
    """Measures everything once."""
    with TemporaryDirectory(prefix="zmqmq-bench-", dir=plan.directory) as where, Broker(Path(where) / "data") as broker:
        with Admin(broker.endpoint) as admin:
            for topic in ("produce", "live", "single", "wake"):
                admin.create_topic(f"bench.{topic}", partitions=plan.partitions)
        produced = _produce(broker, plan, size)
        batch = plan.count / max(1, _commits(broker.data, "bench.produce", plan.partitions))
        broker.wait_until_quiet()
        bare = _alone("bare", directory=where, size=size, count=plan.count, batch=max(1, round(batch)), singles=plan.singles)
        drained = _alone("consume", endpoint=broker.endpoint, topic="bench.produce", count=plan.count, asleep=False)
        broker.wait_until_quiet()
        live = _live(broker, plan, size)
        broker.wait_until_quiet()
        single = _alone("single", endpoint=broker.endpoint, topic="bench.single", size=size, count=plan.singles)
        wake = _wake(broker, plan, size)
        return Round(
            produce=plan.count / produced,
            batch=batch,
            bare_plain=bare["plain"],
            bare_checkpointed=bare["checkpointed"],
            drain=plan.count / (drained["ended"] - drained["began"]),
            live=plan.count / live,
            single=single["seconds"],
            bare_single=bare["seconds"],
            wake=wake,
        )


def _alone(role: str, **settings: object) -> dict[str, Any]:
    with Worker(role, **settings) as worker:
        worker.go()
        return worker.result()


def _produce(broker: Broker, plan: Plan, size: int) -> float:
    found = _alone("produce", endpoint=broker.endpoint, topic="bench.produce", size=size, count=plan.count, keys=plan.keys)
    return float(found["ended"] - found["began"])


def _live(broker: Broker, plan: Plan, size: int) -> float:
    """Seconds from the first send to the last confirmed acknowledgement, both sides at work at once."""
    consumer = Worker("consume", endpoint=broker.endpoint, topic="bench.live", count=plan.count, asleep=True)
    producer = Worker("produce", endpoint=broker.endpoint, topic="bench.live", size=size, count=plan.count, keys=plan.keys)
    with consumer, producer:
        consumer.go()
        producer.go()
        return float(consumer.result()["ended"]) - float(producer.result()["began"])


def _wake(broker: Broker, plan: Plan, size: int) -> list[float]:
    sleeper = Worker("sleeper", endpoint=broker.endpoint, topic="bench.wake", count=plan.knocks)
    knocker = Worker("knock", endpoint=broker.endpoint, topic="bench.wake", size=max(8, size), count=plan.knocks, interval=plan.knock_interval)
    with sleeper, knocker:
        sleeper.go()
        knocker.go()
        knocker.result()
        taken: list[float] = sleeper.result()["seconds"]
        return taken


def _commits(data: Path, topic: str, partitions: int) -> int:
    """Turns in which the broker stored messages of the topic: all of a turn bear the same time."""
    path = next(data.glob("*.db"))
    logs = " UNION ".join(f'SELECT time FROM "log_{topic}_{partition}" WHERE kind = 0' for partition in range(partitions))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM ({logs})").fetchone()[0])
