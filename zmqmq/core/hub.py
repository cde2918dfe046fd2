"""A group on a topic, as this broker serves it: the queues of those partitions that it leads, and the consumers that sleep.

Who pulls and gets nothing goes to sleep. News wakes as many sleepers as there are messages, the longest asleep first, each by its
own wake-up. A wake-up may be lost and a woken consumer may have hung, so what is still there at the next beacon is announced to
everybody, with the version at which it became available.
"""

from __future__ import annotations

from collections.abc import Iterator

from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.sessions import Session


class Hub:
    """One (topic, group)."""

    def __init__(self, number: int, topic: str, group: str) -> None:
        self.number = number
        self.topic = topic
        self.group = group
        self.version = 0
        """The broker's news counter when something last became available here."""
        self.waiting_since: float | None = None
        """Monotonic time since when there has always been something to deliver, as far as was noticed."""
        self.sleepers: dict[str, Session] = {}  # insertion order: the longest asleep first
        self.woken: dict[str, Session] = {}
        self.subscribers: dict[str, Session] = {}
        self.joining: list[str] = []
        """Clients, one for each subscription that is not committed yet."""
        self.partitions: dict[int, Partition] = {}
        """The topic's partitions that are led here, by number: the topic's own table."""
        self._turn = 0

    @property
    def is_used(self) -> bool:
        """Whether anybody is here or comes, or there is a queue; else the group was deleted, maybe by another leader, or its partitions have gone."""
        return bool(self.subscribers or self.joining) or any(self.group in partition.queues for partition in self.partitions.values())

    def queues(self) -> Iterator[tuple[Partition, Queue]]:
        """The queues by turn: each call begins one partition later."""
        partitions = list(self.partitions.values())
        count = len(partitions)
        self._turn += 1
        for index in range(count):
            partition = partitions[(self._turn + index) % count]
            queue = partition.queues.get(self.group)
            if queue is not None:
                yield partition, queue

    def offer(self) -> int:
        """About how many messages could be delivered now."""
        return sum(
            queue.offer(partition.log.committed)
            for partition in self.partitions.values()
            if (queue := partition.queues.get(self.group)) and not queue.reclaim
        )

    def sleep(self, session: Session) -> None:
        self.woken.pop(session.client_id, None)
        self.sleepers.pop(session.client_id, None)
        self.sleepers[session.client_id] = session

    def note_rest(self) -> None:
        """Something may have been taken: if nothing is left to deliver, nothing waits any more."""
        if self.waiting_since is not None and not self.offer():
            self.waiting_since = None

    def rouse(self, session: Session) -> None:
        """The consumer pulls: it is neither asleep nor on its way."""
        self.sleepers.pop(session.client_id, None)
        self.woken.pop(session.client_id, None)

    def wake(self, count: int) -> list[Session]:
        """Takes as many sleepers as are needed for `count` messages, those already woken counted in."""
        woken: list[Session] = []
        while self.sleepers and len(self.woken) < count:
            client_id = next(iter(self.sleepers))
            session = self.sleepers.pop(client_id)
            self.woken[client_id] = session
            woken.append(session)
        return woken

    def leave(self, session: Session) -> None:
        self.rouse(session)
        self.subscribers.pop(session.client_id, None)
