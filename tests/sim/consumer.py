"""A process that consumes: it takes messages, works on each for a while, and settles it one way or another.

`habits` says how: most messages are acknowledged; some are nacked, released or rejected, some kill the process that handles them. Several
messages are worked on at a time and end in any order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from tests.sim.clients import SimClient
from tests.sim.network import Network
from tests.sim.scheduler import Scheduler
from zmqmq.client.receiving import Receiving
from zmqmq.core.commands import Outcome
from zmqmq.core.consuming import Consuming
from zmqmq.core.held import HANDED, LOST, SETTLED, SETTLING, Held
from zmqmq.errors import LeaseLost

CLOSE_SECONDS = 2.0


@dataclass
class Habits:
    """How consumers treat messages; shares of 1."""

    nack: float = 0.08
    release: float = 0.05
    reject: float = 0.02
    dawdle: float = 0.05
    """Share of messages that take seconds."""
    poison: frozenset[bytes] = frozenset()
    """Values that kill whoever handles them."""
    at_once: int = 6
    """Messages worked on at a time."""


@dataclass
class Task:
    """One message in work, or decided and not confirmed."""

    held: Held
    index: int
    topic_id: int
    """Of the topic that had the name when the message was handed out."""
    verdict: Outcome | None = None

    @property
    def place(self) -> tuple[int, int]:
        """(topic_id, partition)"""
        return self.topic_id, self.held.partition

    @property
    def offset(self) -> int:
        return self.held.offsets[self.index]

    @property
    def key(self) -> bytes | None:
        return self.held.keys[self.index] if self.held.keys is not None else None

    @property
    def value(self) -> bytes:
        return self.held.values[self.index]

    @property
    def state(self) -> int:
        return self.held.states[self.index]


class Ears(NamedTuple):
    """Who wants to hear what the application does."""

    handed: Callable[[SimConsumer, Task], None]
    confirmed: Callable[[SimConsumer, Task], None]
    lost: Callable[[SimConsumer, Task], None]


class SimConsumer(SimClient):
    """One consumer of one group."""

    def __init__(
        self, name: str, scheduler: Scheduler, network: Network, rng: Random, timeout: float, topics: list[str], group: str, habits: Habits, ears: Ears
    ) -> None:
        super().__init__(name, scheduler, network, rng)
        self.topics = topics
        self.group = group
        self.habits = habits
        self.tasks: list[Task] = []
        self.consuming = Consuming(topics, group, self.next_id, rng.random, prefetch=20)
        self.receiving = Receiving(self.consuming, self.bell)
        self._ears = ears
        self._due: list[tuple[float, int, Task]] = []
        self._told: dict[tuple[str, int, int], float] = {}
        """Since when it knows of a leadership after this one: (topic, partition, epoch)."""
        self._started = 0
        self.begin(self.receiving, timeout, True)

    def open_tasks(self) -> list[Task]:
        """What the application is working on and may still settle."""
        return [task for task in self.tasks if task.state == HANDED]

    def knows_better(self, task: Task) -> float:
        """Seconds for which it has known that what it holds was granted by one who leads no more, and that nobody else has confirmed."""
        held = task.held
        since = self._told.get((held.subscription.topic, held.partition, held.epoch))
        return self.now - since if since is not None else 0.0

    def close(self, timeout: float) -> None:
        self.receiving.is_stopping = True
        self.consuming.drain()
        super().close(timeout)

    def work(self) -> None:
        self._look_back()
        if self.consuming.error is not None and not self.is_stopping:
            self.close(CLOSE_SECONDS)  # the application is told, and ends
        self._look_around()
        while self._due and self._due[0][0] <= self.now and self.is_alive:
            self._finish(heapq.heappop(self._due)[2])
        while self.is_alive and not self.is_stopping and (room := self.habits.at_once - len(self.open_tasks())) > 0:
            was_wanted = self.consuming.is_wanted
            taken = self.consuming.take(room)
            if self.consuming.is_hungry and (taken or not was_wanted):
                self.engine.call()
            if not taken:
                break
            for held, index in taken:
                self._start(held, index)

    def wants(self) -> float:
        return self._due[0][0] if self._due else float("inf")

    def _start(self, held: Held, index: int) -> None:
        task = Task(held, index, held.subscription.where.topic_id)
        self._ears.handed(self, task)
        self.tasks.append(task)
        seconds = self.rng.uniform(1.0, 5.0) if self.rng.random() < self.habits.dawdle else self.rng.uniform(0.0, 0.1)
        self._started += 1
        heapq.heappush(self._due, (self.now + seconds, self._started, task))

    def _finish(self, task: Task) -> None:
        if task.value in self.habits.poison and self.rng.random() < 0.7:
            self.kill()
            return
        try:
            self.receiving.claim(task.held, task.index)
        except LeaseLost:
            return
        habits, chance = self.habits, self.rng.random()
        if chance < habits.nack:
            task.verdict = "nack"
        elif chance < habits.nack + habits.release:
            task.verdict = "release"
        elif chance < habits.nack + habits.release + habits.reject:
            task.verdict = "reject"
        else:
            task.verdict = "ack"
            self.receiving.ack(task.held, task.index)
            self.engine.call()
            return
        delay = self.rng.choice([None, 0.0, 0.3, 2.0]) if task.verdict == "nack" else None
        self.receiving.settle(task.held, [task.index], task.verdict, delay, "")
        self.engine.call()

    def _look_back(self) -> None:
        """Which decisions have been confirmed, and what was lost."""
        for task in self.tasks:
            if task.state == SETTLED:
                self._ears.confirmed(self, task)
            elif task.state == LOST:
                self._ears.lost(self, task)
        self.tasks = [task for task in self.tasks if task.state in (HANDED, SETTLING)]

    def _look_around(self) -> None:
        """What it has been told of who leads."""
        for held in {id(task.held): task.held for task in self.open_tasks()}.values():
            placements = self.consuming.topology.topic(held.subscription.topic).placements
            if held.partition < len(placements) and placements[held.partition].epoch > held.epoch:
                self._told.setdefault((held.subscription.topic, held.partition, held.epoch), self.now)
