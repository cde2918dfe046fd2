"""What came of the demonstration of a cluster: what was confirmed and received, in which order, and how long nothing was confirmed.

Every sensor has a topic of its own, so its readings bear rising numbers and come at rising offsets; all controllers speak into
one pipe, so their lines stand in the order in which they acted. A reading that is acted on for the first time after a later one of its topic is
out of order. Received again is no fault: what was not acknowledged for sure is delivered again.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CONFIRMED = re.compile(r"(\S+) #(\d+) .* confirmed \[\d+/\d+\]$")
_ACTED = re.compile(r"(\S+) #(\d+) [^:]*: .* \[\d+/\d+\]$")


class Gap(NamedTuple):
    """A time without a confirmation."""

    seconds: float
    topic: str
    since: float
    """When it began, by the monotonic clock."""


class Service:
    """What one topic's sensor and controllers said."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.confirmed: set[int] = set()
        self.received: dict[int, int] = {}
        """How often each reading was acted on."""
        self.out_of_order = 0
        self.gap = Gap(0.0, topic, 0.0)
        self._last_confirmed: float | None = None
        self._furthest = 0

    @property
    def lost(self) -> int:
        """Confirmed readings on which nobody acted."""
        return len(self.confirmed - self.received.keys())

    @property
    def again(self) -> int:
        """Actions beyond the first on one reading."""
        return sum(self.received.values()) - len(self.received)

    def confirm(self, number: int, at: float) -> None:
        """A reading is safe, says the sensor."""
        self.confirmed.add(number)
        if self._last_confirmed is not None:
            self.gap = max(self.gap, Gap(at - self._last_confirmed, self.topic, self._last_confirmed))
        self._last_confirmed = at

    def receive(self, number: int) -> None:
        """A controller has acted on a reading."""
        if number not in self.received:
            self.out_of_order += number < self._furthest
            self._furthest = max(self._furthest, number)
        self.received[number] = self.received.get(number, 0) + 1


class Services:
    """All topics of the demonstration."""

    def __init__(self, topics: list[str]) -> None:
        self.of = {topic: Service(topic) for topic in topics}

    def sensor_said(self, line: str, at: float) -> None:
        """Notes a confirmed reading; other lines say nothing about readings."""
        if (found := _CONFIRMED.fullmatch(line)) and found[1] in self.of:
            self.of[found[1]].confirm(int(found[2]), at)

    def controller_said(self, line: str) -> None:
        """Notes a reading acted on."""
        if (found := _ACTED.fullmatch(line)) and found[1] in self.of:
            self.of[found[1]].receive(int(found[2]))

    @property
    def confirmed(self) -> int:
        return sum(len(service.confirmed) for service in self.of.values())

    @property
    def received(self) -> int:
        """Readings that were acted on, each counted once."""
        return sum(len(service.received) for service in self.of.values())

    @property
    def again(self) -> int:
        return sum(service.again for service in self.of.values())

    @property
    def lost(self) -> int:
        return sum(service.lost for service in self.of.values())

    @property
    def out_of_order(self) -> int:
        return sum(service.out_of_order for service in self.of.values())

    @property
    def gap(self) -> Gap:
        """The longest of all topics."""
        return max(service.gap for service in self.of.values())
