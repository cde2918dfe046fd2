"""What a follower has on disk and has not applied yet, kept in memory as it came.

Most records are committed a moment after they arrived; reading them from disk again to apply them would cost more than anything else that a
follower does. The memory is bounded: what does not fit is read from disk when it is committed.
"""

from __future__ import annotations

from collections import deque

from zmqmq.core.peer_commands import Block

UNAPPLIED_BYTES = 8 << 20
"""Bytes of records of one partition that wait in memory to be committed."""
BLOCK_OVERHEAD = 200
"""Bytes that a block needs beside its values, about."""


class Unapplied:
    """Records that were appended and not applied yet, as they came, so that they need not be read from disk again. Bounded: beyond that they are read."""

    def __init__(self) -> None:
        self.since = 0
        """Everything from this offset on is here."""
        self._blocks: deque[Block] = deque()
        self._size = 0
        self._end = 0

    def restart(self, end: int) -> None:
        """Nothing is here; what comes from `end` on will be."""
        self._blocks.clear()
        self._size = 0
        self.since = self._end = end

    @property
    def size(self) -> int:
        """Bytes that wait here, about."""
        return self._size

    def add(self, block: Block) -> None:
        self._blocks.append(block)
        self._size += sum(map(len, block.values)) + BLOCK_OVERHEAD
        self._end = block.first + len(block.values)
        if self._size > UNAPPLIED_BYTES:
            self.restart(self._end)

    def take(self, committed: int) -> tuple[list[Block], int]:
        """The blocks that are wholly committed, and how far the log is covered by them."""
        taken: list[Block] = []
        if self.since > committed:
            return taken, 0  # what is committed is on disk only
        reached = self.since
        while self._blocks and self._blocks[0].first + len(self._blocks[0].values) <= committed:
            block = self._blocks.popleft()
            self._size -= sum(map(len, block.values)) + BLOCK_OVERHEAD
            taken.append(block)
            reached = block.first + len(block.values)
        if not self._blocks:
            reached = max(reached, min(committed, max(self._end, self.since)))
        self.since = reached
        return taken, reached
