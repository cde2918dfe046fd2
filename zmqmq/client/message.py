"""A message as the application gets it: a view on its lot's columns, and the four ways to settle it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from zmqmq.client.values import headers_dict, key_for_people
from zmqmq.core.commands import Outcome
from zmqmq.core.held import HANDED, LOST, SETTLED, SETTLING, Held

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call waits unless told otherwise."""


class Token(NamedTuple):
    """Fencing token: a later lease of the same partition has a greater token, so a store that remembers the greatest can refuse late writers."""

    epoch: int
    lease: int


class Keeper(Protocol):
    """Who settles messages: their consumer."""

    def settle_one(self, held: Held, index: int, outcome: Outcome, delay: float | None, reason: str) -> PendingSettlement:
        """Settles one message."""

    def wait_settled(self, held: Held, indices: list[int], timeout: float | None) -> None:
        """Waits until the broker has confirmed."""


class PendingSettlement:
    """A decision on its way to the broker. Nobody has to ask it: what is lost is logged by the consumer."""

    __slots__ = ("_keeper", "_parts")

    def __init__(self, keeper: Keeper, parts: list[tuple[Held, list[int]]]) -> None:
        self._keeper = keeper
        self._parts = parts

    def done(self) -> bool:
        """Whether the broker has confirmed, or refused."""
        return all(held.states[index] >= SETTLED for held, indices in self._parts for index in indices)

    def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Waits until the broker has recorded it, at most `timeout` seconds. Raises LeaseLost, DeadlineExceeded or Unreachable."""
        for held, indices in self._parts:
            self._keeper.wait_settled(held, indices, timeout)


class Message:
    """One delivery of one message. Settle it when its work is done; until then no other consumer of the group gets it."""

    __slots__ = ("_held", "_index", "_keeper")

    def __init__(self, keeper: Keeper, held: Held, index: int) -> None:
        self._keeper = keeper
        self._held = held
        self._index = index

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._held.subscription.topic

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self._held.partition

    @property
    def offset(self) -> int:
        """Sequence number in the partition."""
        return self._held.offsets[self._index]

    @property
    def value(self) -> bytes:
        """What was sent."""
        return self._held.values[self._index]

    @property
    def key(self) -> str | bytes | None:
        """The key: str if it is UTF-8 text, else bytes; None if there is none. `key_bytes` is always what travelled."""
        return key_for_people(self.key_bytes)

    @property
    def key_bytes(self) -> bytes | None:
        """The key's bytes, by which partition and order are decided."""
        keys = self._held.keys
        return keys[self._index] if keys is not None else None

    @property
    def headers(self) -> dict[str, str]:
        """Headers by name; a new dict each time."""
        headers = self._held.headers
        return headers_dict(headers[self._index]) if headers is not None else {}

    @property
    def timestamp(self) -> float:
        """When the broker accepted it: seconds since 1970 UTC."""
        return self._held.times[self._index]

    @property
    def attempt(self) -> int:
        """1 at the first delivery, one more after each that failed."""
        attempts = self._held.attempts
        return attempts[self._index] if attempts is not None else 1

    @property
    def token(self) -> Token:
        """The fencing token of this delivery."""
        return Token(self._held.epoch, self._held.lease)

    @property
    def is_held(self) -> bool:
        """Whether this consumer may still work on it: not settled, and not known to be lost."""
        return self._held.states[self._index] == HANDED

    def ack(self) -> PendingSettlement:
        """Done. Raises AlreadySettled, or LeaseLost if it is known that another consumer may have it by now."""
        return self._keeper.settle_one(self._held, self._index, "ack", None, "")

    def nack(self, delay: float | None = None, reason: str = "") -> PendingSettlement:
        """Failed: again after `delay` seconds (None: by the topic's retry delay), counted as an attempt. Raises as `ack`."""
        return self._keeper.settle_one(self._held, self._index, "nack", delay, reason)

    def release(self) -> PendingSettlement:
        """Not started: back at once, not counted. Raises as `ack`."""
        return self._keeper.settle_one(self._held, self._index, "release", None, "")

    def reject(self, reason: str = "") -> PendingSettlement:
        """Hopeless: to the dead letters now. Raises as `ack`."""
        return self._keeper.settle_one(self._held, self._index, "reject", None, reason)

    def __repr__(self) -> str:
        state = {HANDED: "held", SETTLING: "settling", SETTLED: "settled", LOST: "lost"}.get(self._held.states[self._index], "buffered")
        return f"<Message {self.topic}/{self.partition}@{self.offset} attempt {self.attempt}, {len(self.value)} bytes, {state}>"
