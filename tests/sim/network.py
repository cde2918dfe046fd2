"""The network between one broker and its clients, as ZeroMQ behaves on TCP.

Within a connection whole frames arrive in order, late, or not at all: a break loses what is on its way in both directions, and
after it the broker sees a new address. Hints (PUB) may be lost, doubled and overtaken at will.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from random import Random

from tests.sim.scheduler import Scheduler
from zmqmq.core.commands import BEACON, WAKE

SLOWEST = 2.0
"""Seconds that a frame may take at the worst."""


class Weather:
    """How bad the network is at the moment."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.slow = 0.0
        """Share of frames that take up to SLOWEST."""
        self.hints_lost = 0.0
        """Share of hints that never arrive."""
        self.cut: set[str] = set()
        """Clients that cannot connect now."""

    def delay(self) -> float:
        """Seconds that the next frame takes."""
        if self._rng.random() < self.slow:
            return self._rng.uniform(0.0, SLOWEST)
        return self._rng.uniform(0.0001, 0.003)

    def hint_copies(self) -> int:
        """How many copies of a hint arrive."""
        if self._rng.random() < self.hints_lost:
            return 0
        return 2 if self._rng.random() < 0.05 else 1


class Connection:
    """One TCP connection; it is never repaired."""

    def __init__(self, address: bytes, link: SimLink) -> None:
        self.address = address
        self.link = link
        self.alive = True
        self.last_up = 0.0
        self.last_down = 0.0


class SimTransport:
    """The broker's sockets: the methods that the loop uses of `zmqmq.shell.transport.Transport`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.inbox: deque[tuple[bytes, bytes, float]] = deque()
        """(address, frame, when it was sent)."""
        self.connections: dict[bytes, Connection] = {}
        self.on_read: Callable[[bytes, float], None] = lambda address, sent: None
        self.on_send: Callable[[str, bytes], None] = lambda client, frame: None

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
        self._network.carry_hint(frame)

    def retry(self) -> None:
        """Nothing waits for slow peers here."""

    def close(self, linger: int = 0) -> None:
        self._network.close_listener(self, linger > 0)


class SimLink:
    """One attempt of a client: the methods that the engine uses of `zmqmq.client.link.Link`."""

    def __init__(self, network: Network, client: str, endpoint: str) -> None:
        self.endpoint = endpoint
        self.client = client
        self.connection: Connection | None = None
        self.inbox: deque[bytes] = deque()
        self.hints: deque[bytes] = deque()
        self.troubles: deque[str] = deque()
        self.wake_name: bytes | None = None
        self.closed = False
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
        self.wake_name = wake_name
        self.hints.clear()

    def hint(self) -> bytes | None:
        return self.hints.popleft() if self.hints else None

    def trouble(self) -> str | None:
        return self.troubles.popleft() if self.troubles else None

    def close(self) -> None:
        self.closed = True
        self._network.hang_up(self)


class Network:
    """All links, and the one listener that there may be."""

    def __init__(self, scheduler: Scheduler, rng: Random, weather: Weather, note: Callable[..., None]) -> None:
        self.listener: SimTransport | None = None
        self.links: list[SimLink] = []
        self.weather = weather
        self.on_arrival: Callable[[], None] = lambda: None
        """Something has arrived at the broker."""
        self.ring: dict[str, Callable[[], None]] = {}
        """By client: something has arrived at it."""
        self._scheduler = scheduler
        self._rng = rng
        self._note = note
        self._connections = 0

    # --- connecting --------------------------------------------------------------------------------------------------

    def dial(self, client: str, endpoint: str) -> SimLink:
        """A new link; it connects, or says why not, in a moment."""
        link = SimLink(self, client, endpoint)
        self.links.append(link)
        self._scheduler.after(self.weather.delay(), lambda: self._connect(link))
        return link

    def _connect(self, link: SimLink) -> None:
        if link.closed or link.connection is not None:
            return
        if self.listener is None or link.client in self.weather.cut:
            if self._rng.random() < 0.7:
                self._tell(link, "refused")
            else:
                self._scheduler.after(0.2, lambda: self._connect(link))
            return
        self._connections += 1
        link.connection = Connection(b"%d" % self._connections, link)
        self.listener.connections[link.connection.address] = link.connection
        link.flush()

    def _tell(self, link: SimLink, trouble: str) -> None:
        link.troubles.append(trouble)
        self._ring(link.client)

    def _ring(self, client: str) -> None:
        if client in self.ring:
            self.ring[client]()

    def hang_up(self, link: SimLink) -> None:
        """The client closes its socket; what is on its way is lost."""
        if link in self.links:
            self.links.remove(link)
        self._drop(link)

    def _drop(self, link: SimLink) -> None:
        connection, link.connection = link.connection, None
        if connection is not None:
            connection.alive = False
            if self.listener is not None:
                self.listener.connections.pop(connection.address, None)

    def break_link(self, client: str, notice: float | None) -> None:
        """The connection of a client breaks. It hears of it at once (0), after `notice` seconds while the socket connects again, or never."""
        for link in [link for link in self.links if link.client == client and link.connection is not None]:
            self._note("break", client, notice)
            self._drop(link)
            if notice is not None:
                self._scheduler.after(notice, lambda link=link: None if link.closed else self._tell(link, "disconnected"))  # type: ignore[misc]
            if notice:
                self._scheduler.after(self.weather.delay(), lambda link=link: self._connect(link))  # type: ignore[misc]

    def close_listener(self, listener: SimTransport, lingers: bool) -> None:
        """The broker's sockets are gone. With `lingers` what it has sent still arrives."""
        if self.listener is listener:
            self.listener = None
        for link in list(self.links):
            if link.connection is not None and link.connection.address in listener.connections:
                link.connection.alive = lingers
                link.connection = None
                self._scheduler.after(self._rng.uniform(0.01, 0.3), lambda link=link: None if link.closed else self._tell(link, "disconnected"))  # type: ignore[misc]

    # --- carrying ----------------------------------------------------------------------------------------------------

    def carry_up(self, connection: Connection, frame: bytes) -> None:
        """A frame from a client to the broker."""
        sent = self._scheduler.now
        listener = self.listener
        connection.last_up = max(connection.last_up, sent + self.weather.delay())

        def arrive() -> None:
            if connection.alive and listener is not None and listener is self.listener:
                self._note("up", connection.link.client, frame)
                listener.inbox.append((connection.address, frame, sent))
                self.on_arrival()

        self._scheduler.at(connection.last_up, arrive)

    def carry_down(self, connection: Connection, frame: bytes) -> None:
        """A frame from the broker to a client."""
        connection.last_down = max(connection.last_down, self._scheduler.now + self.weather.delay())

        def arrive() -> None:
            if connection.alive and not connection.link.closed:
                self._note("down", connection.link.client, frame)
                connection.link.inbox.append(frame)
                self._ring(connection.link.client)

        self._scheduler.at(connection.last_down, arrive)

    def carry_hint(self, frame: bytes) -> None:
        """A wake-up or beacon to whoever has subscribed to it."""
        for link in list(self.links):
            wanted = link.wake_name is not None and (frame.startswith(BEACON) or frame == WAKE + link.wake_name)
            if not wanted or link.client in self.weather.cut:
                continue
            for _ in range(self.weather.hint_copies()):
                self._scheduler.after(self.weather.delay(), lambda link=link: self._hint(link, frame))  # type: ignore[misc]

    def _hint(self, link: SimLink, frame: bytes) -> None:
        if not link.closed:
            link.hints.append(frame)
            self._ring(link.client)
