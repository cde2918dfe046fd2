"""The simulation in small: some seeds, the same twice, what they have seen, and whether they can see at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sim import mutations
from tests.sim.run import run

ROOT = Path(__file__).resolve().parent.parent.parent
GROUPS = 20
SEEDS_PER_GROUP = 10
SITUATIONS = [
    "OutcomeUnknown",
    "StorageFull",
    "Unreachable",
    "confirmed ack",
    "confirmed nack",
    "confirmed reject",
    "confirmed release",
    "lease kept",
    "lost by its consumer",
    "recalled",
    "redelivered",
    "stranger",
    "turn carried",
]
"""What must have happened in these seeds, or they show nothing."""
MISSED = [
    mutations.a_release_leaves_the_later_ones,
    mutations.attempts_are_not_written,
    mutations.confirmed_without_a_commit,
    mutations.every_batch_is_new,
]
_seen: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def quiet_about_lost_leases(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="zmqmq")


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_promise_is_broken_and_all_comes_to_a_good_end(group: int) -> None:
    for seed in range(group * SEEDS_PER_GROUP, (group + 1) * SEEDS_PER_GROUP):
        _seen.update(run(seed).situations)
    if group == GROUPS - 1:
        assert [name for name in SITUATIONS if not _seen[name]] == [], "these seeds did not meet what they are there to meet"


def test_the_same_seed_has_the_same_history() -> None:
    assert run(3).digest == run(3).digest != run(4).digest


def test_a_seed_has_the_same_history_in_every_process() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "tests.sim", "--seed", "5"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT, env=environ)
        digests.add(done.stdout.splitlines()[0])
    assert len(digests) == 1


@pytest.mark.parametrize("mutation", MISSED, ids=lambda mutation: str(mutation.__name__))
def test_a_rule_that_is_removed_is_missed(mutation: mutations.Mutation) -> None:
    assert mutations.notice(mutation, 40) is not None
