"""`Consumer.run`: handlers on several threads, messages of one key strictly one after the other.

A key is either being worked on by one thread or waiting in line; its next message becomes available when the one before it
is settled. A message whose lease was lost in the meantime is skipped: it is somebody else's.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from zmqmq.client.message import Message
from zmqmq.errors import ClosedError, LeaseLost

AHEAD_PER_WORKER = 16
"""Messages taken from the consumer's buffer per worker before one is free."""
POLL = 0.5
"""Seconds between two looks at a stop that came by a signal."""

log = logging.getLogger("zmqmq.consumer")
Handler = Callable[[Message], object]


class Source(Protocol):
    """Where messages come from: a consumer."""

    @property
    def is_stopping(self) -> bool:
        """Whether no more are to be taken."""

    def receive_many(self, limit: int, timeout: float | None) -> list[Message]:
        """The next messages."""

    def stop(self) -> None:
        """Take no more."""


class Line:
    """Messages waiting for a worker, in order within each key."""

    def __init__(self, bound: int) -> None:
        self._changed = threading.Condition()
        self._ready: deque[Hashable] = deque()
        self._by_key: dict[Hashable, deque[Message]] = {}
        self._bound = bound
        self._count = 0
        self._is_closed = False

    def put(self, message: Message) -> None:
        """Adds a message; one without a key depends on no other."""
        key: Hashable = (message.topic, message.key_bytes) if message.key_bytes is not None else message
        with self._changed:
            waiting = self._by_key.get(key)
            if waiting is None:
                self._by_key[key] = deque([message])
                self._ready.append(key)
                self._changed.notify()
            else:
                waiting.append(message)
            self._count += 1

    def get(self) -> tuple[Hashable, Message] | None:
        """The next message whose key is free, None when the line is closed. `done` must follow."""
        with self._changed:
            while not self._ready:
                if self._is_closed:
                    return None
                self._changed.wait()
            if self._is_closed:
                return None
            key = self._ready.popleft()
            self._count -= 1
            return key, self._by_key[key].popleft()

    def done(self, key: Hashable) -> None:
        """The key is free for its next message."""
        with self._changed:
            if self._by_key[key]:
                self._ready.append(key)
            else:
                del self._by_key[key]
            self._changed.notify_all()

    def room(self, timeout: float) -> int:
        """How many messages may be added, after waiting at most `timeout` seconds for at least one."""
        with self._changed:
            self._changed.wait_for(lambda: self._count < self._bound, timeout)
            return max(0, self._bound - self._count)

    def close(self) -> list[Message]:
        """No more: workers end after what they have. Gives what nobody has started."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            return [message for waiting in self._by_key.values() for message in waiting]


def run_workers(source: Source, handler: Handler, workers: int) -> None:
    """Handles messages until the source is stopped; then lets the workers finish and releases what is left."""
    line = Line(workers * AHEAD_PER_WORKER)
    threads = [threading.Thread(target=_work, args=(line, handler), name=f"zmqmq-worker-{number}", daemon=True) for number in range(workers)]
    for thread in threads:
        thread.start()
    try:
        with _stopping_on_signals(source):
            _feed(source, line)
    finally:
        for message in line.close():
            _quietly(message.release)
        for thread in threads:
            thread.join()


def _feed(source: Source, line: Line) -> None:
    while not source.is_stopping:
        room = line.room(POLL)
        if not room:
            continue
        try:
            messages = source.receive_many(room, POLL)
        except ClosedError:
            return
        for message in messages:
            line.put(message)


def _work(line: Line, handler: Handler) -> None:
    while (found := line.get()) is not None:
        key, message = found
        try:
            if message.is_held:
                _handle(message, handler)
        finally:
            line.done(key)


def _handle(message: Message, handler: Handler) -> None:
    try:
        handler(message)
    except Exception as error:
        log.warning("the handler failed on %r: %s: %s", message, type(error).__name__, error)
        reason = f"{type(error).__name__}: {error}"
        if message.is_held:
            _quietly(lambda: message.nack(reason=reason))
        return
    if message.is_held:
        _quietly(message.ack)


def _quietly(settle: Callable[[], object]) -> None:
    """Settles; a lease that is lost, or a consumer that is closed, is no news for a worker: the message is delivered again."""
    try:
        settle()
    except (LeaseLost, ClosedError) as error:
        log.info("%s", error)


@contextmanager
def _stopping_on_signals(source: Source) -> Iterator[None]:
    """On the main thread SIGTERM and SIGINT stop the source, once; a second one acts as it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        for other, handler in before.items():
            signal.signal(other, handler)
        source.stop()

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
