"""The head of one partition's log: which offsets exist, which are on disk, which are committed, and who wrote them.

    start ≤ committed ≤ durable ≤ end          (all are offsets; `end` is the next one to be given)

`committed` is what every in-sync replica has on disk; only that is delivered and confirmed. What that is `agree` says; a broker that stands
alone agrees with itself, and then it equals `durable`. It never goes back. Epochs grow with each leader; `epochs` lists where each
began, which is what followers truncate by.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence


class Log:
    """Offsets of one partition. Records themselves are in storage."""

    def __init__(
        self, log_id: int, start: int, end: int, epoch: int, epochs: Sequence[tuple[int, int]], committed: int | None = None, trimmed: int = 0
    ) -> None:
        """`committed`: below it everything is known to be committed; None: all of the log is."""
        self.log_id = log_id
        self.start = start
        self.trimmed = max(start, trimmed)
        """Below it records are gone from disk. After a restart that may be more than `start`, until the operation that says so is applied again."""
        self.end = end
        self.durable = end
        self.committed = end if committed is None else max(start, min(committed, end))
        self.epoch = epoch
        self.epochs: list[tuple[int, int]] = list(epochs)
        self.agree: Callable[[int], int] = lambda durable: durable
        """From what this broker has on disk to what every in-sync replica has."""

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

    def take_back(self, end: int) -> None:
        """Offsets from `end` on, which are not on disk, were given in vain."""
        assert self.durable <= end <= self.end, "what is on disk stays"
        self.end = end

    def written(self, end: int) -> None:
        """Everything below `end` is on this broker's disk; what that means for others is not asked yet."""
        assert self.durable <= end <= self.end, "durable only grows, and not beyond the end"
        self.durable = end

    def persisted(self, end: int) -> None:
        """Everything below `end` is on this broker's disk, and committed as far as others agree."""
        self.written(end)
        self.advance()

    def advance(self) -> bool:
        """Asks anew what is committed; True if it is more than before."""
        before = self.committed
        self.committed = max(before, min(self.durable, self.agree(self.durable)))
        return self.committed > before

    def trim(self, start: int) -> None:
        """Records below `start` are gone."""
        assert start <= self.committed, "only committed records are deleted"
        self.start = max(self.start, start)
        self.trimmed = max(self.trimmed, start)

    # --- epochs ----------------------------------------------------------------------------------------------------

    @property
    def last_epoch(self) -> int:
        """The newest leadership that the log knows of, -1 if there was none."""
        return self.epochs[-1][0] if self.epochs else -1

    def epoch_at(self, offset: int) -> int:
        """The leadership that the record at `offset` is of, -1 if there was none by then."""
        index = bisect_right(self.epochs, offset, key=lambda entry: entry[1]) - 1
        return self.epochs[index][0] if index >= 0 and offset >= 0 else -1

    def end_of_epoch(self, epoch: int) -> tuple[int, int]:
        """The newest leadership up to `epoch` that the log knows of, and where it ends here; (-1, where the first begins) if there is none."""
        index = bisect_right(self.epochs, epoch, key=lambda entry: entry[0])
        end = self.epochs[index][1] if index < len(self.epochs) else self.end
        return (self.epochs[index - 1][0] if index else -1), end

    def begin_epoch(self, epoch: int, start: int) -> None:
        """A follower has come to the first record of another leadership."""
        assert epoch > self.last_epoch, "epochs grow"
        self.epochs.append((epoch, start))
        self.epoch = max(self.epoch, epoch)

    def truncate(self, end: int, known: int = -1) -> None:
        """Another leader's log differs from `end` on: the records from there and the leaderships that begin there are forgotten.

        Those up to `known` stay: they are known from elsewhere than from records."""
        assert self.committed <= end, "what is committed stays"
        self.end = min(self.end, end)
        self.durable = min(self.durable, end)
        self.epochs = [entry for entry in self.epochs if entry[1] < end or entry[0] <= known]

    def __repr__(self) -> str:
        return f"[{self.start}..{self.committed}/{self.durable}/{self.end} epoch {self.epoch}]"
