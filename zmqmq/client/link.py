"""One attempt at one broker: a DEALER for commands, a SUB for hints, a monitor that only explains.

A link is never repaired. When it fails it is closed and the engine makes a new one, so no request can hide in an old socket.
The sockets' rules: one endpoint per DEALER, IMMEDIATE (nothing queues for a peer that is not there), LINGER 0 (flushing is
done by waiting for answers), long ZMTP heartbeats only against half-open connections.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Container
from struct import Struct

import zmq

from zmqmq.client.endpoints import reachable_form, why_silent
from zmqmq.core.commands import BEACON, WAKE
from zmqmq.core.model import Limits
from zmqmq.wire import max_frame_bytes

MAX_SOCKETS = 16384
"""Sockets of all clients of one process; each client uses five."""
MAX_FRAME_BYTES = max_frame_bytes(Limits(max_message_bytes=64 << 20, max_batch_bytes=128 << 20, max_batch_messages=1_000_000))
"""No broker may be configured to send a larger frame."""
HIGH_WATER_MARK = 1000
"""Frames that wait in a socket; a safety net only, credit and windows are far below it."""
_WATCHED = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_WATCHED |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_EVENT = Struct("=hi")
"""Number and value of a monitor's event."""
_POLLIN, _POLLBOTH = int(zmq.POLLIN), int(zmq.POLLIN | zmq.POLLOUT)  # the operators of zmq's own flags are Python code
_OPTIONS = {
    zmq.LINGER: 0,
    zmq.SNDHWM: HIGH_WATER_MARK,
    zmq.RCVHWM: HIGH_WATER_MARK,
    zmq.MAXMSGSIZE: MAX_FRAME_BYTES,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 5000,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.HEARTBEAT_IVL: 10_000,
    zmq.HEARTBEAT_TIMEOUT: 60_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.IPV6: 1,
}

_context_lock = threading.Lock()
_context: tuple[int, zmq.Context[zmq.Socket[bytes]]] | None = None


def context() -> zmq.Context[zmq.Socket[bytes]]:
    """The context of all clients of this process; a forked child gets its own. It lives until the process ends."""
    global _context
    with _context_lock:
        if _context is None or _context[0] != os.getpid():
            made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            made.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
            made.set(zmq.BLOCKY, 0)
            _context = (os.getpid(), made)
        return _context[1]


class Link:
    """The sockets of one attempt. Only the engine's thread touches it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._dealer = _socket(zmq.DEALER)
        self._dealer.setsockopt(zmq.IMMEDIATE, 1)
        self._monitor = self._dealer.get_monitor_socket(_WATCHED)
        self._monitor.setsockopt(zmq.LINGER, 0)
        self._monitor_descriptor = int(self._monitor.get(zmq.FD))
        with contextlib.suppress(zmq.Again):  # only a socket that was found empty signals with its descriptor when that changes
            self._monitor.recv(zmq.DONTWAIT)
        self._hints: zmq.Socket[bytes] | None = None
        self._unsent: deque[bytes] = deque()
        self._ready: set[object] = set()
        """The sockets that have something to receive: trying the others in vain would cost more than all else that a turn does."""
        self._dealer.connect(endpoint)

    def send(self, frame: bytes) -> None:
        """Sends a frame, now or when the socket has room. The sessions' windows bound what can gather here."""
        self._unsent.append(frame)
        self.flush()

    def flush(self) -> None:
        """Sends what could not be sent before."""
        while self._unsent:
            try:
                self._dealer.send(self._unsent[0], zmq.DONTWAIT)
            except zmq.Again:
                return
            self._unsent.popleft()

    def receive(self) -> bytes | None:
        """The next frame from the broker, None if there is none now. Further frames of one message are ignored."""
        return self._next(self._dealer)

    def listen(self, wake_endpoint: str, wake_name: bytes) -> None:
        """Subscribes to the session's wake-ups and to beacons, in place of what was subscribed before."""
        if self._hints is not None:
            self._hints.close(0)
        self._hints = _socket(zmq.SUB)
        self._hints.setsockopt(zmq.SUBSCRIBE, WAKE + wake_name)
        self._hints.setsockopt(zmq.SUBSCRIBE, BEACON)
        self._hints.connect(reachable_form(wake_endpoint, self.endpoint))

    def hint(self) -> bytes | None:
        """The next wake-up or beacon, None if there is none now."""
        return None if self._hints is None else self._next(self._hints)

    def _next(self, socket: zmq.Socket[bytes]) -> bytes | None:
        if socket not in self._ready:
            return None
        try:
            frame = socket.recv_multipart(zmq.DONTWAIT)[0]
        except zmq.Again:
            frame = None
        if frame is None or not int(socket.get(zmq.EVENTS)) & _POLLIN:
            self._ready.discard(socket)
        return frame

    def trouble(self) -> str | None:
        """In a few words, what has happened to the connection, None if nothing has."""
        if self._monitor_descriptor not in self._ready:
            return None
        try:
            event = _EVENT.unpack(self._monitor.recv_multipart(zmq.DONTWAIT)[0])[0]
        except zmq.Again:
            return None
        if event == zmq.EVENT_DISCONNECTED:
            return "the connection was closed by the other side"
        if event == zmq.EVENT_CONNECT_RETRIED:
            return why_silent(self.endpoint)
        return "what listens there speaks another protocol, or refuses us"

    def register(self, poller: zmq.Poller) -> None:
        """Puts the sockets into a poller, for sending only when something is unsent."""
        poller.register(self._dealer, _POLLBOTH if self._unsent else _POLLIN)
        poller.register(self._monitor_descriptor, _POLLIN)
        if self._hints is not None:
            poller.register(self._hints, _POLLIN)

    def polled(self, ready: Container[object]) -> None:
        """What the poller has found."""
        self._ready = {socket for socket in (self._dealer, self._hints, self._monitor_descriptor) if socket in ready}

    def close(self) -> None:
        """Closes the sockets; what is unsent is dropped."""
        self._dealer.disable_monitor()
        self._monitor.close(0)
        self._dealer.close(0)
        if self._hints is not None:
            self._hints.close(0)


def _socket(kind: int) -> zmq.Socket[bytes]:
    socket = context().socket(kind)
    for option, value in _OPTIONS.items():
        socket.setsockopt(option, value)
    return socket
