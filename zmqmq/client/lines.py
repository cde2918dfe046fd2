"""The lines of a client: one session, on one link, with each broker that it needs.

A line is dialled for a broker that the role wants, or for any one while there is none that is well; who answers says who it is. Of two lines
to the same broker the newer one counts, as it does for the broker. A line that nobody wants any more ends with a goodbye after a while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import inf

from zmqmq.client.endpoint_book import EndpointBook
from zmqmq.client.link import Link
from zmqmq.client.role import Role
from zmqmq.core.client_session import GREETING_TIMEOUT, ClientSession, Heard
from zmqmq.core.commands import BEACON, Command, Farewell, Goodbye, Welcome
from zmqmq.core.topology import Letter
from zmqmq.errors import ProtocolError
from zmqmq.wire import decode_answer, decode_beacon, encode

FRAMES_PER_TURN = 256
"""Frames taken from one link before anything else is looked at."""
LINES_MAX = 64
"""Lines of one client."""
IDLE_TIMEOUT = 30.0
"""Seconds after which a line that nobody wants is given up."""
HURRY_AFTER = 0.5
"""Seconds without a welcome after which another broker is tried beside the first."""
FAREWELL_TIMEOUT = 1.0
"""Seconds to wait for the answer to a Goodbye."""
GOODBYE_ID = 1 << 62
"""Id of every Goodbye: no question of a role has it."""

log = logging.getLogger("zmqmq.client")


class Line:
    """One link and the session on it."""

    def __init__(self, link: Link, session: ClientSession, target: str, now: float) -> None:
        self.link = link
        self.session = session
        self.target = target
        """Whom it was dialled for, "" for anybody; "" again when somebody has answered."""
        self.broker = ""
        """Who answered, "" before that."""
        self.dialled_at = now
        self.wanted_at = now
        """When it was last of use."""
        self.leaving_at: float | None = None
        """When the goodbye was said."""

    @property
    def is_open(self) -> bool:
        """It can be used."""
        return self.session.is_open and self.leaving_at is None

    def is_well(self, now: float) -> bool:
        """It can be used, and the broker answers."""
        return self.session.is_open and self.leaving_at is None and now < self.session.suspect_at()


class Lines:
    """All lines of one client."""

    def __init__(self, role: Role, book: EndpointBook, open_link: Callable[[str], Link], new_session: Callable[[], ClientSession], wants_hints: bool) -> None:
        self.all: list[Line] = []
        self.book = book
        self.is_behind = False
        """More has arrived than one turn takes."""
        self._is_parting = False
        self._role = role
        self._open_link = open_link
        self._new_session = new_session
        self._wants_hints = wants_hints

    @property
    def is_open(self) -> bool:
        """There is a session with some broker."""
        return any(line.is_open for line in self.all)

    def open(self, now: float) -> list[str]:
        """The brokers with a session, those first that are well."""
        well: list[str] = []
        doubtful: list[str] = []
        for line in self.all:
            if line.is_open:
                (well if now < line.session.suspect_at() else doubtful).append(line.broker)
        return well + doubtful

    # --- dialling ----------------------------------------------------------------------------------------------------

    def dial(self, now: float) -> None:
        """Dials whoever is wanted and not there, and anybody if nobody is well."""
        wanted = self._role.wanted()
        self.book.told(wanted)
        there = self._reached()
        for broker in wanted:
            if broker not in there and now >= self.book.redial_at(broker):
                self._dial(self.book.endpoint_of(broker), broker, now)
        if self._needs_any(now):
            endpoint = self.book.next(now, self._taken(), {*there, *wanted})
            if endpoint is not None:
                self._dial(endpoint, "", now)

    def _dial(self, endpoint: str, target: str, now: float) -> None:
        if not self._is_parting and len(self.all) < LINES_MAX:
            line = Line(self._open_link(endpoint), self._new_session(), target, now)
            self.all.append(line)
            line.link.send(encode(line.session.greet(now)))

    def _reached(self) -> set[str]:
        return {line.broker or line.target for line in self.all}

    def _taken(self) -> set[str]:
        return {line.link.endpoint for line in self.all}

    def _needs_any(self, now: float) -> bool:
        """Nobody who is well can be asked, and nobody has been dialled just now."""
        is_anybody_well = False
        for line in self.all:
            if not line.broker and not line.target and now < line.dialled_at + HURRY_AFTER:
                return False
            is_anybody_well = is_anybody_well or line.is_well(now)
        return not is_anybody_well or self._role.needs_another(self.open(now))

    # --- hearing -----------------------------------------------------------------------------------------------------

    def receive(self, now: float) -> None:
        """Takes what has arrived on all lines."""
        self.is_behind = False
        for line in list(self.all):
            self._receive(line, now)

    def _receive(self, line: Line, now: float) -> None:
        for _ in range(FRAMES_PER_TURN):
            frame = line.link.receive()
            if frame is None:
                break
            try:
                self._hear(line, decode_answer(frame), now)
            except ProtocolError as error:
                self.fail(line, str(error), now)
            if line not in self.all:
                return
        else:
            self.is_behind = True
        for _ in range(FRAMES_PER_TURN if self._wants_hints else 0):
            hint = line.link.hint()
            if hint is None:
                return
            self._hint(line, hint, now)

    def _hear(self, line: Line, command: Command, now: float) -> None:
        meaning = line.session.hear(command, now)
        if meaning is Heard.CONTENT:
            if isinstance(command, Farewell):
                self._close(line)
            elif line.leaving_at is None:
                self._role.hear(line.broker, command, now)
        elif meaning is Heard.OPENED and isinstance(command, Welcome):
            self._opened(line, command, now)
        elif meaning is Heard.FORGOTTEN and line.leaving_at is not None:
            self._close(line)
        elif meaning is Heard.FORGOTTEN:
            line.session.down()
            self._role.down(line.broker, self.book.unreachable(), line.session.gives_up_at())
            line.link.send(encode(line.session.greet(now)))
        elif meaning is Heard.REFUSED:
            self.fail(line, f"refused: {line.session.refusal}", now)
        elif meaning is Heard.ENDED:
            self.fail(line, "the broker ended the session", now)

    def _opened(self, line: Line, welcome: Welcome, now: float) -> None:
        broker = welcome.broker_id
        for other in [other for other in self.all if other.broker == broker and other is not line]:
            self._close(other)
        if line.target not in ("", broker):
            self.book.failed(line.link.endpoint, line.target, f"another broker answers there: {broker}", now)
        if line.broker not in ("", broker):
            self._role.down(line.broker, self.book.unreachable(), line.session.gives_up_at())
        line.broker, line.target = broker, ""
        self.book.opened(line.link.endpoint, broker)
        if self._wants_hints:
            line.link.listen(welcome.wake_endpoint, welcome.wake_name)
        self._role.opened(broker, welcome, now)
        log.debug("session %s with broker %s at %s", welcome.session_epoch, broker, line.link.endpoint)

    def _hint(self, line: Line, frame: bytes, now: float) -> None:
        if not frame.startswith(BEACON):
            self._role.woken(line.broker)
            return
        try:
            self._role.beacon(line.broker, decode_beacon(frame), now)
        except ProtocolError as error:
            log.warning("a beacon was ignored: %s", error)

    # --- ends --------------------------------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Gives up lines that are dead or of no use, and sessions that are over."""
        for line in list(self.all):
            trouble = line.link.trouble()
            if trouble is not None:
                self.fail(line, trouble, now)
            elif line.session.is_dead(now):
                silent = line.session.timeout if line.session.is_open else GREETING_TIMEOUT
                self.fail(line, f"no answer within {silent:g} s", now)
            elif line.leaving_at is not None and now >= line.leaving_at + FAREWELL_TIMEOUT:
                self._close(line)
        if len(self.all) > 1:
            self._thin_out(now)

    def _thin_out(self, now: float) -> None:
        """Says goodbye to brokers that have not been wanted for long; one line stays in any case."""
        wanted = self._role.wanted()
        lines = [line for line in self.all if line.is_open]
        useful = [line for line in lines if line.broker in wanted] or lines[:1]
        for line in lines:
            if line in useful:
                line.wanted_at = now
            elif now >= line.wanted_at + IDLE_TIMEOUT:
                self._part(line, now)

    def check_sleep(self, now: float) -> None:
        """If this process was stopped for longer than a session lasts, what it held there is with others by now. Ask before anything is heard."""
        for line in [line for line in self.all if line.session.overslept(now)]:
            self.fail(line, f"this process did not move for {line.session.patience:g} s", now, gives_up_at=now)

    def fail(self, line: Line, reason: str, now: float, gives_up_at: float | None = None) -> None:
        """The line is of no use any more. `gives_up_at`: when the broker has given the session up, if that is not for the session to say."""
        if line not in self.all:
            return
        log.debug("the line to %s is given up: %s", line.link.endpoint, reason)
        self.book.failed(line.link.endpoint, line.broker or line.target, reason, now, bool(line.broker))
        self._close(line)
        if line.leaving_at is None:
            self._role.down(line.broker, self.book.unreachable(), line.session.gives_up_at() if gives_up_at is None else gives_up_at)

    def part(self, now: float) -> None:
        """Says goodbye to all; lines without a session are closed, and nobody is dialled any more."""
        self._is_parting = True
        for line in list(self.all):
            if line.session.is_open:
                self._part(line, now)
            else:
                self._close(line)

    def _part(self, line: Line, now: float) -> None:
        self._say(line, Goodbye(GOODBYE_ID), now)
        line.leaving_at = now
        self._role.down(line.broker, self.book.unreachable(), now)

    def close(self) -> None:
        """Closes all links."""
        for line in list(self.all):
            self._close(line)

    def _close(self, line: Line) -> None:
        line.session.down()
        line.link.close()
        self.all.remove(line)

    # --- saying ------------------------------------------------------------------------------------------------------

    def say(self, letters: Sequence[Letter], now: float) -> None:
        """Sends commands to the brokers that they are for."""
        if not letters:
            return
        by_broker = {line.broker: line for line in self.all if line.is_open}
        for broker, command in letters:
            if broker in by_broker:
                self._say(by_broker[broker], command, now)

    def _say(self, line: Line, command: Command, now: float) -> None:
        line.link.send(encode(command))
        line.session.said(now)

    def keep_alive(self, now: float, next_id: Callable[[], int]) -> None:
        """Pings where nothing was said for long, and sends what could not be sent before."""
        for line in self.all:
            ping = line.session.ping(now, next_id)
            if ping is not None:
                self._say(line, ping, now)
            line.link.flush()

    def deadline(self, now: float) -> float:
        """When to look at the lines again if nothing arrives."""
        times = [inf]
        for line in self.all:
            times.append(line.session.deadline())
            if line.leaving_at is not None:
                times.append(line.leaving_at + FAREWELL_TIMEOUT)
            elif line.is_well(now):
                times.append(line.session.suspect_at())
        if len(self.all) > 1:
            times.append(now + IDLE_TIMEOUT)
        return min(*times, self._dial_at(now))

    def _dial_at(self, now: float) -> float:
        if self._is_parting or len(self.all) >= LINES_MAX:
            return inf
        wanted, there = self._role.wanted(), self._reached()
        times = [self.book.redial_at(broker) for broker in wanted if broker not in there]
        greeting = [line.dialled_at + HURRY_AFTER for line in self.all if not line.broker and not line.target and now < line.dialled_at + HURRY_AFTER]
        if greeting:
            times += greeting
        elif self._needs_any(now):
            times.append(self.book.look_at(self._taken(), {*there, *wanted}))
        return min(times, default=inf)
