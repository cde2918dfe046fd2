"""Where `send` leaves messages: one open parcel per topic, taken away by the engine when the topic can use it.

While batches are on their way the next parcel fills: under load batches grow by themselves, and a lone message goes at once.
There is no timer to tune. The buffer counts every message without an outcome.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from zmqmq.core.parcel import Parcel

PARCEL_MESSAGES = 2000
"""Messages after which a parcel is closed and may travel beside others."""
PARCEL_BYTES = 256 * 1024
"""Bytes after which a parcel is closed."""
EAGER_BELOW = 2
"""An unfilled parcel travels while fewer batches than this are on their way; else it goes on filling."""
WINDOW = 5
"""Batches on their way at which a topic takes no more parcels."""


class Gathering:
    """The open and the full parcels of one producer. Guarded by the producer's lock."""

    def __init__(self) -> None:
        self.open: dict[str, Parcel] = {}
        self.full: deque[Parcel] = deque()
        self.messages = 0
        """Messages without an outcome, wherever they are."""
        self.bytes = 0

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be taken."""
        return not self.open and not self.full

    def begin(self, topic: str, now: float) -> Parcel:
        """A new open parcel in place of the topic's full one."""
        before = self.open.get(topic)
        if before is not None:
            before.close()
            self.full.append(before)
        parcel = self.open[topic] = Parcel(topic, now)
        return parcel

    def take(self, load: Callable[[str], int], everything: bool) -> list[Parcel]:
        """The parcels that can travel now, closed. `load` says how many batches of a topic are on their way."""
        taken: list[Parcel] = []
        loads: dict[str, int] = {}
        kept: deque[Parcel] = deque()
        while self.full:
            parcel = self.full.popleft()
            busy = loads.setdefault(parcel.topic, load(parcel.topic))
            if everything or busy < WINDOW:
                loads[parcel.topic] = busy + 1
                taken.append(parcel)
            else:
                kept.append(parcel)
        self.full = kept
        waiting = {parcel.topic for parcel in kept}
        for topic in list(self.open):
            if topic not in waiting and (everything or loads.setdefault(topic, load(topic)) < EAGER_BELOW):
                parcel = self.open.pop(topic)
                parcel.close()
                taken.append(parcel)
        return taken

    def done(self, parcel: Parcel) -> None:
        """All messages of the parcel have an outcome: their room is free."""
        self.messages -= parcel.count
        self.bytes -= parcel.size

    def waiting(self) -> list[Parcel]:
        """What is in here, without taking it."""
        return [*self.full, *self.open.values()]
