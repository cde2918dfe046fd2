"""What came of the demonstration, counted from what the processes themselves printed.

A reading is known by where the broker keeps it: (topic, partition, offset). The sensors print it when it is confirmed, the
controllers when they have acted on it; so what is lost or done twice shows as a difference between the two.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

_CONFIRMED = re.compile(r"(\S+) #\d+ .* confirmed \[(\d+)/(\d+)\]$")
_ACTED = re.compile(r"(\S+) #\S+ [^:]*: .* \[(\d+)/(\d+)\]$")


class Reading(NamedTuple):
    """One reading's place."""

    topic: str
    partition: int
    offset: int


class Tally:
    """Counts by process."""

    def __init__(self) -> None:
        self.sent: dict[str, set[Reading]] = {}
        self.acted: dict[str, Counter[Reading]] = {}

    def sensor_said(self, name: str, line: str) -> None:
        """Notes a confirmed reading; other lines say nothing about readings."""
        if found := _CONFIRMED.fullmatch(line):
            self.sent.setdefault(name, set()).add(_reading(found))

    def controller_said(self, name: str, line: str) -> None:
        """Notes a reading acted on."""
        if found := _ACTED.fullmatch(line):
            self.acted.setdefault(name, Counter())[_reading(found)] += 1

    @property
    def all_sent(self) -> set[Reading]:
        """Every confirmed reading."""
        return set().union(*self.sent.values())

    @property
    def all_acted(self) -> Counter[Reading]:
        """How often each reading was acted on."""
        return sum(self.acted.values(), Counter[Reading]())

    @property
    def lost(self) -> int:
        """Confirmed readings that no controller acted on."""
        return len(self.all_sent - self.all_acted.keys())

    @property
    def duplicated(self) -> int:
        """Actions beyond the first on one reading."""
        acted = self.all_acted
        return acted.total() - len(acted)


def _reading(found: re.Match[str]) -> Reading:
    return Reading(found[1], int(found[2]), int(found[3]))
