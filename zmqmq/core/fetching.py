"""The follower's side of fetching: one question at a time to each broker that leads partitions followed from here.

A question is held by the leader until there is news. When the set of partitions changes meanwhile, a new question replaces the one that is
out, since nobody wants to wait for the old one; its answer, should it come, is to a question that is not the latest any more, and is not taken.
What was in it has to be asked for again, so the new question begins a new series, which lists everything; so does the deadline of a
question, whatever was lost on the way.
"""

from __future__ import annotations

from zmqmq.core.follower import question
from zmqmq.core.peer_commands import AskSnapshot, Fetch, Fetched, FetchPart
from zmqmq.core.replica import Key, Replica

ANSWER_TIMEOUT = 1.0
"""Seconds beyond the wait that was asked for, after which a fetch counts as lost."""
SNAPSHOT_TIMEOUT = 10.0
"""Seconds after which a question for a snapshot counts as lost."""
SNAPSHOT_PAUSE = 0.2
"""Seconds until a snapshot is asked for again when the one that came is of no use."""


class Fetcher:
    """Fetches from one leader broker."""

    def __init__(self, cluster_id: str, broker: str, leader: str, wait: float, max_bytes: int) -> None:
        self.leader = leader
        self.replicas: dict[Key, Replica] = {}
        self._cluster_id = cluster_id
        self._broker = broker
        self._wait = wait
        self._max_bytes = max_bytes
        self._series = 0
        self._told: dict[Key, FetchPart] | None = None
        """What the leader knows of this series; None: a new one has to begin."""
        self._out = 0
        """Number of the fetch that waits for its answer, 0 if none does."""
        self._sent_at = 0.0
        self._pause: float | None = None
        """Nothing is asked before."""
        self._changed = False
        self._moved: dict[Key, None] = {}
        """Partitions about which there may be something to tell."""
        self._snapshot: tuple[int, Key, float] | None = None
        """The question for a snapshot that is out: its number, and when it counts as lost."""
        self._waits = False
        """A snapshot is needed besides; the leader has said so, and says nothing more until it is asked anew."""
        self.missed = False
        """A question was not answered in time: the connection may be dead without anybody having noticed."""

    def follow(self, replica: Replica) -> None:
        """The partition is followed from this broker from now on, or in a newer epoch."""
        self.replicas[replica.key] = replica
        self._moved[replica.key] = None
        self._changed = True

    def leave(self, key: Key) -> None:
        if self.replicas.pop(key, None) is not None:
            self._moved[key] = None
            self._changed = True

    def moved(self, key: Key) -> None:
        """Something about a partition has changed on this broker's disk."""
        self._moved[key] = None

    def begin_again(self, at: float) -> None:
        """What came could not be kept: it is asked for again, but not before `at`."""
        self._told = None
        self._pause = at

    def reset(self) -> None:
        """The connection was lost or is new: what is out will not be answered."""
        self._out = 0
        self._told = None
        self._snapshot, self._waits = None, False

    # --- asking ----------------------------------------------------------------------------------------------------

    def ask(self, now: float, be: int, number: int) -> Fetch | None:
        """The next question, if one is due; everything that it reports is on disk. `number` grows over all questions of this broker's life."""
        if self._pause is not None:
            if now < self._pause:
                return None
            self._pause = None
        if now >= self._snapshot_until():
            self._waits = True  # whichever it was
            self._snapshot_over()
        if self._out and now >= self._sent_at + self._wait + ANSWER_TIMEOUT:
            self.reset()
            self.missed = True
        if (self._out and not self._changed) or (not self.replicas and not self._told):
            return None
        if self._out:
            self._told = None  # its answer may be on the way: the leader takes for told what is never taken here
        parts = self._parts()
        first = self._told is None
        if first:
            self._series, self._told = number, {}
        assert self._told is not None, "a series has just begun"
        self._told.update({(part.topic_id, part.partition): part for part in parts})
        for key in [key for key, part in self._told.items() if part.epoch < 0]:
            del self._told[key]
        self._out, self._sent_at, self._changed = number, now, False
        return Fetch(number, self._cluster_id, self._broker, be, self._series, first, parts, self._wait, self._max_bytes)

    def _parts(self) -> list[FetchPart]:
        """What has changed since the last fetch of the series."""
        moved, self._moved = self._moved, {}
        if self._told is None:
            return [question(replica) for replica in self.replicas.values()]
        parts: list[FetchPart] = []
        for key in moved:
            replica, told = self.replicas.get(key), self._told.get(key)
            part = question(replica) if replica is not None else FetchPart(*key, -1, 0, -1)
            if part != told and (replica is not None or told is not None):
                parts.append(part)
        return parts

    def is_answer(self, be: int, answer: Fetched, mine: int) -> bool:
        """Whether it answers the question that is out; then none is any more."""
        if be != mine or not self._out or answer.id != self._out:
            return False
        self._out = 0
        if answer.again:
            self._told = None
        return True

    def deadline(self) -> float:
        """When the question that is out counts as lost, or the next one may be asked."""
        if self._pause is not None:
            return self._pause
        fetched = self._sent_at + self._wait + ANSWER_TIMEOUT if self._out else float("inf")
        return min(fetched, self._snapshot_until())

    # --- snapshots -------------------------------------------------------------------------------------------------

    def ask_snapshot(self, now: float, be: int, number: int, key: Key, epoch: int) -> AskSnapshot | None:
        """Asks for the tables of one partition; one such question is out at a time."""
        if self._snapshot is not None and now < self._snapshot_until():
            self._waits = True
            return None
        self._snapshot = (number, key, now + SNAPSHOT_TIMEOUT)
        return AskSnapshot(number, self._cluster_id, self._broker, be, *key, epoch)

    def is_snapshot(self, number: int, key: Key) -> bool:
        """Whether the snapshot is the one that was asked for last; then none is out any more."""
        if self._snapshot is None or self._snapshot[:2] != (number, key):
            return False
        self._snapshot_over()
        return True

    def ask_snapshot_again(self, now: float, key: Key) -> None:
        """What came is from before the leader's deletion was on its disk. The leader is to say again what it has said, a moment later."""
        self._snapshot = (0, key, now + SNAPSHOT_PAUSE)

    def _snapshot_until(self) -> float:
        return self._snapshot[2] if self._snapshot is not None else float("inf")

    def _snapshot_over(self) -> None:
        """It is the turn of the others: the leader is to say again what it has said."""
        self._snapshot = None
        if self._waits:
            self._waits, self._told, self._changed = False, None, True
