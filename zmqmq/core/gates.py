"""Key gates: what keeps one key's messages in order without holding up any other key.

A gate stands for a key that is held or has messages waiting; a key without a gate is free. It is in one of these states:

    free ──grant──► held by one consumer ──all settled and committed──► free
                        │                                                 ▲
                        └──failed──► returning ──committed──► waiting for due ──┘

Messages that are met while their key cannot be granted are passed over: only their offsets are kept, in order, behind the
gate. The next one of a key goes to another consumer only when the settling of the earlier ones is committed; before
that a fail-over could deliver them again behind their successor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from zmqmq.core.leases import Holder

Pair = tuple[int, bytes | None]
"""An offset and its key."""
_NONE_BEHIND: deque[int] = deque()
"""Shared by all gates with nothing behind them and never changed: most have nothing, and a deque of their own would be 600 bytes."""


class Limbo(NamedTuple):
    """What an operation does to gates once everything below `end` is committed."""

    end: int
    settled: Sequence[Pair]
    returned: Sequence[Pair]
    blocked: Sequence[Pair]
    """Messages whose keys give nothing until then: the consumer has returned them and forgotten what it held behind them."""


class Gate:
    """The state of one key in one group and partition."""

    __slots__ = ("behind", "due", "held", "key", "owner", "returning")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.owner: Holder | None = None
        self.held = 0
        """Messages of the key that are leased or whose settling is not committed."""
        self.returning = 0
        """Failed messages whose failure is not committed yet: nothing of the key may be granted."""
        self.behind = _NONE_BEHIND
        """Offsets that wait for this key, ascending."""
        self.due = 0.0
        """Broker time before which the first one behind is not delivered."""

    def hold(self, owner: Holder, count: int = 1) -> None:
        self.owner = owner
        self.held += count

    def let_go(self) -> None:
        """One message of the key is settled or returned."""
        self.held -= 1
        assert self.held >= 0, "a gate cannot hold less than nothing"
        if self.held == 0:
            self.owner = None

    def admits(self, holder: Holder, wall: float) -> bool:
        """May `holder` have the key's next message?"""
        return self.returning == 0 and self.due <= wall and (self.owner is None or self.owner is holder)

    def put_back(self, offsets: Iterable[int]) -> int:
        """Returned offsets take their old places; returns how many there are."""
        returned = sorted(offsets)
        if returned and self.behind and returned[-1] > self.behind[0]:
            merged = sorted({*returned, *self.behind})
            count = len(merged) - len(self.behind)
            self.behind = deque(merged)
            return count
        self.own_behind().extendleft(reversed(returned))
        return len(returned)

    def own_behind(self) -> deque[int]:
        """The offsets behind this gate, to be added to."""
        if self.behind is _NONE_BEHIND:
            self.behind = deque()
        return self.behind


class Gates:
    """All gates of one group and partition, and which of them have something to give."""

    def __init__(self) -> None:
        self._gates: dict[bytes, Gate] = {}
        self._ready: dict[bytes, Gate] = {}  # insertion order is the order of service
        self.waiting = 0
        """Offsets behind all gates."""

    def __len__(self) -> int:
        return len(self._gates)

    def __iter__(self) -> Iterator[Gate]:
        return iter(self._gates.values())

    def get(self, key: bytes) -> Gate | None:
        return self._gates.get(key)

    def make(self, key: bytes) -> Gate:
        """The key's gate, a new one if it was free."""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(key)
        return gate

    def pass_over(self, gate: Gate, offset: int) -> None:
        """The message must wait for its key."""
        gate.own_behind().append(offset)
        self.waiting += 1
        if gate.owner is not None:
            gate.owner.more[gate.key] = None

    def put_back(self, gate: Gate, offsets: Iterable[int]) -> None:
        """Returned messages wait again, first of their key."""
        self.waiting += gate.put_back(offsets)

    def take(self, gate: Gate, count: int) -> list[int]:
        """Removes up to `count` of the first offsets behind the gate."""
        taken = [gate.behind.popleft() for _ in range(min(count, len(gate.behind)))]
        self.waiting -= len(taken)
        return taken

    def remove(self, gate: Gate, offset: int) -> bool:
        """Takes one particular offset out of the waiting ones; False if it is not among them."""
        if offset not in gate.behind:
            return False
        gate.behind.remove(offset)
        self.waiting -= 1
        return True

    def review(self, gate: Gate, wall: float) -> bool:
        """Files the gate where it belongs after a change: ready, waiting or gone. True if it became ready."""
        if gate.owner is None and gate.held == 0 and not gate.behind and gate.returning == 0:
            self._gates.pop(gate.key, None)
            self._ready.pop(gate.key, None)
            return False
        if gate.behind and gate.owner is None and gate.returning == 0 and gate.due <= wall:
            new = gate.key not in self._ready
            self._ready[gate.key] = gate
            return new
        self._ready.pop(gate.key, None)
        return False

    def ready(self) -> list[Gate]:
        """Gates that anybody may take from, the longest ready first."""
        return list(self._ready.values())
