"""The simulated cluster in small: some seeds, the same twice, what they have seen, and whether they can see at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.sim import cluster_mutations, mutations
from tests.sim.run import run
from tests.sim.test_sim import ROOT

GROUPS = 40
SEEDS_PER_GROUP = 5
SITUATIONS = [
    "buried",
    "change refused",
    "confirmed ack",
    "disk lost",
    "eligible one elected",
    "leader changed",
    "lease kept",
    "recalled",
    "redelivered",
    "seen opening",
    "seen releasing",
    "snapshot installed",
    "truncated",
]
"""What must have happened in these seeds, or they show nothing."""
MISSED = [
    cluster_mutations.followers_cut_at_what_they_know_to_be_committed,
    cluster_mutations.reported_before_it_is_on_disk,
    cluster_mutations.roles_outlive_registrations,
    cluster_mutations.too_few_are_enough,
    cluster_mutations.who_was_eligible_stays_so,
]
_seen: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def quiet_about_lost_leases(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="zmqmq")


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_promise_of_a_cluster_is_broken_and_all_comes_to_a_good_end(group: int) -> None:
    for seed in range(group * SEEDS_PER_GROUP, (group + 1) * SEEDS_PER_GROUP):
        _seen.update(run(seed, cluster=True).situations)
    if group == GROUPS - 1:
        assert [name for name in SITUATIONS if not _seen[name]] == [], "these seeds did not meet what they are there to meet"


def test_a_cluster_has_the_same_history_twice_and_in_every_process() -> None:
    digests = {run(3, cluster=True).digest}
    for hash_seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "tests.sim", "--cluster", "--seed", "3"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT, env=environ)
        digests.add(done.stdout.splitlines()[0])
    assert len(digests) == 1


@pytest.mark.parametrize("mutation", MISSED, ids=lambda mutation: str(mutation.__name__))
def test_a_rule_of_replication_that_is_removed_is_missed(mutation: mutations.Mutation) -> None:
    assert mutations.notice(mutation, 20, cluster=True) is not None
