"""Sockets of the simulation: what a broker listens with, and what clients and other brokers connect with.

They have the methods of `zmqmq.shell.transport.Transport` and `zmqmq.client.link.Link` that the loop and the engine use. Frames go through the
`Network`, which knows who is connected to whom.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tests.sim.peers import SimPeers

if TYPE_CHECKING:
    from tests.sim.network import Network


class Connection:
    """One TCP connection; it is never repaired."""

    def __init__(self, address: bytes, link: SimLink, listener: SimTransport) -> None:
        self.address = address
        self.link = link
        self.listener = listener
        self.alive = True
        self.up = Lane(link.client, listener.party)
        self.down = Lane(listener.party, link.client)


class Lane:
    """One direction of a connection: what was sent first arrives first. While the way is cut, frames wait and are sent again."""

    def __init__(self, sender: str, receiver: str) -> None:
        self.sender = sender
        self.receiver = receiver
        self.last = 0.0
        """When the newest frame arrives."""
        self.stalled: deque[Callable[[], None]] = deque()
        """Arrivals that wait for the cut to end."""


class SimTransport:
    """The broker's sockets: the methods that the loop uses of `zmqmq.shell.transport.Transport`."""

    def __init__(self, network: Network, party: str, endpoint: str, wake_endpoint: str, on_arrival: Callable[[], None]) -> None:
        self.party = party
        self.endpoint = endpoint
        self.wake_endpoint = wake_endpoint
        self.on_arrival = on_arrival
        """Called when there is something to receive."""
        self.is_open = True
        self.inbox: deque[tuple[bytes, bytes, float]] = deque()
        """(address, frame, when it was sent)."""
        self.connections: dict[bytes, Connection] = {}
        self.on_read: Callable[[bytes, float], None] = lambda address, sent: None
        self.on_send: Callable[[str, bytes], None] = lambda client, frame: None
        self.peers = SimPeers(network, party)
        self._network = network
        network.listen(self)

    def receive(self, max_frames: int, max_bytes: int) -> Iterator[tuple[bytes, bytes | None]]:
        while self.inbox and max_frames > 0 and max_bytes > 0:
            address, frame, sent = self.inbox.popleft()
            max_frames -= 1
            max_bytes -= len(frame)
            self.on_read(address, sent)
            yield address, frame

    def send(self, address: bytes, frame: bytes) -> None:
        connection = self.connections.get(address)
        if connection is None or not connection.alive:
            return
        self.on_send(connection.link.client, frame)
        self._network.carry_down(connection, frame)

    def publish(self, frame: bytes) -> None:
        self._network.carry_hint(self, frame)

    def wake(self) -> None:
        """Somebody has something for the broker's thread: the tree."""
        self.on_arrival()

    def retry(self) -> None:
        """Nothing waits for slow peers here."""

    def close(self, linger: int = 0) -> None:
        self.is_open = False
        self.peers.close()
        self._network.close_listener(self, linger > 0)


class SimLink:
    """One attempt of a client or a broker: the methods that the engine uses of `zmqmq.client.link.Link`."""

    def __init__(self, network: Network, client: str, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = client
        """The party that connects."""
        self.connection: Connection | None = None
        self.inbox: deque[bytes] = deque()
        self.hints: deque[bytes] = deque()
        self.troubles: deque[str] = deque()
        self.wake_endpoint = ""
        self.wake_name: bytes | None = None
        self.closed = False
        self.on_connected: Callable[[], None] = lambda: None
        self._network = network
        self._unsent: deque[bytes] = deque()

    def send(self, frame: bytes) -> None:
        self._unsent.append(frame)
        self.flush()

    def flush(self) -> None:
        while self._unsent and self.connection is not None:
            self._network.carry_up(self.connection, self._unsent.popleft())

    def receive(self) -> bytes | None:
        return self.inbox.popleft() if self.inbox else None

    def listen(self, wake_endpoint: str, wake_name: bytes) -> None:
        self.wake_endpoint = wake_endpoint
        self.wake_name = wake_name
        self.hints.clear()

    def hint(self) -> bytes | None:
        return self.hints.popleft() if self.hints else None

    def trouble(self) -> str | None:
        return self.troubles.popleft() if self.troubles else None

    def close(self) -> None:
        self.closed = True
        self._network.hang_up(self)
