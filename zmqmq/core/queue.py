"""The volatile half of a group on one partition: what is held, what waits, where reading stands.

    log:   settled │ held, waiting behind keys, to be retried │ not read yet
                 floor                                      cursor       committed

Everything between floor and cursor is settled, leased, in *limbo* (its settling is in the log but not committed), behind a
gate, or among the loose ones (no key). Nothing but offsets and keys is kept of a message. A leader rebuilds all this from `GroupState`:
the cursor starts again at the floor and skips what is settled.

Rules (DESIGN: at least once, to one at a time, in order per key):
- What a consumer settles leaves its lease at once, but its key's gate opens only when the operation is committed.
- A failed message takes every later message of its key that the same consumer holds back with it.
- A failure is committed before the message is delivered again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from zmqmq.core.gates import Gate, Gates, Limbo, Pair
from zmqmq.core.group import GroupState
from zmqmq.core.leases import Holder, Lease, LeaseBook, LeaseNumbers, Recall
from zmqmq.core.model import GroupLimits, TopicSettings
from zmqmq.core.operations import Acked, Died, Failed, Operation
from zmqmq.core.ranges import to_ranges
from zmqmq.core.schedule import DueHeap, retry_due


class Queue:
    """What one group's consumers hold of one partition, and what comes next."""

    def __init__(
        self,
        state: GroupState,
        settings: TopicSettings,
        limits: GroupLimits,
        append: Callable[[Operation], int],
        random: Callable[[], float],
        numbers: LeaseNumbers,
    ) -> None:
        self.state = state
        self.settings = settings
        self.limits = limits
        self.append = append
        """Appends an operation to the partition's log and returns its offset."""
        self.random = random
        self.closing = False
        """The group is being deleted."""
        self.reclaim: dict[str, float] = {}
        """Members known from the log that have not reported since this leadership began, and until when (monotonic) they may. Nothing is
        delivered meanwhile: they may hold it."""
        self.consumers: dict[str, int] = {}
        """Members that have subscribed in this leadership, and the session epoch in which: over that connection may be delivered to them."""
        self.leaving: set[str] = set()
        """Members whose leaving is in the log and not committed."""
        self.cursor = self.reached = 0
        self.rewind()
        self.book = LeaseBook(numbers)
        self.gates = Gates()
        self.loose: list[int] = []  # heap: returned messages without a key, ready again
        self.retries: DueHeap[bytes | int] = DueHeap()  # keys, and offsets of messages without a key
        self.known: set[int] = set()
        """Offsets from the cursor on that are accounted for already (brought along by a consumer)."""
        self.limbo: deque[Limbo] = deque()
        self.moving_letters: set[int] = set()
        """Dead letters whose replay or purge is in the log while storage still lists them as dead: nobody may choose them again."""
        self.moved_letters: list[int] = []
        """Those of them whose replay or purge has been applied: the next turn's writes take them off that list."""
        self._taken_letters: list[int] = []
        """Those of them whose writes are under way."""
        self.seeks = 0
        """Seeks that are in the log and not committed: no lease counts any more, and nothing is given out until they are."""
        self._recalls: list[tuple[Holder, Recall]] = []
        """What such a seek has taken back, to be told when it is committed."""
        self.unread_damage: list[int] = []
        """Offsets whose checksum did not match; the partition makes dead letters of them."""

    # --- what there is ---------------------------------------------------------------------------------------------

    def offer(self, committed: int) -> int:
        """About how many messages (or keys) a consumer could be given now; 0 means certainly none."""
        if self.seeks:
            return 0
        unread = 0 if self.is_full() else committed - self.cursor
        return unread + len(self.loose) + len(self.gates.ready())

    def is_full(self) -> bool:
        """Too much is unsettled: reading on waits until the oldest settle. What was read by an earlier leadership is read again regardless."""
        if self.cursor < self.reached:
            return False
        waiting = max(self.gates.waiting, len(self.state.failures))
        return len(self.state.settled.ranges) >= self.limits.max_holes or waiting >= self.limits.max_waiting

    def next_due(self) -> float | None:
        """Broker time at which the next retry becomes due."""
        return self.retries.next_due()

    def mature(self, wall: float) -> int:
        """Makes what is due ready; returns how many things became ready."""
        ready = 0
        for item in self.retries.take_due(wall):
            if isinstance(item, int):
                heapq.heappush(self.loose, item)
                ready += 1
            elif gate := self.gates.get(item):
                ready += self.refile(gate, wall)
        return ready

    def refile(self, gate: Gate, wall: float) -> bool:
        """Recomputes a gate's due time from its first message and files it; True if it became ready."""
        failure = self.state.failures.get(gate.behind[0]) if gate.behind else None
        gate.due = failure.due if failure else 0.0
        if gate.due > wall:
            self.retries.push(gate.due, gate.key)
        return self.gates.review(gate, wall)

    def rewind(self) -> None:
        """Begins to read at the floor, as a new leadership does."""
        state = self.state
        self.cursor = state.settled.floor
        self.reached = max(state.settled.ranges.end, max(state.failures, default=-1) + 1)

    def is_member(self, member: str) -> bool:
        """Is it a member as of the end of the log?"""
        return member in self.state.members and member not in self.leaving

    # --- settling --------------------------------------------------------------------------------------------------

    def ack(self, lease: Lease, offsets: Sequence[int]) -> None:
        """Done: the messages leave the lease now and their keys go on when this is committed."""
        pairs = self._take(lease, offsets)
        end = self.append(Acked(self.state.name, to_ranges(sorted(offsets)))) + 1
        self.limbo.append(Limbo(end, pairs, (), ()))

    def reject(self, lease: Lease, offsets: Sequence[int], reason: str) -> None:
        """To the dead letters, whatever the attempts."""
        self._die(self._take(lease, offsets), reason, lease.holder.member)

    def nack(self, lease: Lease, offsets: Sequence[int], reason: str, delay: float | None, wall: float) -> list[Recall]:
        """Failed: counted, and back after a wait, or to the dead letters."""
        last = [offset for offset in offsets if self._is_last_attempt(offset)]
        rest = [offset for offset in offsets if not self._is_last_attempt(offset)]
        holder = lease.holder
        recalls: list[Recall] = []
        dying = self._take(lease, last) if last else []
        failing = self._take(lease, rest) if rest else []
        if failing:
            recalls, followers = self._take_followers(holder, failing)
            self._fail(failing, followers, reason, wall, delay, crashed=False)
        if dying:  # the consumer expects the rule of every nack: it has forgotten what it holds behind this one
            more, followers = self._take_followers(holder, dying)
            recalls += more
            self._die(dying, reason, holder.member, followers, dying)
        return recalls

    def release(self, lease: Lease, offsets: Sequence[int], wall: float) -> list[Recall]:
        """Not started: back at once, uncounted."""
        pairs = self._take(lease, offsets)
        recalls, followers = self._take_followers(lease.holder, pairs)
        self._return([*pairs, *followers], wall)
        return recalls

    def expire(self, lease: Lease, wall: float) -> list[Recall]:
        """Held for longer than max_processing_time: counts as failed."""
        recall = Recall(lease.number, list(lease.open))
        return [recall, *self.nack(lease, recall.offsets, "held longer than max_processing_time", None, wall)]

    def leave(self, member: str, wall: float, crashed: bool, reason: str) -> None:
        """The consumer is gone: its messages return, counted if it crashed."""
        self.reclaim.pop(member, None)
        self.consumers.pop(member, None)
        holder = self.book.holders.get(member)
        if holder is None:
            return
        pairs = [pair for lease in list(holder.leases.values()) for pair in self._take(lease, list(lease.open))]
        self.book.remove_holder(holder)
        if not crashed:
            self._return(pairs, wall)
            return
        dying = [pair for pair in pairs if self._is_last_attempt(pair[0])]
        if dying:
            self._die(dying, reason, member)
        failing = [pair for pair in pairs if not self._is_last_attempt(pair[0])]
        if failing:
            self._fail(failing, [], reason, wall, 0.0, crashed=True)

    def _is_last_attempt(self, offset: int) -> bool:
        return self.state.attempts(offset) + 1 >= self.settings.max_attempts

    def _take(self, lease: Lease, offsets: Sequence[int]) -> list[Pair]:
        """Removes messages from their lease."""
        if len(offsets) == len(lease.open):
            pairs: list[Pair] = list(lease.open.items())
            lease.open.clear()
        else:
            pairs = [(offset, lease.open.pop(offset)) for offset in offsets]
        if lease.holder.suspects:
            lease.holder.suspects.difference_update(offsets)
        if not lease.open:
            self.book.close(lease)
        return pairs

    def _take_followers(self, holder: Holder, pairs: Iterable[Pair]) -> tuple[list[Recall], list[Pair]]:
        """Takes back what the holder has of the same keys behind the given messages."""
        first: dict[bytes, int] = {}
        for offset, key in pairs:
            if key is not None:
                first[key] = min(offset, first.get(key, offset))
        recalls: list[Recall] = []
        followers: list[Pair] = []
        for lease in list(holder.leases.values()) if first else ():
            late = [offset for offset, key in lease.open.items() if key is not None and offset > first.get(key, offset)]
            if late:
                recalls.append(Recall(lease.number, late))
                followers += self._take(lease, late)
        return recalls, followers

    def _die(self, pairs: Sequence[Pair], reason: str, consumer: str, followers: Sequence[Pair] = (), blocked: Sequence[Pair] = ()) -> None:
        self._block(blocked, 1)
        offsets = [offset for offset, _ in pairs]
        attempts = [self.state.attempts(offset) + 1 for offset in offsets]
        end = self.append(Died(self.state.name, offsets, reason, consumer, attempts)) + 1
        self.limbo.append(Limbo(end, pairs, followers, blocked))

    def bury_damaged(self) -> None:
        """Turns what could not be read back undamaged into dead letters."""
        damaged = [offset for offset in self.unread_damage if not self.state.is_settled(offset)]
        self.unread_damage = []
        if damaged:
            self._die([(offset, None) for offset in damaged], "damaged on disk: the checksum does not match", "")

    def _fail(self, pairs: Sequence[Pair], followers: Sequence[Pair], reason: str, wall: float, delay: float | None, crashed: bool) -> None:
        """Writes the failures down, one operation per number of attempts, and blocks the keys until that is committed."""
        by_attempts: dict[int, list[Pair]] = {}
        for pair in pairs:
            by_attempts.setdefault(self.state.attempts(pair[0]) + 1, []).append(pair)
        self._block(pairs, 1)
        for attempts, failed in by_attempts.items():
            due = retry_due(self.settings, attempts, wall, self.random, delay)
            operation = Failed(self.state.name, [offset for offset, _ in failed], due, reason, crashed)
            self.limbo.append(Limbo(self.append(operation) + 1, (), [*failed, *followers], failed))
            followers = ()

    def _block(self, pairs: Iterable[Pair], count: int) -> None:
        for _, key in pairs:
            if key is not None and (gate := self.gates.get(key)):
                gate.returning += count

    # --- after the commit ------------------------------------------------------------------------------------------

    def committed(self, committed: int, wall: float) -> int:
        """Opens the gates of everything that is committed now; returns how many keys or messages became ready."""
        ready = 0
        while self.limbo and self.limbo[0].end <= committed:
            entry = self.limbo.popleft()
            self._block(entry.blocked, -1)
            ready += self._open_gates(entry.settled, wall)
            ready += self._return(entry.returned, wall)
        return ready

    def _open_gates(self, pairs: Iterable[Pair], wall: float) -> int:
        ready = 0
        get = self.gates.get
        for _, key in pairs:
            if key is not None and (gate := get(key)) is not None:
                gate.let_go()
                if gate.held == 0:
                    ready += self.refile(gate, wall)
        return ready

    def _return(self, pairs: Iterable[Pair], wall: float) -> int:
        """Puts messages back where they were in their keys' order."""
        by_key: dict[bytes, list[int]] = {}
        ready = 0
        for offset, key in pairs:
            if key is None:
                ready += self.put_loose(offset, wall)
            else:
                by_key.setdefault(key, []).append(offset)
        for key, offsets in by_key.items():
            gate = self.gates.make(key)
            for _ in offsets:
                gate.let_go()
            self.gates.put_back(gate, [offset for offset in offsets if offset not in self.known])
            self.known.difference_update(offsets)  # brought along: reading comes to it yet, after what is before it and was not read either
            ready += self.refile(gate, wall)
        return ready

    def put_loose(self, offset: int, wall: float) -> bool:
        """A message without a key waits for its due time, or is ready."""
        failure = self.state.failures.get(offset)
        if failure and failure.due > wall:
            self.retries.push(failure.due, offset)
            return False
        heapq.heappush(self.loose, offset)
        return True

    def take_loose(self, offset: int) -> bool:
        """Takes one particular message out of the loose ones; False if it is not among them."""
        if offset not in self.loose:
            return False
        self.loose.remove(offset)
        heapq.heapify(self.loose)
        return True

    def add_waiting(self, pairs: Iterable[Pair], wall: float) -> int:
        """Messages that enter from the side (revived letters): they wait first of their keys."""
        ready = 0
        for offset, key in pairs:
            if key is None:
                ready += self.put_loose(offset, wall)
                continue
            gate = self.gates.make(key)
            self.gates.put_back(gate, [offset])
            ready += self.refile(gate, wall)
        return ready

    def note_taken(self) -> None:
        """What was applied is on its way to the tables."""
        self._taken_letters += self.moved_letters
        self.moved_letters.clear()

    def forget_moved_letters(self) -> None:
        """What was on its way is in the tables now."""
        self.moving_letters.difference_update(self._taken_letters)
        self._taken_letters.clear()

    def begin_seek(self) -> None:
        """A seek is in the log: whatever is said about a message from now on is about what comes after it, so nothing is held any more."""
        self.seeks += 1
        self._take_all()

    def end_seek(self) -> list[tuple[Holder, Recall]]:
        """A seek is committed: everything that was held is recalled and reading starts at the floor again."""
        self.seeks = max(0, self.seeks - 1)
        self._take_all()
        self.rewind()
        recalls, self._recalls = self._recalls, []
        return recalls

    def _take_all(self) -> None:
        self._recalls += [(lease.holder, Recall(lease.number, list(lease.open))) for lease in self.book.leases.values()]
        self.book = LeaseBook(self.book.numbers)
        self.gates = Gates()
        self.loose.clear()
        self.retries = DueHeap()
        self.known.clear()
        self.limbo.clear()
