"""What a broker registers with, and how it tells its own registrations from those of others.

A registration names the broker, the identity of its store and the incarnation: the number of the start on that store. The lock on the data directory
proves that earlier incarnations on it are dead, so their registrations may be removed. A store that has registered as a later incarnation than it remembers
is an old copy: what it has promised since is lost, and it must not be trusted under its old identity.
"""

from __future__ import annotations

from collections import deque

import msgspec

from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.commands import PROTOCOL_VERSION, VERSIONS_SPOKEN
from zmqmq.core.layout import BrokerEpoch, BrokerInfo, ClusterIdentity, Damaged, decode, encode
from zmqmq.core.tree import Change, Check, Create, Delete, Node, Put, Refusal, Request, Step, Sync
from zmqmq.errors import BrokerTaken, ClusterMismatch, ConfigError, ZmqmqError

SESSIONS_MAX = 16
"""Own sessions that are remembered."""
_WHERE = "check the ZooKeeper hosts and the chroot in the configuration"


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker registers with."""

    broker_id: str
    incarnation: int
    storage_id: str
    cluster_id: str
    has_data: bool
    """The store holds topics: it cannot change over to another cluster."""
    previous_session: int = 0
    """Session of the last life on this store; 0 if there was none."""
    copied: bool = False
    """The store was copied while a broker used it: nobody knows what it has promised since, so it needs a new identity."""
    endpoint: str
    wake_endpoint: str = ""
    rack: str = ""
    software: str = ""
    session_timeout: float = 4.0
    """Seconds, as configured."""


class Papers:
    """As whom this process registers, and what it remembers of earlier registrations."""

    def __init__(self, settings: Registration) -> None:
        self.storage_id = settings.storage_id
        self.attempted = False
        """A registration of this incarnation may be in the tree."""
        self.given_up = -1
        """Broker epoch of a registration that this broker has given up, though it may still be in the tree."""
        self.must_renew = settings.copied
        """No registration under the identity that the store has now."""
        self._settings = settings
        self._sessions: deque[int] = deque([settings.previous_session], maxlen=SESSIONS_MAX)

    @property
    def was_member(self) -> bool:
        """Whether this store has been registered in a cluster, or may have been."""
        return bool(self._settings.previous_session) or self.attempted

    def renew(self, storage_id: str) -> None:
        """The store has a new identity; that whose copy it is may be alive, so no earlier registration is one of its own."""
        self.storage_id = storage_id
        self.attempted = self.must_renew = False
        self._sessions.clear()

    def add_session(self, session: int) -> None:
        """This process has a session."""
        if session not in self._sessions:
            self._sessions.append(session)

    def info(self, node: Node) -> BrokerInfo | None:
        """The registration that stands under this broker's name; None if it is damaged."""
        info = decode(layout.broker_path(self._settings.broker_id), node.data, BrokerInfo)
        return info if isinstance(info, BrokerInfo) else None

    def is_old_copy(self, last: BrokerEpoch) -> bool:
        """Whether this store has registered in a later life than the one that it remembers."""
        ours = self._settings.incarnation
        return last.storage_id == self.storage_id and (last.incarnation > ours or (last.incarnation == ours and not self.attempted))

    def is_present(self, node: Node, be: int, session: int) -> bool:
        """Whether this is a registration of the present session whose answer got lost."""
        info = self.info(node)
        return self.attempted and node.owner == session and info is not None and info.be == be != self.given_up and info.storage_id == self.storage_id

    def is_own(self, node: Node) -> bool:
        """Whether this is a registration of an earlier life, or of an earlier session of this one."""
        if node.owner and node.owner in self._sessions:
            return True
        info, ours = self.info(node), self._settings.incarnation
        return info is not None and info.storage_id == self.storage_id and (info.incarnation < ours or (info.incarnation == ours and self.attempted))

    def steps(self, version: int, *, shown: bool, beat: bool) -> list[Step]:
        """The change that registers, if the epoch node has this version; `shown` and `beat`: ephemeral nodes of an earlier life are there."""
        settings, broker = self._settings, self._settings.broker_id
        info = BrokerInfo(
            broker_id=broker,
            incarnation=settings.incarnation,
            be=version + 1,
            endpoint=settings.endpoint,
            wake_endpoint=settings.wake_endpoint,
            storage_id=self.storage_id,
            rack=settings.rack,
            software=settings.software,
            protocol=PROTOCOL_VERSION,
        )
        steps: list[Step] = [Put(layout.epoch_path(broker), encode(BrokerEpoch(self.storage_id, settings.incarnation)), version)]
        steps += [Delete(layout.broker_path(broker))] if shown else []
        steps += [Delete(layout.heartbeat_path(broker))] if beat else []
        return [*steps, Create(layout.broker_path(broker), encode(info), ephemeral=True), Create(layout.heartbeat_path(broker), ephemeral=True)]


def burial(info: BrokerInfo, view: ClusterView) -> list[list[Step]]:
    """The changes that remove a dead broker's registration, and that it is the cluster leader. Later ones are left alone."""
    life: Step = Check(layout.epoch_path(info.broker_id), info.be)
    changes: list[list[Step]] = [[life, Delete(layout.broker_path(info.broker_id)), Delete(layout.heartbeat_path(info.broker_id))]]
    leader, epoch = view.controller, view.controller_epoch
    if leader is not None and epoch is not None and (leader.broker, leader.be) == (info.broker_id, info.be):
        changes.append([life, Check(layout.CONTROLLER_EPOCH, epoch.version), Delete(layout.CONTROLLER)])
    return changes


def mismatch(identity: ClusterIdentity | Damaged, ours: str, *, has_data: bool) -> ZmqmqError | None:
    """Why a broker cannot join this cluster."""
    hint = _WHERE
    if isinstance(identity, Damaged):
        return ClusterMismatch(f"the tree is not one of zmqmq: {identity.path} is {identity.reason}", hint=hint)
    if identity.layout != layout.LAYOUT:
        text = f"the cluster has layout {identity.layout}, this broker knows layout {layout.LAYOUT}"
        return ClusterMismatch(text, hint="run the same version of zmqmq on all brokers", cluster=identity.cluster_id)
    low, high = VERSIONS_SPOKEN
    if not low <= identity.protocol <= high:
        text = f"the cluster speaks protocol {identity.protocol}, this broker {low} to {high}"
        return ClusterMismatch(text, hint="run the same version of zmqmq on all brokers", cluster=identity.cluster_id)
    if identity.cluster_id != ours and has_data:
        hint = f"{hint}; to join this cluster for good, start the broker with an empty data directory"
        return ClusterMismatch(f"the data directory belongs to cluster {ours}, the tree to cluster {identity.cluster_id}", hint=hint)
    return None


def nothing_there(ours: str) -> ZmqmqError:
    """The tree is empty, and this broker has been a member of a cluster: it must not found another one."""
    hint = f"{_WHERE}; if ZooKeeper has lost its data, see 'ZooKeeper has lost its data' in docs/cluster.md"
    return ClusterMismatch(f"this broker is a member of cluster {ours}, and the tree holds none", hint=hint)


def complaint(request: Request, refusal: Refusal) -> str:
    """What the operator is told when the servers do not let this broker do what members do."""
    where = "" if isinstance(request, Sync) else request.steps[refusal.step].path if isinstance(request, Change) else request.path
    return f"ZooKeeper refuses what this broker asks at {where or '/'}: {refusal.text}; check zookeeper.username and zookeeper.password"


def timeout_error(granted: float, wanted: float) -> ZmqmqError:
    """The servers grant another session timeout (seconds) than the configured one: leases and limits would not fit."""
    hint = "ZooKeeper grants 2 to 20 times its tickTime: choose a tickTime (or minSessionTimeout and maxSessionTimeout) that allows it, or another timeout"
    return ConfigError(f"ZooKeeper grants a session timeout of {granted:g} s instead of the configured {wanted:g} s", hint=hint)


def taken_error(settings: Registration, other: BrokerInfo | None) -> ZmqmqError:
    """Somebody else holds the registration, and goes on holding it."""
    hint = "give every broker its own broker_id, or stop the other one"
    where = {"endpoint": other.endpoint, "storage_id": other.storage_id} if other else {}
    return BrokerTaken(f"broker id {settings.broker_id!r} belongs to another broker that is alive", hint=hint, **where)
