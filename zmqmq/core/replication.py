"""Replication: every partition of this broker in its role, turn by turn.

    a leader      takes followers' questions, knows what is committed by them, and answers when there is news
    a follower    asks each leader broker one question for all partitions, appends the answers, and asks again when they are on disk

Nothing is reported or asked before the turn is on disk (`persisted`): a follower reports only what a crash cannot take away, and a
leader counts for itself only that. Records alone may go out to followers while they are written here (`ahead`): they are of this
leadership, and who leads next tells by the epochs what became of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from zmqmq.core.commands import Command
from zmqmq.core.context import Context
from zmqmq.core.feeding import Feeder, Tail
from zmqmq.core.fetching import Fetcher
from zmqmq.core.follower import is_current, take
from zmqmq.core.peer_commands import AskSnapshot, Fetch, Fetched, FetchedPart, Snapshot
from zmqmq.core.places import Member
from zmqmq.core.replica import APPENDS, Key, Replica, Role
from zmqmq.core.roles import Roles
from zmqmq.core.writes import LogState, Reader, Write
from zmqmq.errors import ClusterMismatch

ABSORB_BYTES = 256 << 10
"""Bytes that a follower lets come together before it applies what is committed of them; what is less waits for the next sweep."""
FULL_DISK_PAUSE = 0.2
"""Seconds until a follower asks again for what its full disk could not take."""


class ReplicationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes."""

    max_lag: float = 4.0
    """A follower that was not caught up for so long leaves the in-sync set."""
    fetch_wait: float = 0.5
    """How long a leader may hold a fetch while there is nothing to tell."""
    fetch_bytes: int = 8 << 20
    catch_up_rate: float = 32 << 20
    """Bytes per second for followers that are not in sync, all together."""


class Replication:
    """The desk of brokers."""

    def __init__(self, context: Context, roles: Roles, settings: ReplicationSettings, me: Callable[[], Member | None]) -> None:
        self.context = context
        self.roles = roles
        self.settings = settings
        self.examine: dict[Key, None] = {}
        """Partitions whose followers have moved: the in-sync set may have to change."""
        self.questions: list[tuple[str, Command]] = []
        """(broker, command) to send when the turn is on disk."""
        self.silent: list[str] = []
        """Brokers that have not answered in time."""
        self._me = me
        self._number = 0
        self._absorbable: dict[Key, None] = {}
        """Partitions followed here of which something is to be applied."""
        self._fetchers: dict[str, Fetcher] = {}
        self._feeder = Feeder(context.reader, roles.get, settings.catch_up_rate, lambda replica, text: context.damaged(replica.partition, text))

    # --- as leader -------------------------------------------------------------------------------------------------

    def fetch(self, address: bytes, command: Fetch) -> None:
        """A follower broker reports what it has, and asks for what comes next."""
        if not self._is_ours(address, command):
            return
        for part in self._feeder.fetch(address, command, self.context.now):
            replica = self.roles.get((part.topic_id, part.partition))
            if replica is None or replica.leader is None or replica.epoch != part.epoch or part.installing >= 0:
                continue
            log = replica.partition.log
            epoch, end = log.end_of_epoch(part.last_epoch) if part.offset else (part.last_epoch, 0)
            if part.offset and (epoch != part.last_epoch or end < part.offset):
                continue  # its log differs from ours: it will be told, and what it has proves nothing
            replica.leader.fetched(command.broker, command.be, part.offset, log.durable, self.context.now)
            if (tail := self._feeder.tails.get(replica.key)) is not None:
                tail.forget(min((progress.offset for name, progress in replica.leader.followers.items() if name in replica.leader.isr), default=log.durable))
            self.roles.touch(replica)
            if part.offset >= log.durable:  # more, if what it got ahead could not be written here yet
                self._feeder.has_all(command.broker, replica.key)
            if command.broker not in replica.leader.isr:
                self.examine[replica.key] = None

    def _is_ours(self, address: bytes, command: Fetch | AskSnapshot) -> bool:
        ours = self.context.settings.cluster_id
        if command.cluster_id == ours:
            return True
        error = ClusterMismatch(f"broker {command.broker!r} belongs to cluster {command.cluster_id}, this one to {ours}", hint="check its configuration")
        self.context.refuse(address, command.id, error)
        return False

    def ask_snapshot(self, address: bytes, command: AskSnapshot) -> None:
        """A follower that is too far behind takes over the tables as they are on disk."""
        replica = self.roles.get((command.topic_id, command.partition))
        if not self._is_ours(address, command) or replica is None or replica.leader is None or replica.epoch != command.epoch:
            return
        snapshot = picture(self.context.reader, replica, command)
        self.context.after_turn.append(lambda: self.context.reply(address, snapshot))

    # --- as follower -----------------------------------------------------------------------------------------------

    def fetched(self, leader: str, answer: Fetched) -> None:
        """News from a leader broker."""
        me, fetcher = self._me(), self._fetchers.get(leader)
        if me is None or fetcher is None or not fetcher.is_answer(answer.be, answer, me.be):
            return
        for part in answer.parts:
            replica = fetcher.replicas.get((part.topic_id, part.partition))
            if replica is not None and is_current(replica, part):
                self._take(fetcher, replica, part)

    def _take(self, fetcher: Fetcher, replica: Replica, part: FetchedPart) -> None:
        if part.state == "trimmed":
            is_new = not replica.installing or part.start > replica.install_applied  # else it was answered before the snapshot was known
            me = self._me() if is_new else None
            question = fetcher.ask_snapshot(self.context.now, me.be, self._next(), replica.key, replica.epoch) if me is not None else None
            if question is not None:
                self.questions.append((fetcher.leader, question))
            return
        for block in part.blocks[-1:]:
            self.context.latest = max(self.context.latest, block.time)
        take(replica, part)
        if replica.damage:
            self.roles.fail(replica, replica.damage)
        self.roles.touch(replica)

    def snapshot(self, leader: str, answer: Snapshot) -> None:
        """The tables that were asked for."""
        me, fetcher = self._me(), self._fetchers.get(leader)
        key = (answer.topic_id, answer.partition)
        if me is None or fetcher is None or answer.be != me.be or not fetcher.is_snapshot(answer.id, key):
            return
        replica = fetcher.replicas.get(key)
        if replica is None or replica.role is not Role.FOLLOWER or replica.epoch != answer.epoch:
            return
        if not is_wanted(replica, answer):
            fetcher.ask_snapshot_again(self.context.now, key)
            return
        self.roles.install(replica, answer)
        self.context.note("snapshot taken over", topic=replica.topic.name, partition=replica.key[1], start=answer.start)

    def connected(self, broker: str) -> None:
        """The connection to a broker is new, or gone: what was asked over the old one gets no answer."""
        if broker in self._fetchers:
            self._fetchers[broker].reset()

    def registered(self) -> None:
        """A new registration: what was asked in the old one is void."""
        for fetcher in self._fetchers.values():
            fetcher.reset()

    def follow(self) -> None:
        """Roles have changed: asks the leaders that there are now."""
        changed, self.roles.changed = self.roles.changed, {}
        for key in changed:
            replica = self.roles.get(key)
            leader = replica.place.leader if replica is not None and replica.role is Role.FOLLOWER and not replica.spoiled else ""
            for broker, fetcher in self._fetchers.items():
                if broker != leader:
                    fetcher.leave(key)
            if replica is not None and leader:
                self._fetcher(leader).follow(replica)
            if replica is None or not replica.leads:
                self._feeder.tails.pop(key, None)
            self._feeder.news(key)

    def _fetcher(self, leader: str) -> Fetcher:
        if leader not in self._fetchers:
            settings = self.context.settings
            self._fetchers[leader] = Fetcher(settings.cluster_id, settings.broker_id, leader, self.settings.fetch_wait, self.settings.fetch_bytes)
        return self._fetchers[leader]

    def _next(self) -> int:
        self._number += 1
        return self._number

    # --- the end of a turn -----------------------------------------------------------------------------------------

    def note(self, replica: Replica, writes: Iterable[Write]) -> None:
        """What this turn writes of a partition that is led here: followers will want it next."""
        if replica.leads and len(replica.place.replicas) > 1:
            tail = self._feeder.tails.setdefault(replica.key, Tail())
            for write in writes:
                tail.note(write)

    def ahead(self, replicas: Sequence[Replica]) -> list[tuple[bytes, Fetched]]:
        """Answers to followers with what this turn is about to write of partitions that are led here. What they get they may report, and then they
        count on it: from now on it must not be taken back."""
        return list(self._feeder.ahead(replicas))

    def drop(self, writes: list[Write]) -> list[Write]:
        """The disk is full: what followers have fetched in this turn is taken back; they ask again. What is led here is read from disk for them: not all
        that was noted gets there."""
        self._feeder.tails.clear()
        logs: dict[int, Replica] = {replica.log_id: replica for replica in self.roles if not replica.leads}  # whoever was a follower when they came
        for replica in logs.values():
            if replica.forget_unwritten() and (fetcher := self._fetchers.get(replica.place.leader)) is not None:
                fetcher.begin_again(self.context.now + FULL_DISK_PAUSE)
        return [write for write in writes if not (isinstance(write, APPENDS) and write.log_id in logs)]

    def persisted(self, replica: Replica) -> None:
        """A turn of a partition that is not open for clients is on disk."""
        log = replica.partition.log
        replica.partition.stored()
        if (fetcher := self._fetchers.get(replica.place.leader)) is not None:
            fetcher.moved(replica.key)
        if replica.installing and log.end >= replica.install_end:
            self.roles.installed(replica)
        elif replica.role is Role.FOLLOWER and not replica.installing:
            self._absorbable[replica.key] = None
            if replica.unapplied.size >= ABSORB_BYTES:
                self.absorb([replica.key])

    def absorb(self, keys: Iterable[Key] | None = None) -> None:
        """Applies what is committed of partitions that are followed here; all of them if none are named. Nobody waits for it, so it is done in bulk."""
        for key in list(self._absorbable) if keys is None else keys:
            self._absorbable.pop(key, None)
            replica = self.roles.get(key)
            if replica is not None and replica.role is Role.FOLLOWER and not replica.installing:
                self.roles.absorb(replica)

    def is_open(self, replica: Replica) -> bool:
        """Whether what the leader began with is committed, so that it may lead; applies all that came before."""
        log = replica.partition.log
        if replica.leader is None or log.committed < log.end:
            return False
        committed, log.committed = log.committed, replica.leader.start  # its own first record is applied as any leader's
        self.roles.absorb(replica)
        log.committed = committed
        return not (replica.spoiled or replica.damage)

    def news(self, replica: Replica) -> None:
        """More of the partition is on disk or committed."""
        if replica.leader is not None:
            has_records = replica.partition.log.durable > replica.leader.durable
            if has_records:
                replica.leader.advanced(replica.partition.log.durable, self.heard)
            self._feeder.news(replica.key, has_records)

    def heard(self, broker: str) -> float:
        """When the broker's last fetch came."""
        peer = self._feeder.peers.get(broker)
        return peer.heard if peer is not None else float("-inf")

    def heard_lately(self) -> set[str]:
        """This broker and those whose last fetch came so lately that whoever had everything then is in time."""
        since = self.context.now - self.settings.max_lag / 2
        return {self.context.settings.broker_id, *(broker for broker, peer in self._feeder.peers.items() if peer.heard >= since)}

    def speak(self) -> None:
        """Everything of this turn is on disk: answers and asks."""
        for address, answer in self._feeder.answers(self.context.now):
            self.context.reply(address, answer)
        me = self._me()
        if me is not None:
            for broker, fetcher in self._fetchers.items():
                question = fetcher.ask(self.context.now, me.be, self._number + 1)
                if fetcher.missed:
                    fetcher.missed = False
                    self.silent.append(broker)
                if question is not None:
                    self._next()
                    self.questions.append((broker, question))

    def deadline(self) -> float:
        """When something has to be said although nothing happens."""
        deadline = self._feeder.deadline()
        for fetcher in self._fetchers.values():
            deadline = min(deadline, fetcher.deadline())
        return deadline


def is_wanted(replica: Replica, answer: Snapshot) -> bool:
    """Whether what is here ends before the leader's records begin: anything else was reported, and others may count on it.

    While a snapshot is being taken over, nothing that is here was: only a later one helps, of which the leader keeps all that it does not tell."""
    reach = replica.install_applied if replica.installing else replica.partition.log.end
    return reach < max(answer.start, answer.trimmed)


def picture(reader: Reader, replica: Replica, question: AskSnapshot) -> Snapshot:
    """The partition's tables as they are on disk. Of leaderships that are not committed the next leader may know nothing; if they last, their records tell."""
    state: LogState = reader.log(replica.log_id)
    committed = replica.partition.log.committed
    return Snapshot(
        question.id,
        question.be,
        *replica.key,
        replica.epoch,
        state.start,
        state.applied,
        state.messages,
        state.size,
        state.delayed,
        [(epoch, start) for epoch, start in state.epochs if start < committed],
        [(producer, last, windows, time) for producer, last, windows, time in state.producers],
        [(group.group, group.floor, group.settled, group.failures, group.revived, group.lag, group.dead, group.voided) for group in state.groups],
        [(member.group, member.member, member.session_timeout) for member in state.members],
        list(reader.dead_rows(replica.log_id)),
        state.trimmed,
    )
