"""The court: hears what happens to disks, to the tree and to sessions, and applies the rules of `tests.sim.verdicts` at once.

What is *true* is known here only: the places in the tree as they are, not as some broker has read them, and the committed records of each
partition, which only grow. A record becomes committed when a leader first says so; then it must be on the disks that count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from tests.sim.copies import Copy, Entry, Key, Shelf
from tests.sim.history import demand
from tests.sim.verdicts import (
    Life,
    Stamps,
    complete,
    conditional,
    confirmed,
    deletion_is_right,
    follows,
    in_lease,
    in_order_of_epochs,
    in_session,
    lawful,
    matching,
    members_are_complete,
    one_leader,
    promise_kept,
    registered,
    truncation,
)
from zmqmq.core import operations
from zmqmq.core import writes as w
from zmqmq.core.model import TopicRecord
from zmqmq.core.places import Place, needed_of, quorum


class PartitionTruth:
    """One partition."""

    def __init__(self) -> None:
        self.committed: dict[int, Entry] = {}
        self.start = 0
        """Everything below was given up in good order: nobody has to hold it."""
        self.end = 0
        """Everything below is committed."""
        self.place: Place | None = None
        """None: not in the tree, or not any more."""
        self.version = -1


class Court:
    """Keeps its own books of a whole cluster."""

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.partitions: dict[Key, PartitionTruth] = {}
        self.topics: dict[int, TopicRecord] = {}
        self.deleted: set[int] = set()
        """Topics that are not in the tree any more."""
        self.situations: Counter[str] = Counter()
        self.expired: dict[int, float] = {}
        """Session -> when the servers ended it."""
        self.buried: dict[Life, float] = {}
        """Who was declared dead without being so, and when."""
        self.lease = 0.0
        """Seconds that a lease may last."""
        self.on_committed: Callable[[Key, Sequence[tuple[int, Entry]]], None] = lambda key, records: None
        """Hears of records when they become committed."""
        self._asked: defaultdict[int, set[int]] = defaultdict(set)
        """Every `min_in_sync` that a topic had."""
        self._leaders: dict[tuple[Key, int], Life] = {}
        self._stamps: Stamps = {}
        self._delivered: dict[Key, int] = {}

    def truth(self, key: Key) -> PartitionTruth:
        """What is true of a partition."""
        return self.partitions.setdefault(key, PartitionTruth())

    def shelf(self, broker: str, storage_id: str) -> Shelf:
        """The books of a new broker's disk."""
        shelf = self.shelves[broker] = Shelf(broker, storage_id, self)
        return shelf

    def stored(self, broker: str, writes: Sequence[w.Write]) -> None:
        """A transaction is on a broker's disk."""
        self.shelves[broker].committed(writes)

    def copies(self, key: Key) -> dict[str, Copy]:
        """All copies of a partition."""
        return {broker: copy for broker, shelf in self.shelves.items() if (copy := shelf.copy(key)) is not None}

    def needed(self, key: Key) -> tuple[int, int]:
        """In-sync replicas that a record needs, the fewest and the most that were ever asked for: not everybody knows the latest number."""
        topic, place = self.topics.get(key[0]), self.truth(key).place
        if topic is None:
            return 1, 1
        counts = [needed_of(place, asked) if place is not None else quorum(topic.replicas, asked) for asked in self._asked[key[0]]]
        return min(counts), max(counts)

    def _disks(self) -> dict[str, str]:
        return {broker: "" if shelf.is_stale else shelf.storage_id for broker, shelf in self.shelves.items()}

    # --- disks (tests.sim.copies.Judge) ------------------------------------------------------------------------------

    def appended(self, copy: Copy, offset: int, entry: Entry, before: tuple[int, Entry] | None) -> None:
        matching(self._stamps, copy.key, offset, entry, before)

    def truncated(self, copy: Copy, end: int, gone: dict[int, Entry]) -> None:
        self.situations["truncated"] += bool(gone)
        truncation(copy, gone, self.truth(copy.key).committed)

    def dropped(self, copy: Copy, again: bool) -> None:
        self.situations["snapshot installed" if again else "copy deleted"] += 1
        if not self.shelves[copy.broker].is_stale:
            deletion_is_right(copy, again, self.truth(copy.key).place)

    def promise(self, copy: Copy, before: int) -> None:
        promise_kept(copy, before)

    def trimmed(self, copy: Copy, start: int) -> None:
        truth = self.truth(copy.key)
        demand(start <= truth.end or truth.place is None, "R8: records are deleted that are not committed", copy.broker, copy.key, start, truth.end)

    # --- the tree ----------------------------------------------------------------------------------------------------

    def place_written(self, key: Key, expected: int, version: int, place: Place, stepwise: bool = True) -> None:
        """The tree holds another place of the partition. `stepwise`: what it became must follow from what it was."""
        if key[0] in self.deleted:
            return
        truth = self.truth(key)
        before, needed = truth.place, self.needed(key)
        lawful(key, place)
        if before is not None:
            conditional(key, expected, truth.version, version)
            if stepwise:
                follows(key, before, place, *needed)
        truth.place, truth.version = place, version
        self.situations["place changed"] += 1
        copies = self.copies(key)
        members_are_complete(place, copies, self._disks(), truth.committed)
        if place.leader:
            one_leader(self._leaders, key, place.epoch, (place.leader, place.leader_be))
            if before is None or before.epoch != place.epoch:
                self._elected(key, place, before, copies)

    def _elected(self, key: Key, place: Place, before: Place | None, copies: dict[str, Copy]) -> None:
        member = place.in_sync(place.leader)
        if member is not None and self._disks().get(place.leader) == member.storage:  # else its registration outlives its disk, and it will never open
            complete("R7", "a new leader", copies.get(place.leader), self.truth(key).committed)
        self.situations["leadership begun"] += 1
        if before is not None and before.leader != place.leader:
            self.situations["leader changed"] += 1
            self.situations["eligible one elected"] += before.in_sync(place.leader) is None

    def place_deleted(self, key: Key) -> None:
        """The partition is gone from the tree, with its topic."""
        self.truth(key).place = None

    def topic_written(self, record: TopicRecord) -> None:
        """The tree holds this record of a topic."""
        self.topics[record.topic_id] = record
        self._asked[record.topic_id].add(record.settings.min_in_sync)

    def topic_deleted(self, topic_id: int) -> None:
        """The tree has the topic no more: nobody counts on its partitions, though their places are removed only after it."""
        self.situations["topic deleted"] += 1
        self.deleted.add(topic_id)
        for key in self.partitions:
            if key[0] == topic_id:
                self.place_deleted(key)

    def living(self) -> list[TopicRecord]:
        """Topics that are in the tree."""
        return sorted((record for record in self.topics.values() if record.topic_id not in self.deleted), key=lambda record: record.name)

    def session_ended(self, session: int, now: float) -> None:
        """The servers have ended a session: its silence was too long."""
        self.expired.setdefault(session, now)

    # --- brokers -----------------------------------------------------------------------------------------------------

    def opened(self, key: Key, epoch: int, life: Life) -> None:
        """A broker begins to lead: it has everything that was ever committed, on its disk."""
        one_leader(self._leaders, key, epoch, life)
        complete("R7", "a leader that opens", self.copies(key).get(life[0]), self.truth(key).committed)

    def committed(self, broker: str, key: Key, upto: int) -> None:
        """A leader counts everything below `upto` as committed."""
        truth, copies = self.truth(key), self.copies(key)
        if upto <= truth.end:
            return
        mine = copies.get(broker)
        demand(mine is not None, "R9: a leader without a copy", broker, key)
        assert mine is not None
        fresh = {offset: mine.entries[offset] for offset in sorted(mine.entries) if truth.end <= offset < upto}
        if not fresh:
            return  # a full disk took back what had these offsets; nobody was told of them, and the next leader may give them anew
        replicas = truth.place.replicas if truth.place is not None else [broker]
        lost = {broker: copy for broker, shelf in self.shelves.items() if (copy := shelf.lost.get(key)) is not None}
        for offset, entry in fresh.items() if key[0] not in self.deleted else ():
            confirmed(key, offset, entry, replicas, [copies, lost], self.needed(key)[0])
        since, truth.end = truth.end, max(fresh) + 1
        truth.committed.update(fresh)
        self._given_up(truth, fresh.values())
        if truth.place is not None:
            members_are_complete(truth.place, copies, self._disks(), truth.committed, since)
        self.on_committed(key, list(fresh.items()))

    @staticmethod
    def _given_up(truth: PartitionTruth, fresh: Iterable[Entry]) -> None:
        for entry in fresh:
            if isinstance(entry.write, w.AppendOperation) and b'"trimmed"' in entry.write.text:
                operation = operations.decode(entry.write.text)
                truth.start = max(truth.start, getattr(operation, "start", 0))
        for offset in [offset for offset in truth.committed if offset < truth.start]:
            del truth.committed[offset]

    def acts(self, life: Life, session: int, now: float, what: str) -> None:
        """Something with an effect leaves a broker: a delivery or a confirmation."""
        in_lease(life, self.buried, self.lease, now, what)
        if life not in self.buried:
            in_session(life[0], session, self.expired, now, what)

    def bury(self, life: Life, now: float) -> None:
        """Somebody is declared dead who is not; what its lease still allows is excused."""
        self.situations["buried"] += 1
        self.buried.setdefault(life, now)

    def delivers(self, life: Life, key: Key, epoch: int) -> None:
        """A broker delivers a message of the partition as leader of an epoch."""
        one_leader(self._leaders, key, epoch, life)
        in_order_of_epochs(self._delivered, key, epoch, life in self.buried)

    def is_deposed(self, life: Life, key: Key, epoch: int) -> bool:
        """Whether it was wrongly taken for dead, and a newer leader delivers already: what it still delivers is told by its epoch."""
        return life in self.buried and epoch < self._delivered.get(key, 0)

    def role(self, broker: str, key: Key, role: str, be: int | None) -> None:
        """After a turn: what the broker thinks it is to a partition, and in which registration."""
        registered(broker, key, role, be)

    # --- the good end ------------------------------------------------------------------------------------------------

    def unwell(self) -> list[str]:
        """What a healed cluster still lacks."""
        missing: list[str] = []
        for key, truth in sorted(self.partitions.items()):
            place = truth.place
            if place is None or self._is_lost(place) or not self._counts(key):
                continue
            if not place.leader:
                missing.append(f"{key} has no leader")
            if {member.broker for member in place.isr} != set(place.replicas):
                missing.append(f"{key} has {[member.broker for member in place.isr]} in sync of {place.replicas}")
            if place.adding or place.removing or place.elr:
                missing.append(f"{key} is unfinished: {place}")
        return missing

    def _counts(self, key: Key) -> bool:
        """Whether the partition is one of its topic, and not what a failed attempt to add partitions has left."""
        return key[0] not in self.topics or key[1] < self.topics[key[0]].partitions

    def lost_topics(self) -> set[str]:
        """Topics with a partition that is lost: who consumes them goes on looking for its leader."""
        lost = [key for key, truth in self.partitions.items() if truth.place is not None and self._counts(key) and self._is_lost(truth.place)]
        return {self.topics[topic_id].name for topic_id, _ in lost if topic_id in self.topics}

    def _is_lost(self, place: Place) -> bool:
        """Whether every disk that was complete is gone: a partition of one replica that was made while its broker lost its disk. Nothing heals that."""
        disks = self._disks()
        return not place.leader and all(disks.get(member.broker) != member.storage for member in [*place.isr, *place.elr])

    def is_level(self) -> bool:
        """Whether the logs of all copies end at the same record."""
        return all(len({copy.end for copy in self.copies(key).values()}) <= 1 for key in self.partitions)

    def lacking_disks(self) -> list[str]:
        """Brokers that are counted on although their disk is another one, or an older image of itself."""
        disks, places = self._disks(), [truth.place for truth in self.partitions.values() if truth.place is not None]
        lacking = {member.broker for place in places for member in [*place.isr, *place.elr] if disks.get(member.broker) != member.storage}
        return sorted(lacking | {broker for broker, shelf in self.shelves.items() if shelf.is_stale})

    def agree(self) -> None:
        """At the very end: all replicas hold the same committed records, and no disk holds a topic that there is not, or a replica of one that is not so."""
        topics = {record.topic_id: record for record in self.living()}
        counts = {(broker, key[0]) for key, truth in self.partitions.items() if truth.place is not None for broker in truth.place.replicas}
        for broker, shelf in self.shelves.items():
            for topic_id, record in shelf.topics.items():
                demand(topic_id in topics, "a broker has a topic that was deleted", broker, record)
                is_known = (broker, topic_id) not in counts or record == topics[topic_id]
                demand(is_known, "a broker's record of a topic is not that of the cluster", broker, record, topics[topic_id])
        for key, truth in self.partitions.items():
            if truth.place is not None:
                copies = self.copies(key)
                for broker in truth.place.replicas:
                    complete("R3", "a replica of a healed cluster", copies.get(broker), truth.committed)
