"""The broker without its body: commands and time in, writes and frames-to-be out. Pure and deterministic.

One turn, as the loop drives it (`zmqmq.broker`):

    begin(now, wall)            the clock, read once
    receive(address, command)   any number of times
    tick()                      let time pass: retries, delays, sessions, retention, snapshots, beacons
    take_writes()               what must be on disk before anybody hears of it
    persisted()                 it is: confirm, apply, deliver, wake
    take_output()               what to send and publish
    deadline()                  when the next turn is due at the latest

Answers that promise something are made in `persisted`, so the order "persist, then send" cannot be got wrong
from outside. If the disk is full, `drop_appends` takes the turn's messages back and the operations go on alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from zmqmq.core import admin_commands as admin
from zmqmq.core.administration import Administration
from zmqmq.core.catalogue import Catalogue
from zmqmq.core.commands import (
    VERSIONS_SPOKEN,
    Beacon,
    Command,
    Describe,
    Farewell,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Produce,
    Pull,
    Recalled,
    SessionReplaced,
    Settle,
    Subscribe,
    Welcome,
    WhoAreYou,
)
from zmqmq.core.consumers import Consumers
from zmqmq.core.context import Context, NodeSettings
from zmqmq.core.housekeeping import Housekeeping
from zmqmq.core.intake import DISK_FULL, DISK_FULL_HINT, Intake
from zmqmq.core.overview import Figures, Overview
from zmqmq.core.partition import Partition
from zmqmq.core.sessions import Session
from zmqmq.core.writes import AppendDelayed, AppendMessages, AppendOperation, Reader, Write
from zmqmq.errors import StorageFull, UnsupportedVersion, ZmqmqError

Handler = Callable[[Session, Any], None]


class Output(NamedTuple):
    """What leaves the node after a turn: (address, command) for the ROUTER; wake-ups (frames) and beacons for the PUB socket."""

    sends: list[tuple[bytes, Command]]
    publishes: list[bytes | Beacon]
    events: list[tuple[str, dict[str, object]]]
    """(event, facts) for the broker's log: one per session or topic that comes or goes, none per message."""


class Node:
    """One broker's decisions."""

    def __init__(self, settings: NodeSettings, reader: Reader, random: Callable[[], float]) -> None:
        self.context = Context(settings, reader, random)
        self.catalogue = Catalogue(self.context)
        self.consumers = Consumers(self.context, self.catalogue)
        self.intake = Intake(self.context, self.catalogue)
        self.administration = Administration(self.context, self.catalogue, self.consumers)
        self.overview = Overview(self.context, self.catalogue, self.consumers)
        self.housekeeping = Housekeeping(self.context, self.catalogue, self.consumers)
        self._committing: dict[Partition, None] = {}
        self._unfinished = False
        self._handlers: dict[type[Any], Handler] = self._route()

    def _route(self) -> dict[type[Any], Handler]:
        """Which desk handles which command. What only asks waits for the end of the turn."""
        changes: dict[type[Any], Handler] = {
            Ping: self._ping,
            Goodbye: self._goodbye,
            Describe: self.intake.describe,
            Produce: self.intake.produce,
            Subscribe: self.consumers.subscribe,
            Pull: self.consumers.pull,
            Settle: self.consumers.settle,
            admin.CreateTopic: self.administration.create_topic,
            admin.AlterTopic: self.administration.alter_topic,
            admin.DeleteTopic: self.administration.delete_topic,
            admin.DeleteGroup: self.administration.delete_group,
            admin.Seek: self.administration.seek,
            admin.Replay: self.administration.replay,
            admin.Purge: self.administration.purge,
        }
        asks: dict[type[Any], Handler] = {
            admin.ListTopics: self.overview.list_topics,
            admin.DescribePartitions: self.overview.describe_partitions,
            admin.ListGroups: self.overview.list_groups,
            admin.AskLag: self.overview.lag,
            admin.ListDead: self.overview.list_dead,
            admin.AskExplain: self.overview.explain,
            admin.AskStatus: self.overview.status,
            admin.ListBrokers: self.overview.brokers,
        }
        return changes | {kind: self._later(handler) for kind, handler in asks.items()}

    def _later(self, handler: Handler) -> Handler:
        def wait(session: Session, command: Any) -> None:
            def answer() -> None:
                try:
                    handler(session, command)
                except ZmqmqError as error:
                    self.context.refuse(session.address, command.id, error)

            self.context.after_turn.append(answer)

        return wait

    # --- a turn ----------------------------------------------------------------------------------------------------

    def open(self, now: float, wall: float) -> None:
        """Takes over what is stored and begins to lead it. Its writes belong to the first turn."""
        self.begin(now, wall)
        self.context.started = now
        self.catalogue.open()
        self.housekeeping.open()

    def begin(self, now: float, wall: float) -> None:
        """The moment of this turn: monotonic seconds and broker time."""
        self.context.now = now
        self.context.wall = wall

    def receive(self, address: bytes, command: Command) -> None:
        """One command from the connection `address`."""
        if isinstance(command, Hello):
            self._hello(address, command)
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

    def tick(self) -> None:
        """Lets time pass."""
        self.housekeeping.tick()

    def take_writes(self) -> list[Write]:
        """The turn's writes, in order; after them `persisted` (or `drop_appends`) must be called."""
        context = self.context
        writes, context.writes = context.writes, []
        self._committing.update(context.touched)  # those of a turn that could not be written are still there
        self._committing = {partition: None for partition in self._committing if not partition.closed}
        context.touched = {}
        for partition in self._committing:
            writes += partition.take_writes()
        return writes

    def drop_appends(self, writes: list[Write]) -> list[Write]:
        """The disk is full: refuses the turn's messages and returns the writes that remain."""
        error = StorageFull(DISK_FULL, hint=DISK_FULL_HINT, broker=self.context.settings.broker_id)
        dropped = {(partition.log.log_id, offset) for partition in self._committing for offset in partition.drop_appends(error)}
        return [
            write
            for write in writes
            if not isinstance(write, AppendMessages | AppendDelayed)
            and not (isinstance(write, AppendOperation) and (write.log_id, write.offset) in dropped)
        ]

    def persisted(self) -> None:
        """The writes are on disk: everything that waited for that happens now."""
        context = self.context
        committing, self._committing = self._committing, {}
        for partition in committing:
            partition.persisted(context.wall)
            self.housekeeping.settle_in(partition)
            self._tell_recalls(partition)
        self.housekeeping.write_down()
        self.housekeeping.delete()
        calls, context.after_turn = context.after_turn, []
        for call in calls:
            call()
        self._unfinished = self.consumers.serve()
        self.consumers.announce([*committing, *(partition for partition in context.touched if partition not in committing)])
        self.housekeeping.reschedule([*committing, *context.touched])
        context.touched.update((partition, None) for partition in committing if partition.writes)  # applied operations change tables

    def _tell_recalls(self, partition: Partition) -> None:
        recalls, partition.recalls = partition.recalls, []
        for group, member, lease, offsets in recalls:
            session = self.context.sessions.of(member)
            hub = self.context.hubs.get((partition.topic.name, group))
            if session is not None and hub is not None:
                self.context.send(session, Recalled(hub.number, partition.number, partition.log.epoch, lease, offsets))

    def take_output(self) -> Output:
        """What to send now, in order."""
        context = self.context
        output = Output(context.sends, context.publishes, context.events)
        context.sends, context.publishes, context.events = [], [], []
        return output

    def deadline(self) -> float:
        """Monotonic time of the next turn at the latest."""
        context = self.context
        if self._unfinished or context.after_turn or context.writes or context.touched:
            return context.now
        return self.housekeeping.deadline()

    # --- sessions --------------------------------------------------------------------------------------------------

    def _hello(self, address: bytes, command: Hello) -> None:
        context, settings = self.context, self.context.settings
        low, high = command.versions
        if low > VERSIONS_SPOKEN[1] or high < VERSIONS_SPOKEN[0]:
            spoken = f"{VERSIONS_SPOKEN[0]} to {VERSIONS_SPOKEN[1]}"
            error = UnsupportedVersion(f"the client speaks protocol {low} to {high}", hint=f"this broker speaks {spoken}; update the older side")
            context.refuse(address, 0, error)
            return
        try:
            session, replaced = context.sessions.open(address, command, context.now)
        except ZmqmqError as error:
            context.refuse(address, 0, error)
            return
        if session is None:
            context.reply(address, SessionReplaced())
            return
        if replaced is not None:
            context.reply(replaced, SessionReplaced())
        event = "session opened" if session.connected == context.now else "session resumed"
        context.note(event, client=session.client_id, name=session.name, epoch=session.epoch, software=session.software)
        context.reply(
            address,
            Welcome(
                min(high, VERSIONS_SPOKEN[1]),
                settings.cluster_id,
                settings.broker_id,
                settings.incarnation,
                session.epoch,
                settings.limits,
                session.timeout,
                settings.beacon_interval,
                settings.wake_endpoint,
                session.wake_name,
                settings.software,
                context.wall,
            ),
        )

    def _ping(self, session: Session, command: Ping) -> None:
        self.context.send(session, Pong(command.id, self.overview.figures.loop_lag))

    def _goodbye(self, session: Session, command: Goodbye) -> None:
        """Releases what the session holds; the farewell follows when that is committed."""
        concerned = self.consumers.leave_all(session, crashed=False, reason="goodbye")

        def farewell() -> None:
            self.context.send(session, Farewell(command.id))
            self.context.sessions.remove(session)
            self.context.note("session closed", client=session.client_id, name=session.name)

        self.context.when_committed(concerned, farewell)

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
