"""What the desks of a node share: settings, state, the moment, and what goes out. Data and small helpers, no decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import msgspec

from zmqmq.core.commands import Beacon, Command, Refused
from zmqmq.core.hub import Hub
from zmqmq.core.model import GroupLimits, Limits, TopicSettings
from zmqmq.core.partition import Partition
from zmqmq.core.sessions import Session, SessionTable
from zmqmq.core.writes import Reader, Write
from zmqmq.errors import ZmqmqError


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is told once. Times in seconds."""

    broker_id: str
    cluster_id: str
    incarnation: int
    endpoint: str
    """Address that clients are told to use."""
    wake_endpoint: str
    software: str
    auto_create: bool = True
    default_partitions: int = 1
    defaults: TopicSettings = TopicSettings()
    limits: Limits = Limits()
    group_limits: GroupLimits = GroupLimits()
    session_timeout: float = 10.0
    max_sessions: int = 10_000
    max_topics: int = 10_000
    max_partitions: int = 20_000
    max_uncommitted: int = 200_000
    """Records of a partition on this broker's disk that its followers do not have; beyond it no more messages are accepted."""
    max_groups: int = 1_000
    """Groups per topic."""
    beacon_interval: float = 1.0
    delete_bytes: int = 2 << 20
    """Bytes of messages deleted in one turn, about; the disk must have as much room for the transaction."""
    producer_idle_max: float = 7 * 86400.0
    """Seconds after which an idle producer is forgotten; a batch that it repeats later would be taken as new."""
    max_producers: int = 100_000
    """Producers remembered per partition."""


class Leadership(NamedTuple):
    """Who leads a partition; "" if nobody does."""

    leader: str
    endpoint: str
    epoch: int


class Counters:
    """Messages since the start of the process."""

    __slots__ = ("accepted", "delivered", "settled")

    def __init__(self) -> None:
        self.accepted = 0
        self.delivered = 0
        self.settled = 0


class Context:
    """State that every desk works on."""

    def __init__(self, settings: NodeSettings, reader: Reader, random: Callable[[], float]) -> None:
        self.settings = settings
        self.reader = reader
        self.random = random
        self.sessions = SessionTable(settings.session_timeout, settings.max_sessions)
        self.hubs: dict[tuple[str, str], Hub] = {}
        self.hub_numbers: dict[int, Hub] = {}
        self._last_hub = 0
        self.now = 0.0
        """Monotonic seconds: sessions, leases, beacons."""
        self.wall = 0.0
        """Broker time, seconds since 1970 UTC, never going back: timestamps, delays, retries, ages."""
        self.started = 0.0
        self.version = 0
        """The news counter."""
        self.sends: list[tuple[bytes, Command]] = []
        self.publishes: list[bytes | Beacon] = []
        """Wake-ups as frames, beacons as what they say."""
        self.events: list[tuple[str, dict[str, object]]] = []
        """What the operator should read in the log: sessions and topics that come and go."""
        self.writes: list[Write] = []
        """Changes of topics; partitions keep their own."""
        self.touched: dict[Partition, None] = {}
        self.pullers: dict[str, Session] = {}
        """Sessions whose pull is to be answered at the end of the turn."""
        self.after_turn: list[Callable[[], None]] = []
        """Called once this turn is on disk."""
        self.storage_full = False
        self.counters = Counters()
        self.leader_of: Callable[[int, int], Leadership] = lambda topic_id, partition: Leadership("", "", 0)
        """Who leads a partition that is not led here, as far as this broker knows."""
        self.damaged: Callable[[Partition, str], bool] = lambda partition, reason: False
        """A record was read whose checksum does not match. True: another replica has it, so it must only be left alone; False: it is lost."""
        self.opened: dict[Partition, None] = {}
        """Partitions that this broker has begun to lead in this turn."""
        self.latest = 0.0
        """The newest broker time that other brokers have stamped, as far as was seen: what this one stamps comes after it."""

    def note(self, event: str, **facts: object) -> None:
        self.events.append((event, facts))

    def touch(self, partition: Partition) -> Partition:
        """The partition takes part in this turn."""
        partition.time = self.wall
        self.touched[partition] = None
        return partition

    def send(self, session: Session, command: Command) -> None:
        """To wherever the session is connected when the turn ends."""
        if self.sessions.of(session.client_id) is session:
            self.sends.append((session.address, command))

    def reply(self, address: bytes, command: Command) -> None:
        self.sends.append((address, command))

    def refuse(self, address: bytes, request: int, error: ZmqmqError) -> None:
        self.sends.append((address, Refused(request, error.code, error.message, error.hint, error.details)))

    def when_committed(self, partitions: Iterable[Partition], then: Callable[[], None], lost: Callable[[ZmqmqError], None]) -> None:
        """Calls `then` when what these partitions have appended so far is committed on all of them; `lost` instead, once, if the leadership of one
        ends before."""
        is_lost = False

        def not_here(partition: Partition, error: ZmqmqError) -> None:
            nonlocal is_lost
            if not is_lost:
                is_lost = True
                lost(error)

        self.when_known(partitions, lambda: None if is_lost else then(), not_here)

    def when_known(self, partitions: Iterable[Partition], then: Callable[[], None], not_here: Callable[[Partition, ZmqmqError], None] | None = None) -> None:
        """Calls `then` when what each of these partitions has appended so far is committed, or its leadership has ended before, as `not_here` is told."""
        waiting = list(partitions)
        left = len(waiting)
        if not left:
            self.after_turn.append(then)
            return

        def one_less() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                then()

        def ended(partition: Partition, error: ZmqmqError) -> None:
            if not_here is not None:
                not_here(partition, error)
            one_less()

        for partition in waiting:
            self.touch(partition).after_commit(one_less, partial(ended, partition))

    def drop_hub(self, hub: Hub) -> None:
        """The topic or the group is gone; nobody may refer to the hub any more."""
        for session in hub.subscribers.values():
            session.queues.pop(hub.number, None)
        self.hubs.pop((hub.topic, hub.group), None)
        self.hub_numbers.pop(hub.number, None)

    def hub(self, topic: str, group: str, partitions: dict[int, Partition]) -> Hub:
        """The hub of a group on a topic, a new one if need be."""
        hub = self.hubs.get((topic, group))
        if hub is None:
            self._last_hub += 1
            hub = Hub(self._last_hub, topic, group)
            self.hubs[topic, group] = self.hub_numbers[hub.number] = hub
        hub.partitions = partitions
        return hub
