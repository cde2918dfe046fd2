"""Sessions: one client's life with this broker.

    hello ──► open ──silence longer than session_timeout──► lost (its leases count as failed)
               │ ▲
               │ └──hello of the same client with a higher session epoch: taken over, leases stay
               └──goodbye──► ended (its leases are released); a hello with a higher epoch that comes before the
                             farewell begins a new life, which the farewell of the old one does not touch

A session is found by the address of its connection. Any frame is a sign of life. After a pause of the broker itself (a stopped
process, a suspended machine) nobody is blamed: every session gets its time anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from zmqmq.core.commands import Hello, Pull
from zmqmq.core.names import NAME_LENGTH_MAX
from zmqmq.errors import InvalidName, Overloaded

PAUSE_MAX = 2.0
"""Seconds between two turns beyond which the broker takes it that it was itself asleep."""


class Session:
    """What the broker knows of one client."""

    __slots__ = (
        "address",
        "client_id",
        "connected",
        "epoch",
        "heard",
        "leaving",
        "name",
        "pull",
        "queues",
        "software",
        "timeout",
        "wake_name",
    )

    def __init__(self, address: bytes, hello: Hello, timeout: float, now: float) -> None:
        self.address = address
        self.client_id = hello.client_id
        self.epoch = hello.session_epoch
        self.name = hello.name
        self.software = hello.software
        self.timeout = timeout
        self.connected = now
        self.heard = now
        self.queues: dict[int, None] = {}
        """Numbers of the hubs it subscribes to, in the order in which they are served next."""
        self.pull: Pull | None = None
        """The pull that is not answered yet."""
        self.leaving = False
        """It has said goodbye, or it is lost: whatever it asked for is of no use any more."""
        self.wake_name = hashlib.blake2b(hello.client_id.encode(), digest_size=8).digest()


class SessionTable:
    """All sessions, by address and by client."""

    def __init__(self, session_timeout: float, max_sessions: int) -> None:
        self.session_timeout = session_timeout
        self.max_sessions = max_sessions
        self._by_address: dict[bytes, Session] = {}
        self._by_client: dict[str, Session] = {}
        self._last_sweep: float | None = None
        self.paused = 0.0
        """Seconds that the broker was asleep before the last sweep, 0 if it was not."""

    def __len__(self) -> int:
        return len(self._by_client)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_client.values()))

    def at(self, address: bytes) -> Session | None:
        return self._by_address.get(address)

    def of(self, client_id: str) -> Session | None:
        return self._by_client.get(client_id)

    def open(self, address: bytes, hello: Hello, now: float) -> tuple[Session | None, bytes | None]:
        """Opens or takes over a session: (the session, the address that lost it).

        An older epoch than the one known gets no session. Raises InvalidName, or Overloaded when there are too many.
        """
        _check_names(hello)
        known = self._by_client.get(hello.client_id)
        if known is None:
            if len(self._by_client) >= self.max_sessions:
                raise Overloaded(f"the broker has {self.max_sessions} sessions", hint="raise max_sessions or close clients")
            return self._begin(address, hello, now), None
        if hello.session_epoch < known.epoch:
            return None, None
        replaced = known.address if known.address != address else None
        if known.leaving and hello.session_epoch > known.epoch:
            self.remove(known)
            return self._begin(address, hello, now), replaced
        self._by_address.pop(known.address, None)
        known.address, known.epoch, known.timeout, known.heard = address, hello.session_epoch, self._timeout(hello), now
        known.pull = None
        self._by_address[address] = known
        return known, replaced

    def _begin(self, address: bytes, hello: Hello, now: float) -> Session:
        self.drop_address(address)
        session = Session(address, hello, self._timeout(hello), now)
        self._by_client[hello.client_id] = self._by_address[address] = session
        return session

    def drop_address(self, address: bytes) -> None:
        """The connection speaks for another client now."""
        self._by_address.pop(address, None)

    def _timeout(self, hello: Hello) -> float:
        asked = hello.session_timeout
        return min(max(asked, 0.5), 300.0) if asked > 0 else self.session_timeout

    def remove(self, session: Session) -> None:
        """The session has ended; a later one of the same client stays."""
        if self._by_client.get(session.client_id) is session:
            del self._by_client[session.client_id]
        if self._by_address.get(session.address) is session:
            del self._by_address[session.address]

    def sweep(self, now: float) -> list[Session]:
        """Sessions that were silent for too long. After a pause of ours everybody gets a new chance."""
        pause = now - self._last_sweep if self._last_sweep is not None else 0.0
        self._last_sweep = now
        self.paused = pause if pause > PAUSE_MAX else 0.0
        if self.paused:
            for session in self._by_client.values():
                session.heard = max(session.heard, now)
            return []
        return [session for session in self._by_client.values() if now - session.heard > session.timeout]


def _check_names(hello: Hello) -> None:
    """Raises InvalidName when a client calls itself nothing, or more than anybody wants to keep."""
    if not hello.client_id:
        raise InvalidName("the client id is empty", hint="give it at least one character")
    for what, text in (("client id", hello.client_id), ("client name", hello.name), ("software", hello.software)):
        if len(text) > NAME_LENGTH_MAX:
            raise InvalidName(f"the {what} has {len(text)} characters", hint=f"at most {NAME_LENGTH_MAX} are allowed")
