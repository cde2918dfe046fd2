"""Which brokers shall hold which partitions, and who of them shall lead: pure arithmetic over a view of the cluster.

`plan` looks at the cluster as it is and names a bounded number of next moves; applied again and again it ends when nothing is left to
improve. In this order: replicas leave brokers that are to be removed or have been gone for long; partitions with fewer replicas than their
topic shall have get more, as far as there are brokers; replicas of one partition spread over racks; brokers that hold more than one replica
more than others give some away; the first places in the lists (who leads by preference) are shared evenly. Every balancing move goes from
who has too much to who has too little, so a new broker among n takes over about one in n + 1 replicas and nothing else moves. The same view
always gives the same plan.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from typing import NamedTuple

from zmqmq.core.cluster_view import ClusterView, Key
from zmqmq.core.places import Place
from zmqmq.errors import InvalidValue

REPLACE_AFTER = 1800.0
"""Seconds after which the replicas of a broker that is gone are made anew elsewhere."""
MOVES_MAX = 20
"""Partitions under move at a time."""
ORDERS_MAX = 100
"""Partitions whose order of preference is changed at a time."""


class Move(NamedTuple):
    """One partition's replicas as they shall be."""

    key: Key
    replicas: list[str]
    reason: str


def settled_replicas(place: Place) -> list[str]:
    """Who holds the partition when its move, if there is one, has ended."""
    return [broker for broker in place.replicas if broker not in place.removing]


def is_moving(place: Place) -> bool:
    """Whether replicas are coming or going."""
    return bool(place.adding or place.removing)


def _crowd(broker: str, others: Iterable[str], racks: Mapping[str, str]) -> int:
    """How many of the others stand in the same rack; a broker without a rack stands alone."""
    rack = racks.get(broker, "")
    return sum(racks.get(other, "") == rack for other in others) if rack else 0


def _best(candidates: Iterable[str], taken: Sequence[str], racks: Mapping[str, str], holds: Mapping[str, int]) -> str | None:
    free = [broker for broker in candidates if broker not in taken]
    return min(free, key=lambda broker: (_crowd(broker, taken, racks), holds.get(broker, 0), broker), default=None)


# --- new partitions --------------------------------------------------------------------------------------------------


def place_new(partitions: int, replicas: int, racks: Mapping[str, str], holds: Mapping[str, int], leads: Mapping[str, int]) -> list[list[str]]:
    """Replicas of each new partition. `racks` names the brokers to choose from, with their racks ("" if they name none); `holds` and
    `leads` say how many replicas and first places they have already. Raises InvalidValue if there are too few brokers."""
    if replicas > len(racks):
        hint = "start more brokers, or ask for fewer replicas"
        raise InvalidValue(f"replicas is {replicas}, but there are {len(racks)} brokers that may hold one", hint=hint)
    held, led = Counter(dict(holds)), Counter(dict(leads))
    orders: dict[Key, list[str]] = {}
    for number in range(partitions):
        chosen: list[str] = []
        while len(chosen) < replicas:
            broker = _best(sorted(racks), chosen, racks, held)
            assert broker is not None
            chosen.append(broker)
        chosen.sort(key=lambda name: (led[name], held[name], name))
        held.update(chosen)
        led[chosen[0]] += 1
        orders[0, number] = chosen
    _share_first_places(orders, led, racks, partitions)
    return [orders[0, number] for number in range(partitions)]


def loads(view: ClusterView) -> tuple[Counter[str], Counter[str]]:
    """How many replicas, and how many first places, each broker has when all moves have ended."""
    holds, leads = Counter[str](), Counter[str]()
    for entry in (entry for key, entry in view.places.items() if view.counts(key)):
        replicas = settled_replicas(entry.place)
        holds.update(replicas)
        leads.update(replicas[:1])
    return holds, leads


def homes(view: ClusterView, replicas: int) -> dict[str, str]:
    """Brokers, with their racks, on which new replicas may be placed: live, and neither drained nor removed. Drained ones
    only if there are too few others."""
    found = {broker: info.rack for broker, info in sorted(view.brokers.items()) if not view.is_draining(broker)}
    if len(found) < replicas:
        found |= {broker: view.brokers[broker].rack for broker in staying(view)}
    return found


def staying(view: ClusterView) -> list[str]:
    """Registered brokers that are not to be removed: those that may hold replicas."""
    return [broker for broker in sorted(view.brokers) if not _is_removing(view, broker)]


def _is_removing(view: ClusterView, broker: str) -> bool:
    wish = view.wishes.get(broker)
    return wish is not None and wish.remove


# --- first places ----------------------------------------------------------------------------------------------------


def _share_first_places(orders: dict[Key, list[str]], leads: Counter[str], brokers: Collection[str], most: int) -> list[Key]:
    """Brings first places from brokers with more to brokers with at least two fewer, over others if need be. At most `most`
    lists are changed; returns which."""
    changed: dict[Key, None] = {}
    while path := _chain(orders, leads, brokers):
        if len(changed | dict.fromkeys(key for key, _ in path)) > most:
            break
        for key, broker in path:
            order = orders[key]
            leads[order[0]] -= 1
            leads[broker] += 1
            orders[key] = [broker, *(other for other in order if other != broker)]
            changed[key] = None
    return list(changed)


def _chain(orders: Mapping[Key, list[str]], leads: Mapping[str, int], brokers: Collection[str]) -> list[tuple[Key, str]]:
    """The shortest chain of first places given on that makes the spread smaller: (partition, who gets its first place) each."""
    if not brokers or max(leads[broker] for broker in brokers) - min(leads[broker] for broker in brokers) <= 1:
        return []
    edges: dict[str, dict[str, Key]] = {broker: {} for broker in brokers}
    for key, order in orders.items():
        for other in order[1:] if order[0] in edges else ():
            if other in edges:
                edges[order[0]].setdefault(other, key)
    for source in sorted(brokers, key=lambda broker: (-leads[broker], broker)):
        came: dict[str, str] = {source: ""}
        queue = deque([source])
        while queue:
            broker = queue.popleft()
            if leads[broker] <= leads[source] - 2:
                return _steps(came, edges, broker)
            for other in sorted(edges[broker]):
                if other not in came:
                    came[other] = broker
                    queue.append(other)
    return []


def _steps(came: Mapping[str, str], edges: Mapping[str, Mapping[str, Key]], last: str) -> list[tuple[Key, str]]:
    steps = []
    while before := came[last]:
        steps.append((edges[before][last], last))
        last = before
    return steps


# --- the plan --------------------------------------------------------------------------------------------------------


def plan(view: ClusterView, gone_since: Mapping[str, float], now: float) -> list[Move]:
    """What to change next; empty when all is well or as well as it can be. `gone_since` says since when brokers have had no registration."""
    lost = {broker for broker, since in gone_since.items() if broker not in view.brokers and now >= since + REPLACE_AFTER}
    return _Planner(view, lost).run()


class _Planner:
    """The cluster as it will be when what is under way and what is planned has happened."""

    def __init__(self, view: ClusterView, lost: Collection[str]) -> None:
        self.view = view
        self.finals: dict[Key, list[str]] = {}
        self.moving: set[Key] = set()
        """Under way, or planned; what nobody leads cannot get on, so it takes no place among them."""
        for key in sorted(view.places):
            if view.counts(key):
                place = view.places[key].place
                self.finals[key] = settled_replicas(place)
                if is_moving(place) and place.leader:
                    self.moving.add(key)
        self.holds = Counter(broker for replicas in self.finals.values() for broker in replicas)
        self.leaving = {broker for broker in {*self.holds, *view.brokers} if broker in lost or _is_removing(view, broker)}
        self.racks = {broker: info.rack for broker, info in view.brokers.items()}
        self.usable = sorted(broker for broker in view.brokers if not view.is_draining(broker) and broker not in self.leaving)
        self.moves: MutableMapping[Key, Move] = {}

    def run(self) -> list[Move]:
        self._leave()
        self._grow()
        self._spread_over_racks()
        while len(self.moving) < MOVES_MAX and self._balance_one():
            pass
        if not self.moving:
            self._share_first_places()
        return list(self.moves.values())

    def _may_move(self, key: Key) -> bool:
        """Whether another move may begin here. A partition that nobody leads cannot be copied: its move would not end."""
        return key not in self.moving and len(self.moving) < MOVES_MAX and self.view.places[key].place.leader != ""

    def _leave(self) -> None:
        """Who is to go is replaced where anybody can; a move towards a broker that is to go gets another goal."""
        for key, replicas in self.finals.items():
            if not self.leaving.isdisjoint(replicas) and (key in self.moving or self._may_move(key)):
                for broker in [name for name in replicas if name in self.leaving]:
                    self._replace(key, broker, self._substitute(key, broker), "leaving")

    def _substitute(self, key: Key, broker: str) -> str | None:
        replicas = self.finals[key]
        others = [name for name in replicas if name != broker]
        candidates = [name for name in self.usable if name not in replicas]
        return _best(candidates, others, self.racks, self.holds)

    def _grow(self) -> None:
        """What is missing of the replicas that the topic shall have is made as soon as there are brokers for it."""
        for key, replicas in self.finals.items():
            missing = self.view.topics_by_id[key[0]].record.replicas - len(replicas)
            if missing <= 0 or not self._may_move(key):
                continue
            new = self._additional(replicas, missing)
            if new:
                self.finals[key] = [*replicas, *new]
                self.holds.update(new)
                self.moving.add(key)
                self.moves[key] = Move(key, self.finals[key], "missing")

    def _additional(self, replicas: Sequence[str], count: int) -> list[str]:
        """Brokers for `count` further replicas, or as many as there are; drained ones only if there are too few others."""
        drained = sorted(broker for broker in self.view.brokers if broker not in self.leaving and broker not in self.usable)
        new: list[str] = []
        while len(new) < count:
            taken = [*replicas, *new]
            broker = _best(self.usable, taken, self.racks, self.holds) or _best(drained, taken, self.racks, self.holds)
            if broker is None:
                break
            new.append(broker)
        return new

    def _spread_over_racks(self) -> None:
        for key, replicas in self.finals.items():
            if not self._may_move(key):
                continue
            crowded = [broker for broker in replicas if _crowd(broker, replicas, self.racks) > 1]
            for broker in sorted(crowded, key=lambda name: (-self.holds[name], name)):
                other = self._substitute(key, broker)
                if other is not None and not _crowd(other, [name for name in replicas if name != broker], self.racks):
                    self._replace(key, broker, other, "racks")
                    break

    def _balance_one(self) -> bool:
        """One replica goes from a broker that holds too many to one that holds too few."""
        sources = [broker for broker in sorted(self.view.brokers, key=lambda name: (-self.holds[name], name)) if broker not in self.leaving]
        for target in sorted(self.usable, key=lambda name: (self.holds[name], name)):
            for source in sources:
                if self.holds[source] - self.holds[target] <= 1:
                    break
                key = self._movable(source, target)
                if key is not None:
                    self._replace(key, source, target, "balance")
                    return True
        return False

    def _movable(self, source: str, target: str) -> Key | None:
        """A partition that can move without crowding racks, preferably one that the source does not lead."""
        found = None
        for key, replicas in self.finals.items():
            if source not in replicas or target in replicas or not self._may_move(key):
                continue
            others = [name for name in replicas if name != source]
            if _crowd(target, others, self.racks) <= _crowd(source, others, self.racks):
                if replicas[0] != source:
                    return key
                found = found or key
        return found

    def _replace(self, key: Key, broker: str, other: str | None, reason: str) -> None:
        if other is None:
            return
        self.finals[key] = [other if name == broker else name for name in self.finals[key]]
        self.holds[broker] -= 1
        self.holds[other] += 1
        self.moving.add(key)
        self.moves[key] = Move(key, self.finals[key], reason)

    def _share_first_places(self) -> None:
        """Only while every broker is there: one that is away for a moment keeps its places."""
        brokers = sorted(broker for broker in {*self.holds, *self.view.brokers} if broker not in self.leaving)
        if any(broker not in self.view.brokers for broker in brokers):
            return
        leads = Counter(replicas[0] for replicas in self.finals.values())
        for key in _share_first_places(self.finals, leads, brokers, ORDERS_MAX):
            self.moves[key] = Move(key, self.finals[key], "leaders")


# --- leadership ------------------------------------------------------------------------------------------------------


def preferred_leader(view: ClusterView, place: Place) -> str:
    """Who should lead: the first of the list that stays, is in sync and live; drained brokers only if nobody else can, and who is weary last of all.
    "" if nobody can."""
    able = [broker for broker in settled_replicas(place) if (member := place.in_sync(broker)) is not None and view.lives(broker) == member]
    return min(able, key=lambda broker: (broker == place.weary, view.is_draining(broker)), default="")
