"""The engine of a client object: one thread that owns the sockets and keeps a session with a broker, whatever happens.

A *role* (producer, consumer, administrator) says what to send and takes what comes; the engine connects, greets, pings,
listens, redials with jitter over the endpoints, and sleeps until there is something to do. User threads never touch a socket:
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
from math import inf
from typing import Protocol

import zmq

from zmqmq.client import lifetimes
from zmqmq.client.bell import Bell
from zmqmq.client.link import Link
from zmqmq.core.backoff import Backoff
from zmqmq.core.client_session import GREETING_TIMEOUT, ClientSession, Heard
from zmqmq.core.commands import BEACON, Beacon, Command, Farewell, Goodbye, Welcome
from zmqmq.errors import ClosedError, DeadlineExceeded, ProtocolError, Unreachable, ZmqmqError
from zmqmq.version import VERSION
from zmqmq.wire import decode_answer, decode_beacon, encode

FRAMES_PER_TURN = 256
"""Frames taken from the socket before anything else is looked at."""
FAREWELL_TIMEOUT = 1.0
"""Seconds to wait for the answer to a Goodbye."""
JOIN_TIMEOUT = 2.0
"""Seconds beyond its deadline that closing waits for the thread."""
MAX_SLEEP = 60.0
"""Seconds; the engine looks around at least that often."""

log = logging.getLogger("zmqmq.client")


class Role(Protocol):
    """What an engine works for. All methods run on the engine's thread; `now` is `time.monotonic()`."""

    def opened(self, welcome: Welcome, now: float) -> None:
        """A new session: declare everything."""

    def down(self, reason: Unreachable) -> None:
        """There is no session now."""

    def expired(self) -> None:
        """The broker has surely given up the session that was."""

    def hear(self, command: Command, now: float) -> None:
        """A command that is not about the session."""

    def woken(self) -> None:
        """A wake-up."""

    def beacon(self, beacon: Beacon, now: float) -> None:
        """A beacon."""

    def step(self, now: float, is_open: bool) -> list[Command]:
        """What to send now."""

    def deadline(self, is_open: bool) -> float:
        """When to step again if nothing happens."""

    def is_quiet(self) -> bool:
        """Nothing is left to do before a goodbye."""

    def fail(self, error: ZmqmqError) -> None:
        """Everything that waits ends with `error`."""


class Engine:
    """Keeps one session for one role."""

    def __init__(
        self, endpoints: tuple[str, ...], role: Role, bell: Bell, next_id: Callable[[], int], *, name: str, session_timeout: float, wants_hints: bool
    ) -> None:
        """`session_timeout` in seconds, 0 takes the broker's default; `wants_hints`: listen to wake-ups and beacons."""
        self.trouble: ZmqmqError | None = None
        """Why this client cannot be used any more."""
        self.next_id = next_id
        self.session = ClientSession(uuid.uuid4().hex, name or f"{socket.gethostname()}:{os.getpid()}", f"zmqmq-python/{VERSION}", session_timeout)
        self._endpoints = endpoints
        self._role = role
        self._bell = bell
        self._wants_hints = wants_hints
        self._asleep = False
        self._called = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._thread: threading.Thread | None = None
        self._link: Link | None = None
        self._backoff = Backoff(random.random)
        self._turn_of = random.randrange(len(endpoints))
        self._redial_at = -inf
        self._reasons: dict[str, str] = dict.fromkeys(endpoints, "not tried yet")
        self._is_expired = True
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
        if self.session.is_open:
            return DeadlineExceeded(f"{waited_for} took too long", hint="it goes on")
        return self.unreachable()

    def unreachable(self) -> Unreachable:
        """Every endpoint with the reason why it is of no use."""
        return Unreachable("no broker answered", hint="the client keeps trying", **self._reasons)

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
            self._hang_up()
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
        if self.session.overslept(now):
            self._expire(now)
        self._dial(now)
        self._receive(now)
        self._watch(now)
        if self._goodbye_at is None:
            self._say(self._role.step(now, self.session.is_open), now)
        self._keep_alive(now)

    def _goes_on(self, now: float) -> bool:
        """Whether to take another turn; says goodbye when stopping and all is done."""
        if self._stop_at is None:
            return True
        if self._goodbye_at is not None:
            return now < self._goodbye_at and self._link is not None
        is_over = now >= self._stop_at or self._role.is_quiet()
        if not is_over:
            return True
        if not self.session.is_open or self._link is None:
            return False
        self._say([Goodbye(self.next_id())], now)
        self._goodbye_at = now + FAREWELL_TIMEOUT
        return True

    def _dial(self, now: float) -> None:
        if self._link is not None or now < self._redial_at:
            return
        endpoint = self._endpoints[self._turn_of % len(self._endpoints)]
        self._turn_of += 1
        self._link = self._open_link(endpoint)
        self._link.send(encode(self.session.greet(now)))

    def _open_link(self, endpoint: str) -> Link:
        """A simulator gives links of its own."""
        return Link(endpoint)

    def _receive(self, now: float) -> None:
        for _ in range(FRAMES_PER_TURN):
            frame = self._link.receive() if self._link is not None else None
            if frame is None:
                break
            try:
                self._hear(decode_answer(frame), now)
            except ProtocolError as error:
                self._fail_link(str(error), now)
        else:
            self._called = True
        for _ in range(FRAMES_PER_TURN):
            hint = self._link.hint() if self._link is not None else None
            if hint is None:
                return
            self._hint(hint, now)

    def _hear(self, command: Command, now: float) -> None:
        meaning = self.session.hear(command, now)
        if meaning is Heard.CONTENT:
            if isinstance(command, Farewell):
                self._goodbye_at = now
            else:
                self._role.hear(command, now)
        elif meaning is Heard.OPENED and isinstance(command, Welcome):
            self._opened(command, now)
        elif meaning is Heard.FORGOTTEN and self._link is not None:
            self._link.send(encode(self.session.greet(now)))
        elif meaning is Heard.REFUSED:
            self._fail_link(f"refused: {self.session.refusal}", now)
        elif meaning is Heard.ENDED:
            self._fail_link("the broker ended the session", now)

    def _opened(self, welcome: Welcome, now: float) -> None:
        assert self._link is not None, "a welcome came over a link"
        self._backoff.reset()
        self._is_expired = False
        if self._wants_hints:
            self._link.listen(welcome.wake_endpoint, welcome.wake_name)
        self._role.opened(welcome, now)
        log.debug("session %s with broker %s at %s", welcome.session_epoch, welcome.broker_id, self._link.endpoint)

    def _hint(self, frame: bytes, now: float) -> None:
        if not frame.startswith(BEACON):
            self._role.woken()
            return
        try:
            self._role.beacon(decode_beacon(frame), now)
        except ProtocolError as error:
            log.warning("a beacon was ignored: %s", error)

    def _watch(self, now: float) -> None:
        """Gives up a link that is dead, and a session that is over."""
        trouble = self._link.trouble() if self._link is not None else None
        if trouble is not None:
            self._fail_link(trouble, now)
        elif self.session.is_dead(now):
            silent = GREETING_TIMEOUT if not self.session.is_open else self.session.timeout
            self._fail_link(f"no answer within {silent:g} s", now)
        if not self.session.is_open and not self._is_expired and now >= self.session.gives_up_at():
            self._is_expired = True
            self._role.expired()

    def _fail_link(self, reason: str, now: float) -> None:
        if self._link is None:
            return
        self._reasons[self._link.endpoint] = reason
        log.debug("the link to %s is given up: %s", self._link.endpoint, reason)
        self._hang_up()
        self._redial_at = now + self._backoff.next()
        self._role.down(self.unreachable())

    def _expire(self, now: float) -> None:
        """This process was stopped for longer than its session lasts: what it held is with others by now."""
        self._fail_link(f"this process did not move for {self.session.timeout:g} s", now)
        self._is_expired = True
        self._role.expired()

    def _hang_up(self) -> None:
        self.session.down()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _say(self, commands: list[Command], now: float) -> None:
        if commands and self._link is not None:
            for command in commands:
                self._link.send(encode(command))
            self.session.said(now)

    def _keep_alive(self, now: float) -> None:
        ping = self.session.ping(now, self.next_id)
        if ping is not None:
            self._say([ping], now)
        if self._link is not None:
            self._link.flush()

    def _sleep(self) -> None:
        poller = zmq.Poller()
        poller.register(self._reader.fileno(), zmq.POLLIN)
        if self._link is not None:
            self._link.register(poller)
        self._asleep = True
        if self._called:
            self._asleep = False
            return
        wait = min(self._wake_at() - time.monotonic(), MAX_SLEEP)
        poller.poll(max(0, int(wait * 1000) + 1) if wait > 0 else 0)
        self._asleep = False
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            return

    def _wake_at(self) -> float:
        is_open = self.session.is_open
        times = [self.session.deadline()]
        if self._goodbye_at is not None:  # the role is not asked any more
            times.append(self._goodbye_at)
        else:
            times += [self._role.deadline(is_open), inf if self._stop_at is None else self._stop_at]
        if self._link is None:
            times.append(self._redial_at)
        if not is_open and not self._is_expired:
            times.append(self.session.gives_up_at())
        return min(times)
