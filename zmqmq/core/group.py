"""The durable half of a group on one partition: exactly what the committed operations say.

    message committed ── lag + 1 ──► unsettled ──acked──► settled
                                        │  ▲
                          failed: attempts + 1, due
                                        │  │ revived (attempts forgotten)
                                        ▼  │
                                     dead letter ──buried──► settled for good

`apply` is deterministic and has no other input than the operation, so every replica that has applied the same prefix of the
log has the same state. The volatile half (who holds what, where reading stands) is `zmqmq.core.queue`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from zmqmq.core.operations import Acked, Buried, Died, Failed, GroupMoved, MemberJoined, MemberLeft, Revived, Trimmed
from zmqmq.core.ranges import Settled
from zmqmq.core.writes import PutGroup


class Failure(NamedTuple):
    """How a message stands that has failed before."""

    attempts: int
    due: float
    """Broker time before which it is not delivered again."""
    crashed: bool
    """Its consumer vanished: it is a suspect, delivered singly."""


class GroupState:
    """What a group has done with one partition."""

    def __init__(self, name: str, position: int, lag: int) -> None:
        self.name = name
        self.settled = Settled(position)
        self.failures: dict[int, Failure] = {}
        self.revived: set[int] = set()
        """Replayed dead letters: unsettled although the floor or a range covers them."""
        self.members: dict[str, float] = {}
        """Session timeout in seconds by member."""
        self.lag = lag
        """Messages not settled."""
        self.dead = 0
        self.voided = (0, 0)
        """(epoch, number) of the last lease that a seek has taken back: whoever presents it or an earlier one was not told in time."""
        self.changed = True

    def is_settled(self, offset: int) -> bool:
        return offset in self.settled and offset not in self.revived

    def apply_acked(self, operation: Acked) -> list[int]:
        """Settles; returns the revived letters among them, whose records may go now."""
        returning: list[int] = []
        for start, stop in operation.ranges:
            self.lag -= self.settled.add(start, stop)
            if self.revived:
                returning += [offset for offset in self.revived if start <= offset < stop]
            if self.failures:
                self._forget_failures(start, stop)
        self._unrevive(returning)
        return returning

    def _forget_failures(self, start: int, stop: int) -> None:
        if stop - start < len(self.failures):
            for offset in range(start, stop):
                self.failures.pop(offset, None)
        else:
            for offset in [offset for offset in self.failures if start <= offset < stop]:
                del self.failures[offset]

    def _unrevive(self, offsets: Iterable[int]) -> None:
        for offset in offsets:
            self.revived.discard(offset)
            self.lag -= 1

    def apply_failed(self, operation: Failed) -> None:
        for offset in operation.offsets:
            if not self.is_settled(offset):
                self.failures[offset] = Failure(self.attempts(offset) + 1, operation.due, operation.crashed)

    def apply_died(self, operation: Died) -> None:
        for offset in operation.offsets:
            self.failures.pop(offset, None)
            if offset in self.revived:
                self._unrevive([offset])
            else:
                self.lag -= self.settled.add(offset, offset + 1)

    def apply_revived(self, operation: Revived) -> None:
        for offset in operation.offsets:
            if offset not in self.revived:
                self.revived.add(offset)
                self.lag += 1

    def apply_buried(self, operation: Buried) -> None:
        for offset in operation.offsets:
            assert offset not in self.revived, "a revived letter is not dead"

    def apply_moved(self, operation: GroupMoved) -> None:
        """A seek forgets failures and replays in progress; dead letters before the position stay what they are."""
        self.settled = Settled(operation.position)
        self.failures.clear()
        self.revived.clear()
        self.lag = operation.lag
        self.voided = (operation.epoch, operation.lease)

    def apply_joined(self, operation: MemberJoined) -> None:
        self.members[operation.member] = operation.session_timeout

    def apply_left(self, operation: MemberLeft) -> None:
        self.members.pop(operation.member, None)

    def apply_trimmed(self, operation: Trimmed) -> None:
        """What was deleted unsettled (too old, or over max_bytes) counts as settled. Replayed letters are kept, and so are their attempts."""
        self.lag -= operation.dropped.get(self.name, 0)
        self.settled.add(min(self.settled.floor, operation.start), operation.start)
        replayed = {offset: self.failures[offset] for offset in self.revived if offset in self.failures}
        self._forget_failures(0, operation.start)
        self.failures.update(replayed)

    def attempts(self, offset: int) -> int:
        """Deliveries of the message that have failed."""
        failure = self.failures.get(offset)
        return failure.attempts if failure else 0

    def to_write(self, log_id: int) -> PutGroup:
        """The state as storage keeps it."""
        return PutGroup(
            log_id,
            self.name,
            self.settled.floor,
            msgspec.json.encode(list(self.settled.ranges)).decode(),
            msgspec.json.encode(self.failures).decode(),
            msgspec.json.encode(sorted(self.revived)).decode(),
            self.lag,
            self.dead,
            msgspec.json.encode(self.voided).decode(),
        )

    @classmethod
    def from_write(cls, stored: PutGroup) -> GroupState:
        """The state that `to_write` gave."""
        state = cls(stored.group, stored.floor, stored.lag)
        state.settled = Settled(stored.floor, msgspec.json.decode(stored.settled, type=list[tuple[int, int]]))
        state.failures = msgspec.json.decode(stored.failures, type=dict[int, Failure])
        state.revived = set(msgspec.json.decode(stored.revived, type=list[int]))
        state.dead = stored.dead
        state.voided = msgspec.json.decode(stored.voided, type=tuple[int, int])
        state.changed = False
        return state
