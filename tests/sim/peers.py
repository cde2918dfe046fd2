"""A broker's connections to other brokers: the methods that the loop uses of `zmqmq.shell.peers.Peers`, over simulated links.

What a peer's silence means is nobody's business here; only three things are reported: `Up`, `Gone` (the connection closed) and `Refused` (and
its address says that nobody listens there). The network may lie about the last one: then a living process is taken for dead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zmqmq.shell.peers import Gone, PeerEvent, Refused, Up

if TYPE_CHECKING:
    from tests.sim.network import Network
    from tests.sim.sockets import SimLink

REDIAL = 0.1
"""Seconds between attempts to reach a peer that refuses."""
REPEAT_REFUSED = 1.0
"""Seconds after which `connect` makes a refusal news again."""


class Line:
    """One peer."""

    def __init__(self, broker: str, link: SimLink) -> None:
        self.broker = broker
        self.link = link
        self.is_up = False
        self.refused_at: float | None = None
        """When that was told, since it was last connected."""

    @property
    def has_news(self) -> bool:
        """Whether something has come, or it is connected and nobody has heard so."""
        link = self.link
        return bool(link.inbox or link.troubles) or (link.connection is not None and not self.is_up)


class SimPeers:
    """All peers of one broker's process."""

    def __init__(self, network: Network, party: str) -> None:
        self.party = party
        self._network = network
        self._lines: dict[str, Line] = {}
        self._events: list[PeerEvent] = []
        self._closed = False

    def connect(self, broker_id: str, endpoint: str) -> bool:
        """Keeps a connection to the peer from now on; another endpoint replaces the one before, the same may be found to refuse once more."""
        line = self._lines.get(broker_id)
        if line is not None and line.link.endpoint == endpoint:
            if line.refused_at is not None and self._network.scheduler.now >= line.refused_at + REPEAT_REFUSED:
                line.refused_at = None
            return True
        self.forget(broker_id)
        self._lines[broker_id] = Line(broker_id, self._dial(endpoint))
        return True

    def _dial(self, endpoint: str) -> SimLink:
        link = self._network.dial(self.party, endpoint)
        link.on_connected = self._ring
        return link

    def _ring(self) -> None:
        ring = self._network.ring.get(self.party)
        if ring is not None:
            ring()

    def forget(self, broker_id: str) -> None:
        """Closes the connection."""
        line = self._lines.pop(broker_id, None)
        if line is not None:
            line.link.close()

    def renew(self, broker_id: str) -> None:
        """A fresh connection in place of one that has been silent for too long."""
        line = self._lines.get(broker_id)
        if line is not None:
            if line.is_up:
                line.is_up = False
                self._events.append(Gone(line.broker))
            self._redial(line, 0.0)

    def is_up(self, broker_id: str) -> bool:
        """Whether a frame would go through now."""
        line = self._lines.get(broker_id)
        return line is not None and line.is_up

    def send(self, broker_id: str, frame: bytes) -> None:
        """Drops the frame if the peer is not connected."""
        line = self._lines.get(broker_id)
        if line is not None and line.link.connection is not None:
            line.link.send(frame)

    def receive(self, max_frames: int, max_bytes: int) -> Iterator[tuple[str, bytes]]:
        """What peers have answered, one of each in turn."""
        waiting = [line for line in self._lines.values() if line.link.inbox]
        while waiting and max_frames > 0 and max_bytes > 0:
            line = waiting.pop(0)
            frame = line.link.inbox.popleft()
            max_frames -= 1
            max_bytes -= len(frame)
            if line.link.inbox:
                waiting.append(line)
            yield line.broker, frame

    @property
    def has_news(self) -> bool:
        """Whether there is something to receive or an event to take."""
        return bool(self._events) or any(line.has_news for line in self._lines.values())

    def take_events(self) -> list[PeerEvent]:
        """What has happened since the last call."""
        for line in self._lines.values():
            self._look(line)
        events, self._events = self._events, []
        return events

    def _look(self, line: Line) -> None:
        while (trouble := line.link.trouble()) is not None:
            if line.is_up:
                line.is_up = False
                self._events.append(Gone(line.broker))
            if trouble == "refused" or self._network.weather.is_obituary_wrong():
                self._refused(line)
            self._redial(line, REDIAL if trouble == "refused" else 0.0)
        if line.link.connection is not None and not line.is_up:
            line.is_up, line.refused_at = True, None
            self._events.append(Up(line.broker))

    def _refused(self, line: Line) -> None:
        if line.refused_at is None:
            line.refused_at = self._network.scheduler.now
            self._events.append(Refused(line.broker, line.link.endpoint))

    def _redial(self, line: Line, delay: float) -> None:
        """A fresh socket, as after every failure."""
        link = line.link
        endpoint = link.endpoint
        link.close()
        link.troubles.clear()

        def again() -> None:
            if not self._closed and self._lines.get(line.broker) is line and line.link is link:
                line.link = self._dial(endpoint)

        self._network.scheduler.after(delay, again)

    def close(self) -> None:
        """The process is gone, or stops."""
        self._closed = True
        for broker in list(self._lines):
            self.forget(broker)
