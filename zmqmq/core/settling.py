"""The consumer's decisions on their way to the broker: everything acknowledged since the last turn goes in one Settle.

A verdict stays here until the broker has confirmed it. It is never repeated within a session (the repeat would be told that the
lease is gone): an answer that does not come ends the session by silence. On a new session the unconfirmed ones go again, under the leases' new
numbers, and only for messages that the broker still counts as held by us.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple

from zmqmq.core.backoff import Backoff
from zmqmq.core.commands import Outcome, Settle, Settled, Settlement
from zmqmq.core.held import LOST, SETTLED, SETTLING, Held
from zmqmq.core.subscription import Losses
from zmqmq.errors import ZmqmqError

MAX_SETTLES = 8
"""Settles without an answer at a time; beyond it verdicts gather for the next one."""


class Verdict(NamedTuple):
    """What the application decided about some messages of one lease."""

    held: Held
    indices: list[int]
    outcome: Outcome
    delay: float | None = None
    reason: str = ""


class Settling:
    """All verdicts that the broker has not confirmed."""

    def __init__(self, next_id: Callable[[], int], random: Callable[[], float]) -> None:
        self._next_id = next_id
        self._acked: list[Held] = []
        self._verdicts: deque[Verdict] = deque()
        self._sent: dict[int, list[Verdict]] = {}
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

    def reopened(self) -> None:
        """A new session: what is unconfirmed goes again, first and in order."""
        self._gather()
        for verdicts in reversed(self._sent.values()):
            self._verdicts.extendleft(reversed(verdicts))
        self._sent.clear()
        self._resume_at = -inf

    def step(self, now: float) -> list[Settle]:
        """The Settle to send now, if any."""
        self._gather()
        if not self._verdicts or len(self._sent) >= MAX_SETTLES or now < self._resume_at:
            return []
        verdicts, settlements, parked = [], [], []
        while self._verdicts:
            verdict = self._verdicts.popleft()
            if verdict.held.subscription.queue is None and verdict.held.open:
                parked.append(verdict)
            elif (settlement := _settlement(verdict)) is not None:
                verdicts.append(verdict)
                settlements.append(settlement)
        self._verdicts.extend(parked)
        if not settlements:
            return []
        id = self._next_id()
        self._sent[id] = verdicts
        return [Settle(id, settlements)]

    def settled(self, command: Settled) -> Losses | None:
        """Takes a confirmation; gives what came too late, or None if it confirms nothing of ours."""
        found = self._sent.pop(command.id, None)
        if found is None:
            return None
        self._backoff.reset()
        late: dict[tuple[int, int, int, int], set[int]] = {}
        for lost in command.lost:
            late.setdefault((lost.queue, lost.partition, lost.epoch, lost.lease), set()).update(lost.offsets or ())
        losses: Losses = []
        for verdict in found:
            _conclude(verdict, late, losses)
        return losses

    def refused(self, id: int, error: ZmqmqError, now: float) -> Losses | None:
        """Takes a refusal: a passing one is tried again, else the verdicts are lost. None if it is for something else."""
        found = self._sent.pop(id, None)
        if found is None:
            return None
        if error.retryable:
            self._verdicts.extendleft(reversed(found))
            self._resume_at = now + self._backoff.next()
            return []
        return [(verdict.held, lost) for verdict in found if (lost := verdict.held.end(verdict.indices, LOST))]

    def deadline(self) -> float:
        """When to step again if nothing is heard; parked verdicts wait for their subscription, not for the time."""
        parked = all(verdict.held.subscription.queue is None for verdict in self._verdicts)
        return inf if parked or len(self._sent) >= MAX_SETTLES else self._resume_at

    def _gather(self) -> None:
        for held in self._acked:
            self._verdicts.append(Verdict(held, held.acks, "ack"))
            held.acks = []
        self._acked.clear()


def _settlement(verdict: Verdict) -> Settlement | None:
    """The verdict as the broker is to hear it; None when nothing of it is open any more."""
    held = verdict.held
    states = held.states
    offsets: list[int] | None = None
    if not held.whole or len(verdict.indices) != len(held.offsets):
        offsets = sorted(held.offsets[index] for index in verdict.indices if states[index] == SETTLING)
        if not offsets:
            return None
    queue = held.subscription.queue
    assert queue is not None, "verdicts of a subscription that the broker does not know are parked"
    return Settlement(queue, held.partition, held.epoch, held.lease, verdict.outcome, offsets, verdict.delay, verdict.reason)


def _conclude(verdict: Verdict, late: dict[tuple[int, int, int, int], set[int]], losses: Losses) -> None:
    held = verdict.held
    missed = late.get((held.subscription.queue or 0, held.partition, held.epoch, held.lease)) if late else None
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
