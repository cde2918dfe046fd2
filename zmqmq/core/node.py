"""The broker without its body: commands and time in, writes and frames-to-be out. Pure and deterministic.

One turn, as the loop drives it (`zmqmq.broker`):

    begin(now, wall)            the clock, read once
    receive(address, command)   any number of times
    tick()                      let time pass: retries, delays, sessions, retention, snapshots, beacons
    take_writes()               what must be on disk before anybody hears of it
    ahead()                     what followers may write at the same time
    persisted()                 it is: confirm, apply, deliver, wake
    take_output()               what to send and publish
    deadline()                  when the next turn is due at the latest

Answers that promise something are made in `persisted`, so the order "persist, then send" cannot be got wrong
from outside. If the disk is full, `drop_appends` takes the turn's messages back, except what went ahead, and the operations go on alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from zmqmq.core.administration import Administration
from zmqmq.core.catalogue import Catalogue
from zmqmq.core.cluster import Cluster, Membership
from zmqmq.core.commands import Beacon, Command, Farewell, Hello, Pong, Recalled, WhoAreYou
from zmqmq.core.consumers import Consumers
from zmqmq.core.context import Context, NodeSettings
from zmqmq.core.greeting import Greeting
from zmqmq.core.housekeeping import Housekeeping
from zmqmq.core.intake import DISK_FULL, DISK_FULL_HINT, Intake
from zmqmq.core.overview import Figures, Overview
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import AskSnapshot, Fetch
from zmqmq.core.routes import routes
from zmqmq.core.serving import Serving
from zmqmq.core.sessions import Session
from zmqmq.core.tree import Event, Request
from zmqmq.core.writes import AppendDelayed, AppendMessages, AppendOperation, Reader, Write
from zmqmq.errors import ClusterMismatch, StorageFull, ZmqmqError

Handler = Callable[[Session, Any], None]
RETRY_INTERVAL = 0.05
"""Seconds until a turn that could not be written at all is tried again, if nothing else happens."""


class Output(NamedTuple):
    """What leaves the node after a turn: (address, command) for the ROUTER; wake-ups (frames) and beacons for the PUB socket."""

    sends: list[tuple[bytes, Command]]
    publishes: list[bytes | Beacon]
    events: list[tuple[str, dict[str, object]]]
    """(event, facts) for the broker's log: one per session, topic or role that comes or goes, none per message."""
    questions: Sequence[tuple[str, Command]] = ()
    """(broker, command) for other brokers."""
    requests: Sequence[tuple[int, Request]] = ()
    """For the tree that coordinates the cluster."""
    peers: Mapping[str, str] | None = None
    """Endpoints of all other brokers, when they have changed."""
    silent: Sequence[str] = ()
    """Brokers to which the connection should be made anew."""


class Node:
    """One broker's decisions."""

    def __init__(self, settings: NodeSettings, reader: Reader, random: Callable[[], float], membership: Membership | None = None) -> None:
        """With `membership` the broker is a member of a cluster; without, it stands alone."""
        self.context = Context(settings, reader, random)
        self.catalogue = Catalogue(self.context)
        self.consumers = Consumers(self.context, self.catalogue)
        self.serving = Serving(self.context)
        self.intake = Intake(self.context, self.catalogue)
        self.administration = Administration(self.context, self.catalogue, self.consumers)
        self.housekeeping = Housekeeping(self.context, self.catalogue, self.consumers)
        self.cluster = self._join(membership) if membership is not None else None
        self.overview = Overview(self.context, self.catalogue, self.serving, self.cluster)
        self.greeting = Greeting(self.context, self.consumers, lambda: self.overview.figures.loop_lag)
        self._committing: dict[Partition, None] = {}
        self._copying: dict[Partition, None] = {}
        self._carried: list[Write] = []
        self._ahead: dict[Partition, None] = {}
        """Partitions of which followers may have what is not on disk here."""
        self._retry_at = 0.0
        self._unfinished = False
        self._handlers = routes(self)

    def _join(self, membership: Membership) -> Cluster:
        return Cluster(self.context, self.catalogue, self.housekeeping, self.administration.drop_topic, membership)

    # --- a turn ----------------------------------------------------------------------------------------------------

    def open(self, now: float, wall: float) -> None:
        """Takes over what is stored and begins to lead it. Its writes belong to the first turn."""
        self.begin(now, wall)
        self.context.started = now
        if self.cluster is not None:
            self.cluster.open()
        else:
            self.catalogue.open()
        self.housekeeping.open()

    def begin(self, now: float, wall: float) -> None:
        """The moment of this turn: monotonic seconds and broker time."""
        self.context.now = now
        self.context.wall = wall

    def receive(self, address: bytes, command: Command) -> None:
        """One command from the connection `address`."""
        if isinstance(command, Hello):
            self.greeting.hello(address, command)
            return
        if isinstance(command, Fetch | AskSnapshot):
            self._peer(address, command)
            return
        session = self.context.sessions.at(address)
        if session is None:
            self.context.reply(address, WhoAreYou())
            return
        session.heard = self.context.now
        try:
            self._handlers[type(command)](session, command)
        except ZmqmqError as error:
            request = getattr(command, "id", 0)
            self.context.refuse(address, request, error)

    def _peer(self, address: bytes, command: Fetch | AskSnapshot) -> None:
        if self.cluster is None:
            error = ClusterMismatch(f"broker {command.broker!r} fetches from a broker that stands alone", hint="give both the same `zookeeper` section")
            self.context.refuse(address, command.id, error)
        else:
            self.cluster.asked(address, command)

    def hear(self, event: Event) -> None:
        """Something has happened in the tree that coordinates the cluster."""
        if self.cluster is not None:
            self.cluster.hear(event)

    def answered(self, broker: str, command: Command) -> None:
        """Another broker answers."""
        if self.cluster is not None:
            self.cluster.answered(broker, command)

    def connected(self, broker: str) -> None:
        """The connection to another broker is new, or lost."""
        if self.cluster is not None:
            self.cluster.connected(broker)

    def refused(self, broker: str, endpoint: str) -> None:
        """Nobody listens where another broker should."""
        if self.cluster is not None:
            self.cluster.refused(broker, endpoint)

    @property
    def fatal(self) -> ZmqmqError | None:
        """Why this broker has to stop: the cluster does not take it."""
        return self.cluster.fatal if self.cluster is not None else None

    def retire(self) -> None:
        """The broker will stop: what it leads is handed over."""
        if self.cluster is not None:
            self.cluster.retire()

    @property
    def is_retired(self) -> bool:
        """Whether nothing is left to hand over."""
        return self.cluster is None or self.cluster.is_retired

    def tick(self) -> None:
        """Lets time pass."""
        if self.cluster is not None:
            self.cluster.tick()
        self.housekeeping.tick()

    def take_writes(self) -> list[Write]:
        """The turn's writes, in order; after them `persisted` (or `drop_appends`) must be called."""
        context = self.context
        carried = self._carried if self.cluster is None else self.cluster.still_wanted(self._carried)
        writes, context.writes = [*carried, *context.writes], []
        self._carried = []
        if self.cluster is not None:
            writes += self._copies(self.cluster)
        self._committing.update(context.touched)  # those of a turn that could not be written are still there
        self._committing = {partition: None for partition in self._committing if not partition.closed}
        context.touched = {}
        for partition in self._committing:
            taken = partition.take_writes()
            writes += taken
            if self.cluster is not None:
                self.cluster.note(partition, taken)
        return writes

    def _copies(self, cluster: Cluster) -> list[Write]:
        """What partitions that are not open for clients here have to write."""
        self._copying.update(cluster.take_touched())
        self._copying = {partition: None for partition in self._copying if cluster.is_here(partition)}
        writes: list[Write] = []
        for partition in self._copying:
            taken = partition.take_writes()
            writes += taken
            cluster.note(partition, taken)
        return writes

    def ahead(self) -> Sequence[tuple[bytes, Command]]:
        """Answers with records of this turn, for followers in sync: to be sent at once, while the turn is written here. They cannot be
        taken back any more, so it is not for a disk that may be too full for the turn."""
        if self.cluster is None or self.context.storage_full:
            return []
        answers, partitions = self.cluster.ahead(self._committing)
        self._ahead.update(dict.fromkeys(partitions))
        return answers

    def carry(self, writes: list[Write]) -> None:
        """Not even these could be written: they come first in the next turn."""
        self._carried = writes
        self._retry_at = self.context.now + RETRY_INTERVAL

    @property
    def is_carrying(self) -> bool:
        """Whether something of an earlier turn is not on disk yet."""
        return bool(self._carried)

    def drop_appends(self, writes: list[Write]) -> list[Write]:
        """The disk is full: refuses the turn's messages and returns the writes that remain. What followers may have already cannot be refused: its
        partitions, and all others that are led here, are left to other leaders."""
        error = StorageFull(DISK_FULL, hint=DISK_FULL_HINT, broker=self.context.settings.broker_id)
        if self.cluster is not None:
            writes = self.cluster.drop(writes)
            if self._ahead:
                writes = self._give_way(self.cluster, writes)
        dropped = {(partition.log.log_id, offset) for partition in self._committing for offset in partition.drop_appends(error)}
        return [
            write
            for write in writes
            if not isinstance(write, AppendMessages | AppendDelayed)
            and not (isinstance(write, AppendOperation) and (write.log_id, write.offset) in dropped)
        ]

    def _give_way(self, cluster: Cluster, writes: list[Write]) -> list[Write]:
        writes = cluster.give_way(writes)
        self._ahead.clear()
        self._committing = {partition: None for partition in self._committing if not partition.closed}
        self._copying = {partition: None for partition in self._copying if cluster.is_here(partition)}
        return writes

    def persisted(self, now: float) -> None:
        """The writes are on disk, `now` is the moment after that: everything that waited for it happens now, as far as this broker may still speak."""
        context = self.context
        self._ahead.clear()
        if self.cluster is not None:
            self._copying = self.cluster.persisted(self._copying, now)
            if not self.cluster.may_serve(now):
                for partition in self._committing:
                    partition.written()  # a later turn that cannot be written must not take it back
                self.cluster.speak()
                self._answer()  # what only asks; nothing is confirmed or delivered
                return
        committing, self._committing = self._committing, {}
        committing.update(context.opened)
        context.opened = {}
        for partition in committing:
            partition.persisted(context.wall)
            self.housekeeping.settle_in(partition)
            self._tell_recalls(partition)
        if self.cluster is not None:
            self.cluster.committed(committing)
            self.cluster.speak()
        self.housekeeping.write_down()
        self.housekeeping.delete()
        self._answer()
        self._unfinished = self.serving.serve()
        self.serving.announce([*committing, *(partition for partition in context.touched if partition not in committing)])
        self.housekeeping.reschedule([*committing, *context.touched])
        context.touched.update((partition, None) for partition in committing if partition.writes)  # applied operations change tables

    def _answer(self) -> None:
        calls, self.context.after_turn = self.context.after_turn, []
        for call in calls:
            call()

    def _tell_recalls(self, partition: Partition) -> None:
        recalls, partition.recalls = partition.recalls, []
        for group, member, lease, offsets in reversed(recalls):  # later messages of a key before earlier ones
            session = self.context.sessions.of(member)
            hub = self.context.hubs.get((partition.topic.name, group))
            if session is not None and hub is not None:
                self.context.send(session, Recalled(hub.number, partition.number, partition.log.epoch, lease, offsets))

    def take_output(self) -> Output:
        """What to send now, in order."""
        context = self.context
        questions, requests = self.cluster.take_output() if self.cluster is not None else ((), ())
        peers = self.cluster.take_peers() if self.cluster is not None else None
        if self.cluster is not None and not self.cluster.may_serve(context.now):
            self._hush()
        silent = self.cluster.take_silent() if self.cluster is not None else ()
        output = Output(context.sends, context.publishes, context.events, questions, requests, peers, silent)
        context.sends, context.publishes, context.events = [], [], []
        return output

    def _hush(self) -> None:
        """Without a lease nothing may make a consumer believe that what it holds is still its own: whatever it hears from its leader prolongs its
        session, and the next leader waits for it no longer than a session lasts. A beacon says "I serve": whoever misses it looks elsewhere."""
        context = self.context
        context.publishes = []
        context.sends = [
            (address, command)
            for address, command in context.sends
            if not isinstance(command, Pong) and ((session := context.sessions.at(address)) is None or not session.queues)
        ]

    def deadline(self) -> float:
        """Monotonic time of the next turn at the latest."""
        context = self.context
        serves = self.cluster is None or self.cluster.may_serve(context.now)
        if self._carried:
            return self._retry_at  # what is due waits for it
        if context.after_turn or context.writes or context.touched or (self._unfinished and serves):
            return context.now
        deadline = self.housekeeping.deadline()
        return deadline if self.cluster is None else min(deadline, self.cluster.deadline())

    # --- the shell's side ------------------------------------------------------------------------------------------

    def refuse_frame(self, address: bytes, error: ZmqmqError) -> None:
        """A frame that could not be read: the sender is told why."""
        self.context.refuse(address, 0, error)

    def set_storage_full(self, full: bool) -> None:
        """Whether messages are refused because the disk is full."""
        self.context.storage_full = full

    def set_figures(self, figures: Figures) -> None:
        """What the shell measured, for status requests."""
        self.overview.figures = figures

    def close(self) -> None:
        """The broker stops: sessions are told, everything is written down. Leases stay with those who hold them."""
        for session in self.context.sessions:
            self.context.send(session, Farewell(0))
        self.housekeeping.snapshot_all()
        if self.cluster is not None:
            self.cluster.close()
