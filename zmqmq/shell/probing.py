"""Is anybody listening at an address? Looks that never block, and what counts as evidence that a process is dead.

The kernel of the other machine answers a connection attempt for its processes: with a connection while some process listens there (even a
stopped one), with a refusal when none does. So only a refusal (ECONNREFUSED) by *every* address of the host is evidence. Silence,
unreachable networks and names that do not resolve prove nothing: the process may be alive behind a broken cable.
A firewall that refuses in the kernel's place makes the evidence wrong, and whoever acts on it must be safe against that.
"""

from __future__ import annotations

import errno
import select
import socket
import threading
from collections.abc import Sequence
from math import inf
from typing import Any, Literal, NamedTuple

import zmq

from zmqmq.config import split_endpoint

PROBE_SECONDS = 1.0
"""Time that one attempt to connect gets."""
FIRST_INTERVAL = 0.02
"""Seconds between the first attempt and the second, then twice as long each time: a killed process loses its connections a moment before its
listening socket."""
LOOKUP_SECONDS = 2.0
"""Time that resolving a name gets before a run of attempts is given up."""
LOOKUP_INTERVAL = 0.005
"""Seconds between two looks whether a name has been resolved."""
MAX_ADDRESSES = 8
"""Addresses of one host that are tried."""

Verdict = Literal["pending", "refused", "unclear"]


class Address(NamedTuple):
    """Where to connect to, resolved."""

    family: int
    where: Any


class Lookup:
    """The addresses of an endpoint; a name is resolved in a thread of its own, because that may take long."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.addresses: Sequence[Address] | None = None
        """None until they are known; empty when the name does not resolve."""
        try:
            self.addresses = self._resolve(socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            threading.Thread(target=self._resolve_name, name="zmqmq-lookup", daemon=True).start()

    def _resolve(self, flags: int) -> list[Address]:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=flags)
        return [Address(family, where) for family, _, _, _, where in found[:MAX_ADDRESSES]]

    def _resolve_name(self) -> None:
        try:
            self.addresses = self._resolve(0)
        except (OSError, UnicodeError):
            self.addresses = []


class Probe:
    """One attempt to connect to all addresses of a host at once."""

    def __init__(self, addresses: Sequence[Address], poller: zmq.Poller, now: float) -> None:
        self._poller = poller
        self._deadline = now + PROBE_SECONDS
        self._sockets: list[socket.socket] = []
        self._unclear = not addresses
        for address in addresses:
            self._dial(address)

    def _dial(self, address: Address) -> None:
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:
            self._unclear = True
            return
        try:
            outcome = sock.connect_ex(address.where)
        except OSError:
            outcome = errno.EINVAL
        if outcome == errno.EINPROGRESS:
            self._sockets.append(sock)
            self._poller.register(sock.fileno(), zmq.POLLOUT | zmq.POLLERR)
        else:
            self._count(sock, outcome)

    def verdict(self, now: float) -> Verdict:
        """What is known so far. Whoever has got another answer than "pending" closes the probe."""
        for sock in self._answered():
            self._poller.unregister(sock.fileno())
            self._sockets.remove(sock)
            self._count(sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if self._unclear or (self._sockets and now >= self._deadline):
            return "unclear"
        return "pending" if self._sockets else "refused"

    def _answered(self) -> list[socket.socket]:
        poll = select.poll()
        for sock in self._sockets:
            poll.register(sock, select.POLLOUT)
        ready = {descriptor for descriptor, _ in poll.poll(0)} if self._sockets else set()
        return [sock for sock in self._sockets if sock.fileno() in ready]

    def _count(self, sock: socket.socket, outcome: int) -> None:
        """One address has answered; the others need not be asked further if it did not refuse."""
        if outcome == 0 and not _met_itself(sock):
            self._unclear = True
        elif outcome not in (0, errno.ECONNREFUSED):
            self._unclear = True
        sock.close()

    @property
    def deadline(self) -> float:
        """When the attempt is given up."""
        return self._deadline

    def close(self) -> None:
        """Gives up what is still on its way."""
        for sock in self._sockets:
            self._poller.unregister(sock.fileno())
            sock.close()
        self._sockets.clear()


def _met_itself(sock: socket.socket) -> bool:
    """On one machine an attempt may get the very port that it dials as its own, and is then connected to itself: nobody listens there."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False


class Suspicion:
    """A run of probes of one endpoint, for as long as it is suspected to be dead."""

    def __init__(self, endpoint: str, poller: zmq.Poller) -> None:
        """Raises ValueError when the endpoint is no address."""
        host, self._port = split_endpoint(endpoint)
        self._host = host.strip("[]")
        if not (self._host and 1 <= self._port <= 65535):
            raise ValueError(f"{endpoint!r} is no address")
        self._poller = poller
        self._lookup: Lookup | None = None
        self._probe: Probe | None = None
        self._next = inf
        self._until = -inf
        self._interval = FIRST_INTERVAL
        self._lookup_until = -inf

    @property
    def active(self) -> bool:
        return self._next < inf

    @property
    def deadline(self) -> float:
        """When `step` has something to do, unless the poller finds a socket ready before."""
        return self._probe.deadline if self._probe else self._next

    def begin(self, now: float, seconds: float) -> None:
        """Probes from now on, for so many seconds, once if that is 0. The name is resolved afresh: it may lead elsewhere now."""
        if self._lookup is None or self._lookup.addresses is not None:
            self._lookup = Lookup(self._host, self._port)
        self._lookup_until = now + LOOKUP_SECONDS
        self._interval = FIRST_INTERVAL
        self._until = max(self._until, now + seconds)
        self._next = min(self._next, now)

    def step(self, now: float) -> bool:
        """Goes on; True when the address refuses, which ends the run."""
        if not self._probe:
            self._start(now)
        verdict = self._probe.verdict(now) if self._probe else "pending"
        if verdict == "pending":
            return False
        self._drop_probe()
        self._next = now + self._interval
        self._interval *= 2
        if verdict == "refused" or self._next > self._until:
            self.end()
        return verdict == "refused"

    def _start(self, now: float) -> None:
        if self._lookup is None or now < self._next:
            return
        if self._lookup.addresses is not None:
            self._probe = Probe(self._lookup.addresses, self._poller, now)
        elif now < self._lookup_until:
            self._next = now + LOOKUP_INTERVAL
        else:
            self.end()

    def end(self) -> None:
        """Nothing is suspected any more."""
        self._drop_probe()
        self._next, self._until = inf, -inf

    def _drop_probe(self) -> None:
        if self._probe:
            self._probe.close()
            self._probe = None
