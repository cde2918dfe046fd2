"""The engine of a client object: one thread that owns the sockets and keeps sessions with brokers, whatever happens.

A *role* (producer, consumer, administrator) says what to send to whom and takes what comes; the engine keeps the lines (`zmqmq.client.lines`):
it connects, greets, pings, listens, redials, and sleeps until there is something to do. User threads never touch a socket:
they leave work with the role and `call()` the engine, which costs a system call only when it sleeps. The engine never runs user code,
so no handler, however slow, can stop a heartbeat.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from itertools import count

import zmq

from zmqmq.client import lifetimes
from zmqmq.client.bell import Bell
from zmqmq.client.endpoint_book import EndpointBook
from zmqmq.client.lines import FAREWELL_TIMEOUT, Lines
from zmqmq.client.link import Link
from zmqmq.client.role import Role
from zmqmq.core.client_session import ClientSession
from zmqmq.errors import ClosedError, DeadlineExceeded, Unreachable, ZmqmqError
from zmqmq.version import VERSION

JOIN_TIMEOUT = 2.0
"""Seconds beyond its deadline that closing waits for the thread."""
MAX_SLEEP = 60.0
"""Seconds; the engine looks around at least that often."""

log = logging.getLogger("zmqmq.client")


class Engine:
    """Keeps the sessions of one role."""

    def __init__(
        self, endpoints: tuple[str, ...], role: Role, bell: Bell, next_id: Callable[[], int], *, name: str, session_timeout: float, wants_hints: bool
    ) -> None:
        """`session_timeout` in seconds, 0 takes the broker's default; `wants_hints`: listen to wake-ups and beacons."""
        self.trouble: ZmqmqError | None = None
        """Why this client cannot be used any more."""
        self.next_id = next_id
        self.client_id = uuid.uuid4().hex
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._session_timeout = session_timeout
        self._epochs = count(1)
        self._role = role
        self._bell = bell
        self._asleep = False
        self._called = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._thread: threading.Thread | None = None
        self._lines = Lines(role, EndpointBook(endpoints, random.random), self._open_link, self._new_session, wants_hints)
        self._stop_at: float | None = None
        self._goodbye_at: float | None = None
        lifetimes.watch(self)

    # --- For user threads ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread if it does not run. The bell's lock is held."""
        if self._thread is None and self.trouble is None:
            self._thread = threading.Thread(target=self._run, name=f"zmqmq-{type(self._role).__name__.lower()}", daemon=True)
            self._thread.start()

    def call(self) -> None:
        """There is work: step soon."""
        self._called = True
        if self._asleep:
            self._asleep = False
            try:
                self._writer.send(b"\0")
            except OSError:
                pass  # the pipe is full of calls already, or the engine has just ended: either way nobody needs this one

    def check(self) -> None:
        """Raises what makes this client unusable."""
        if self.trouble is not None:
            raise self.trouble

    def explain(self, waited_for: str) -> ZmqmqError:
        """The error for a wait that ran out of time."""
        if self.is_open:
            return DeadlineExceeded(f"{waited_for} took too long", hint="it goes on")
        return self.unreachable()

    def unreachable(self) -> Unreachable:
        """Every endpoint with the reason why it is of no use."""
        return self._lines.book.unreachable()

    @property
    def is_open(self) -> bool:
        """There is a session with some broker."""
        return self._lines.is_open

    def stop(self, timeout: float) -> None:
        """Lets the role finish, says goodbye and ends the thread; at most about `timeout` seconds."""
        with self._bell.lock:
            thread = self._thread
            self._stop_at = time.monotonic() + timeout
            if thread is None:
                self._end(ClosedError("the client was closed"))
        self.call()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout + JOIN_TIMEOUT)

    # --- The thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: ZmqmqError = ClosedError("the client was closed")
        try:
            while self._goes_on(time.monotonic()):
                self.turn(time.monotonic())
                self._sleep()
        except ZmqmqError as cause:
            log.error("the client ends: %s", cause)
            error = cause
        except Exception as cause:
            log.exception("the client's engine failed")
            error = ZmqmqError(f"the client's engine failed: {type(cause).__name__}: {cause}", hint="make a new client")
            error.__cause__ = cause
        finally:
            self._lines.close()
            with self._bell.lock:
                self._end(error)

    def _end(self, error: ZmqmqError) -> None:
        if self.trouble is None:
            self.trouble = error
        self._role.fail(self.trouble)
        self._reader.close()
        self._writer.close()
        self._bell.ring()
        lifetimes.forget(self)

    def turn(self, now: float) -> None:
        """Everything there is to do at this moment, `time.monotonic()`; then the engine may sleep. A simulator calls it in its own time."""
        self._called = False
        lines = self._lines
        lines.check_sleep(now)
        lines.receive(now)
        lines.watch(now)
        if self._goodbye_at is None:
            lines.dial(now)  # after all that was heard: a broker whose answer has waited here is not silent
            lines.say(self._role.step(now, lines.open(now)), now)
        lines.keep_alive(now, self.next_id)

    def _goes_on(self, now: float) -> bool:
        """Whether to take another turn; says goodbye when stopping and all is done."""
        if self._stop_at is None:
            return True
        if self._goodbye_at is not None:
            return now < self._goodbye_at and bool(self._lines.all)
        is_over = now >= self._stop_at or self._role.is_quiet()
        if not is_over:
            return True
        self._lines.part(now)
        self._goodbye_at = now + FAREWELL_TIMEOUT
        return bool(self._lines.all)

    def _open_link(self, endpoint: str) -> Link:
        """A simulator gives links of its own."""
        return Link(endpoint)

    def _new_session(self) -> ClientSession:
        return ClientSession(self.client_id, self._name, f"zmqmq-python/{VERSION}", self._session_timeout, self._epochs)

    def _sleep(self) -> None:
        poller = zmq.Poller()
        poller.register(self._reader.fileno(), zmq.POLLIN)
        for line in self._lines.all:
            line.link.register(poller)
        self._asleep = True
        ready = dict(poller.poll(self._patience()))
        self._asleep = False
        for line in self._lines.all:
            line.link.polled(ready)
        if self._reader.fileno() in ready:
            self._reader.recv(4096)  # what is more than that ends the next sleep

    def _patience(self) -> int:
        """Milliseconds that may be slept."""
        if self._called or self._lines.is_behind:
            return 0
        now = time.monotonic()
        wait = min(self._wake_at(now) - now, MAX_SLEEP)
        return int(wait * 1000) + 1 if wait > 0 else 0

    def _wake_at(self, now: float) -> float:
        if self._goodbye_at is not None:  # the role is not asked any more
            return min(self._goodbye_at, self._lines.deadline(now)) if self._lines.all else now
        times = [self._lines.deadline(now), self._role.deadline(self._lines.open(now))]
        return min(times) if self._stop_at is None else min(*times, self._stop_at)
