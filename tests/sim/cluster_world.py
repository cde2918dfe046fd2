"""Several brokers, the tree that they agree through, and their clients, from one seed.

What a world of one broker has, this has too. Besides: a modelled ensemble with sessions that only it ends, servers that lag behind, answers that
get lost and requests that are carried out all the same; cuts between any two parties, in one direction or both; disks that are lost or exchanged; and
an administrator who drains brokers and moves partitions.
"""

from __future__ import annotations

import msgspec

from tests.sim.cluster_referee import ClusterReferee
from tests.sim.history import History
from tests.sim.host import Host
from tests.sim.mesh import Mesh
from tests.sim.world import World
from zmqmq.config import BrokerConfig, ZooKeeperConfig
from zmqmq.config_cluster import ReplicationConfig
from zmqmq.core.registrar import LEASE_PART

BROKERS = (3, 3, 3, 4)
REPLICAS = (0, 3, 3, 3, 2, 1)
"""0: as many as there are brokers, three at most."""


class ClusterWorld(World):
    """Everything of one run."""

    max_events = 2_000_000
    idle_turns = 60
    client_idle_turns = 20

    def __init__(self, seed: int, trace: bool = False) -> None:
        super().__init__(seed, trace)

    def _machines(self, count: int) -> list[Host]:
        rng = self.rng
        self.mesh = Mesh(self.scheduler, rng, self.note, History())
        self.zookeeper = ZooKeeperConfig(hosts="sim:2181", session_timeout_seconds=rng.choice([2.0, 4.0, 6.0]))
        self.mesh.court.lease = self.zookeeper.session_timeout_seconds * LEASE_PART
        self.replication = ReplicationConfig(max_lag_seconds=rng.choice([1.0, 4.0]), fetch_bytes=rng.choice([65536, 8 << 20]))
        self.replicas = rng.choice(REPLICAS)
        return [self._machine(number) for number in range(rng.choice(BROKERS))]

    def _machine(self, number: int) -> Host:
        config = self._config_of(number)
        host = Host(config.broker_id, self.scheduler, self.network, self.rng, config, self.note, self.mesh.ensemble)
        host.disk.cluster_id = f"cluster-{number + 1}"
        self.network.expect(config.endpoint, host.name)
        self.mesh.join(host)
        return host

    def _config_of(self, number: int) -> BrokerConfig:
        topics = msgspec.structs.replace(self.config.topics, default_replicas=self.replicas)
        return msgspec.structs.replace(super()._config_of(number), topics=topics, zookeeper=self.zookeeper, replication=self.replication)

    def _judge(self) -> ClusterReferee:
        referee = ClusterReferee(self, self.mesh)
        for host in self.hosts:
            host.watch(referee.stored)
        return referee

    def lost_topics(self) -> set[str]:
        return self.mesh.court.lost_topics()

    def what_else_is_missing(self) -> list[str]:
        asked = ["the administrator waits for answers"] if self.admin is not None and len(self.admin.asking._requests) else []
        return asked + self.mesh.court.unwell()
