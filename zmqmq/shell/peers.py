"""A broker's connections to other brokers: one DEALER each, to ask them; and the first to notice when one of them is dead.

A frame to a peer that is not connected is dropped: whoever asks, repeats after its own deadline. A socket whose connection broke is closed and
replaced, so no old question hides in it. A kernel closes the connections of a killed process at once, and refuses new ones: `Refused` is
reported within some hundredths of a second, where a session that times out takes seconds (see `zmqmq.shell.probing` for what is evidence).
A stopped process or a cut cable closes nothing and yields no event at all.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from struct import Struct

import zmq

from zmqmq.shell.probing import Suspicion

MAX_PEERS = 256
"""Connections; each takes three of the context's sockets."""
MAX_ANSWER_BYTES = 256 << 20
"""The largest frame that a peer may send: a snapshot is one frame."""
UNSENT_BYTES = 32 << 20
"""Bytes that wait for one slow peer; beyond it all of them are dropped."""
PIPE_FRAMES = 1_000
PROBE_RUN = 2.0
"""Seconds during which a lost peer's address is probed."""
REPEAT_REFUSED = 1.0
"""Seconds after which `connect` looks again whether the address of a peer that is not connected still refuses."""
REDIAL_INTERVAL = 1.0
"""Seconds until a new socket when what listens there does not speak our protocol; libzmq would not try again."""
MAX_EVENTS = 10_000
"""Events that nobody has taken; older ones are forgotten."""

_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | _FAILED
_EVENT = Struct("=hi")
_POLLIN, _POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)  # the operators of zmq's own flags are Python code
_OPTIONS = {
    zmq.LINGER: 0,
    zmq.IMMEDIATE: 1,
    zmq.SNDHWM: PIPE_FRAMES,
    zmq.RCVHWM: PIPE_FRAMES,
    zmq.MAXMSGSIZE: MAX_ANSWER_BYTES,
    zmq.RECONNECT_IVL: 50,
    zmq.RECONNECT_IVL_MAX: 1000,
    zmq.CONNECT_TIMEOUT: 2000,  # the system's own patience would outlast a cut cable by minutes
    zmq.HANDSHAKE_IVL: 5000,
    zmq.HEARTBEAT_IVL: 10_000,
    zmq.HEARTBEAT_TIMEOUT: 60_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.IPV6: 1,
}


@dataclass(frozen=True, slots=True)
class Up:
    """Connected: frames go through from now on."""

    broker_id: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The connection is lost: questions on their way are not answered. Proves nothing more; a `Refused` may follow."""

    broker_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens at the endpoint, says the kernel there: evidence that the process that did is dead. Reported at most once until the peer is up
    again or `connect` is called anew; also for a peer that was never connected."""

    broker_id: str
    endpoint: str


PeerEvent = Up | Gone | Refused


def has_frames(socket: zmq.Socket[bytes]) -> bool:
    """Whether there is something to receive. Asking costs a fraction of what receiving in vain does."""
    return bool(int(socket.get(zmq.EVENTS)) & _POLLIN)


class Peer:
    """One connection, and the suspicion while there is none."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller, endpoint: str) -> None:
        """Raises ZMQError or ValueError when the endpoint is none."""
        self.endpoint = endpoint
        self.suspicion = Suspicion(endpoint, poller)
        self.up = False
        self.redial_at = inf
        self.refused_at = -inf
        self._context, self._poller = context, poller
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._take(self._dialled())

    def _dialled(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        dealer = self._context.socket(zmq.DEALER)
        try:
            for option, value in _OPTIONS.items():
                dealer.setsockopt(option, value)
            monitor = dealer.get_monitor_socket(_WATCHED)
            monitor.setsockopt(zmq.LINGER, 0)
            self._find_none(monitor)
            dealer.connect(self.endpoint)
        except zmq.ZMQError:
            dealer.disable_monitor()
            dealer.close(0)
            raise
        return dealer, monitor

    @staticmethod
    def _find_none(monitor: zmq.Socket[bytes]) -> None:
        """Only a socket that was found empty signals with its descriptor when that changes."""
        with contextlib.suppress(zmq.Again):
            monitor.recv(zmq.DONTWAIT)

    def _take(self, sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]]) -> None:
        self.socket, self.monitor = sockets
        self.monitor_descriptor = int(self.monitor.get(zmq.FD))
        self._poller.register(self.socket, zmq.POLLIN)
        self._poller.register(self.monitor_descriptor, zmq.POLLIN)

    def redial(self, now: float) -> None:
        """A fresh socket; what was unsent is dropped. If there is none to be had, the old one stays for a while and connects by itself."""
        self.up = False
        self._drop_unsent()
        try:
            fresh = self._dialled()
        except zmq.ZMQError:
            self.redial_at = now + REDIAL_INTERVAL
            return
        self.redial_at = inf
        self._close_sockets()
        self._take(fresh)

    def close(self) -> None:
        """Gives the sockets back."""
        self.suspicion.end()
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._poller.unregister(self.socket)
        self._poller.unregister(self.monitor_descriptor)
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)

    def happenings(self) -> Iterator[int]:
        """What the present socket's monitor has seen."""
        monitor = self.monitor
        while monitor is self.monitor:
            try:
                yield _EVENT.unpack(monitor.recv_multipart(zmq.DONTWAIT)[0])[0]
            except zmq.Again:
                return

    def send(self, frame: bytes) -> None:
        """Sends, or queues while the pipe is full; drops when there is no connection."""
        if not self.up:
            return
        if not self._unsent and self._try(frame):
            return
        self._unsent_bytes += len(frame)
        if self._unsent and self._unsent_bytes > UNSENT_BYTES:
            self._drop_unsent()
            return
        self._unsent.append(frame)
        self._poller.register(self.socket, zmq.POLLIN | zmq.POLLOUT)

    def flush(self) -> None:
        """Sends what waits, as far as there is room."""
        while self._unsent and self._try(self._unsent[0]):
            self._unsent_bytes -= len(self._unsent.popleft())
        if not self._unsent:
            self._poller.register(self.socket, zmq.POLLIN)

    def _try(self, frame: bytes) -> bool:
        try:
            self.socket.send(frame, zmq.DONTWAIT)
        except zmq.Again:
            return False
        return True

    def _drop_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        self._poller.register(self.socket, zmq.POLLIN)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for room."""
        return self._unsent_bytes


class Peers:
    """All connections. For the thread that polls: `attend` after each poll, with what the poller found."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], poller: zmq.Poller, clock: Callable[[], float] = time.monotonic) -> None:
        self._context, self._poller, self._clock = context, poller, clock
        self._peers: dict[str, Peer] = {}
        self._readable: deque[str] = deque()
        self._events: deque[PeerEvent] = deque(maxlen=MAX_EVENTS)

    def connect(self, broker_id: str, endpoint: str) -> bool:
        """Keeps a connection to the broker from now on; another endpoint than before replaces it, the same changes nothing (but while there is no
        connection the address is probed again, at most every REPEAT_REFUSED seconds). False: the endpoint is no address, or there are MAX_PEERS already."""
        now = self._clock()
        peer = self._peers.get(broker_id)
        if peer is not None and peer.endpoint != endpoint:
            self.forget(broker_id)
            peer = None
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                return False
            try:
                peer = self._peers[broker_id] = Peer(self._context, self._poller, endpoint)
            except (zmq.ZMQError, ValueError):
                return False
            peer.suspicion.begin(now, PROBE_RUN)
        elif not peer.up and not peer.suspicion.active and now >= peer.refused_at + REPEAT_REFUSED:
            peer.suspicion.begin(now, PROBE_RUN)
        return True

    def forget(self, broker_id: str) -> None:
        """Closes the connection; there is no event, and nothing more comes from it."""
        peer = self._peers.pop(broker_id, None)
        if peer is not None:
            peer.close()

    def renew(self, broker_id: str) -> None:
        """A fresh connection in place of one that has been silent for too long: after a cut, TCP may take as long again to find its way back."""
        peer = self._peers.get(broker_id)
        if peer is not None:
            self._lose(broker_id, peer)

    def is_up(self, broker_id: str) -> bool:
        """Whether a frame would go through now."""
        peer = self._peers.get(broker_id)
        return peer is not None and peer.up

    def send(self, broker_id: str, frame: bytes) -> None:
        """Sends to a connected peer; to any other the frame is dropped."""
        peer = self._peers.get(broker_id)
        if peer is not None:
            peer.send(frame)

    def receive(self, max_frames: int, max_bytes: int) -> Iterator[tuple[str, bytes]]:
        """What the last poll has found, one frame per peer in turn: (broker_id, frame). Ends at the budget; messages of several frames are none of ours."""
        while self._readable and max_frames > 0 and max_bytes > 0:
            broker_id = self._readable.popleft()
            peer = self._peers.get(broker_id)
            if peer is None:
                continue
            try:
                parts = peer.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                continue
            if has_frames(peer.socket):
                self._readable.append(broker_id)
            max_frames -= 1
            max_bytes -= sum(map(len, parts))
            if len(parts) == 1:
                yield broker_id, parts[0]

    def take_events(self) -> list[PeerEvent]:
        """What has happened since the last call, in order."""
        events = list(self._events)
        self._events.clear()
        return events

    # --- polling ---------------------------------------------------------------------------------------------------

    def patience(self) -> float:
        """Seconds that a poll may last before `attend` has something to do."""
        if self._events:
            return 0.0
        deadline = inf
        for peer in self._peers.values():
            deadline = min(deadline, peer.suspicion.deadline, peer.redial_at)
        return max(0.0, deadline - self._clock()) if deadline < inf else inf

    def attend(self, ready: Mapping[object, int]) -> None:
        """Takes note of what the poller found, and goes on with suspicions."""
        now = self._clock()
        self._readable.clear()
        for broker_id, peer in self._peers.items():
            flags = ready.get(peer.socket, 0)
            if flags & _POLLIN:
                self._readable.append(broker_id)
            if flags & _POLLOUT:
                peer.flush()
            if peer.monitor_descriptor in ready:
                for event in peer.happenings():
                    self._happened(broker_id, peer, event, now)
            if peer.suspicion.active and peer.suspicion.step(now):
                peer.refused_at = now
                self._events.append(Refused(broker_id, peer.endpoint))
            if now >= peer.redial_at:
                peer.redial(now)

    def _happened(self, broker_id: str, peer: Peer, event: int, now: float) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            peer.up, peer.redial_at, peer.refused_at = True, inf, -inf
            peer.suspicion.end()
            self._events.append(Up(broker_id))
        elif peer.up:
            self._lose(broker_id, peer)
        else:
            if event & _FAILED:
                peer.redial_at = now + REDIAL_INTERVAL
            if peer.refused_at == -inf and not peer.suspicion.active:
                peer.suspicion.begin(now, 0.0)

    def _lose(self, broker_id: str, peer: Peer) -> None:
        if peer.up:
            self._events.append(Gone(broker_id))
        now = self._clock()
        peer.redial(now)
        peer.suspicion.begin(now, PROBE_RUN)

    def close(self) -> None:
        """Closes all connections."""
        for broker_id in list(self._peers):
            self.forget(broker_id)
