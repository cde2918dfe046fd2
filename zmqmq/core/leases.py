"""Leases: who holds which delivered messages. They live in the leader's memory only.

A lease is one Lot of one Delivery. Numbers grow within an epoch, over all groups of the partition and whatever becomes of these, so (epoch, number) is
a fencing token that grows with every new holder of a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Token = tuple[int, int]
"""(epoch, number)"""


class LeaseNumbers:
    """The numbers of one partition's leases."""

    def __init__(self) -> None:
        self.last = 0
        """The highest so far."""

    def next(self) -> int:
        self.last += 1
        return self.last


class Lease:
    """One consumer's hold on some messages of one partition."""

    __slots__ = ("brought_as", "expires", "granted", "holder", "number", "open")

    def __init__(
        self, number: int, holder: Holder, offsets: Sequence[int], keys: Sequence[bytes | None], now: float, expires: float, brought_as: Token | None
    ) -> None:
        self.number = number
        self.brought_as = brought_as
        """The token under which its holder has brought it along, and brings it again as long as it has heard no answer."""
        self.holder = holder
        self.open: dict[int, bytes | None] = dict(zip(offsets, keys, strict=True))
        """Key by offset of what is not settled yet, ascending."""
        self.granted = now
        self.expires = expires


class Holder:
    """One consumer (a member of the group) on one partition."""

    __slots__ = ("leases", "member", "more", "suspects")

    def __init__(self, member: str) -> None:
        self.member = member
        self.leases: dict[int, Lease] = {}
        self.more: dict[bytes, None] = {}
        """Keys that it holds and that have messages waiting behind them."""
        self.suspects: set[int] = set()
        """Offsets that it holds of messages whose last consumer vanished; one at a time."""

    @property
    def held(self) -> int:
        return sum(len(lease.open) for lease in self.leases.values())


class Recall(NamedTuple):
    """Messages that a consumer loses without asking for it."""

    lease: int
    offsets: list[int]


class LeaseBook:
    """All leases of one group and partition."""

    def __init__(self, numbers: LeaseNumbers) -> None:
        self.numbers = numbers
        self.leases: dict[int, Lease] = {}  # by number: ascending, and so by time of granting
        self.holders: dict[str, Holder] = {}

    def holder(self, member: str) -> Holder:
        """The member's page, a new one if need be."""
        holder = self.holders.get(member)
        if holder is None:
            holder = self.holders[member] = Holder(member)
        return holder

    def grant(self, holder: Holder, offsets: Sequence[int], keys: Sequence[bytes | None], now: float, expires: float, brought_as: Token | None = None) -> Lease:
        lease = Lease(self.numbers.next(), holder, offsets, keys, now, expires, brought_as)
        self.leases[lease.number] = lease
        holder.leases[lease.number] = lease
        return lease

    def close(self, lease: Lease) -> None:
        """Forgets a lease of which nothing is left."""
        assert not lease.open, "only an empty lease can be closed"
        self.leases.pop(lease.number, None)
        lease.holder.leases.pop(lease.number, None)

    def remove_holder(self, holder: Holder) -> None:
        self.holders.pop(holder.member, None)

    def expired(self, now: float) -> list[Lease]:
        """Leases held for too long."""
        return [lease for lease in self.leases.values() if lease.expires <= now and lease.open]

    @property
    def held(self) -> int:
        return sum(len(lease.open) for lease in self.leases.values())
