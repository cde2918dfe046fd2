"""A process that produces: it sends now and then, and writes down what it was told about each message."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from tests.sim.clients import SimClient
from tests.sim.network import Network
from tests.sim.scheduler import Scheduler
from zmqmq.client.gathering import Gathering
from zmqmq.client.posting import Posting
from zmqmq.core.parcel import Parcel
from zmqmq.core.producing import Producing
from zmqmq.errors import ZmqmqError


class Sent(NamedTuple):
    """One message on its way."""

    value: bytes
    topic: str
    key: bytes | None
    delay: float | None
    parcel: Parcel
    place: int


class Outcome(NamedTuple):
    """What the producer was told: an offset, or an error."""

    sent: Sent
    partition: int
    offset: int
    error: ZmqmqError | None


class SimProducer(SimClient):
    """One producer."""

    def __init__(self, name: str, scheduler: Scheduler, network: Network, rng: Random, timeout: float, delivery_timeout: float) -> None:
        super().__init__(name, scheduler, network, rng)
        self.gathering = Gathering()
        self.posting = Posting(self.gathering, self.bell, 1, delivery_timeout, True, self.next_id)
        self.posting._producing = Producing(rng.getrandbits(62) + 1, self.next_id, rng.random, delivery_timeout)
        self.pending: list[Sent] = []
        self.outcomes: list[Outcome] = []
        """What it has heard since somebody last looked."""
        self.sent = 0
        self.begin(self.posting, timeout, False)
        self.posting.attach(self.engine)

    def send(self, topic: str, key: bytes | None, delay: float | None, padding: int = 0) -> bytes:
        """One message, as `Producer.send` does it; returns its value, which no other message has."""
        value = f"{self.name}:{self.sent}:".encode() + b"." * padding
        self.sent += 1
        parcel = self.gathering.open.get(topic)
        if parcel is None:
            parcel = self.gathering.begin(topic, self.now)
            parcel.keys, parcel.delays = [], []
        assert parcel.keys is not None and parcel.delays is not None
        parcel.values.append(value)
        parcel.keys.append(key)
        parcel.delays.append(delay)
        size = len(value) + len(key or b"")
        parcel.size += size
        self.gathering.messages += 1
        self.gathering.bytes += size
        self.pending.append(Sent(value, topic, key, delay, parcel, len(parcel.values) - 1))
        self.engine.call()
        self.ring()
        return value

    def work(self) -> None:
        resolved = [sent for sent in self.pending if sent.parcel.is_resolved(sent.place)]
        if resolved:
            self.pending = [sent for sent in self.pending if not sent.parcel.is_resolved(sent.place)]
            self.outcomes += map(_outcome, resolved)

    def kill(self) -> None:
        self.work()
        super().kill()


def _outcome(sent: Sent) -> Outcome:
    """What `PendingReceipt.result` would say."""
    if sent.parcel.error is not None:
        return Outcome(sent, -1, -1, sent.parcel.error)
    part = sent.parcel.part_of(sent.place)
    assert part is not None
    if part.error is not None:
        return Outcome(sent, part.partition, -1, part.error)
    position = part.position(sent.place)
    assert position is not None
    return Outcome(sent, part.partition, part.offset + position if part.offset >= 0 else -1, None)
