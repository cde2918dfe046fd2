"""What must be true of everything that consumers wrote down, whoever was killed or stopped meanwhile.

    every message   was settled: some consumer's acknowledgement was confirmed, or a killed one had begun with it last
    once            has one offset, however often its producer had to send it again
    one holder      is held by one at a time: a later delivery begins when the earlier one has ended, or its holder was gone
    order           of one key: what was done was begun in the order of the offsets
    fencing         of one message: each delivery has a greater token than the one before

A consumer that was stopped until it was given up hears "settled" of a message that another one has done meanwhile: that is true, and no
second settling. So an acknowledgement counts as the end of a message only if its consumer was there all the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import NamedTuple

MAX_SHOWN = 10
"""Violations of one kind that are told."""
Place = tuple[int, int]
"""(partition, offset)"""
Token = tuple[int, int]
Absence = tuple[float, float]
"""When a consumer was killed or stopped, and when it went on (or never: inf)."""
NOTICE = 0.5
"""Seconds that a process which goes on may need, on a busy machine, to notice that it was away."""


class Delivery:
    """One delivery of one message, as its consumer wrote it down."""

    __slots__ = ("began", "consumer", "ended", "key", "outcome", "place", "token", "value")

    def __init__(self, consumer: str, began: float, place: Place, token: Token, key: str, value: str) -> None:
        self.consumer, self.began, self.place, self.token, self.key, self.value = consumer, began, place, token, key, value
        self.ended: float | None = None
        self.outcome = "open"


class Verdict(NamedTuple):
    """What was counted and what was wrong."""

    settled: int
    deliveries: int
    violations: list[str]


def read_diary(path: Path) -> list[Delivery]:
    """The deliveries in one consumer's log. A line that a killed process has not finished does not count."""
    found: list[Delivery] = []
    index: dict[tuple[int, int, int, int], Delivery] = {}
    text = path.read_text() if path.exists() else ""
    for line in text[: text.rfind("\n") + 1].splitlines():
        kind, at, partition, offset, epoch, lease, *rest = line.split(" ")
        name = (int(partition), int(offset), int(epoch), int(lease))
        if kind == "got":
            index[name] = Delivery(path.stem, float(at), name[:2], name[2:], rest[1], rest[2])
            found.append(index[name])
        else:
            _ended(index, name, found).ended = float(at)
            _ended(index, name, found).outcome = rest[0]
    return found


def _ended(index: Mapping[tuple[int, int, int, int], Delivery], name: tuple[int, int, int, int], found: list[Delivery]) -> Delivery:
    """A lease that was kept over a restart of the broker has another token at its end than at its beginning."""
    exact = index.get(name)
    return exact or next(delivery for delivery in reversed(found) if delivery.place == name[:2])


def judge(expected: set[str], deliveries: Iterable[Delivery], gone: Mapping[str, Absence], *, broker_was_gone: bool = False) -> Verdict:
    """`expected`: values that were confirmed to their producers. `gone`: consumers that were away. `broker_was_gone`: answers to
    acknowledgements may have been lost for everybody."""
    by_place: dict[Place, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        by_place[delivery.place].append(delivery)
    for history in by_place.values():
        history.sort(key=lambda delivery: delivery.token)
    violations: list[str] = []
    done = {place: final for place, history in by_place.items() if (final := _final(history, gone, broker_was_gone)) is not None}
    unsettled = expected - {delivery.value for delivery in done.values()}
    violations += _limited("not settled", sorted(f"{value}: {_told(by_place, value)}" for value in unsettled))
    violations += _limited("two offsets for", _twice(by_place))
    violations += _limited("two holders of", _overlaps(by_place, gone))
    violations += _limited("out of order:", _disorder(done.values()))
    return Verdict(len(done), sum(map(len, by_place.values())), violations)


def _final(history: list[Delivery], gone: Mapping[str, Absence], broker_was_gone: bool) -> Delivery | None:
    """The delivery that did it: acknowledged, or the last one if the broker's answer may have got lost."""
    last = history[-1]
    if last.outcome == "ack" or last.consumer in gone or broker_was_gone:
        return last
    return next((delivery for delivery in reversed(history) if delivery.outcome == "ack"), None)


def _told(by_place: Mapping[Place, list[Delivery]], value: str) -> str:
    """The story of one message, for a violation."""
    told = [f"{one.consumer} {one.token} from {one.began:.3f}: {one.outcome}" for history in by_place.values() for one in history if one.value == value]
    return ", ".join(told) or "never delivered"


def _twice(by_place: Mapping[Place, list[Delivery]]) -> list[str]:
    places: dict[str, set[Place]] = defaultdict(set)
    for place, history in by_place.items():
        for delivery in history:
            places[delivery.value].add(place)
    return [f"{value}: {sorted(found)}" for value, found in places.items() if len(found) > 1]


def _overlaps(by_place: Mapping[Place, list[Delivery]], gone: Mapping[str, Absence]) -> list[str]:
    found: list[str] = []
    for place, history in by_place.items():
        for earlier, later in zip(history, history[1:], strict=False):
            was_done = earlier.outcome == "ack" and earlier.consumer not in gone
            is_shared = earlier.consumer != later.consumer and later.began < _held_until(earlier, gone)  # else one process writes down first what it gets
            if was_done or later.token <= earlier.token or is_shared:
                found.append(f"{place}: {earlier.consumer} {earlier.token} {earlier.outcome}, then {later.consumer} {later.token}")
    return found


def _held_until(delivery: Delivery, gone: Mapping[str, Absence]) -> float:
    """When its holder stopped working on it: because it knew better, or because it was killed or stopped."""
    went, back = gone.get(delivery.consumer, (inf, inf))
    known = inf if delivery.ended is None else delivery.ended
    return min(known, went) if delivery.began <= back + NOTICE else known


def _disorder(done: Iterable[Delivery]) -> list[str]:
    by_key: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in done:
        by_key[delivery.key].append(delivery)
    found: list[str] = []
    for key, deliveries in by_key.items():
        deliveries.sort(key=lambda delivery: delivery.began)
        pairs = zip(deliveries, deliveries[1:], strict=False)
        found += [f"{key}: {a.place} by {a.consumer} before {b.place} by {b.consumer}" for a, b in pairs if b.place < a.place]
    return found


def _limited(what: str, found: list[str]) -> list[str]:
    more = [f"{what} … and {len(found) - MAX_SHOWN} more"] if len(found) > MAX_SHOWN else []
    return [f"{what} {one}" for one in found[:MAX_SHOWN]] + more
