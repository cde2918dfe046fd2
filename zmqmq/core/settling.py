"""The consumer's decisions on their way to the brokers: everything acknowledged since the last turn goes in one Settle for each.

A verdict stays here until the broker that leads its partition has confirmed it. It is never repeated within a session (the repeat would be told that the
lease is gone): an answer that does not come ends the session by silence. On a new session, or under a new leader, the unconfirmed ones go again, under the
leases' new numbers, and only for messages that the broker still counts as held by us. A broker that decides nothing of a verdict, because the
partition is led elsewhere now, makes only that *addressee* wait: verdicts about other partitions, and for other brokers, go on.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from typing import NamedTuple

from zmqmq.core.backoff import Backoff
from zmqmq.core.commands import Outcome, Settle, Settled, Settlement
from zmqmq.core.held import LOST, SETTLED, SETTLING, Held
from zmqmq.core.subscription import Losses
from zmqmq.core.topology import Topology
from zmqmq.errors import NotLeader, ZmqmqError

MAX_SETTLES = 8
"""Settles without an answer at a time and broker; beyond it verdicts gather for the next one."""
Addressee = tuple[str, str, int]
"""(topic, broker, partition)"""
_Lease = tuple[int, int, int, int]
"""(queue, partition, epoch, lease): what names a lease at one broker."""


class Verdict(NamedTuple):
    """What the application decided about some messages of one lease."""

    held: Held
    indices: list[int]
    outcome: Outcome
    delay: float | None = None
    reason: str = ""


class _Sent(NamedTuple):
    """One Settle without an answer."""

    broker: str
    parts: list[tuple[Verdict, Settlement]]


class _Pause:
    """Until when a broker is told nothing about one partition: it could not take what it was told."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.resume_at = -inf
        self.backoff = Backoff(random)


class Settling:
    """All verdicts that have not been confirmed."""

    def __init__(self, topology: Topology, next_id: Callable[[], int], random: Callable[[], float]) -> None:
        self._topology = topology
        self._next_id = next_id
        self._random = random
        self._acked: list[Held] = []
        self._verdicts: deque[Verdict] = deque()
        self._sent: dict[int, _Sent] = {}
        self._pauses: dict[Addressee, _Pause] = {}

    @property
    def is_idle(self) -> bool:
        """Everything decided has been confirmed."""
        return not self._acked and not self._verdicts and not self._sent

    def ack(self, held: Held, index: int) -> None:
        """One message is done; its state is SETTLING already."""
        if not held.acks:
            self._acked.append(held)
        held.acks.append(index)

    def add(self, verdict: Verdict) -> None:
        """Some messages have an outcome; their states are SETTLING already."""
        self._gather()
        self._verdicts.append(verdict)

    def reopened(self, broker: str) -> None:
        """The session with a broker is over or a new one: what it has not confirmed goes again, first and in order."""
        self._pauses = {addressee: pause for addressee, pause in self._pauses.items() if addressee[1] != broker}
        self._take_back(lambda sent, held: sent.broker == broker)

    def presented(self, broker: str, helds: Collection[Held]) -> None:
        """A broker has answered what becomes of these leases: what was said about them to another one is said again, at once."""
        for held in helds:
            self._pauses.pop(_addressee(broker, held), None)
        marked = set(map(id, helds))
        if marked and self._sent:
            self._take_back(lambda sent, held: id(held) in marked)

    def _take_back(self, concerns: Callable[[_Sent, Held], bool]) -> None:
        self._gather()
        back: list[Verdict] = []
        for number, sent in list(self._sent.items()):
            rest = [part for part in sent.parts if not concerns(sent, part[0].held)]
            back += [verdict for verdict, _ in sent.parts if concerns(sent, verdict.held)]
            if rest:
                self._sent[number] = _Sent(sent.broker, rest)
            else:
                del self._sent[number]
        self._verdicts.extendleft(reversed(back))

    def step(self, now: float, lines: Sequence[str]) -> list[tuple[str, Settle]]:
        """The Settles to send now, and to whom."""
        self._gather()
        free = self._free(lines)
        if not self._verdicts or not free:
            return []
        parts: dict[str, list[tuple[Verdict, Settlement]]] = {}
        parked: list[Verdict] = []
        while self._verdicts:
            verdict = self._verdicts.popleft()
            broker, queue = verdict.held.subscription.routes.get(verdict.held.partition, ("", 0))
            if broker in free and now >= self._resume_at(broker, verdict.held):
                if (settlement := _settlement(verdict, queue)) is not None:
                    parts.setdefault(broker, []).append((verdict, settlement))
            elif broker or verdict.held.open:
                parked.append(verdict)
        self._verdicts.extend(parked)
        return [(broker, self._send(broker, some)) for broker, some in parts.items()]

    def _free(self, lines: Sequence[str]) -> set[str]:
        """The brokers that may get a Settle now."""
        return set(lines) - self._busy()

    def _busy(self) -> set[str]:
        """The brokers that have to answer first."""
        waiting = Counter(sent.broker for sent in self._sent.values())
        return {broker for broker, count in waiting.items() if count >= MAX_SETTLES}

    def _send(self, broker: str, parts: list[tuple[Verdict, Settlement]]) -> Settle:
        number = self._next_id()
        self._sent[number] = _Sent(broker, parts)
        return Settle(number, [settlement for _, settlement in parts])

    def settled(self, command: Settled, now: float) -> Losses | None:
        """Takes a confirmation; gives what was not carried out, or None if it confirms nothing of ours. What is to be repeated elsewhere goes again."""
        found = self._sent.pop(command.id, None)
        if found is None:
            return None
        missed: dict[_Lease, set[int] | None] = {}
        moved: set[_Lease] = set()
        elsewhere = set(command.elsewhere)
        for number, lost in enumerate(command.lost):
            if number in elsewhere:
                moved.add(_lease_of(lost))
            else:
                _add_missed(missed, lost)
        losses: Losses = []
        again: list[Verdict] = []
        for verdict, settlement in found.parts:
            lease = _lease_of(settlement)
            if lease in missed:
                _lose(verdict, missed[lease], losses)
            if lease in moved:
                again.append(verdict)
            else:
                self._pauses.pop(_addressee(found.broker, verdict.held), None)
                self._topology.topic(verdict.held.subscription.topic).believe(verdict.held.partition)
                verdict.held.end(verdict.indices, SETTLED)
            _forget_if_done(verdict.held)
        self._repeat(found.broker, again, now, is_moved=True)
        return losses

    def refused(self, number: int, error: ZmqmqError, now: float) -> Losses | None:
        """Takes a refusal: a passing one is tried again, else the verdicts are lost. None if it is for something else."""
        found = self._sent.pop(number, None)
        if found is None:
            return None
        verdicts = [verdict for verdict, _ in found.parts]
        if error.retryable:
            self._repeat(found.broker, verdicts, now, is_moved=isinstance(error, NotLeader))
            return []
        return [(verdict.held, lost) for verdict in verdicts if (lost := verdict.held.end(verdict.indices, LOST))]

    def _repeat(self, broker: str, verdicts: Sequence[Verdict], now: float, is_moved: bool) -> None:
        """The broker has not decided these: they go again, first and in order, after a while or to whoever leads their partitions then."""
        self._verdicts.extendleft(reversed(verdicts))
        for addressee, held in {_addressee(broker, verdict.held): verdict.held for verdict in verdicts}.items():
            if is_moved:
                self._topology.topic(held.subscription.topic).doubt(held.partition)
            pause = self._pauses.setdefault(addressee, _Pause(self._random))
            pause.resume_at = now + pause.backoff.next()

    def _resume_at(self, broker: str, held: Held) -> float:
        """When the broker may be told about the partition (again)."""
        pause = self._pauses.get(_addressee(broker, held)) if self._pauses else None
        return pause.resume_at if pause is not None else -inf

    def deadline(self) -> float:
        """When to step again if nothing is heard; parked verdicts wait for their broker, not for the time."""
        if not self._verdicts:
            return inf
        busy = self._busy()
        routes = ((verdict.held, verdict.held.subscription.routes.get(verdict.held.partition)) for verdict in self._verdicts)
        return min((self._resume_at(route[0], held) for held, route in routes if route is not None and route[0] not in busy), default=inf)

    def _gather(self) -> None:
        for held in self._acked:
            self._verdicts.append(Verdict(held, held.acks, "ack"))
            held.acks = []
        self._acked.clear()


def _addressee(broker: str, held: Held) -> Addressee:
    return held.subscription.topic, broker, held.partition


def _lease_of(settlement: Settlement) -> _Lease:
    return settlement.queue, settlement.partition, settlement.epoch, settlement.lease


def _settlement(verdict: Verdict, queue: int) -> Settlement | None:
    """The verdict as the broker is to hear it; None when nothing of it is open any more."""
    held = verdict.held
    states = held.states
    offsets: list[int] | None = None
    if not held.whole or len(verdict.indices) != len(held.offsets):
        offsets = sorted(held.offsets[index] for index in verdict.indices if states[index] == SETTLING)
        if not offsets:
            return None
    return Settlement(queue, held.partition, held.epoch, held.lease, verdict.outcome, offsets, verdict.delay, verdict.reason)


def _add_missed(missed: dict[_Lease, set[int] | None], lost: Settlement) -> None:
    lease = _lease_of(lost)
    before = missed.get(lease, set())
    missed[lease] = None if lost.offsets is None or before is None else before.union(lost.offsets)  # None: all that was left of the lease


def _lose(verdict: Verdict, missed: set[int] | None, losses: Losses) -> None:
    held = verdict.held
    indices = verdict.indices if missed is None else [index for index in verdict.indices if held.offsets[index] in missed]
    lost = held.end(indices, LOST)
    if lost and verdict.outcome != "release":
        losses.append((held, lost))


def _forget_if_done(held: Held) -> None:
    if not held.open:
        held.subscription.held.pop(held.key, None)


def forget_done(helds: Iterable[Held]) -> None:
    """Drops leases of which nothing is open."""
    for held in helds:
        _forget_if_done(held)
