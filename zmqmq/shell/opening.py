"""How a broker's shells are opened: store, sockets, clocks, and the tree that coordinates its cluster, if it has one."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from random import random
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from zmqmq.config import BrokerConfig
from zmqmq.core.cluster import Membership
from zmqmq.core.replication import ReplicationSettings
from zmqmq.core.tree import Tree
from zmqmq.core.writes import PutClusterId, PutSession, Write
from zmqmq.errors import StorageFull
from zmqmq.shell.clock import Clock
from zmqmq.shell.logs import open_log
from zmqmq.shell.metrics import Metrics
from zmqmq.shell.storage import Storage
from zmqmq.shell.transport import Transport
from zmqmq.wire import max_frame_bytes


class Shells(NamedTuple):
    """All that a broker touches the world with. A simulator passes its own."""

    storage: Storage
    transport: Transport
    clock: Clock
    random: Callable[[], float]
    log: FilteringBoundLogger
    metrics: Metrics | None = None
    tree: Tree | None = None
    """What coordinates the cluster; a broker that stands alone has none."""


def open_shells(config: BrokerConfig) -> Shells:
    """The real ones: locks and opens the data directory, listens. What was taken is given back if something later cannot be had."""
    with contextlib.ExitStack() as undo:
        storage = Storage.open(Path(config.data), ballast_bytes=config.ballast_bytes)
        undo.callback(storage.close)
        metrics = Metrics(config.metrics) if config.metrics.enabled else None
        if metrics is not None:
            undo.callback(metrics.stop)
        transport = Transport(config.bind, config.wake_bind_endpoint, max_frame_bytes(config.limits), config.max_sessions)
        log = open_log(config.log, config.broker_id)
        if config.zookeeper is None and storage.identity.session:
            _leave_cluster(storage, log)
        undo.pop_all()
    return Shells(storage, transport, Clock(), random, log, metrics, _open_tree(config))


def _leave_cluster(storage: Storage, log: FilteringBoundLogger) -> None:
    """A member's store that is used alone is a cluster of its own: what it leads from now on has the epochs of others whose records differ."""
    former = storage.cluster_id
    writes: list[Write] = [PutClusterId(str(uuid.uuid4())), PutSession(0)]
    try:
        storage.commit(writes)
    except StorageFull:
        storage.free_ballast()
        storage.commit(writes)
    log.warning("left its cluster", cluster=former, effect="this data directory was a member's; used alone, it is let in there no more")


def _open_tree(config: BrokerConfig) -> Tree | None:
    """What coordinates the cluster; its library is loaded only for this."""
    if config.zookeeper is None:
        return None
    from zmqmq.shell.zookeeper import ZooKeeperTree

    return ZooKeeperTree(config.zookeeper, config.cluster)


def membership(config: BrokerConfig, storage: Storage) -> Membership:
    """What a member of a cluster is told once."""
    zookeeper, replication = config.zookeeper, config.replication
    assert zookeeper is not None, "a member has a tree"
    return Membership(
        storage_id=storage.storage_id,
        previous_session=storage.identity.session,
        copied=storage.identity.copied,
        has_data=storage.has_data,
        rack=config.rack,
        session_timeout=zookeeper.session_timeout_seconds,
        default_replicas=config.topics.default_replicas,
        replication=ReplicationSettings(
            max_lag=replication.max_lag_seconds,
            fetch_wait=replication.fetch_wait_seconds,
            fetch_bytes=replication.fetch_bytes,
            catch_up_rate=replication.catch_up_bytes_per_second,
        ),
    )
