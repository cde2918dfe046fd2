"""The consumer's session-independent state: subscriptions, what is held, when to ask for more and when to sleep.

It has one session with each broker that leads partitions of its topics, and asks each of them for a share of what it has room for
(`zmqmq.core.buffer`). What is held belongs to the partition, not to the broker: when another one leads, it is presented there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

from zmqmq.core.buffer import Buffer
from zmqmq.core.checksum import checksums
from zmqmq.core.client_session import PATIENCE_PART
from zmqmq.core.commands import (
    Beacon,
    Command,
    Delivery,
    Described,
    Empty,
    Lot,
    Moved,
    Outcome,
    Recalled,
    Refused,
    Settled,
    Subscribed,
    Welcome,
)
from zmqmq.core.held import BUFFERED, LOST, SETTLING, Held
from zmqmq.core.pulling import Puller
from zmqmq.core.returning import Returning
from zmqmq.core.settling import Settling, Verdict, forget_done
from zmqmq.core.subscription import Losses, Subscription
from zmqmq.core.topology import Letter, Topology
from zmqmq.errors import ZmqmqError, from_code

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
        self.topology = Topology(random)
        """Who leads what: which brokers to have sessions with."""
        self.subscriptions = {topic: Subscription(self.topology.topic(topic), random, group, start, create) for topic in topics}
        self.settling = Settling(self.topology, next_id, random)
        self.is_wanted = False
        """The application has asked for messages at least once; before that none are fetched."""
        self.is_draining = False
        self.losses: Losses = []
        """Messages that were lost since somebody last took this list."""
        self.damaged: list[tuple[Held, int]] = []
        """Messages whose checksum did not match, rejected unseen, since somebody last took this list."""
        self._create = create
        self._next_id, self._random = next_id, random
        self._buffer = Buffer(prefetch)
        self._returning = Returning()
        self._turn = 0
        self._patience = 0.0
        self._pullers: dict[str, Puller] = {}
        self._lines: Sequence[str] = ()

    # --- Sessions ------------------------------------------------------------------------------------------------

    def opened(self, broker: str, welcome: Welcome) -> None:
        """A new session with a broker: what concerns it is declared again."""
        self._leave(broker, inf)
        self._patience = welcome.session_timeout * PATIENCE_PART
        self._turn = max(self._turn, self._pullers[broker].turn if broker in self._pullers else 0)
        self._pullers[broker] = Puller(welcome, self._random, self._turn)
        self.topology.opened(broker)

    def down(self, broker: str, gives_up_at: float) -> None:
        """No session with the broker now: others are asked who leads what it led. What it keeps for us it keeps until then at most."""
        self._leave(broker, gives_up_at)
        puller = self._pullers.pop(broker, None)
        self._turn = max(self._turn, puller.turn if puller is not None else 0)
        self.topology.down(broker)

    def _leave(self, broker: str, gives_up_at: float) -> None:
        for subscription in self.subscriptions.values():
            subscription.down(broker, gives_up_at)
        self.settling.reopened(broker)

    # --- In ------------------------------------------------------------------------------------------------------

    def hear(self, broker: str, command: Command, now: float) -> bool:
        """Takes what a broker says; False if it is not for a consumer."""
        if isinstance(command, Delivery):
            self._delivered(broker, command, now)
        elif isinstance(command, Empty):
            self._empty(broker, command, now)
        elif isinstance(command, Settled):
            self._lost(self.settling.settled(command, now) or [])
            if broker in self._pullers:
                self._pullers[broker].settled()
        elif isinstance(command, Recalled):
            self._recalled(broker, command)
        elif isinstance(command, Subscribed):
            self._subscribed(broker, command)
        elif isinstance(command, Described):
            self._described(command, now)
        elif isinstance(command, Moved):
            self._moved(broker, command, now)
        elif isinstance(command, Refused):
            return self._refused(command, now)
        else:
            return False
        return True

    def woken(self, broker: str) -> None:
        """A broker's wake-up for this consumer."""
        if broker in self._pullers:
            self._pullers[broker].wake()

    def beacon(self, broker: str, beacon: Beacon, now: float) -> None:
        """A broker's beacon: go on sleeping there, or not."""
        if broker in self._pullers:
            queues = {subscription.queue(broker) for subscription in self.subscriptions.values()}
            self._pullers[broker].beacon(beacon, queues, now)

    # --- The application -----------------------------------------------------------------------------------------

    def take(self, limit: int) -> list[tuple[Held, int]]:
        """Up to `limit` buffered messages, handed out by this."""
        self.is_wanted = True
        return self._buffer.take(limit)

    def settle(self, held: Held, indices: list[int], outcome: Outcome, delay: float | None, reason: str) -> None:
        """The application's decision about messages that it was handed."""
        for index in indices:
            held.states[index] = SETTLING
        if outcome == "nack":
            held.nacked.update(indices)
        verdict = Verdict(held, indices, outcome, delay, reason)
        self.settling.add(verdict)
        if outcome in ("nack", "release"):
            self._returning.add(verdict)
            self._buffer.recount()

    def drain(self) -> None:
        """No more messages: what is not started goes back to the broker at once."""
        self.is_draining = True
        for held in self._buffer.empty():
            self._release(held)

    @property
    def buffered(self) -> int:
        """Messages that wait for the application."""
        return self._buffer.count

    @property
    def is_hungry(self) -> bool:
        """There is room to ask for more."""
        return self.is_wanted and not self.is_draining and self.buffered * 2 < self._buffer.credit

    @property
    def is_asleep(self) -> bool:
        """It takes part somewhere, and every broker there has nothing to give."""
        pullers = [self._pullers[broker] for broker in self._joined()]
        return bool(pullers) and all(puller.asleep_until is not None for puller in pullers)

    @property
    def is_asking(self) -> bool:
        """A pull is on its way."""
        return any(puller.pulled_at is not None for puller in self._pullers.values())

    @property
    def is_quiet(self) -> bool:
        """Everything decided is confirmed and no delivery is on its way."""
        return self.settling.is_idle

    @property
    def error(self) -> ZmqmqError | None:
        """Why the broker will not have one of the subscriptions."""
        return next((subscription.error for subscription in self.subscriptions.values() if subscription.error is not None), None)

    # --- Out -----------------------------------------------------------------------------------------------------

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        """What to send now, and to whom. `lines` are the brokers with an open session, the best first."""
        self._lines = lines
        letters: list[Letter] = []
        for broker in self._joined():
            if self._pullers[broker].is_silent(now):
                self.topology.doubt_broker(broker)
        for subscription in self.subscriptions.values():
            self._lost(subscription.lapse(now, lines))
            if subscription.error is None:
                letters += self._questions(subscription, now, lines)
            letters += subscription.ask(now, lines, self._next_id)
        letters += self.settling.step(now, lines)
        return letters + self._pulls(now)

    def deadline(self) -> float:
        """When to step again if nothing is heard; as of the lines of the last step."""
        times = [self.settling.deadline()]
        for subscription in self.subscriptions.values():
            times += [subscription.due(self._lines), subscription.lapses_at()]
            where = subscription.where
            if subscription.error is None and self._lines:
                times.append(min(where.look_at(), where.due()))
        is_hungry = self.is_hungry
        times += [self._pullers[broker].deadline(is_hungry) for broker in self._joined()]
        return min(times)

    def _questions(self, subscription: Subscription, now: float, lines: Sequence[str]) -> list[Letter]:
        where = subscription.where
        where.look_around(now)
        question = where.ask(now, lines, self._next_id, self._create)
        return [question] if question is not None else []

    def _joined(self) -> list[str]:
        """The brokers that know a subscription of ours."""
        return [broker for broker in self._pullers if any(one.queue(broker) is not None for one in self.subscriptions.values())]

    def _pulls(self, now: float) -> list[Letter]:
        """Asks every broker that is not asked and does not sleep for an equal share of the room."""
        pullers = {broker: self._pullers[broker] for broker in self._joined()}
        due = [broker for broker, puller in pullers.items() if broker in self._lines and puller.is_due(now)]
        letters: list[Letter] = []
        for place, broker in enumerate(due):
            puller = pullers[broker]
            room = self._buffer.credit - self.buffered - sum(other.reserved for other in pullers.values() if other is not puller)
            if puller.pulled_at is None and (not self.is_hungry or (room <= 0 and len(pullers) > 1)):
                puller.wake()  # when the others have answered
                continue
            letters.append((broker, puller.pull(max(1, -(-room // (len(due) - place))), now)))
        return letters

    # --- Details -------------------------------------------------------------------------------------------------

    def _answered(self, broker: str, puller: Puller) -> None:
        """The broker has answered a pull: if it was in doubt because it was silent, it lives."""
        if puller.is_in_doubt:
            puller.is_in_doubt = False
            self.topology.believe_broker(broker)

    def _delivered(self, broker: str, command: Delivery, now: float) -> None:
        puller = self._pullers.get(broker)
        if puller is None:
            return
        if puller.delivered(command.turn):
            self._answered(broker, puller)
            self._buffer.adapt(now)
        by_queue = {one.queue(broker): one for one in self.subscriptions.values()}
        lots = [(by_queue[lot.queue], lot) for lot in command.lots if lot.queue in by_queue]
        self._returning.arriving(lots)
        for subscription, lot in lots:
            held = subscription.take(broker, lot, now)
            if held is None:
                continue
            self._reject_damaged(held, lot)
            self._returning.arrived(held)
            if self.is_draining or subscription.is_joining(broker, lot.partition):
                self._release(held)
            else:
                self._buffer.add(held)

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
        self._buffer.recount()

    def _empty(self, broker: str, command: Empty, now: float) -> None:
        puller = self._pullers.get(broker)
        if puller is not None:
            mine = (held for one in self.subscriptions.values() for held in one.held.values() if held.broker == broker)
            puller.sleep(command, now, sum(held.open for held in mine))
            self._answered(broker, puller)

    def _moved(self, broker: str, command: Moved, now: float) -> None:
        self.topology.hint(command.topic, broker)
        if command.topic in self.subscriptions:
            self.subscriptions[command.topic].hinted(now)

    def _described(self, command: Described, now: float) -> None:
        if self.topology.described(command, now) is not None:
            self._lost(self.subscriptions[command.topic].described(now, self._patience))

    def _subscribed(self, broker: str, command: Subscribed) -> None:
        subscription = self.subscriptions.get(command.topic)
        answer = subscription.subscribed(broker, command) if subscription is not None else None
        if answer is not None:
            losses, presented = answer
            self.settling.presented(broker, presented)
            self._lost(losses)
            self.woken(broker)

    def _recalled(self, broker: str, command: Recalled) -> None:
        subscription = next((one for one in self.subscriptions.values() if one.queue(broker) == command.queue), None)
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
            self._buffer.recount()

    def _refused(self, command: Refused, now: float) -> bool:
        error = from_code(command.code, command.message, command.hint, command.details)
        losses = self.settling.refused(command.id, error, now)
        if losses is not None:
            self._lost(losses)
            forget_done([held for held, _ in losses])
            return True
        where = self.topology.refused(command.id, error, now)
        if where is not None:
            subscription = self.subscriptions[where.name]
            subscription.obstacle = error
            subscription.error = None if error.retryable else error
        is_ours = where is not None or any(subscription.refused(command.id, error, now) for subscription in self.subscriptions.values())
        for subscription in self.subscriptions.values():
            if subscription.error is not None:
                self._lost(subscription.end())
        return is_ours
