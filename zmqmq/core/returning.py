"""Order per key across a nack or release: what the consumer must forget at once, before the broker says so.

When a message goes back, the broker takes every later message of its key back as well. Until the word has gone there and back, such messages
are in the consumer's hands, or even still arrive; they are lost already and must not be handed out, or a later message would overtake.
"""

from __future__ import annotations

from collections.abc import Iterable

from zmqmq.core.commands import Lot
from zmqmq.core.held import LOST, SETTLED, SETTLING, Held, Holder
from zmqmq.core.settling import Verdict, forget_done


class Returning:
    """The nacks and releases that the broker may not have seen yet."""

    def __init__(self) -> None:
        self._verdicts: list[Verdict] = []

    def add(self, verdict: Verdict) -> None:
        """Messages go back: the later ones of their keys are not ours any more."""
        self._verdicts.append(verdict)
        if verdict.held.keys is None:
            return
        for other in list(verdict.held.subscription.held.values()):
            _take_back(verdict, other)

    def arriving(self, lots: Iterable[tuple[Holder, Lot]]) -> None:
        """Before a delivery is looked at: a broker that delivers a returned message again has seen its return. It is ours under the new lease alone,
        even if the answer to the return never comes."""
        if not self._verdicts:
            return
        lots = list(lots)
        seen = [verdict for verdict in self._verdicts if any(_repeats(*lot, verdict) for lot in lots)]
        for verdict in seen:
            verdict.held.end(verdict.indices, SETTLED)
        forget_done(verdict.held for verdict in seen)
        self._verdicts = [verdict for verdict in self._verdicts if _is_open(verdict)]

    def arrived(self, held: Held) -> None:
        """A lease that was sent before the broker saw the returns: what they concern is lost already."""
        for verdict in self._verdicts:
            _take_back(verdict, held)


def _is_open(verdict: Verdict) -> bool:
    return any(verdict.held.states[index] == SETTLING for index in verdict.indices)


def _repeats(holder: Holder, lot: Lot, verdict: Verdict) -> bool:
    held = verdict.held
    is_newer = (lot.epoch, lot.lease) > (held.epoch, held.lease)
    if holder is not held.subscription or lot.partition != held.partition or not is_newer:
        return False
    return not {held.offsets[index] for index in verdict.indices}.isdisjoint(lot.offsets)


def _take_back(verdict: Verdict, other: Held) -> None:
    returned = verdict.held
    if other.partition != returned.partition or other.subscription is not returned.subscription or other.keys is None:
        return
    first: dict[bytes | None, int] = {}
    for index in verdict.indices:
        key = returned.keys[index] if returned.keys is not None else None
        if key is not None:
            first[key] = min(first.get(key, returned.offsets[index]), returned.offsets[index])
    columns = zip(other.offsets, other.keys, other.states, strict=True)
    later = [index for index, (offset, key, state) in enumerate(columns) if state < SETTLING and key in first and offset > first[key]]
    other.end(later, LOST)
    forget_done([other])
