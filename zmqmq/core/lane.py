"""The lane of one partition: parts wait in it, leave it as numbered batches, a few at a time, and are sent until resolved.

The broker takes a lane's batches in sequence only. So whatever goes wrong (a refusal, a lost link, a lost answer) the
remedy is one: send everything unresolved again, in order, under the same sequences; what the broker has already, it answers
with the first offsets. What is given up leaves a gap, which `oldest` tells the broker to accept. After a refusal the lane
waits, and then tries one batch alone before it fills its window again. A new leader is tried at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from math import inf

from zmqmq.core.backoff import Backoff
from zmqmq.core.batch import Batch
from zmqmq.core.commands import Produce, Produced
from zmqmq.core.model import Limits
from zmqmq.core.parcel import Parcel, Part
from zmqmq.core.topology import SUSPECT_AFTER
from zmqmq.errors import DeadlineExceeded, NotLeader, OutcomeUnknown, OutOfOrder, ZmqmqError

MAX_IN_FLIGHT = 5
"""Batches of one partition on their way."""
ANSWER_TIMEOUT = 10.0
"""Seconds after which a batch without an answer is sent again on the same session."""
FIRST_RETRY_DELAY = 0.05
"""Seconds after the first refusal."""
LEADER_RETRY_DELAY = 1.0
"""Seconds, at most, after which a broker that said it does not lead is tried again if nobody names another one."""


class Lane:
    """One partition of one topic, as one producer sees it."""

    def __init__(self, partition: int, random: Callable[[], float], sequence: int = 0) -> None:
        self.partition = partition
        self.leader = ""
        """The broker that takes the batches, "" while that is not known."""
        self.epoch = 0
        """Of its leadership."""
        self.is_placed = False
        """The leader is known and has been confirmed since its session began."""
        self.heard_at = -inf
        """When the last answer came."""
        self.next_sequence = sequence
        self.waiting: deque[Part] = deque()
        self.flight: deque[Batch] = deque()
        """Batches that have a sequence and no outcome, oldest first."""
        self.obstacle: ZmqmqError | None = None
        """The last refusal, until something is accepted."""
        self._backoff = Backoff(random, FIRST_RETRY_DELAY)
        self._resume_at = -inf
        self._alone = False

    @property
    def is_idle(self) -> bool:
        """Nothing is waiting or on its way."""
        return not self.waiting and not self.flight

    @property
    def load(self) -> int:
        """Batches on their way."""
        return len(self.flight)

    @property
    def oldest(self) -> int:
        """The lowest sequence without an outcome."""
        return self.flight[0].sequence if self.flight else self.next_sequence

    @property
    def _window(self) -> int:
        return 1 if self._alone else MAX_IN_FLIGHT

    @property
    def silent_since(self) -> float:
        """Since when the leader owes an answer; inf if it does not."""
        return max(self.flight[0].sent_at, self.heard_at) if self.flight and self.flight[0].id else inf

    def place(self, leader: str, epoch: int) -> bool:
        """Somebody names the leader. True if it is another leadership: then everything without an outcome is sent again, at once."""
        has_moved = (leader, epoch) != (self.leader, self.epoch)
        self.leader, self.epoch, self.is_placed = leader, epoch, bool(leader)
        if has_moved:
            self._start_over()
            self._backoff.reset()
            self._resume_at = -inf
        return has_moved

    def unplace(self) -> None:
        """The session with the leader is over or a new one: nothing is sent until somebody names the leader again."""
        self.is_placed = False
        self._start_over()

    def adopt(self, parcel: Parcel, sequence: int) -> None:
        """Takes a parcel that has been numbered in an earlier life, whole and in order."""
        parcel.parts = [Part(parcel, self.partition, range(parcel.count), parcel.size)]
        self.flight.append(Batch(sequence, parcel.parts))
        self.next_sequence = sequence + parcel.count

    def form(self, limits: Limits) -> list[Batch]:
        """Makes batches of what waits, as far as the window allows. They are not sent yet."""
        formed = []
        while self.waiting and len(self.flight) < self._window:
            batch = Batch(self.next_sequence, self._load(limits))
            self.next_sequence += batch.count
            self.flight.append(batch)
            formed.append(batch)
        return formed

    def _load(self, limits: Limits) -> list[Part]:
        parts = [self.waiting.popleft()]
        messages, size = len(parts[0].indices), parts[0].size
        while self.waiting:
            part = self.waiting[0]
            messages += len(part.indices)
            size += part.size
            if messages > limits.max_batch_messages or size > limits.max_batch_bytes:
                break
            parts.append(self.waiting.popleft())
        return parts

    def transmit(self, now: float, next_id: Callable[[], int], producer: int) -> list[Produce]:
        """The batches to send now, in order."""
        if now < self._resume_at:
            return []
        if self.flight and self.flight[0].id and now >= self.flight[0].sent_at + ANSWER_TIMEOUT:
            self.resend()
        return [batch.command(next_id(), self.partition, self.epoch, producer, self.oldest, now) for batch in islice(self.flight, self._window) if not batch.id]

    def resend(self) -> None:
        """Everything without an outcome is to be sent again."""
        for batch in self.flight:
            batch.id = 0

    def _start_over(self) -> None:
        """Everything without an outcome is to be sent again, and what is answered to earlier questions is void."""
        self.resend()
        for batch in self.flight:
            batch.ids.clear()

    def accepted(self, batch: Batch, answer: Produced) -> list[Parcel]:
        """The broker has the batch. Gives the parcels that this completes."""
        self.flight.remove(batch)
        self._backoff.reset()
        self._alone = False
        self.obstacle = None
        completed = []
        offset = answer.offset
        for part in batch.parts:
            if part.accept(offset, answer.time):
                completed.append(part.parcel)
            offset = offset + len(part.indices) if offset >= 0 else offset
        return completed

    def refused(self, batch: Batch, error: ZmqmqError, now: float) -> list[Parcel]:
        """The broker does not take the batch: now (it is repeated) or ever (it fails). Gives the parcels that this completes."""
        if not isinstance(error, NotLeader):  # who does not lead cannot tell what has become of it, least of all who has just ceased to
            batch.maybe_accepted = False
        if not error.retryable and not isinstance(error, OutOfOrder):
            self.resend()
            return self._drop(batch, error)
        self.resend()
        if isinstance(error, OutOfOrder) and batch is not self.flight[0]:
            return []
        self.obstacle = batch.refusal = error
        self._alone = True
        delay = self._backoff.next()
        self._resume_at = now + (min(delay, LEADER_RETRY_DELAY) if isinstance(error, NotLeader) else delay)
        return []

    def _drop(self, batch: Batch, error: ZmqmqError) -> list[Parcel]:
        self.flight.remove(batch)
        return [part.parcel for part in batch.parts if part.fail(error)]

    def expire(self, now: float, delivery_timeout: float, obstacle: ZmqmqError | None) -> list[Parcel]:
        """Gives up what is older than `delivery_timeout` seconds. Gives the parcels that this completes."""
        completed: list[Parcel] = []
        for batch in [batch for batch in self.flight if batch.created + delivery_timeout <= now]:
            completed += self._drop(batch, self._why(batch, obstacle))
        while self.waiting and self.waiting[0].parcel.created + delivery_timeout <= now:
            part = self.waiting.popleft()
            if part.fail(self.obstacle or obstacle or _late(part)):
                completed.append(part.parcel)
        return completed

    def _why(self, batch: Batch, obstacle: ZmqmqError | None) -> ZmqmqError:
        if batch.maybe_accepted:
            topic = batch.parts[0].parcel.topic
            return OutcomeUnknown("the batch was sent and never answered", hint="it may have been accepted", topic=topic, partition=self.partition)
        return batch.refusal or self.obstacle or obstacle or _late(batch.parts[0])

    def fail(self, error: ZmqmqError) -> list[Parcel]:
        """Everything here fails, with OutcomeUnknown where it may have been accepted. Gives the parcels that this completes."""
        completed: list[Parcel] = []
        for batch in list(self.flight):
            completed += self._drop(batch, self._why(batch, error) if batch.maybe_accepted else error)
        completed += [part.parcel for part in self.waiting if part.fail(error)]
        self.waiting.clear()
        return completed

    def deadline(self, delivery_timeout: float, can_send: bool, is_doubted: bool = False) -> float:
        """When to look at the lane again if nothing is heard; `can_send`: there is a session with the leader; `is_doubted`: others are asked already."""
        times = [inf]
        if self.flight:
            first = self.flight[0]
            times.append(first.created + delivery_timeout)
            if can_send:
                times.append(self._next_look(first, is_doubted) if first.id else self._resume_at)
        if self.waiting:
            times.append(self.waiting[0].parcel.created + delivery_timeout)
        return min(times)

    def _next_look(self, first: Batch, is_doubted: bool) -> float:
        again = first.sent_at + ANSWER_TIMEOUT
        return again if is_doubted else min(again, self.silent_since + SUSPECT_AFTER)


def _late(part: Part) -> DeadlineExceeded:
    return DeadlineExceeded("the message could not be delivered in time", topic=part.parcel.topic, partition=part.partition)
