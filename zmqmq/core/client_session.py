"""A client's session with one broker, seen from the client: greet, be welcomed, stay alive, notice the end.

The session is down until a link exists, *greeting* from the Hello to the Welcome (nothing else may be said), then *open*.
The broker gives us up when it has heard nothing of us for the whole of the granted timeout. So we ping three times in
it, and count from when a ping was sent that was answered: that one has arrived. What the broker says unasked proves only
that its words reach us. When nearly all of the time is over the link is given up, and with it what is held: before the broker
gives that to others, even if this process is slow to notice. A broker that asks
`WhoAreYou` has forgotten us: the same link greets again under the next session epoch and everything is declared anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from itertools import count
from math import inf

from zmqmq.core.commands import (
    VERSIONS_SPOKEN,
    Command,
    Farewell,
    Hello,
    Ping,
    Pong,
    Refused,
    SessionReplaced,
    Welcome,
    WhoAreYou,
)
from zmqmq.core.topology import SUSPECT_AFTER
from zmqmq.errors import ZmqmqError, from_code

GREETING_TIMEOUT = 3.0
"""Seconds from the Hello (or from the attempt to connect) to the Welcome; then the next endpoint is tried."""
PINGS_PER_TIMEOUT = 3
PATIENCE_PART = 0.9
"""Part of the granted timeout after which a client that nobody answered gives up its session. The rest is for what a busy machine may need to notice
and to say that, before the broker returns the leases: else two would work on one message."""


class Heard(Enum):
    """What a command from the broker means for the session."""

    OPENED = auto()
    """Welcome: declare everything, then go on."""
    FORGOTTEN = auto()
    """Say hello again on this link."""
    ENDED = auto()
    """The broker leaves, or another link of ours took over: this link is of no use any more."""
    REFUSED = auto()
    """The greeting was refused; see `refusal`."""
    CONSUMED = auto()
    """It concerned nobody else."""
    CONTENT = auto()
    """It is for the producer, consumer or administrator behind the session."""


class ClientSession:
    """One client's session; times are seconds of any monotonic clock."""

    def __init__(self, client_id: str, name: str, software: str, session_timeout: float = 0.0, epochs: Iterator[int] | None = None) -> None:
        """`session_timeout` is what is asked for; 0 takes the broker's default. `epochs`: ascending numbers, shared by all sessions of a client,
        so that of two with one broker the later is the newer."""
        self.client_id = client_id
        self.epoch = 0
        self.welcome: Welcome | None = None
        """The last welcome; stays when the link is down."""
        self.refusal: ZmqmqError | None = None
        self.is_open = False
        self._name = name
        self._software = software
        self._asked_timeout = session_timeout
        self._epochs = epochs if epochs is not None else count(1)
        self._waits_since = inf
        self._greeting = False
        self._said = 0.0
        self._pinged = 0.0
        self._pings: dict[int, float] = {}
        """When those were sent that are not answered, by id."""
        self._arrived = 0.0
        """When the latest of our words was sent of which it is known that it has reached the broker."""

    @property
    def timeout(self) -> float:
        """Seconds of silence that end the session, as granted; before any welcome the greeting's own."""
        return self.welcome.session_timeout if self.welcome is not None else GREETING_TIMEOUT

    @property
    def patience(self) -> float:
        """Seconds without an answer after which the session is over for us: somewhat less than the broker waits for us."""
        return self.timeout * PATIENCE_PART

    def greet(self, now: float) -> Hello:
        """Begins a session on a link, or anew on the same link."""
        self.epoch = next(self._epochs)
        self.is_open = False
        self._greeting = True
        self._waits_since = inf
        self._said = now
        self._greeted = now
        return Hello(VERSIONS_SPOKEN, self.client_id, self.epoch, self._name, self._asked_timeout, self._software)

    def down(self) -> None:
        """The link is gone."""
        self.is_open = False
        self._greeting = False

    def said(self, now: float) -> None:
        """Something was sent."""
        self._said = now
        self._waits_since = min(self._waits_since, now)

    def hear(self, command: Command, now: float) -> Heard:
        """Takes one command of the broker and says what it means."""
        if self.is_open or isinstance(command, Welcome):
            self._waits_since = inf
        if isinstance(command, Welcome):
            return self._welcomed(command)
        if isinstance(command, Refused) and self._greeting and command.id == 0:
            self.refusal = from_code(command.code, command.message, command.hint, command.details)
            return Heard.REFUSED
        if isinstance(command, WhoAreYou):
            return Heard.FORGOTTEN if self.is_open else Heard.CONSUMED
        if isinstance(command, SessionReplaced) or (isinstance(command, Farewell) and command.id == 0):
            return Heard.ENDED
        if isinstance(command, Pong):
            self._arrived = max(self._arrived, self._pings.get(command.id, self._arrived))
            self._pings = {id: sent for id, sent in self._pings.items() if sent > self._arrived}
        if isinstance(command, Pong) or not self.is_open:
            return Heard.CONSUMED
        return Heard.CONTENT

    def _welcomed(self, command: Welcome) -> Heard:
        if not self._greeting or command.session_epoch != self.epoch:
            return Heard.CONSUMED
        self.welcome = command
        self.refusal = None
        self.is_open = True
        self._greeting = False
        self._arrived = self._pinged = self._greeted
        self._pings.clear()
        return Heard.OPENED

    def ping(self, now: float, next_id: Callable[[], int], loop_lag: float = 0.0) -> Ping | None:
        """The ping that is due, if one is; to be sent now."""
        if not self.is_open or now < self._pinged + self.timeout / PINGS_PER_TIMEOUT:
            return None
        ping = Ping(next_id(), loop_lag)
        self._pinged = self._pings[ping.id] = now
        return ping

    def is_dead(self, now: float) -> bool:
        """Whether pings have not been answered for too long. Ask only after everything that has arrived was heard."""
        if self._greeting:
            return now >= self._greeted + GREETING_TIMEOUT
        return self.is_open and now >= self.gives_up_at()

    def suspect_at(self) -> float:
        """When to doubt that the broker is well: it has been told something, and nothing was heard since; others may know more. inf for a
        session that is not open."""
        return self._waits_since + SUSPECT_AFTER if self.is_open else inf

    def overslept(self, now: float) -> bool:
        """Whether we have said nothing for so long that the broker may have given us up, as after a stop of this process.

        What has arrived meanwhile proves nothing: ask before anything is heard."""
        return self.is_open and now >= self._said + self.patience

    def gives_up_at(self) -> float:
        """When what is held must be given up: soon after it the broker, if it has heard no more of us than it has answered, returns the leases."""
        return self._arrived + self.patience

    def deadline(self) -> float:
        """When to look at the session again."""
        if self._greeting:
            return self._greeted + GREETING_TIMEOUT
        if not self.is_open:
            return float("inf")
        return min(self._pinged + self.timeout / PINGS_PER_TIMEOUT, self.gives_up_at())

    _greeted = 0.0
