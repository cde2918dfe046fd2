"""What a consumer holds: the messages of one lease, in columns, and how far each of them has come.

A message is *buffered* (here, not yet with the application), *handed* out, *settling* (the application has decided, the broker has
not confirmed), and at its end *settled* or *lost*. Message objects are made when they are handed out, not before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from math import inf

from zmqmq.core.commands import HeldLease, Lot

BUFFERED, HANDED, SETTLING, SETTLED, LOST = range(5)
"""States of a message at its consumer."""
LeaseKey = tuple[int, int, int]
"""(partition, epoch, lease)"""


class Holder:
    """What leases belong to: a topic, and for each partition the broker that takes settlements."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.routes: dict[int, tuple[str, int]] = {}
        """By partition: the broker, and its number for the subscription. Without one the subscription is not known there now."""
        self.held: dict[LeaseKey, Held] = {}


class Held:
    """One lease. Offsets ascend; `states` has a byte per message."""

    __slots__ = (
        "acks",
        "arrived",
        "attempts",
        "broker",
        "epoch",
        "headers",
        "keys",
        "lapses_at",
        "lease",
        "nacked",
        "next",
        "offsets",
        "open",
        "partition",
        "states",
        "subscription",
        "times",
        "values",
        "whole",
    )

    def __init__(self, subscription: Holder, lot: Lot, arrived: float, broker: str = "") -> None:
        self.subscription = subscription
        self.broker = broker
        """Who granted it, or has confirmed it since."""
        self.lapses_at = inf
        """When others may be given it: until then somebody must confirm it. inf while nothing speaks against who granted it."""
        self.partition = lot.partition
        self.epoch = lot.epoch
        self.lease = lot.lease
        self.offsets: Sequence[int] = lot.offsets
        self.times = lot.times
        self.values = lot.values
        self.keys = lot.keys
        self.headers = lot.headers
        self.attempts = lot.attempts
        self.states = bytearray(len(lot.offsets))
        self.arrived = arrived
        self.next = 0
        """Index of the first message that may still be buffered."""
        self.open = len(lot.offsets)
        """Messages that are neither settled nor lost."""
        self.acks: list[int] = []
        """Indices acknowledged and not yet told to the broker."""
        self.nacked: set[int] = set()
        """Indices whose outcome is a nack."""
        self.whole = True
        """Nothing of the lease was taken away: "all of it" means the same to the broker."""

    @property
    def key(self) -> LeaseKey:
        """What names the lease within its subscription."""
        return (self.partition, self.epoch, self.lease)

    def index_of(self, offset: int) -> int | None:
        """Where the offset is in the columns."""
        place = bisect_left(self.offsets, offset)
        return place if place < len(self.offsets) and self.offsets[place] == offset else None

    def end(self, indices: Iterable[int], state: int) -> list[int]:
        """Settles or loses messages that are still open; gives their indices."""
        states = self.states
        ended = [index for index in indices if states[index] < SETTLED]
        for index in ended:
            states[index] = state
        self.open -= len(ended)
        if state == LOST and ended:
            self.whole = False
        return ended

    def presented(self) -> HeldLease:
        """What is left of it, for the broker to confirm on a new session."""
        left = [index for index, state in enumerate(self.states) if state < SETTLED]
        attempts = [self.attempts[index] for index in left] if self.attempts is not None else None
        return HeldLease(self.partition, self.epoch, self.lease, [self.offsets[index] for index in left], attempts)

    def buffered(self) -> int:
        """Messages that the application has not got."""
        return self.states.count(BUFFERED, self.next)
