"""What the worker processes of a benchmark do, each through the public API: `python -m benchmarks.roles ROLE SETTINGS` (see `children.Worker`).

Values are drawn from a small pool of random bytes: making them is the application's work and not measured.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zmqmq import Consumer, PendingSettlement, Producer

POOL = 256
TAKE = 1000
"""Messages that a consumer takes at a time."""
CHECKED = 100
"""The last acknowledgements, whose confirmations a consumer waits for; they are confirmed in order."""
PATIENCE = 60.0
"""Seconds without a message after which a consumer gives up."""
_STAMP = struct.Struct("<d")
Result = dict[str, object]


def pool(size: int) -> list[bytes]:
    """Values of `size` bytes."""
    source = random.Random(1)
    return [source.randbytes(size) for _ in range(POOL)]


def ready() -> None:
    """Tells the parent, and waits for its word."""
    print("ready", flush=True)
    sys.stdin.readline()


def produce(endpoint: str, topic: str, size: int, count: int, keys: int) -> Result:
    """Sends as fast as it can and waits until all is confirmed. `keys` 0: without keys."""
    values = pool(size)
    names = [f"key-{number}" for number in range(keys)]
    with Producer(endpoint) as producer:
        producer.send("bench.warm-up", b"").result()
        ready()
        began, send = time.monotonic(), producer.send
        if names:
            for index in range(count):
                send(topic, values[index % POOL], names[index % keys])
        else:
            for index in range(count):
                send(topic, values[index % POOL])
        producer.flush(PATIENCE)
        return {"began": began, "ended": time.monotonic()}


def consume(endpoint: str, topic: str, count: int, asleep: bool) -> Result:
    """Takes and acknowledges `count` messages; ends when all acknowledgements are confirmed. `asleep`: waits for messages before it is ready."""
    pending: deque[PendingSettlement] = deque(maxlen=CHECKED)
    with Consumer(endpoint, topic, group="bench") as consumer:
        if asleep:
            consumer.receive_many(1, timeout=0)
        ready()
        began, left = time.monotonic(), count
        while left:
            messages = consumer.receive_many(min(TAKE, left), PATIENCE)
            if not messages:
                raise TimeoutError(f"{left} messages did not come")
            pending.append(consumer.ack(messages))
            left -= len(messages)
        for settlement in pending:
            settlement.result(PATIENCE)
        ended = time.monotonic()
        if consumer.lost:
            raise RuntimeError(f"{consumer.lost} leases were lost")
        return {"began": began, "ended": ended}


def single(endpoint: str, topic: str, size: int, count: int) -> Result:
    """Sends one message at a time, each when the one before is confirmed."""
    values, taken = pool(size), []
    with Producer(endpoint) as producer:
        producer.send(topic, b"").result()
        ready()
        for index in range(count):
            began = time.monotonic()
            producer.send(topic, values[index % POOL]).result()
            taken.append(time.monotonic() - began)
    return {"seconds": taken}


def knock(endpoint: str, topic: str, size: int, count: int, interval: float) -> Result:
    """Sends messages that say when they were sent, `interval` seconds apart, so that the other side falls asleep in between."""
    with Producer(endpoint) as producer:
        producer.send("bench.warm-up", b"").result()
        ready()
        for _ in range(count):
            time.sleep(interval)
            producer.send(topic, _STAMP.pack(time.monotonic()).ljust(size, b"."))
    return {}


def sleeper(endpoint: str, topic: str, count: int) -> Result:
    """Sleeps until woken, `count` times: how long after `send` was called each message was in the application's hands."""
    taken = []
    with Consumer(endpoint, topic, group="bench") as consumer:
        consumer.receive_many(1, timeout=0)
        ready()
        for _ in range(count):
            message = consumer.receive(PATIENCE)
            if message is None:
                raise TimeoutError("no message came")
            taken.append(time.monotonic() - _STAMP.unpack_from(message.value)[0])
            message.ack()
    return {"seconds": taken}


def bare(directory: str, size: int, count: int, batch: int, singles: int) -> Result:
    """The limit that SQLite itself sets; see `benchmarks.bare`."""
    from benchmarks.bare import commit_seconds, rows_per_second

    values = (pool(size) * (count // POOL + 1))[:count]
    ready()
    where = Path(directory)
    return {
        "plain": rows_per_second(where, values, batch, checkpoints=False),
        "checkpointed": rows_per_second(where, values, batch, checkpoints=True),
        "seconds": commit_seconds(where, values[0], singles),
    }


ROLES: dict[str, Callable[..., Result]] = {role.__name__: role for role in (produce, consume, single, knock, sleeper, bare)}


def main(role: str, settings: str) -> None:
    """Plays a role and prints its result."""
    given: dict[str, Any] = json.loads(settings)
    print(json.dumps(ROLES[role](**given)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
