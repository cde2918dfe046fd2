"""A broker as a member of its cluster: registration, lease, picture of the cluster, roles, and the office of cluster leader if it has it.

The tree (ZooKeeper) is the truth; everything here follows it and is derived anew from it whenever in doubt. Without a
registration the broker has no role. With one it speaks only as long as its lease lasts: what a turn has to confirm or deliver
after that waits until the lease is renewed, and is void if the registration turns out to be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from zmqmq.core.agreements import Agreements
from zmqmq.core.catalogue import Catalogue
from zmqmq.core.cluster_desk import ClusterDesk
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.commands import Command
from zmqmq.core.context import Context, Leadership
from zmqmq.core.controller import Controller
from zmqmq.core.damage import Damages
from zmqmq.core.following import Following
from zmqmq.core.housekeeping import Housekeeping
from zmqmq.core.layout import BrokerInfo
from zmqmq.core.mirror import Mirror
from zmqmq.core.moving_in import MovingIn
from zmqmq.core.obituaries import Obituaries
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import AskSnapshot, Fetch, Fetched, Snapshot
from zmqmq.core.places import Member
from zmqmq.core.registrar import Registrar, Registration
from zmqmq.core.replica import Replica, Role
from zmqmq.core.replication import Replication, ReplicationSettings
from zmqmq.core.roles import Roles
from zmqmq.core.topic_writes import TopicWrites
from zmqmq.core.tree import Answered, Event, Lost, Outlet, Request, Suspended, Trouble
from zmqmq.core.writes import PutPromise, Write
from zmqmq.errors import ZmqmqError

SWEEP_INTERVAL = 0.25
"""Seconds between looks at in-sync sets that time alone may change."""


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What a member is told once."""

    storage_id: str
    previous_session: int = 0
    """Coordination session of the last life on this store."""
    copied: bool = False
    """The store was copied while a broker used it: it is not to be trusted until it is caught up."""
    has_data: bool = False
    rack: str = ""
    session_timeout: float = 4.0
    """Seconds; what the servers grant must be the same."""
    default_replicas: int = 0
    """0: three, or as many brokers as there are."""
    replication: ReplicationSettings = ReplicationSettings()


class Cluster:
    """Membership of one broker."""

    def __init__(
        self, context: Context, catalogue: Catalogue, housekeeping: Housekeeping, drop_topic: Callable[[str], object], membership: Membership
    ) -> None:
        """`drop_topic` makes a topic go, and tells its consumers."""
        settings = context.settings
        self.context = context
        self.catalogue = catalogue
        self.housekeeping = housekeeping
        self.drop_topic = drop_topic
        self.outlet = Outlet()
        self.mirror = Mirror(self.outlet)
        self.registrar = Registrar(self.outlet, self._registration(membership))
        self.controller = Controller(self.outlet, settings.broker_id)
        self.topic_writes = TopicWrites(self.outlet, settings.broker_id)
        self.roles = Roles(context, catalogue, self.me, membership.replication.max_lag)
        self.replication = Replication(context, self.roles, membership.replication, self.me)
        self.following = Following(self)
        learned, touch, heard = self.following.learn, self.roles.touch, self.replication.heard
        self.agreements = Agreements(context, catalogue, self.outlet, self.mirror, learned, touch, heard, self._nonce)
        self.desk = ClusterDesk(self, membership.default_replicas)
        self.moving_in = MovingIn(self)
        self.damages = Damages(context, self.roles, self.agreements, lambda: self.view, self.me)
        self.obituaries = Obituaries()
        self.retiring = False
        self.when_written: list[Callable[[], None]] = []
        """Called once this turn is on disk, whether this broker may speak or not."""
        self._names = 0
        self._next_sweep = 0.0
        self._peers: dict[str, str] | None = None
        self._brokers: Mapping[str, BrokerInfo] | None = None
        """What `_peers` was made of."""
        catalogue.is_shared = True
        context.leader_of = self.leader_of
        context.damaged = self.damages.found

    def _registration(self, membership: Membership) -> Registration:
        settings = self.context.settings
        return Registration(
            broker_id=settings.broker_id,
            incarnation=settings.incarnation,
            storage_id=membership.storage_id,
            cluster_id=settings.cluster_id,
            has_data=membership.has_data,
            copied=membership.copied,
            previous_session=membership.previous_session,
            endpoint=settings.endpoint,
            wake_endpoint=settings.wake_endpoint,
            rack=membership.rack,
            software=settings.software,
            session_timeout=membership.session_timeout,
        )

    # --- who we are ------------------------------------------------------------------------------------------------

    @property
    def view(self) -> ClusterView:
        return self.mirror.view

    @property
    def fatal(self) -> ZmqmqError | None:
        """Why this broker cannot be a member, ever, as it is configured."""
        return self.registrar.fatal

    def me(self) -> Member | None:
        """This broker's present registration."""
        return self.registrar.me

    def may_serve(self, now: float) -> bool:
        """Whether the lease of leadership is valid: nobody else can have been appointed yet."""
        return self.registrar.lease_valid(now)

    def leader_of(self, topic_id: int, partition: int) -> Leadership:
        """Who leads, as far as is known here."""
        entry = self.view.places.get((topic_id, partition))
        if entry is None or not entry.place.leader:
            return Leadership("", "", entry.place.epoch if entry is not None else 0)
        info = self.view.brokers.get(entry.place.leader)
        replica = self.roles.get((topic_id, partition))
        releasing = replica is not None and replica.role is Role.RELEASING and entry.place.epoch == replica.epoch
        if info is None or releasing:
            return Leadership("", "", entry.place.epoch)
        return Leadership(entry.place.leader, info.endpoint, entry.place.epoch)

    def _nonce(self) -> str:
        self._names += 1
        return f"{self.context.settings.broker_id}/{self.following.was.be if self.following.was else 0}/{self._names}"

    # --- life ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes over what is on disk; roles come with the registration."""
        self.roles.open()

    def hear(self, event: Event) -> None:
        """Something has happened in the tree."""
        now = self.context.now
        if isinstance(event, Answered):
            self.outlet.hear(event)
            return
        if isinstance(event, Trouble):
            return
        if isinstance(event, Suspended | Lost):
            self.context.note("coordination", state=type(event).__name__.lower())
        self.mirror.hear(event, now)
        self.registrar.hear(event, now)
        self.controller.hear(event)
        self.topic_writes.hear(event)

    def tick(self) -> None:
        """Lets time pass, and follows the cluster."""
        now = self.context.now
        self.registrar.tick(now)
        self.mirror.tick(now)
        self.topic_writes.tick(now)
        self.following.registration()
        self.following.changes()
        self.damages.step()
        self.moving_in.step()
        self.controller.step(self.view, self.me(), now, self.context.wall)
        self.desk.step()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL
            self.following.sweep()

    # --- other brokers ---------------------------------------------------------------------------------------------

    def asked(self, address: bytes, command: Fetch | AskSnapshot) -> None:
        """Another broker asks."""
        if isinstance(command, Fetch):
            self.replication.fetch(address, command)
        else:
            self.replication.ask_snapshot(address, command)

    def answered(self, broker: str, command: Command) -> None:
        """Another broker answers."""
        if isinstance(command, Fetched):
            self.replication.fetched(broker, command)
        elif isinstance(command, Snapshot):
            self.replication.snapshot(broker, command)

    def connected(self, broker: str) -> None:
        """The connection to another broker is new, or lost."""
        self.replication.connected(broker)

    def refused(self, broker: str, endpoint: str) -> None:
        """Nobody listens where another broker should: its process is dead, and its registration need not wait for a timeout."""
        self.replication.connected(broker)
        info = self.view.brokers.get(broker)
        if info is None or info.endpoint != endpoint or self.me() is None:
            return
        if self.obituaries.is_believed(info):
            self.context.note("obituary", broker=broker, endpoint=endpoint)
            self.registrar.bury(info, self.view)
        elif self.obituaries.find_wrong(info):
            self.context.note("wrong obituary", broker=broker, endpoint=endpoint, effect="it lives: that its address refuses here proves nothing any more")

    def take_silent(self) -> list[str]:
        """Brokers to which the connection should be made anew."""
        silent, self.replication.silent = self.replication.silent, []
        return silent

    def take_peers(self) -> Mapping[str, str] | None:
        """Endpoints of all other brokers, if they have changed since the last call."""
        if self.view.brokers == self._brokers:
            return None
        self._brokers = self.view.brokers
        peers = {broker: info.endpoint for broker, info in self.view.brokers.items() if broker != self.context.settings.broker_id}
        if self._peers == peers:
            return None
        self._peers = peers
        return peers

    # --- a turn's end ----------------------------------------------------------------------------------------------

    def take_touched(self) -> dict[Partition, None]:
        """Partitions that are not open for clients and take part in this turn."""
        copies, self.roles.copies = self.roles.copies, {}
        return copies

    def is_here(self, partition: Partition) -> bool:
        """Whether this is still the state of a partition here."""
        return self.roles.of(partition) is not None

    def still_wanted(self, carried: list[Write]) -> list[Write]:
        """Of what an earlier turn could not write, that which belongs to no leadership that has ended since. What was promised stays so."""
        closed, self.roles.closed = self.roles.closed, set()
        return [write for write in carried if getattr(write, "log_id", None) not in closed or (isinstance(write, PutPromise) and self.roles.has(write.log_id))]

    def note(self, partition: Partition, writes: Sequence[Write]) -> None:
        """What this turn writes of a partition."""
        replica = self.roles.of(partition)
        if replica is not None:
            self.replication.note(replica, writes)

    def ahead(self, partitions: Iterable[Partition]) -> tuple[list[tuple[bytes, Fetched]], list[Partition]]:
        """What followers may have before this turn is on disk here, and of which partitions."""
        led = [replica for partition in partitions if (replica := self.roles.of(partition)) is not None and replica.role is Role.LEADER]
        answers = self.replication.ahead(led)
        told = {(part.topic_id, part.partition) for _, answer in answers for part in answer.parts if part.blocks}
        return answers, [replica.partition for replica in led if replica.key in told]

    def persisted(self, copies: dict[Partition, None], now: float) -> dict[Partition, None]:
        """This turn is on disk, for partitions that are not open for clients; gives those that wait for the lease to open."""
        waiting: dict[Partition, None] = {}
        calls, self.when_written = self.when_written, []
        for call in calls:
            call()
        for partition in copies:
            replica = self.roles.of(partition)
            if replica is None:
                continue
            self.replication.persisted(replica)
            self.replication.news(replica)
            if replica.role is Role.OPENING and self.replication.is_open(replica):
                if self.may_serve(now):
                    self._open(replica)
                else:
                    waiting[partition] = None
        return waiting

    def _open(self, replica: Replica) -> None:
        replica.partition.persisted(self.context.wall)
        self.roles.activate(replica)
        self.housekeeping.begin_leading(replica.partition)
        self.context.opened[replica.partition] = None

    def committed(self, partitions: Mapping[Partition, None]) -> None:
        """More may be committed of these, which are led here."""
        for partition in partitions:
            replica = self.roles.of(partition)
            if replica is not None:
                self.replication.news(replica)

    def speak(self) -> None:
        """Everything of this turn is on disk: agreements are sought, followers answered, leaders asked."""
        examine, self.replication.examine = self.replication.examine, {}
        for key in examine:
            replica = self.roles.get(key)
            if replica is not None:
                self.agreements.review(replica, self.view)
        releasing = [replica for key in self.agreements.releasing if (replica := self.roles.get(key)) is not None]
        self.agreements.step(releasing, self.view, self.context.settings.broker_id)
        self.replication.follow()
        self.replication.speak()

    def drop(self, writes: list[Write]) -> list[Write]:
        """The disk is full."""
        return self.replication.drop(writes)

    def give_way(self, writes: list[Write]) -> list[Write]:
        """Not even what followers may have already can be written: this broker gives up what it leads, in the one way that needs nobody's consent. Their
        next leaders tell what became of it."""
        self.registrar.start_over("the disk is full")
        self.following.registration()
        return self.still_wanted(writes)

    def take_output(self) -> tuple[Sequence[tuple[str, Command]], Sequence[tuple[int, Request]]]:
        """Questions to other brokers, and requests to the tree."""
        questions, self.replication.questions = self.replication.questions, []
        return questions, self.outlet.take()

    def deadline(self) -> float:
        """When time changes something here."""
        offices = min(self.registrar.deadline(), self.mirror.deadline(), self.controller.deadline(), self.topic_writes.deadline())
        return min(self._next_sweep, offices, self.replication.deadline(), self.damages.deadline())

    # --- the end ---------------------------------------------------------------------------------------------------

    def retire(self) -> None:
        """The broker will stop: it hands its leaderships over."""
        self.retiring = True
        self._next_sweep = 0.0

    @property
    def is_retired(self) -> bool:
        """Whether there is nothing left to hand over to anybody."""
        return self.me() is None or not any(replica.leads and self._has_heir(replica) for replica in self.roles)

    def _has_heir(self, replica: Replica) -> bool:
        return replica.role is Role.RELEASING or self.agreements.successor(replica, self.view, (self.context.settings.broker_id,)) is not None

    def close(self) -> None:
        """Writes down what followers have applied."""
        self.registrar.resign()
        for replica in self.roles:
            if not replica.leads and replica.partition.is_dirty() and not replica.installing:
                self.roles.snapshot(replica)
