"""The broker's sockets: one ROUTER for clients and followers, one PUB for wake-ups, connections to peers, descriptors to be woken by.

Nothing here blocks but `wait`. A ROUTER drops silently what it cannot send, so MANDATORY makes it say so: a full pipe
puts the frame into a bounded queue of that peer's own and it is tried again; a peer that is gone loses its queue (its session ends by
silence, or it comes back and declares everything again). Options and reasons: https://libzmq.readthedocs.io, zmq_setsockopt.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Iterator

import zmq

from zmqmq.errors import ConfigError
from zmqmq.shell.peers import Peers, has_frames

PEER_QUEUE_BYTES = 32 << 20
"""Bytes that wait for one slow peer, beside the first frame; beyond it the peer's queue is dropped: it has stopped reading."""
RETRY_INTERVAL = 0.01
"""Seconds between attempts to send to a peer whose pipe is full."""
PIPE_FRAMES = 1_000
"""Frames in the pipe of one peer (SNDHWM, RCVHWM); a safety net, credit is the flow control."""
HEARTBEAT_MS = 10_000
HEARTBEAT_TIMEOUT_MS = 60_000
HANDSHAKE_MS = 10_000
_MORE = zmq.DONTWAIT | zmq.SNDMORE
LINGER_MS = 500
"""How long farewells may take at the end."""


class Transport:
    """Bound sockets. For one thread, except `wake`."""

    def __init__(self, endpoint: str, wake_endpoint: str, max_frame_bytes: int, max_peers: int) -> None:
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 1023)
        self._router = self._context.socket(zmq.ROUTER)
        self._pub = self._context.socket(zmq.PUB)
        self._waiting: dict[bytes, deque[bytes]] = {}
        self._waiting_bytes: dict[bytes, int] = {}
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._poller = zmq.Poller()
        self._readable = False
        """There are frames to receive; trying in vain would cost as much as receiving ten."""
        self.peers = Peers(self._context, self._poller)
        """Connections to other brokers; `wait` attends to them too."""
        try:
            self._configure(max_frame_bytes, max_peers)
            self._bind(self._router, endpoint, "bind")
            self._bind(self._pub, wake_endpoint, "wake_bind")
        except BaseException:
            self.close(linger=0)
            raise
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._woken, zmq.POLLIN)

    def _configure(self, max_frame_bytes: int, max_peers: int) -> None:
        for sock in (self._router, self._pub):
            sock.setsockopt(zmq.LINGER, LINGER_MS)
            sock.setsockopt(zmq.SNDHWM, PIPE_FRAMES)
            sock.setsockopt(zmq.RCVHWM, PIPE_FRAMES)
            sock.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
            sock.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
            sock.setsockopt(zmq.TCP_KEEPALIVE, 1)
            sock.setsockopt(zmq.IPV6, 1)
            sock.setsockopt(zmq.BACKLOG, min(max(max_peers, 100), 4096))
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
        self._pub.setsockopt(zmq.MAXMSGSIZE, 1024)  # subscriptions only

    @staticmethod
    def _bind(sock: zmq.Socket[bytes], endpoint: str, key: str) -> None:
        try:
            sock.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                reason, hint = "the port is in use", "another broker may be running; stop it or choose another port"
            elif error.errno in (zmq.EADDRNOTAVAIL, errno.ENODEV):
                reason, hint = "this machine has no such address", "use one of its own addresses, or 0.0.0.0 for all"
            else:
                reason, hint = str(error), "the form is tcp://HOST:PORT; ports below 1024 need rights"
            raise ConfigError(f"{key}: cannot listen on {endpoint}: {reason}", hint=hint) from error

    # --- receiving -------------------------------------------------------------------------------------------------

    def wait(self, timeout: float) -> None:
        """Sleeps until a frame, a wake-up or news of a peer comes, at most `timeout` seconds."""
        timeout = min(timeout, self.peers.patience())
        if self._waiting:
            timeout = min(timeout, RETRY_INTERVAL)
        ready = dict(self._poller.poll(max(0, int(timeout * 1000 + 0.999))))
        self._readable = self._router in ready
        if self._woken.fileno() in ready or self._woken in ready:
            self._drain_wakes()
        self.peers.attend(ready)

    def _drain_wakes(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            return

    def receive(self, max_frames: int, max_bytes: int) -> Iterator[tuple[bytes, bytes | None]]:
        """What has arrived: (address, frame); None for a message that is not one frame. Ends at the budget, so that no turn becomes endless."""
        while self._readable and max_frames > 0 and max_bytes > 0:
            try:
                parts = self._router.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self._readable = has_frames(self._router)
            max_frames -= 1
            max_bytes -= sum(map(len, parts))
            yield parts[0], parts[1] if len(parts) == 2 else None

    def wake(self) -> None:
        """Ends a `wait` from another thread or a signal handler."""
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return  # it is full of wake-ups already

    @property
    def wake_descriptor(self) -> int:
        """For `signal.set_wakeup_fd`."""
        return self._waker.fileno()

    # --- sending ---------------------------------------------------------------------------------------------------

    def send(self, address: bytes, frame: bytes) -> None:
        """Sends, or queues if the peer is slow; drops if the peer is gone."""
        if address in self._waiting or not self._try(address, frame):
            self._queue(address, frame)

    def _try(self, address: bytes, frame: bytes) -> bool:
        try:
            self._router.send(address, _MORE)
            self._router.send(frame, zmq.DONTWAIT)  # copied: sending large frames without a copy was measured to cost more
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._forget(address)
        return True

    def _queue(self, address: bytes, frame: bytes) -> None:
        size = self._waiting_bytes.get(address, 0) + len(frame)
        if size > PEER_QUEUE_BYTES and address in self._waiting:
            self._forget(address)
            return
        self._waiting.setdefault(address, deque()).append(frame)
        self._waiting_bytes[address] = size

    def _forget(self, address: bytes) -> None:
        self._waiting.pop(address, None)
        self._waiting_bytes.pop(address, None)

    def retry(self) -> None:
        """Tries again what waits for slow peers."""
        for address in list(self._waiting):
            frames = self._waiting.get(address)
            while frames and self._try(address, frames[0]):
                if address not in self._waiting:
                    break
                self._waiting_bytes[address] -= len(frames.popleft())
            if not frames:
                self._forget(address)

    def publish(self, frame: bytes) -> None:
        """To all subscribers whose subscription is a prefix of the frame; slow ones miss it."""
        self._pub.send(frame, zmq.DONTWAIT)

    def close(self, linger: int = LINGER_MS) -> None:
        """Closes sockets and context; what is on its way gets `linger` milliseconds."""
        self.peers.close()
        self._router.close(linger)
        self._pub.close(linger)
        self._context.term()
        self._woken.close()
        self._waker.close()
