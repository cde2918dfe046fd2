"""The consumer's decisions on their way to the brokers: everything acknowledged since the last turn goes in one Settle for each.

A verdict stays here until the broker that leads its partition has confirmed it. It is never repeated within a session (the repeat would be told that the
lease is gone): an answer that does not come ends the session by silence. On a new session, or under a new leader, the unconfirmed ones go again, under the
leases' new numbers, and only for messages that the broker still counts as held by us.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple

from zmqmq.core.backoff import Backoff
from zmqmq.core.commands import Outcome, Settle, Settled, Settlement
from zmqmq.core.held import LOST, SETTLED, SETTLING, Held
from zmqmq.core.subscription import Losses
from zmqmq.errors import ZmqmqError

MAX_SETTLES = 8
"""Settles without an answer at a time and broker; beyond it verdicts gather for the next one."""


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


class Settling:
    """All verdicts that have not been confirmed."""

    def __init__(self, next_id: Callable[[], int], random: Callable[[], float]) -> None:
        self._next_id = next_id
        self._acked: list[Held] = []
        self._verdicts: deque[Verdict] = deque()
        self._sent: dict[int, _Sent] = {}
        self._resume_at = -inf
        self._backoff = Backoff(random)

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
        self._resume_at = -inf
        self._take_back(lambda sent, held: sent.broker == broker)

    def presented(self, helds: Iterable[Held]) -> None:
        """A broker has answered what becomes of these leases: what was said about them to another one is said again."""
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
        if not self._verdicts or not free or now < self._resume_at:
            return []
        parts: dict[str, list[tuple[Verdict, Settlement]]] = {}
        parked: list[Verdict] = []
        while self._verdicts:
            verdict = self._verdicts.popleft()
            broker, queue = verdict.held.subscription.routes.get(verdict.held.partition, ("", 0))
            if broker in free:
                if (settlement := _settlement(verdict, queue)) is not None:
                    parts.setdefault(broker, []).append((verdict, settlement))
            elif broker or verdict.held.open:
                parked.append(verdict)
        self._verdicts.extend(parked)
        return [(broker, self._send(broker, some)) for broker, some in parts.items()]

    def _free(self, lines: Sequence[str]) -> set[str]:
        """The brokers that may get a Settle now."""
        waiting: dict[str, int] = {}
        for sent in self._sent.values():
            waiting[sent.broker] = waiting.get(sent.broker, 0) + 1
        return {broker for broker in lines if waiting.get(broker, 0) < MAX_SETTLES}

    def _send(self, broker: str, parts: list[tuple[Verdict, Settlement]]) -> Settle:
        number = self._next_id()
        self._sent[number] = _Sent(broker, parts)
        return Settle(number, [settlement for _, settlement in parts])

    def settled(self, command: Settled) -> Losses | None:
        """Takes a confirmation; gives what came too late, or None if it confirms nothing of ours."""
        found = self._sent.pop(command.id, None)
        if found is None:
            return None
        self._backoff.reset()
        late: dict[tuple[int, int, int, int], set[int]] = {}
        gone = {_lease_of(lost) for lost in command.lost if lost.offsets is None}  # all that was left of the lease
        for lost in command.lost:
            late.setdefault(_lease_of(lost), set()).update(lost.offsets or ())
        losses: Losses = []
        for verdict, settlement in found.parts:
            lease = _lease_of(settlement)
            _conclude(verdict, set(verdict.held.offsets) if lease in gone else late.get(lease), losses)
        return losses

    def about(self, number: int) -> list[Held]:
        """The leases that a Settle without an answer is about."""
        found = self._sent.get(number)
        return [verdict.held for verdict, _ in found.parts] if found is not None else []

    def refused(self, number: int, error: ZmqmqError, now: float) -> Losses | None:
        """Takes a refusal: a passing one is tried again, else the verdicts are lost. None if it is for something else."""
        found = self._sent.pop(number, None)
        if found is None:
            return None
        verdicts = [verdict for verdict, _ in found.parts]
        if error.retryable:
            self._verdicts.extendleft(reversed(verdicts))
            self._resume_at = now + self._backoff.next()
            return []
        return [(verdict.held, lost) for verdict in verdicts if (lost := verdict.held.end(verdict.indices, LOST))]

    def deadline(self) -> float:
        """When to step again if nothing is heard; parked verdicts wait for their broker, not for the time."""
        parked = all(verdict.held.partition not in verdict.held.subscription.routes for verdict in self._verdicts)
        return inf if parked or len(self._sent) >= MAX_SETTLES else self._resume_at

    def _gather(self) -> None:
        for held in self._acked:
            self._verdicts.append(Verdict(held, held.acks, "ack"))
            held.acks = []
        self._acked.clear()


def _lease_of(settlement: Settlement) -> tuple[int, int, int, int]:
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


def _conclude(verdict: Verdict, missed: set[int] | None, losses: Losses) -> None:
    held = verdict.held
    if missed:
        lost = held.end([index for index in verdict.indices if held.offsets[index] in missed], LOST)
        if lost and verdict.outcome != "release":
            losses.append((held, lost))
    held.end(verdict.indices, SETTLED)
    _forget_if_done(held)


def _forget_if_done(held: Held) -> None:
    if not held.open:
        held.subscription.held.pop(held.key, None)


def forget_done(helds: Iterable[Held]) -> None:
    """Drops leases of which nothing is open."""
    for held in helds:
        _forget_if_done(held)
