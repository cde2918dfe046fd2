"""The office of cluster leader: one broker has it, chosen through the tree; it fences the dead, appoints leaders and places replicas.

It is won by one change that makes `/controller` and raises `/controller_epoch`. Every write of the office checks the version of
that node, so whoever has lost the office can write nothing, and learns of it by the refusal. All else is a compare-and-set on the
partition's own record. The office remembers nothing of its own: it derives everything from the view, so a new holder goes on where the
last one was cut off. What it has written itself, or read again after an unclear answer, counts until the view is as new.

Writes go out many at a time, `STEPS_MAX` steps per change, one per partition. If one step of a change is refused, that partition is read again
and the others are sent one by one, so that no partition waits for another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from msgspec.structs import replace

from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView, EpochEntry, Key, PlaceEntry
from zmqmq.core.controller_cleaning import Cleaning
from zmqmq.core.controller_election import Candidate
from zmqmq.core.controller_verdict import better_leader, next_place
from zmqmq.core.placement import REPLACE_AFTER, plan
from zmqmq.core.places import Member, Place, begin_move
from zmqmq.core.tree import Answer, Change, Changed, Check, Event, Lost, Missing, Node, Outlet, Put, Read, Refusal, Step, Sync, Synced

STEPS_MAX = 100
"""Steps of one change."""
BALANCE_INTERVAL = 5.0
"""Seconds between looks at the balance of the cluster."""
RETRY_INTERVAL = 0.2
"""Seconds until an unanswered question is asked again."""
TARGETS_MAX = 50
"""Leaderships that are asked at a time to go where they are preferred."""
LEAD_AT_LEAST = 10.0
"""Seconds that a leadership lasts before it is sent where it is preferred: longer than a broker takes that hands over and stops,
so that it does not get back what it has just given away."""
WEARY_FOR = 600.0
"""Seconds for which who has given up a leadership, because it reached too few of the others, does not get it back for being preferred."""

Write = tuple[Key, PlaceEntry]
"""A partition, with what it shall be and the version on which that builds."""


class Controller:
    """One broker's part in it: a candidate, or the holder. Driven by `step`; asks the tree through the outlet."""

    def __init__(self, outlet: Outlet, broker_id: str) -> None:
        self._outlet = outlet
        self._broker_id = broker_id
        self._candidate = Candidate(outlet)
        self._office: EpochEntry | None = None
        self._term = 0
        """Number of the term of office, or of the session: answers to what was asked in an earlier one do not count."""
        self._me: Member | None = None
        self._names = 0
        self._now = 0.0
        self._can_act = False
        self._seen: ClusterView | None = None
        self._dirty: set[Key] = set()
        """Partitions to look at."""
        self._newer: dict[Key, PlaceEntry] = {}
        """What is known here and perhaps not yet in the view."""
        self._outstanding: set[Key] = set()
        """Partitions with a write, or a reading after an unclear one, under way."""
        self._doubtful: set[Key] = set()
        """Outstanding ones that have to be read again when the tree can be reached."""
        self._retry_at = inf
        self._gone_since: dict[str, float] = {}
        self._led_since: dict[Key, float] = {}
        """When leaderships were seen to change."""
        self._weary_since: dict[Key, float] = {}
        self._looked = -inf
        """Up to when it was noticed what has become due."""
        self._next_balance = 0.0
        self._is_unbalanced = False
        self._cleaning = Cleaning(outlet, self._steps)

    @property
    def epoch(self) -> EpochEntry | None:
        """The present term of office; None for everybody but its holder."""
        return self._office

    def hear(self, event: Event) -> None:
        """The session is over: the office went with it."""
        if isinstance(event, Lost):
            self._resign()
            self._candidate.forget()

    def deadline(self) -> float:
        """When `step` has something to do although nothing has happened."""
        if not self._can_act:
            return inf
        if self._office is None:
            return self._candidate.deadline()
        cleaning = self._cleaning.deadline(self._seen) if self._seen is not None else inf
        if self._is_unbalanced:
            return min(self._retry_at, cleaning, self._next_balance if self._is_calm() else inf)
        return min([self._retry_at, cleaning, *(due for due in self._due() if due > self._now)])

    def step(self, view: ClusterView, me: Member | None, now: float, wall: float = 0.0) -> None:
        """Does what there is to do. `me` is this broker's registration, `wall` broker time in seconds since 1970 UTC. Nothing is decided on a
        view that may be old."""
        self._now = now
        if me is None or me != self._me:
            self._resign()
            self._me = me
        self._can_act = me is not None and view.is_fresh
        if me is None or not view.is_fresh:
            return
        if self._office is None:
            self._office = self._candidate.step(view, me, now)
            if self._office is None:
                return
            self._term += 1
        if view.controller_epoch is not None and view.controller_epoch.version > self._office.version:
            self._resign()
            return
        self._work(view)
        self._cleaning.bury(view, now, wall)

    def _resign(self) -> None:
        self._office = None
        self._term += 1
        self._seen = None
        for known in (self._dirty, self._newer, self._outstanding, self._doubtful, self._gone_since, self._led_since, self._weary_since):
            known.clear()
        self._cleaning.forget()
        self._retry_at = inf

    def _work(self, view: ClusterView) -> None:
        self._notice(view)
        if self._doubtful and self._now >= self._retry_at:
            self._read_again()
        self._review(view)
        if self._is_unbalanced and self._now >= self._next_balance and self._is_calm():
            self._next_balance = self._now + BALANCE_INTERVAL
            self._is_unbalanced = self._balance(view)

    def _is_calm(self) -> bool:
        """Nothing is under way, and the view shows everything that was written."""
        return not (self._dirty or self._outstanding or self._newer)

    # --- what has changed ---------------------------------------------------------------------------------------------

    def _notice(self, view: ClusterView) -> None:
        seen, self._seen = self._seen, view
        looked, self._looked = self._looked, self._now
        if seen is view:
            self._is_unbalanced = self._is_unbalanced or any(looked < due <= self._now for due in self._due())
            return
        self._is_unbalanced = True
        self._notice_leaders(view, seen)
        if seen is None or (seen.brokers, seen.wishes, seen.topics) != (view.brokers, view.wishes, view.topics):
            changed = list(view.places)
        else:
            known = seen.places
            changed = [key for key, entry in view.places.items() if known.get(key) is not entry]
        self._dirty.update(changed)
        self._watch_the_gone(view, changed)
        for key in [key for key, entry in self._newer.items() if key not in view.places or view.places[key].version >= entry.version]:
            del self._newer[key]
        self._cleaning.clear(view)

    def _notice_leaders(self, view: ClusterView, seen: ClusterView | None) -> None:
        known = seen.places if seen is not None else {}
        for key, entry in view.places.items():
            before = known.get(key)
            if before is entry:
                continue
            if before is None or before.place.epoch != entry.place.epoch:
                self._led_since[key] = self._now
            if not entry.place.weary:
                self._weary_since.pop(key, None)
            elif before is None or before.place.weary != entry.place.weary:
                self._weary_since[key] = self._now
        if len(self._led_since) > len(view.places):
            for since in (self._led_since, self._weary_since):
                for key in since.keys() - view.places.keys():
                    del since[key]

    def _watch_the_gone(self, view: ClusterView, changed: Iterable[Key]) -> None:
        """Who is not there and shall hold something. A move towards a broker may become visible only after its death, so partitions that have changed
        are looked at too, and no others; who holds nothing any more is still gone, should somebody ask for it again."""
        wanted = {broker for key in changed for broker in view.places[key].place.replicas}
        gone = sorted((self._gone_since.keys() | wanted) - view.brokers.keys())
        self._gone_since = {broker: self._gone_since.get(broker, self._now) for broker in gone}

    def _due(self) -> list[float]:
        """When there is something to do though nothing happens: who is gone for long is replaced, who is weary has rested."""
        return [*(since + REPLACE_AFTER for since in self._gone_since.values()), *(since + WEARY_FOR for since in self._weary_since.values())]

    def _entry(self, view: ClusterView, key: Key) -> PlaceEntry | None:
        seen, own = view.places.get(key), self._newer.get(key)
        return own if own is not None and (seen is None or own.version > seen.version) else seen

    # --- decisions ---------------------------------------------------------------------------------------------------

    def _review(self, view: ClusterView) -> None:
        writes: list[Write] = []
        for key in sorted(self._dirty - self._outstanding):
            self._dirty.discard(key)
            entry = self._entry(view, key)
            wanted = next_place(view, key, entry.place) if entry is not None else None
            if entry is not None and wanted is not None:
                writes.append((key, PlaceEntry(wanted, entry.version)))
        self._write(writes)

    def _balance(self, view: ClusterView) -> bool:
        """Moves replicas, and leaderships to whom they are preferred at. True if there may be more to do."""
        writes: dict[Key, Write] = {}
        for move in plan(view, self._gone_since, self._now):
            entry = view.places[move.key]
            writes[move.key] = (move.key, PlaceEntry(begin_move(entry.place, move.replicas), entry.version))
        for key in sorted(key for key, since in self._weary_since.items() if self._now >= since + WEARY_FOR and key not in writes):
            entry = view.places[key]
            writes[key] = (key, PlaceEntry(replace(entry.place, weary=""), entry.version))
        asked = sum(entry.place.target != "" for entry in view.places.values())
        waiting = False
        for key in sorted(key for key in view.places if view.counts(key) and key not in writes):
            entry = view.places[key]
            better = better_leader(view, entry.place)
            if better is None:
                continue
            if asked >= TARGETS_MAX or self._now < self._led_since.get(key, 0.0) + LEAD_AT_LEAST:
                waiting = True
                continue
            asked += 1
            writes[key] = (key, PlaceEntry(better, entry.version))
        self._write(list(writes.values()))
        return bool(writes) or waiting or asked > 0

    # --- writing -----------------------------------------------------------------------------------------------------

    def _write(self, writes: Sequence[Write]) -> None:
        named = [(key, PlaceEntry(replace(entry.place, nonce=self._nonce()), entry.version)) for key, entry in writes]
        self._outstanding.update(key for key, _ in named)
        for start in range(0, len(named), STEPS_MAX - 1):
            self._send(named[start : start + STEPS_MAX - 1])

    def _nonce(self) -> str:
        assert self._me is not None
        self._names += 1
        return f"{self._broker_id}/{self._me.be}/c{self._names}"

    def _steps(self, steps: Iterable[Step]) -> Change:
        assert self._office is not None
        return Change([Check(layout.CONTROLLER_EPOCH, self._office.version), *steps])

    def _send(self, writes: Sequence[Write]) -> None:
        steps = [Put(layout.place_path(*key), layout.encode(entry.place), entry.version) for key, entry in writes]
        term = self._term
        self._outlet.ask(self._steps(steps), lambda answer: self._written(writes, answer) if term == self._term else None)

    def _written(self, writes: Sequence[Write], answer: Answer) -> None:
        if isinstance(answer, Changed):
            for (key, entry), version in zip(writes, answer.versions[1:], strict=True):
                self._know(key, PlaceEntry(entry.place, version))
        elif isinstance(answer, Refusal) and answer.step == 0 and answer.reason in ("version", "missing"):
            self._resign()
        elif isinstance(answer, Refusal) and len(writes) > 1:
            bad = answer.step - 1
            for number, write in enumerate(writes):
                if number == bad:
                    self._doubt([write[0]])
                else:
                    self._send([write])
        else:
            self._doubt([key for key, _ in writes])

    def _know(self, key: Key, entry: PlaceEntry) -> None:
        self._newer[key] = entry
        self._outstanding.discard(key)
        self._dirty.add(key)

    # --- finding out ---------------------------------------------------------------------------------------------------

    def _doubt(self, keys: Iterable[Key]) -> None:
        """What these are now is not known: they are read before anything else is decided about them."""
        self._doubtful.update(keys)
        self._retry_at = min(self._retry_at, self._now)

    def _read_again(self) -> None:
        keys, self._doubtful, self._retry_at = sorted(self._doubtful), set(), inf
        term = self._term
        self._outlet.ask(Sync(), lambda answer: self._synced(keys, answer) if term == self._term else None)

    def _synced(self, keys: Sequence[Key], answer: Answer) -> None:
        if not isinstance(answer, Synced):
            self._later(keys)
            return
        term = self._term
        for key in keys:
            self._outlet.ask(Read(layout.place_path(*key)), lambda found, key=key: self._found(key, found) if term == self._term else None)  # type: ignore[misc]

    def _found(self, key: Key, answer: Answer) -> None:
        if isinstance(answer, Node):
            place = layout.decode(layout.place_path(*key), answer.data, Place)
            if isinstance(place, Place):
                self._know(key, PlaceEntry(place, answer.version))
                return
        elif not isinstance(answer, Missing):
            self._later([key])
            return
        self._newer.pop(key, None)
        self._outstanding.discard(key)

    def _later(self, keys: Iterable[Key]) -> None:
        self._doubtful.update(keys)
        self._retry_at = min(self._retry_at, self._now + RETRY_INTERVAL)
