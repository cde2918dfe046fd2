"""Knobs: numbers of the product that bound steps and sizes, turned small in many runs so that their edges are met all the time.

Whatever they are set to, every promise must hold; only speed depends on them. They are put back after each run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from zmqmq import broker
from zmqmq.core import agreements, controller, dedup, dispatch, following, housekeeping, partition, retention

TURNED = 0.5
"""Share of runs in which a knob is not at its default."""
KNOBS: list[tuple[Any, str, list[int] | list[float]]] = [
    (broker, "TURN_FRAMES", [1, 3]),
    (dedup, "RUNS_MAX", [1, 2]),
    (dispatch, "SCAN_MAX", [4, 40]),
    (housekeeping, "BEACON_QUEUES", [0, 1]),
    (housekeeping, "MATURE_STEP", [1, 3]),
    (housekeeping, "REVIVE_STEP", [1, 3]),
    (partition, "SNAPSHOT_RECORDS", [10, 100]),
    (retention, "WORTH_RECORDS", [20, 100]),
    (agreements, "ALONE_MAX", [1.0]),
    (following, "DELETE_AFTER", [2.0, 8.0]),
    (following, "UNWANTED_INTERVAL", [1.0]),
    (controller, "WEARY_FOR", [1.0, 5.0]),
]


@contextmanager
def turned(seed: int) -> Iterator[None]:
    """The knobs of this seed."""
    rng = Random(f"knobs {seed}")
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in KNOBS]
    try:
        for owner, name, values in KNOBS:
            if rng.random() < TURNED:
                setattr(owner, name, rng.choice(values))
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
