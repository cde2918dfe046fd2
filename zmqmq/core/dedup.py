"""Idempotent producers: a batch that comes again gets its first answer again.

Each producer numbers its messages per partition without gaps. The table remembers, per producer, the last sequence and
*runs* of what was accepted: sequences that follow each other at offsets that follow each other. A repeat finds its first
offset in a run. The table is derived from the log (every record carries producer and sequence), so it is replicated, truncated and restored
with it. Model: Kafka's producer state (RETAINED runs instead of five batches).

A gap is refused, except right before a batch that begins at the producer's oldest unresolved sequence: what lies in
such a gap was given up by the producer, who is the only one to care.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from zmqmq.errors import OutOfOrder

RUNS_MAX = 16
"""Runs remembered per producer and partition; a repeat of something older is answered with offset -1 (accepted, place forgotten)."""


class Run(NamedTuple):
    """Sequences first..last (inclusive) got the offsets from `offset` on."""

    first: int
    last: int
    offset: int


class ProducerState:
    """What one partition knows of one producer."""

    __slots__ = ("last", "runs", "time")

    def __init__(self, last: int = -1, runs: Iterable[Run] = (), time: float = 0.0) -> None:
        self.last = last
        self.runs = list(runs)
        self.time = time

    def accept(self, first: int, count: int, offset: int, time: float) -> None:
        """Notes that sequences from `first` on got offsets from `offset` on."""
        last = first + count - 1
        previous = self.runs[-1] if self.runs else None
        if previous and previous.last + 1 == first and previous.offset + (first - previous.first) == offset:
            self.runs[-1] = Run(previous.first, last, previous.offset)
        else:
            self.runs.append(Run(first, last, offset))
            del self.runs[:-RUNS_MAX]
        self.last = last
        self.time = time

    def find(self, sequence: int) -> int:
        """The offset that the sequence got, -1 if that is forgotten."""
        for run in reversed(self.runs):
            if run.first <= sequence <= run.last:
                return run.offset + sequence - run.first
        return -1


class Verdict(NamedTuple):
    """`repeated` messages at the front of the batch are in the log already; the first of them at `offset` (-1: forgotten)."""

    repeated: int
    offset: int


FRESH = Verdict(0, -1)


class ProducerTable:
    """All producers of one partition."""

    def __init__(self) -> None:
        self._states: dict[int, ProducerState] = {}
        self._changed: set[int] = set()

    def __len__(self) -> int:
        return len(self._states)

    def judge(self, producer: int, sequence: int, count: int, oldest: int) -> Verdict:
        """Whether the batch is new, repeated or partly so; raises OutOfOrder on a gap that nobody gave up."""
        state = self._states.get(producer)
        last = state.last if state else -1
        if sequence == last + 1:
            return FRESH
        if sequence > last:
            if sequence == oldest:
                return FRESH
            raise OutOfOrder(
                f"sequence {sequence} follows {last}", hint="send again from the oldest unresolved message", expected=last + 1
            )
        assert state is not None, "only a known producer has a last sequence"
        return Verdict(min(count, last + 1 - sequence), state.find(sequence))

    def accept(self, producer: int, first: int, count: int, offset: int, time: float) -> ProducerState | None:
        """Notes an accepted batch and returns what was known before, for `undo`."""
        before = self._states.get(producer)
        copy = ProducerState(before.last, before.runs, before.time) if before else None
        self._states.setdefault(producer, ProducerState()).accept(first, count, offset, time)
        self._changed.add(producer)
        return copy

    def note(self, producer: int, first: int, count: int, offset: int, time: float) -> None:
        """As `accept`, of what is committed and never undone."""
        self._states.setdefault(producer, ProducerState()).accept(first, count, offset, time)
        self._changed.add(producer)

    def copy(self) -> ProducerTable:
        """A table of its own that knows the same, with nothing changed."""
        table = ProducerTable()
        table._states = {producer: ProducerState(state.last, state.runs, state.time) for producer, state in self._states.items()}
        return table

    def undo(self, producer: int, before: ProducerState | None) -> None:
        """Takes an `accept` back that could not be stored."""
        if before is None:
            self._states.pop(producer, None)
        else:
            self._states[producer] = before

    def expired(self, before: float, keep: int) -> list[int]:
        """Producers idle since `before`, and the most idle ones beyond `keep`."""
        if len(self._states) > keep:
            ranked = sorted(self._states, key=lambda producer: self._states[producer].time)
            return ranked[: len(ranked) - keep]
        return [producer for producer, state in self._states.items() if state.time < before]

    def forget(self, producers: Iterable[int]) -> None:
        for producer in producers:
            self._states.pop(producer, None)
            self._changed.discard(producer)

    def restore(self, producer: int, last: int, runs: str, time: float) -> None:
        """Takes over a stored row."""
        self._states[producer] = ProducerState(last, msgspec.json.decode(runs, type=list[Run]), time)

    def take_changed(self) -> list[tuple[int, int, str, float]]:
        """Rows (producer, last, runs as JSON, time) changed since the last call."""
        rows = [
            (producer, state.last, msgspec.json.encode(state.runs).decode(), state.time)
            for producer in sorted(self._changed)
            if (state := self._states.get(producer)) is not None
        ]
        self._changed.clear()
        return rows
