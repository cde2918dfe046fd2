"""The head of one partition's log: which offsets exist, which are on disk, which are committed, and who wrote them.

    start ≤ committed ≤ durable ≤ end          (all are offsets; `end` is the next one to be given)

`committed` is what every in-sync replica has on disk; only that is delivered and confirmed. With one replica it equals
`durable`. Epochs grow with each leader; `epochs` lists where each began, which is what followers truncate by.
"""

from __future__ import annotations

from collections.abc import Sequence


class Log:
    """Offsets of one partition. Records themselves are in storage."""

    def __init__(self, log_id: int, start: int, end: int, epoch: int, epochs: Sequence[tuple[int, int]]) -> None:
        self.log_id = log_id
        self.start = start
        self.end = end
        self.durable = end
        self.committed = end
        self.epoch = epoch
        self.epochs: list[tuple[int, int]] = list(epochs)

    def lead(self, epoch: int) -> None:
        """A new leadership begins at the end of the log."""
        assert epoch > self.epoch, "epochs grow"
        self.epoch = epoch
        self.epochs.append((epoch, self.end))

    def give(self, count: int) -> int:
        """Gives out `count` offsets and returns the first."""
        first = self.end
        self.end += count
        return first

    def persisted(self, end: int) -> None:
        """Everything below `end` is on this broker's disk; as the only replica that commits it."""
        assert self.durable <= end <= self.end, "durable only grows, and not beyond the end"
        self.durable = end
        self.committed = end

    def trim(self, start: int) -> None:
        """Records below `start` are gone."""
        assert start <= self.committed, "only committed records are deleted"
        self.start = max(self.start, start)

    def __repr__(self) -> str:
        return f"[{self.start}..{self.committed}/{self.durable}/{self.end} epoch {self.epoch}]"
