"""The producer for people: `send` returns at once, a receipt says when the message is safe.

A message costs a lock and a few list appends; everything else happens per batch on the engine's thread (`zmqmq.client.engine`), by the
rules of `zmqmq.core.producing`. The buffer is bounded in messages and bytes, with a policy for when it is full.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from zmqmq.client.bell import Bell
from zmqmq.client.endpoints import parse_endpoints
from zmqmq.client.engine import Engine
from zmqmq.client.gathering import PARCEL_BYTES, PARCEL_MESSAGES, Gathering
from zmqmq.client.posting import Posting
from zmqmq.client.receipt import DEFAULT_TIMEOUT, PendingReceipt
from zmqmq.client.values import delay_seconds, headers_text, key_bytes, positive, timeout_seconds, value_bytes
from zmqmq.core.names import check_name
from zmqmq.core.parcel import Parcel, too_large
from zmqmq.errors import BrokerError, BufferFull, DeadlineExceeded, InvalidValue, ZmqmqError

if TYPE_CHECKING:
    from zmqmq.client.stored_posting import StoredPosting

log = logging.getLogger("zmqmq.producer")
DELIVERY_TIMEOUT = 120.0
BUFFER_MESSAGES = 100_000
BUFFER_BYTES = 64 << 20
OUTBOX_BYTES = 64 << 20
WhenFull = Literal["block", "raise"]


class Producer:
    """Sends messages. Thread-safe; close it, or use it in a `with` block, so that everything is confirmed before it goes."""

    def __init__(
        self,
        brokers: str | Iterable[str],
        *,
        name: str = "",
        create_topics: bool = True,
        delivery_timeout: float = DELIVERY_TIMEOUT,
        buffer_messages: int = BUFFER_MESSAGES,
        buffer_bytes: int = BUFFER_BYTES,
        when_full: WhenFull = "block",
        block_timeout: float = DEFAULT_TIMEOUT,
        session_timeout: float = 0.0,
        outbox: str | Path | None = None,
        outbox_max_bytes: int = OUTBOX_BYTES,
        outbox_max_age: float | None = None,
        outbox_when_full: Literal["drop_oldest", "raise"] = "drop_oldest",
    ) -> None:
        """Connects when first used; brokers may be down.

        brokers: "tcp://host:port", "host:port", or several of them. name: shown in the broker's status. create_topics: create
        topics on first use, if the broker allows it. delivery_timeout: seconds that a message may try before its receipt fails.
        buffer_messages, buffer_bytes: messages without an outcome that are kept; when_full: `send` blocks for up to `block_timeout`
        seconds and then raises BufferFull, or raises it at once. session_timeout: seconds of silence after which the broker
        gives this client up, 0 for the broker's default.

        outbox: a file that keeps messages (readings of a sensor) until they are confirmed, over restarts too; `send` writes to it before
        it returns, and buffer, delivery_timeout and when_full do not apply. outbox_max_bytes: bound of what waits in it.
        outbox_max_age: messages that waited longer, in seconds, are dropped. outbox_when_full: the oldest message goes, or
        `send` raises BufferFull. What is dropped is logged and counted in `dropped`. Raises InvalidValue, StorageError."""
        if when_full not in ("block", "raise"):
            raise InvalidValue(f"when_full is {when_full!r}", hint='allowed are "block" and "raise"')
        self._buffer_messages = positive("buffer_messages", buffer_messages)
        self._buffer_bytes = positive("buffer_bytes", buffer_bytes)
        self._block_timeout = 0.0 if when_full == "raise" else positive("block_timeout", block_timeout)
        positive("delivery_timeout", delivery_timeout)
        self._bell = Bell()
        self._lock = self._bell.lock
        self._gathering = Gathering()
        self._topics: set[str] = set()
        next_id = count(1).__next__
        self._posting = Posting(self._gathering, self._bell, random.getrandbits(63), delivery_timeout, create_topics, next_id)
        self._stored: StoredPosting | None = None
        endpoints = parse_endpoints(brokers)
        if outbox is not None:
            self._posting = self._stored = _stored_posting(outbox, outbox_max_bytes, outbox_max_age, outbox_when_full, self._bell, create_topics, next_id)
        self._engine = Engine(endpoints, self._posting, self._bell, next_id, name=name, session_timeout=session_timeout, wants_hints=False)
        self._posting.attach(self._engine)
        if self._stored is not None and self._stored.outbox.count:
            with self._lock:
                self._engine.start()

    def send(
        self,
        topic: str,
        value: bytes,
        key: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float | None = None,
    ) -> PendingReceipt:
        """Sends a message and returns at once.

        key: decides partition and order; headers: strings by name; delay: seconds until it may be delivered.
        Raises BufferFull, InvalidName, InvalidValue, MessageTooLarge, ClosedError or ForkedError; what the broker says comes with
        the receipt."""
        engine = self._engine
        if engine.trouble is not None:
            raise engine.trouble
        if type(value) is not bytes:
            value = value_bytes(value)
        size = len(value)
        text = None
        if key is not None:
            key = key_bytes(key, self._posting.limits.max_key_bytes)
            size += len(key)
        if headers:
            text = headers_text(headers, self._posting.limits.max_headers_bytes)
            size += len((text or "").encode())
        if delay is not None:
            delay = delay_seconds(delay, self._posting.limits.max_delay)
        if size > self._posting.limits.max_message_bytes:
            raise too_large(topic, size, self._posting.limits)
        if self._stored is not None:
            return self._store(self._stored, topic, value, key, text, delay)
        with self._lock:
            gathering = self._gathering
            if gathering.messages >= self._buffer_messages or gathering.bytes + size > self._buffer_bytes:
                self._make_room(size)
            parcel = gathering.open.get(topic)
            if parcel is None or parcel.size >= PARCEL_BYTES or len(parcel.values) >= PARCEL_MESSAGES:
                parcel = self._begin(topic)
            values = parcel.values
            index = len(values)
            values.append(value)
            parcel.size += size
            gathering.messages += 1
            gathering.bytes += size
            if parcel.keys is not None or key is not None:
                _add_key(parcel, index, key)
            if parcel.headers is not None or text is not None:
                _add_headers(parcel, index, text)
            if parcel.delays is not None or delay is not None:
                _add_delay(parcel, index, delay)
        return PendingReceipt(self._posting, parcel, index)

    def flush(self, timeout: float | None = None) -> None:
        """Waits until everything sent so far has an outcome, at most `timeout` seconds (None: the delivery timeout ends it).

        Raises DeadlineExceeded or Unreachable if the time is over, and the first failure that nobody has seen on a receipt."""
        self._posting.flush(timeout_seconds(timeout))

    def close(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Flushes for at most `timeout` seconds, says goodbye and ends. Closing twice is fine. Raises as `flush` does."""
        timeout = timeout_seconds(timeout)
        started = time.monotonic()
        if self._engine.trouble is not None:
            return
        try:
            if self._stored is None:
                self.flush(timeout)
            elif self._engine.is_open:
                self._empty_outbox(timeout)
        finally:
            self._engine.stop(0.0 if timeout is None else max(0.0, started + timeout - time.monotonic()))

    @property
    def buffered(self) -> int:
        """Messages without an outcome."""
        return self._gathering.messages if self._stored is None else self._stored.outbox.count

    @property
    def dropped(self) -> Mapping[str, int]:
        """Messages that were dropped from the outbox since the start, by reason."""
        return {} if self._stored is None else dict(self._stored.outbox.dropped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except ZmqmqError:
            if error is None:
                raise
            log.warning("messages of a producer that ends with an error were not all confirmed", exc_info=True)

    # --- Details -------------------------------------------------------------------------------------------------

    def _store(self, stored: StoredPosting, topic: str, value: bytes, key: bytes | None, headers: str | None, delay: float | None) -> PendingReceipt:
        if topic not in self._topics:
            self._topics.add(check_name("topic", topic))
        receipt = stored.store(topic, value, key, headers, delay)
        with self._lock:
            self._engine.start()
        self._engine.call()
        return receipt

    def _empty_outbox(self, timeout: float | None) -> None:
        """Sends what it can in the time; what is left is safe in the file."""
        try:
            self.flush(timeout)
        except (DeadlineExceeded, BrokerError) as error:
            log.info("%d messages stay in the outbox: %s", self.buffered, error)

    # --- Details, under the lock ---------------------------------------------------------------------------------

    def _begin(self, topic: str) -> Parcel:
        if topic not in self._topics:
            self._topics.add(check_name("topic", topic))
            self._engine.start()
        parcel = self._gathering.begin(topic, time.monotonic())
        self._engine.call()
        return parcel

    def _make_room(self, size: int) -> None:
        gathering, engine = self._gathering, self._engine

        def has_room() -> bool:
            fits = gathering.messages < self._buffer_messages and gathering.bytes + size <= self._buffer_bytes
            return fits or not gathering.messages or engine.trouble is not None

        has_room_now = self._bell.wait_for(has_room, self._block_timeout)
        engine.check()
        if not has_room_now:
            why = self._posting.obstacle()
            raise BufferFull(
                f"{gathering.messages} messages ({gathering.bytes} bytes) have no outcome yet",
                hint=f"the last obstacle: {why}" if why else "the broker is slower than this producer",
            )


def _stored_posting(
    path: str | Path,
    max_bytes: int,
    max_age: float | None,
    when_full: Literal["drop_oldest", "raise"],
    bell: Bell,
    create: bool,
    next_id: Callable[[], int],
) -> StoredPosting:
    """Loads SQLite only for those who want an outbox."""
    from zmqmq.client.outbox import Outbox
    from zmqmq.client.stored_posting import StoredPosting

    return StoredPosting(Outbox(path, max_bytes, max_age, when_full), bell, create, next_id)


def _add_key(parcel: Parcel, index: int, key: bytes | None) -> None:
    if parcel.keys is None:
        parcel.keys = [None] * index
    parcel.keys.append(key)


def _add_headers(parcel: Parcel, index: int, text: str | None) -> None:
    if parcel.headers is None:
        parcel.headers = [None] * index
    parcel.headers.append(text)


def _add_delay(parcel: Parcel, index: int, delay: float | None) -> None:
    if parcel.delays is None:
        parcel.delays = [None] * index
    parcel.delays.append(delay)
