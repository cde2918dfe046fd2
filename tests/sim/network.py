"""The network between brokers and whoever connects to them, as ZeroMQ behaves on TCP.

Within a connection whole frames arrive in order, late, or not at all: a break loses what is on its way in both directions, and
after it the listener sees a new address. While a direction is cut, frames wait, as TCP repeats them. A connection takes both directions; who
is cut off is not refused but hears nothing. Hints (PUB) may be lost, doubled and overtaken at will.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.sim.scheduler import Scheduler
from tests.sim.sockets import Connection, Lane
from tests.sim.sockets import SimLink as SimLink
from tests.sim.sockets import SimTransport as SimTransport
from tests.sim.weather import SLOWEST as SLOWEST
from tests.sim.weather import Weather as Weather
from zmqmq.core.commands import BEACON, WAKE

TRY_AGAIN = 0.2
"""Seconds until TCP repeats what did not get through."""
REFUSED_SHARE = 0.7
"""Share of attempts that hear at once that nobody listens; the others are tried again."""


class Network:
    """All links, and all listeners by their endpoints."""

    def __init__(self, scheduler: Scheduler, rng: Random, weather: Weather, note: Callable[..., None]) -> None:
        self.listeners: dict[str, SimTransport] = {}
        self.links: list[SimLink] = []
        self.weather = weather
        self.ring: dict[str, Callable[[], None]] = {}
        """By party: something has arrived at it."""
        self._owners: dict[str, str] = {}
        """Endpoint -> the party whose machine has that address."""
        self.scheduler = scheduler
        self._rng = rng
        self._note = note
        self._connections = 0

    # --- connecting --------------------------------------------------------------------------------------------------

    def listen(self, listener: SimTransport) -> None:
        """A broker opens its sockets."""
        assert listener.endpoint not in self.listeners, "one listener per endpoint"
        self.listeners[listener.endpoint] = listener
        self._owners[listener.endpoint] = listener.party

    def expect(self, endpoint: str, party: str) -> None:
        """The party's machine has that address, whether it listens or not."""
        self._owners[endpoint] = party

    def dial(self, client: str, endpoint: str) -> SimLink:
        """A new link; it connects, or says why not, in a moment."""
        link = SimLink(self, client, endpoint)
        self.links.append(link)
        self.scheduler.after(self.weather.delay(), lambda: self._connect(link))
        return link

    def _connect(self, link: SimLink) -> None:
        if link.closed or link.connection is not None:
            return
        if not self.weather.connects(link.client, self._owners.get(link.endpoint, link.endpoint)):
            self.scheduler.after(TRY_AGAIN, lambda: self._connect(link))
            return
        listener = self.listeners.get(link.endpoint)
        if listener is None:
            if self._rng.random() < REFUSED_SHARE:
                self._tell(link, "refused")
            else:
                self.scheduler.after(TRY_AGAIN, lambda: self._connect(link))
            return
        self._connections += 1
        link.connection = Connection(b"%d" % self._connections, link, listener)
        listener.connections[link.connection.address] = link.connection
        link.on_connected()
        link.flush()

    def _tell(self, link: SimLink, trouble: str) -> None:
        link.troubles.append(trouble)
        self._ring(link.client)

    def _ring(self, party: str) -> None:
        if party in self.ring:
            self.ring[party]()

    def hang_up(self, link: SimLink) -> None:
        """Whoever has connected closes its socket; what is on its way is lost."""
        if link in self.links:
            self.links.remove(link)
        self._drop(link)

    def _drop(self, link: SimLink) -> None:
        connection, link.connection = link.connection, None
        if connection is not None:
            connection.alive = False
            connection.listener.connections.pop(connection.address, None)

    def break_link(self, client: str, notice: float | None, endpoint: str | None = None) -> None:
        """The connections of a party break, all or those to one endpoint.

        It hears of it at once (0), after `notice` seconds while the socket connects again, or never."""
        for link in [link for link in self.links if link.client == client and link.connection is not None and endpoint in (None, link.endpoint)]:
            self._note("break", client, notice)
            self._drop(link)
            if notice is not None:
                self.scheduler.after(notice, lambda link=link: None if link.closed else self._tell(link, "disconnected"))  # type: ignore[misc]
            if notice:
                self.scheduler.after(self.weather.delay(), lambda link=link: self._connect(link))  # type: ignore[misc]

    def close_listener(self, listener: SimTransport, lingers: bool) -> None:
        """The broker's sockets are gone. With `lingers` what it has sent still arrives."""
        if self.listeners.get(listener.endpoint) is listener:
            del self.listeners[listener.endpoint]
        for connection in list(listener.connections.values()):
            connection.alive = lingers
            connection.link.connection = None
            self.scheduler.after(self._rng.uniform(0.01, 0.3), lambda connection=connection: self._notice_end(connection))  # type: ignore[misc]

    def _notice_end(self, connection: Connection) -> None:
        """The end of a connection is a packet too; who is cut off learns of it later."""
        if connection.link.closed:
            return
        if self.weather.connects(connection.link.client, connection.listener.party):
            self._tell(connection.link, "disconnected")
        else:
            self.scheduler.after(TRY_AGAIN, lambda: self._notice_end(connection))

    # --- carrying ----------------------------------------------------------------------------------------------------

    def carry_up(self, connection: Connection, frame: bytes) -> None:
        """A frame from whoever has connected to the broker."""
        sent, listener = self.scheduler.now, connection.listener

        def arrive() -> None:
            if connection.alive and listener.is_open:
                self._note("up", connection.link.client, frame)
                listener.inbox.append((connection.address, frame, sent))
                listener.on_arrival()

        self._carry(connection, connection.up, arrive)

    def carry_down(self, connection: Connection, frame: bytes) -> None:
        """A frame from the broker to whoever has connected."""

        def arrive() -> None:
            if connection.alive and not connection.link.closed:
                self._note("down", connection.link.client, frame)
                connection.link.inbox.append(frame)
                self._ring(connection.link.client)

        self._carry(connection, connection.down, arrive)

    def _carry(self, connection: Connection, lane: Lane, arrive: Callable[[], None]) -> None:
        lane.last = max(lane.last, self.scheduler.now + self.weather.delay())
        self.scheduler.at(lane.last, lambda: self._arrive(connection, lane, arrive))

    def _arrive(self, connection: Connection, lane: Lane, arrive: Callable[[], None]) -> None:
        if lane.stalled:
            lane.stalled.append(arrive)
        elif self.weather.passes(lane.sender, lane.receiver):
            arrive()
        else:
            lane.stalled.append(arrive)
            self.scheduler.after(TRY_AGAIN, lambda: self._repeat(connection, lane))

    def _repeat(self, connection: Connection, lane: Lane) -> None:
        """TCP tries again what was cut off."""
        if not connection.alive:
            lane.stalled.clear()
        elif not self.weather.passes(lane.sender, lane.receiver):
            self.scheduler.after(TRY_AGAIN, lambda: self._repeat(connection, lane))
        else:
            stalled = list(lane.stalled)
            lane.stalled.clear()
            for arrive in stalled:
                arrive()

    def carry_hint(self, listener: SimTransport, frame: bytes) -> None:
        """A wake-up or beacon to whoever has subscribed to it at this broker."""
        for link in list(self.links):
            wanted = link.wake_name is not None and link.wake_endpoint == listener.wake_endpoint
            if not wanted or not (frame.startswith(BEACON) or frame == WAKE + (link.wake_name or b"")):
                continue
            if not self.weather.connects(listener.party, link.client):
                continue
            for _ in range(self.weather.hint_copies()):
                self.scheduler.after(self.weather.delay(), lambda link=link: self._hint(link, frame))  # type: ignore[misc]

    def _hint(self, link: SimLink, frame: bytes) -> None:
        if not link.closed:
            link.hints.append(frame)
            self._ring(link.client)
