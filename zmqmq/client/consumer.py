"""The consumer for people: iterate, receive, settle; sleep for free while there is nothing.

What is held, asked for and settled is decided by `zmqmq.core.consuming` on the engine's thread; here user threads wait for messages and leave
their decisions. A slow handler never delays a heartbeat, so a lease lasts as long as this process lives.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from types import TracebackType
from typing import Literal, Self

from zmqmq.client.bell import Bell
from zmqmq.client.endpoints import parse_endpoints
from zmqmq.client.engine import Engine
from zmqmq.client.message import DEFAULT_TIMEOUT, Message, PendingSettlement
from zmqmq.client.receiving import Receiving, lease_lost
from zmqmq.client.values import delay_seconds, positive, timeout_seconds
from zmqmq.client.workers import run_workers
from zmqmq.core.commands import Outcome
from zmqmq.core.consuming import Consuming
from zmqmq.core.held import LOST, SETTLED, Held
from zmqmq.core.model import Limits
from zmqmq.core.names import check_name
from zmqmq.errors import ClosedError, InvalidValue, LeaseLost, ZmqmqError

PREFETCH = 1000
MAX_TOPICS = 1000
"""Topics that one consumer takes part in."""
MAX_REASON = 1000
"""Characters of a nack's or reject's reason; longer ones are cut."""
FOREVER_SLICE = 3600.0
"""Seconds between two looks of a wait without end."""
Messages = Message | Sequence[Message]


class Consumer:
    """Takes part in a group. Thread-safe; close it, or use it in a `with` block, so that others get at once what it holds."""

    def __init__(
        self,
        brokers: str | Iterable[str],
        topics: str | Iterable[str],
        group: str = "default",
        *,
        name: str = "",
        start: Literal["earliest", "latest"] = "earliest",
        prefetch: int = PREFETCH,
        create_topics: bool = True,
        session_timeout: float = 0.0,
    ) -> None:
        """Connects and joins in the background; brokers may be down. Messages are fetched from the first receive on.

        topics: one name or several. start: where a group begins that nobody has joined before. prefetch: the most messages that wait
        here for the application (the number adapts below it). create_topics: create them on first use, if the broker allows it.
        name, session_timeout: as in Producer. Raises InvalidName and InvalidValue."""
        names = [topics] if isinstance(topics, str) else list(dict.fromkeys(topics))
        if not 1 <= len(names) <= MAX_TOPICS:
            raise InvalidValue(f"{len(names)} topics were given", hint=f"allowed are 1 to {MAX_TOPICS}")
        if start not in ("earliest", "latest"):
            raise InvalidValue(f"start is {start!r}", hint='allowed are "earliest" and "latest"')
        positive("prefetch", prefetch, Limits().max_in_flight)
        for topic in names:
            check_name("topic", topic)
        next_id = count(1).__next__
        self._bell = Bell()
        self._consuming = Consuming(names, check_name("group", group), next_id, random.random, start=start, create=create_topics, prefetch=int(prefetch))
        self._receiving = Receiving(self._consuming, self._bell)
        endpoints = parse_endpoints(brokers)
        self._engine = Engine(endpoints, self._receiving, self._bell, next_id, name=name, session_timeout=session_timeout, wants_hints=True)
        with self._bell.lock:
            self._engine.start()

    # --- Receiving -----------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = DEFAULT_TIMEOUT) -> Message | None:
        """The next message, or None after `timeout` seconds (None: waits for ever). Raises as `receive_many`."""
        messages = self.receive_many(1, timeout)
        return messages[0] if messages else None

    def receive_many(self, limit: int, timeout: float | None = DEFAULT_TIMEOUT) -> list[Message]:
        """Up to `limit` messages: those that are here, or else the first ones that come within `timeout` seconds (None: for ever).

        Raises the broker's refusal of a subscription (UnknownTopic …), ClosedError, ForkedError. A broker that is away is no error:
        the consumer goes on trying."""
        limit = int(positive("limit", limit))
        timeout = timeout_seconds(timeout)
        with self._bell.lock:
            taken = self._take(limit)
            if not taken:
                self._bell.wait_for(self._is_ready, timeout)
                taken = self._take(limit)
        return [Message(self, held, index) for held, index in taken]

    def __iter__(self) -> Iterator[Message]:
        """Messages as they come, until the consumer is closed."""
        while True:
            try:
                message = self.receive(FOREVER_SLICE)
            except ClosedError:
                return
            if message is not None:
                yield message

    def take_now(self, limit: int) -> list[Message]:
        """Up to `limit` messages that are here already. Raises as `receive_many`."""
        with self._bell.lock:
            return [Message(self, held, index) for held, index in self._take(limit)]

    def _take(self, limit: int) -> list[tuple[Held, int]]:
        consuming, engine = self._consuming, self._engine
        engine.check()
        if self._receiving.is_stopping:
            raise ClosedError("the consumer was closed")
        was_wanted = consuming.is_wanted
        taken = consuming.take(limit)
        if not taken and consuming.error is not None:
            raise consuming.error
        if consuming.is_hungry and (taken or not was_wanted):
            engine.call()
        return taken

    def _is_ready(self) -> bool:
        consuming = self._consuming
        return bool(consuming.buffered) or self._engine.trouble is not None or consuming.error is not None or self._receiving.is_stopping

    # --- Settling ------------------------------------------------------------------------------------------------

    def ack(self, messages: Messages) -> PendingSettlement:
        """Done: one message or many. Of many, those still held are settled before LeaseLost or AlreadySettled is raised for the others."""
        return self._settle(messages, "ack", None, "")

    def nack(self, messages: Messages, delay: float | None = None, reason: str = "") -> PendingSettlement:
        """Failed: again after `delay` seconds (None: by the topic's retry delay), counted. Raises as `ack`."""
        return self._settle(messages, "nack", delay, reason)

    def release(self, messages: Messages) -> PendingSettlement:
        """Not started: back at once, not counted. Raises as `ack`."""
        return self._settle(messages, "release", None, "")

    def reject(self, messages: Messages, reason: str = "") -> PendingSettlement:
        """Hopeless: to the dead letters now. Raises as `ack`."""
        return self._settle(messages, "reject", None, reason)

    def settle_one(self, held: Held, index: int, outcome: Outcome, delay: float | None, reason: str) -> PendingSettlement:
        """What `Message.ack` and its like do. Raises AlreadySettled or LeaseLost."""
        engine, receiving = self._engine, self._receiving
        if engine.trouble is not None:
            raise engine.trouble
        with self._bell.lock:
            receiving.claim(held, index)
            if outcome == "ack":
                receiving.ack(held, index)
            else:
                receiving.settle(held, [index], outcome, self._checked(delay), reason[:MAX_REASON])
        engine.call()
        return PendingSettlement(self, [(held, [index])])

    def wait_settled(self, held: Held, indices: list[int], timeout: float | None) -> None:
        """Waits until the broker has confirmed. Raises LeaseLost, DeadlineExceeded or Unreachable."""
        states, engine = held.states, self._engine

        def is_over() -> bool:
            return engine.trouble is not None or all(states[index] >= SETTLED for index in indices)

        with self._bell.lock:
            in_time = self._bell.wait_for(is_over, timeout_seconds(timeout))
        lost = [index for index in indices if states[index] == LOST]
        if lost:
            raise lease_lost(held, lost)
        if not all(states[index] == SETTLED for index in indices):
            engine.check()
        if not in_time:
            raise engine.explain("settling")

    def _settle(self, messages: Messages, outcome: Outcome, delay: float | None, reason: str) -> PendingSettlement:
        many = [messages] if isinstance(messages, Message) else messages
        self._engine.check()
        delay = self._checked(delay)
        grouped: dict[Held, list[int]] = {}
        refused: list[LeaseLost] = []
        with self._bell.lock:
            for message in many:
                if message._keeper is not self:
                    raise InvalidValue("the message was delivered to another consumer", hint="settle it there")
                try:
                    self._receiving.claim(message._held, message._index)
                except LeaseLost as error:
                    refused.append(error)
                else:
                    grouped.setdefault(message._held, []).append(message._index)
            for held, indices in grouped.items():
                self._receiving.settle(held, indices, outcome, delay, reason[:MAX_REASON])
        self._engine.call()
        if refused:
            raise refused[0]
        return PendingSettlement(self, list(grouped.items()))

    def _checked(self, delay: float | None) -> float | None:
        return None if delay is None else delay_seconds(delay, self._receiving.max_delay)

    # --- Life ----------------------------------------------------------------------------------------------------

    def run(self, handler: Callable[[Message], object], workers: int = 4) -> None:
        """Calls `handler` with each message on `workers` threads until the consumer is stopped or closed; messages of one key go one after the other.

        Acknowledges when the handler returns, nacks with the exception as the reason when it raises, leaves messages alone that the handler
        has settled itself. On the main thread SIGTERM and SIGINT drain: what is being handled is finished, the rest goes back, then this returns."""
        run_workers(self, handler, int(positive("workers", workers, 1000)))

    def stop(self) -> None:
        """Ends `run`, iteration and waits for messages, from any thread or signal handler; `close` does the rest."""
        self._receiving.is_stopping = True
        self._engine.call()

    def close(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Returns what is not started, confirms what is settled, says goodbye; at most `timeout` seconds. What is still held goes back, uncounted."""
        timeout = timeout_seconds(timeout)
        if self._engine.trouble is not None:
            return
        started = time.monotonic()
        with self._bell.lock:
            self._receiving.is_stopping = True
            self._consuming.drain()
            self._bell.ring()
        self._engine.stop(FOREVER_SLICE if timeout is None else max(0.0, started + timeout - time.monotonic()))

    @property
    def lost(self) -> int:
        """Messages that this consumer was handed, or had in its buffer, and lost before they were settled."""
        return self._receiving.lost

    @property
    def obstacle(self) -> ZmqmqError | None:
        """Why something is not consumed now: no broker can be asked (with each endpoint's own reason), or a partition has no leader, or one that does not
        answer. None: everything that is known of is consumed. The consumer keeps trying."""
        if not self._engine.is_open:
            return self._engine.unreachable()
        with self._bell.lock:
            return next((why for one in self._consuming.subscriptions.values() if (why := one.hindrance) is not None), None)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` or `close` was called."""
        return self._receiving.is_stopping

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
