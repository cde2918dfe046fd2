"""One topic that a consumer takes part in: whether the broker knows it, and the leases held under it.

The desired state lives here: on every new session the subscription is declared again and presents what is held. The answer
says, lease by lease, what goes on under a new number, what was settled before, and (by silence) what is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zmqmq.core.backoff import Backoff
from zmqmq.core.commands import KeptLease, Subscribe, Subscribed
from zmqmq.core.held import LOST, SETTLED, Held, Holder, LeaseKey
from zmqmq.errors import ZmqmqError

ANSWER_TIMEOUT = 10.0
"""Seconds after which an unanswered Subscribe is repeated."""
Losses = list[tuple[Held, list[int]]]


class Subscription(Holder):
    """One (topic, group) of one consumer."""

    def __init__(self, topic: str, random: Callable[[], float]) -> None:
        super().__init__(topic)
        self.error: ZmqmqError | None = None
        """Why the broker will not have it; final."""
        self.obstacle: ZmqmqError | None = None
        """Why the broker does not have it yet."""
        self._id = 0
        self._asked_at = -inf
        self._resume_at = -inf
        self._backoff = Backoff(random)

    def reopened(self) -> None:
        """A new session: it is to be declared again."""
        self.queue = None
        self._id = 0

    def ask(self, now: float, next_id: Callable[[], int], build: Callable[[int, Subscription], Subscribe]) -> Subscribe | None:
        """The Subscribe to send now, if any."""
        if self.queue is not None or self.error is not None or now < self.due():
            return None
        self._id, self._asked_at = next_id(), now
        return build(self._id, self)

    def due(self) -> float:
        """When to ask (again)."""
        if self.queue is not None or self.error is not None:
            return inf
        return self._asked_at + ANSWER_TIMEOUT if self._id else self._resume_at

    def subscribed(self, command: Subscribed) -> Losses | None:
        """Takes the answer; gives what was lost, or None if it answers something else."""
        if command.id != self._id or command.topic != self.topic:
            return None
        self.queue = command.queue
        self._id = 0
        self.obstacle = None
        self._backoff.reset()
        return self._reconcile(command.leases)

    def refused(self, id: int, error: ZmqmqError, now: float) -> bool:
        """Takes a refusal; False if it is for something else."""
        if id != self._id:
            return False
        self._id = 0
        if error.retryable:
            self.obstacle = error
            self._resume_at = now + self._backoff.next()
        else:
            self.error = error
        return True

    def _reconcile(self, leases: list[KeptLease]) -> Losses:
        kept = {(lease.partition, lease.old_epoch, lease.old_lease): lease for lease in leases}
        losses: Losses = []
        survivors: dict[LeaseKey, Held] = {}
        for key, held in self.held.items():
            lease = kept.get(key)
            lost = _apply(held, lease)
            if lost:
                losses.append((held, lost))
            if held.open:
                survivors[held.key] = held
        self.held = survivors
        return losses


def _apply(held: Held, lease: KeptLease | None) -> list[int]:
    """Brings one lease in line with what the broker says of it; gives the indices that were lost."""
    everything = range(len(held.offsets))
    if lease is None:
        return held.end(everything, LOST)
    kept = set(lease.kept)
    held.epoch, held.lease = lease.epoch, lease.lease
    done = [index for offset in lease.settled if (index := held.index_of(offset)) is not None]
    held.end(done, SETTLED)
    held.whole = False
    return held.end([index for index in everything if held.offsets[index] not in kept], LOST)
