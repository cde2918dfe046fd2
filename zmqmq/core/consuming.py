"""The consumer's session-independent state: subscriptions, what is held, when to ask for more and when to sleep.

One Pull is outstanding at a time. Its credit follows the application: it doubles while the buffer is emptied fast and halves when messages wait
in it. A broker with nothing to give answers Empty; then the consumer sleeps and nothing is sent but pings. It wakes on
its own wake-up, on a beacon that shows its queue with a newer version, or when beacons fail to come. All of these are hints.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

from zmqmq.core.checksum import checksums
from zmqmq.core.commands import (
    Beacon,
    Command,
    Delivery,
    Empty,
    HeldLease,
    Lot,
    Outcome,
    Pull,
    Recalled,
    Refused,
    Settled,
    Subscribe,
    Subscribed,
    Welcome,
)
from zmqmq.core.held import BUFFERED, HANDED, LOST, SETTLING, Held
from zmqmq.core.returning import Returning
from zmqmq.core.settling import Settling, Verdict, forget_done
from zmqmq.core.subscription import Losses, Subscription
from zmqmq.errors import ZmqmqError, from_code

FIRST_CREDIT = 32
"""Messages that the first Pull asks for."""
STALE_AFTER = 0.5
"""Seconds in the buffer after which the consumer has asked for too much."""
BEACON_JITTER = 0.3
"""Seconds, at most, that are added to the beacon's interval before its absence counts."""
MAX_PULL_BYTES = 4 << 20
"""Bytes that one Pull asks for, at most."""
DAMAGED = "checksum mismatch"
"""Reason of the reject that answers a damaged message."""


class Consuming:
    """One consumer of one group. Times are seconds of any monotonic clock; `random` gives numbers in [0, 1)."""

    def __init__(
        self,
        topics: Sequence[str],
        group: str,
        next_id: Callable[[], int],
        random: Callable[[], float],
        *,
        start: Literal["earliest", "latest"] = "earliest",
        create: bool = True,
        prefetch: int = 1000,
    ) -> None:
        """`prefetch` is the most messages that wait in the buffer; `start` and `create` as in Subscribe."""
        self.group = group
        self.subscriptions = {topic: Subscription(topic, random) for topic in topics}
        self.settling = Settling(next_id, random)
        self.buffered = 0
        """Messages that wait for the application."""
        self.is_wanted = False
        """The application has asked for messages at least once; before that none are fetched."""
        self.is_draining = False
        self.losses: Losses = []
        """Messages that were lost since somebody last took this list."""
        self.damaged: list[tuple[Held, int]] = []
        """Messages whose checksum did not match, rejected unseen, since somebody last took this list."""
        self._start, self._create, self._prefetch = start, create, prefetch
        self._next_id, self._random = next_id, random
        self._buffer: deque[Held] = deque()
        self._returning = Returning()
        self._credit = min(FIRST_CREDIT, prefetch)
        self._turn = 0
        self._pulled_at: float | None = None
        self._asleep_until: float | None = None
        self._empty_version = 0
        self._starved = False
        self._session_timeout = self._beacon_interval = inf
        self._max_in_flight = prefetch
        self._max_bytes = MAX_PULL_BYTES

    # --- Session -------------------------------------------------------------------------------------------------

    def opened(self, welcome: Welcome) -> None:
        """A new session: everything is declared again."""
        self._session_timeout = welcome.session_timeout
        self._beacon_interval = welcome.beacon_interval
        self._max_in_flight = welcome.limits.max_in_flight
        self._max_bytes = min(MAX_PULL_BYTES, welcome.limits.max_batch_bytes)
        for subscription in self.subscriptions.values():
            subscription.reopened()
        self.settling.reopened()
        self._wake()
        self._pulled_at = None

    def expired(self) -> None:
        """The broker has surely given the session up: everything held is lost."""
        for subscription in self.subscriptions.values():
            for held in subscription.held.values():
                self._lose(held, range(len(held.offsets)))
            subscription.held.clear()

    # --- In ------------------------------------------------------------------------------------------------------

    def hear(self, command: Command, now: float) -> bool:
        """Takes what the broker says; False if it is not for a consumer."""
        if isinstance(command, Delivery):
            self._delivered(command, now)
        elif isinstance(command, Empty):
            self._sleep(command, now)
        elif isinstance(command, Settled):
            self._lost(self.settling.settled(command) or [])
            self._settled()
        elif isinstance(command, Recalled):
            self._recalled(command)
        elif isinstance(command, Subscribed):
            self._subscribed(command)
        elif isinstance(command, Refused):
            return self._refused(command, now)
        else:
            return False
        return True

    def woken(self) -> None:
        """The broker's wake-up for this session."""
        self._wake()

    def beacon(self, beacon: Beacon, now: float) -> None:
        """The broker's beacon: go on sleeping, or not."""
        if self._asleep_until is None:
            return
        queues = {subscription.queue for subscription in self.subscriptions.values()}
        if beacon.crowded or any(queue in queues and version > self._empty_version for queue, version in beacon.waiting):
            self._wake()
        else:
            self._asleep_until = now + self._patience()

    # --- The application -----------------------------------------------------------------------------------------

    def take(self, limit: int) -> list[tuple[Held, int]]:
        """Up to `limit` buffered messages, handed out by this."""
        self.is_wanted = True
        taken: list[tuple[Held, int]] = []
        while self._buffer and len(taken) < limit:
            held = self._buffer[0]
            states = held.states
            stop = min(len(states), held.next + limit - len(taken))
            for index in range(held.next, stop):
                if states[index] == BUFFERED:
                    states[index] = HANDED
                    taken.append((held, index))
            held.next = stop
            if stop == len(states):
                self._buffer.popleft()
        self.buffered -= len(taken)
        return taken

    def settle(self, held: Held, indices: list[int], outcome: Outcome, delay: float | None, reason: str) -> None:
        """The application's decision about messages that it was handed."""
        for index in indices:
            held.states[index] = SETTLING
        verdict = Verdict(held, indices, outcome, delay, reason)
        self.settling.add(verdict)
        if outcome in ("nack", "release"):
            self._returning.add(verdict)
            self._count()

    def drain(self) -> None:
        """No more messages: what is not started goes back to the broker at once."""
        self.is_draining = True
        while self._buffer:
            self._release(self._buffer.popleft())

    @property
    def is_hungry(self) -> bool:
        """There is room to ask for more."""
        return self.is_wanted and not self.is_draining and self.buffered * 2 < self._credit

    @property
    def is_quiet(self) -> bool:
        """Everything decided is confirmed and no delivery is on its way."""
        return self.settling.is_idle

    @property
    def error(self) -> ZmqmqError | None:
        """Why the broker will not have one of the subscriptions."""
        return next((subscription.error for subscription in self.subscriptions.values() if subscription.error is not None), None)

    # --- Out -----------------------------------------------------------------------------------------------------

    def step(self, now: float) -> list[Command]:
        """What to send now, on an open session."""
        commands: list[Command] = []
        for subscription in self.subscriptions.values():
            subscribe = subscription.ask(now, self._next_id, self._subscribe)
            if subscribe is not None:
                commands.append(subscribe)
        commands += self.settling.step(now)
        pull = self._pull(now)
        if pull is not None:
            commands.append(pull)
        return commands

    def deadline(self) -> float:
        """When to step again if nothing is heard."""
        times = [subscription.due() for subscription in self.subscriptions.values()]
        times.append(self.settling.deadline())
        if self._pulled_at is not None:
            times.append(self._pulled_at + self._session_timeout / 3)
        elif self._asleep_until is not None and self.is_hungry:
            times.append(self._asleep_until)
        return min(times)

    def _subscribe(self, id: int, subscription: Subscription) -> Subscribe:
        held: list[HeldLease] = [held.presented() for held in subscription.held.values()]
        return Subscribe(id, subscription.topic, self.group, self._start, self._create, held)

    def _pull(self, now: float) -> Pull | None:
        if not any(subscription.queue is not None for subscription in self.subscriptions.values()):
            return None
        if self._pulled_at is not None:
            if now < self._pulled_at + self._session_timeout / 3:
                return None
        elif not self.is_hungry or (self._asleep_until is not None and now < self._asleep_until):
            return None
        else:
            self._turn += 1
        self._asleep_until = None
        self._pulled_at = now
        return Pull(self._turn, max(1, self._credit - self.buffered), self._max_bytes)

    # --- Details -------------------------------------------------------------------------------------------------

    def _delivered(self, command: Delivery, now: float) -> None:
        if command.turn == self._turn:
            self._pulled_at = None
            self._adapt(now)
        self._returning.arriving(command.lots)
        for lot in command.lots:
            subscription = next((one for one in self.subscriptions.values() if one.queue == lot.queue), None)
            if subscription is None or not lot.offsets or (lot.partition, lot.epoch, lot.lease) in subscription.held:
                continue
            held = Held(subscription, lot, now)
            subscription.held[held.key] = held
            self._reject_damaged(held, lot)
            self._returning.arrived(held)
            if self.is_draining:
                self._release(held)
            else:
                self._buffer.append(held)
                self.buffered += held.buffered()

    def _adapt(self, now: float) -> None:
        """Asks for more next time if the application has emptied the buffer, for less if messages grow old in it."""
        if not self._buffer:
            self._credit = min(self._prefetch, self._credit * 2)
        elif now - self._buffer[0].arrived > STALE_AFTER:
            self._credit = max(1, self._credit // 2)

    def _reject_damaged(self, held: Held, lot: Lot) -> None:
        expected = checksums(lot.values, lot.keys, lot.headers)
        if expected == lot.crcs:
            return
        indices = [index for index, (is_, was) in enumerate(zip(expected, lot.crcs, strict=True)) if is_ != was]
        self.damaged += [(held, index) for index in indices]
        self.settle(held, indices, "reject", None, DAMAGED)

    def _release(self, held: Held) -> None:
        indices = [index for index in range(held.next, len(held.states)) if held.states[index] == BUFFERED]
        if indices:
            self.settle(held, indices, "release", None, "")
        self._count()

    def _sleep(self, command: Empty, now: float) -> None:
        if command.turn != self._turn or self._pulled_at is None:
            return
        self._pulled_at = None
        self._empty_version = command.version
        self._asleep_until = now + self._patience()
        self._starved = sum(held.open for one in self.subscriptions.values() for held in one.held.values()) >= self._max_in_flight

    def _patience(self) -> float:
        return self._beacon_interval + self._random() * BEACON_JITTER

    def _wake(self) -> None:
        self._asleep_until = None

    def _settled(self) -> None:
        if self._starved:
            self._starved = False
            self._wake()

    def _subscribed(self, command: Subscribed) -> None:
        for subscription in self.subscriptions.values():
            losses = subscription.subscribed(command)
            if losses is not None:
                self._lost(losses)
                self._wake()

    def _recalled(self, command: Recalled) -> None:
        subscription = next((one for one in self.subscriptions.values() if one.queue == command.queue), None)
        held = subscription.held.get((command.partition, command.epoch, command.lease)) if subscription else None
        if held is None:
            return
        self._lose(held, [index for offset in command.offsets if (index := held.index_of(offset)) is not None])
        forget_done([held])

    def _lose(self, held: Held, indices: Sequence[int]) -> None:
        lost = held.end(indices, LOST)
        if lost:
            self._lost([(held, lost)])

    def _lost(self, losses: Losses) -> None:
        if losses:
            self.losses += losses
            self._count()

    def _count(self) -> None:
        self.buffered = sum(held.buffered() for held in self._buffer)

    def _refused(self, command: Refused, now: float) -> bool:
        error = from_code(command.code, command.message, command.hint, command.details)
        losses = self.settling.refused(command.id, error, now)
        if losses is not None:
            self._lost(losses)
            forget_done([held for held, _ in losses])
            return True
        return any(subscription.refused(command.id, error, now) for subscription in self.subscriptions.values())
