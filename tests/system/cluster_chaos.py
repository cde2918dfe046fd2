"""Everything at random against a loaded cluster, for as long as you like: kills, stops, cuts, hand-overs, ZooKeeper's servers, moves.

    python -m tests.system.cluster_chaos [--acts N] [--seed N] [--partitions N] [--producers N] [--consumers N]

One thing happens at a time, with traffic in between; then it is healed and the cluster must become whole by itself. At the end everything that was sent
must be confirmed and settled, once, in order per key and by one holder at a time. Ends with 0 only then; the seed gives the same acts again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.cluster import SLOW, ClusterProcesses
from tests.system.cluster_load import Load
from tests.system.ensemble import Ensemble
from tests.system.processes import Programs, eventually
from zmqmq.core.cluster_commands import Reassign
from zmqmq.core.commands import Command

TOPIC = "chaos"


class ClusterChaos:
    """One run against one cluster."""

    def __init__(self, cluster: ClusterProcesses, load: Load, partitions: int, seed: int) -> None:
        self._cluster, self._load, self._partitions = cluster, load, partitions
        self._random = random.Random(seed)
        self.acts: dict[str, Callable[[], str]] = {
            "kill a leader": self._kill_leader,
            "kill the cluster leader": self._kill_cluster_leader,
            "kill any two": self._kill_two,
            "kill all": self._kill_all,
            "stop a leader": self._stop_leader,
            "cut a leader from ZooKeeper": self._cut_from_zookeeper,
            "cut a leader from all brokers": self._cut_from_brokers,
            "end a leader in good order": self._hand_over,
            "kill a ZooKeeper server": self._kill_server,
            "kill the ensemble": self._kill_ensemble,
            "empty a directory": self._wipe,
            "move a partition": self._move,
        }

    def act(self) -> str:
        """One thing happens and is healed; says what it was."""
        name = self._random.choice(sorted(self.acts))
        victim = self.acts[name]()
        self._cluster.mend()
        self._cluster.start()
        for server in self._cluster.ensemble.servers:
            server.start()
        self._cluster.wait_whole(2 * SLOW)
        self._load.flow()
        return f"{name} ({victim})"

    def _leader(self) -> str:
        return self._cluster.leader_of(TOPIC, self._random.randrange(self._partitions))

    def _kill_leader(self) -> str:
        victim = self._leader()
        self._cluster.kill(victim)
        self._load.flow(50)
        return victim

    def _kill_cluster_leader(self) -> str:
        victim = self._cluster.cluster_leader()
        self._cluster.kill(victim)
        self._load.flow(50)
        return victim

    def _kill_two(self) -> str:
        victims = self._random.sample(sorted(self._cluster.members), 2)
        self._cluster.kill(*victims)
        return " ".join(victims)

    def _kill_all(self) -> str:
        self._cluster.kill(*self._cluster.members)
        return "all"

    def _stop_leader(self) -> str:
        victim = self._leader()
        with self._cluster.paused(victim):
            self._load.flow(50)
        return victim

    def _cut_from_zookeeper(self) -> str:
        victim = self._leader()
        self._cluster.cut_from_zookeeper(victim)
        self._load.flow(50)
        return victim

    def _cut_from_brokers(self) -> str:
        victim = self._leader()
        self._cluster.cut_from_brokers(victim)
        self._load.flow(50)
        return victim

    def _hand_over(self) -> str:
        victim = self._leader()
        self._cluster.stop(victim)
        self._load.flow(50)
        return victim

    def _kill_server(self) -> str:
        server = self._random.choice(self._cluster.ensemble.servers)
        server.stop()
        self._load.flow(50)
        return server.address

    def _kill_ensemble(self) -> str:
        for server in self._cluster.ensemble.servers:
            server.stop()
        return "all servers"

    def _wipe(self) -> str:
        victim = self._random.choice(sorted(self._cluster.members))
        self._cluster.kill(victim)
        self._cluster.wipe(victim)
        self._load.flow(50)
        return victim

    def _move(self) -> str:
        partition = self._random.randrange(self._partitions)
        goal = self._random.sample(sorted(self._cluster.members), 3)
        eventually(lambda: self._cluster.command(Reassign(1, TOPIC, partition, goal), Command), "the move is answered")
        return f"{partition} to {' '.join(goal)}"


def main() -> int:
    """One run from the command line; gives the exit code."""
    made = argparse.ArgumentParser(prog="chaos-cluster", description="Random trouble for a loaded cluster; ends with 0 only if nothing was wrong.")
    for name, default in (("acts", 30), ("seed", 0), ("partitions", 6), ("producers", 3), ("consumers", 3)):
        made.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    given = made.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zmqmq-chaos-") as name, Ensemble(Path(name) / "zookeeper") as ensemble, Programs() as programs:
        ensemble.wait_ready()
        with ClusterProcesses(programs, ensemble, Path(name) / "chaos", proxies=True) as cluster:
            cluster.start()
            cluster.wait_whole()
            load = Load(cluster, TOPIC, partitions=given.partitions, producers=given.producers, consumers=given.consumers)
            chaos = ClusterChaos(cluster, load, given.partitions, given.seed)
            for number in range(given.acts):
                print(f"{time.monotonic() - began:7.1f} s, {number + 1} of {given.acts}: {chaos.act()}", flush=True)
            outcome = load.finish()
            cluster.check_no_traceback()
    print(f"{outcome.sent} messages confirmed and settled, {len(outcome.deliveries)} deliveries, longest gap {outcome.longest:.1f} s, violations: none")
    return 0


if __name__ == "__main__":
    sys.exit(main())
