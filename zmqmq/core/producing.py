"""The producer's session-independent state: topics, their lanes, and the parcels on their way through them.

Parcels come in, commands and completed parcels go out. A topic is described by the broker once, then parcels are cut over its
partitions and queue up in lanes (`zmqmq.core.lane`). Whatever the session does, everything unresolved stays here and is declared again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from zmqmq.core.backoff import Backoff
from zmqmq.core.batch import Batch
from zmqmq.core.commands import Command, Describe, Described, Produced, Refused
from zmqmq.core.lane import ANSWER_TIMEOUT, MAX_IN_FLIGHT, Lane
from zmqmq.core.model import Limits
from zmqmq.core.parcel import Parcel, cut
from zmqmq.errors import DeadlineExceeded, NotLeader, UnknownTopic, ZmqmqError, from_code


class _Topic:
    """What the producer knows of a topic."""

    def __init__(self, name: str, backoff: Backoff) -> None:
        self.name = name
        self.partitions = 0
        """0 until described."""
        self.is_current = False
        """Placements are as the broker last said, as far as we know."""
        self.asked_id = 0
        self.asked_at = -inf
        self.resume_at = -inf
        self.backoff = backoff
        self.obstacle: ZmqmqError | None = None
        self.uncut: deque[Parcel] = deque()
        self.lanes: dict[int, Lane] = {}
        self.turn = 0
        """Rotates the partition of messages without a key."""

    @property
    def is_idle(self) -> bool:
        return not self.uncut and all(lane.is_idle for lane in self.lanes.values())


class Producing:
    """One producer. Times are seconds of any monotonic clock; `random` gives numbers in [0, 1)."""

    def __init__(self, producer: int, next_id: Callable[[], int], random: Callable[[], float], delivery_timeout: float = 120.0, create: bool = True) -> None:
        """`producer` is its 63-bit id; `delivery_timeout` is how long a message may try, in seconds; `create` makes topics on first use."""
        self.producer = producer
        self.limits = Limits()
        self.obstacle: ZmqmqError | None = None
        """Why there is no session, for messages that run out of time."""
        self.completed: list[Parcel] = []
        """Parcels whose messages all have an outcome; whoever drives this takes them away."""
        self.before_send: Callable[[str, Lane, list[Batch]], None] | None = None
        """Called with batches that got their sequences, before they are sent for the first time."""
        self.unresolved = 0
        """Parcels inside."""
        self._delivery_timeout = delivery_timeout
        self._create = create
        self._next_id = next_id
        self._random = random
        self._topics: dict[str, _Topic] = {}
        self._busy: dict[str, _Topic] = {}
        self._sent: dict[int, tuple[_Topic, Lane, Batch]] = {}
        self._deadline = inf

    # --- In ------------------------------------------------------------------------------------------------------

    def add(self, parcel: Parcel) -> None:
        """Takes a closed parcel."""
        self.unresolved += 1
        topic = self._topic(parcel.topic)
        topic.uncut.append(parcel)
        self._busy[topic.name] = topic

    def adopt(self, parcel: Parcel, partition: int, sequence: int) -> None:
        """Takes a parcel that has been numbered in an earlier life: all of it is one batch of `partition` from `sequence` on. In order only."""
        self.unresolved += 1
        topic = self._topic(parcel.topic)
        lane = self.lane(parcel.topic, partition)
        lane.adopt(parcel, sequence)
        self._busy[topic.name] = topic

    def lane(self, topic: str, partition: int, sequence: int = 0) -> Lane:
        """The lane of a partition; a new one begins at `sequence`."""
        lanes = self._topic(topic).lanes
        if partition not in lanes:
            lanes[partition] = Lane(partition, Backoff(self._random), sequence)
        return lanes[partition]

    def opened(self, limits: Limits) -> None:
        """A new session: everything is declared again."""
        self.limits = limits
        self.obstacle = None
        self._sent.clear()
        for topic in self._topics.values():
            topic.is_current = False
            topic.asked_id = 0
        for topic in self._busy.values():
            for lane in topic.lanes.values():
                lane.resend()

    def hear(self, command: Command, now: float) -> bool:
        """Takes an answer; False if it answers nothing of ours."""
        if isinstance(command, Described):
            return self._described(command)
        if isinstance(command, Produced):
            return self._produced(command)
        if isinstance(command, Refused):
            return self._refused(command, now)
        return False

    def fail(self, error: ZmqmqError) -> None:
        """Ends everything with `error`."""
        for topic in self._busy.values():
            self._fail_uncut(topic, error)
            for lane in topic.lanes.values():
                self._complete(lane.fail(error))
        self._busy.clear()
        self._sent.clear()

    # --- Out -----------------------------------------------------------------------------------------------------

    def step(self, now: float, is_open: bool) -> list[Command]:
        """Gives up what is late and, on an open session, says what to send now."""
        commands: list[Command] = []
        self._deadline = inf
        for topic in list(self._busy.values()):
            self._expire(topic, now)
            if is_open:
                commands += self._send(topic, now)
            if topic.is_idle:
                del self._busy[topic.name]
            else:
                self._deadline = min(self._deadline, self._topic_deadline(topic, is_open))
        return commands

    def deadline(self) -> float:
        """When to step again if nothing is heard; as of the last step."""
        return self._deadline

    def load(self, name: str) -> int:
        """Batches on their way in the fullest lane of the topic that is not held up; 0 if it could send more at once."""
        topic = self._busy.get(name)
        if topic is None:
            return 0
        if topic.uncut or not topic.is_current:
            return MAX_IN_FLIGHT
        loads = [lane.load for lane in topic.lanes.values() if lane.load and lane.obstacle is None]
        return max(loads, default=0 if topic.is_idle else MAX_IN_FLIGHT)

    def _send(self, topic: _Topic, now: float) -> list[Command]:
        if not topic.is_current:
            return self._ask(topic, now)
        while topic.uncut:
            self._cut(topic, topic.uncut.popleft())
        commands: list[Command] = []
        for lane in topic.lanes.values():
            if lane.is_idle:
                continue
            formed = lane.form(self.limits)
            if formed and self.before_send is not None:
                self.before_send(topic.name, lane, formed)
            commands += lane.transmit(now, self._next_id, self.producer)
            self._sent.update((batch.id, (topic, lane, batch)) for batch in lane.flight if batch.id)
        return commands

    def _ask(self, topic: _Topic, now: float) -> list[Command]:
        if now < topic.resume_at or (topic.asked_id and now < topic.asked_at + ANSWER_TIMEOUT):
            return []
        topic.asked_id, topic.asked_at = self._next_id(), now
        return [Describe(topic.asked_id, topic.name, self._create)]

    def _cut(self, topic: _Topic, parcel: Parcel) -> None:
        cut(parcel, topic.partitions, topic.turn % topic.partitions, self.limits)
        topic.turn += 1
        for part in parcel.parts:
            if part.error is not None:
                self._complete([parcel] if part.fail(part.error) else [])
            else:
                self.lane(topic.name, part.partition).waiting.append(part)

    # --- Answers -------------------------------------------------------------------------------------------------

    def _described(self, command: Described) -> bool:
        topic = self._topics.get(command.topic)
        if topic is None or topic.asked_id != command.id:
            return False
        topic.asked_id = 0
        topic.backoff.reset()
        topic.obstacle = None
        topic.partitions = max(1, len(command.placements))
        topic.is_current = True
        for placement in command.placements:
            self.lane(topic.name, placement.partition).epoch = placement.epoch
        return True

    def _produced(self, command: Produced) -> bool:
        found = self._sent.pop(command.id, None)
        if found is None:
            return False
        topic, lane, batch = found
        if batch in lane.flight:
            self._complete(lane.accepted(batch, command))
        return True

    def _refused(self, command: Refused, now: float) -> bool:
        error = from_code(command.code, command.message, command.hint, command.details)
        found = self._sent.pop(command.id, None)
        if found is None:
            return self._undescribed(command.id, error, now)
        topic, lane, batch = found
        if batch.id != command.id or batch not in lane.flight:
            return True
        if isinstance(error, NotLeader | UnknownTopic):
            topic.is_current = False
        self._complete(lane.refused(batch, error, now))
        return True

    def _undescribed(self, id: int, error: ZmqmqError, now: float) -> bool:
        topic = next((topic for topic in self._busy.values() if topic.asked_id == id), None)
        if topic is None:
            return False
        topic.asked_id = 0
        if error.retryable:
            topic.obstacle = error
            topic.resume_at = now + topic.backoff.next()
            return True
        self._fail_uncut(topic, error)
        for lane in topic.lanes.values():
            self._complete(lane.fail(error))
        return True

    # --- Ends ----------------------------------------------------------------------------------------------------

    def _expire(self, topic: _Topic, now: float) -> None:
        obstacle = topic.obstacle or self.obstacle
        while topic.uncut and topic.uncut[0].created + self._delivery_timeout <= now:
            late = obstacle or DeadlineExceeded("the message could not be delivered in time", topic=topic.name)
            topic.uncut[0].fail(late)
            self._complete([topic.uncut.popleft()])
        for lane in topic.lanes.values():
            if not lane.is_idle:
                self._complete(lane.expire(now, self._delivery_timeout, obstacle))

    def _fail_uncut(self, topic: _Topic, error: ZmqmqError) -> None:
        while topic.uncut:
            parcel = topic.uncut.popleft()
            parcel.fail(error)
            self._complete([parcel])

    def _complete(self, parcels: list[Parcel]) -> None:
        self.unresolved -= len(parcels)
        self.completed += parcels

    def _topic_deadline(self, topic: _Topic, is_open: bool) -> float:
        times = [lane.deadline(self._delivery_timeout, is_open and topic.is_current) for lane in topic.lanes.values()]
        if topic.uncut:
            times.append(topic.uncut[0].created + self._delivery_timeout)
        if is_open and not topic.is_current:
            times.append(topic.asked_at + ANSWER_TIMEOUT if topic.asked_id else topic.resume_at)
        return min(times, default=inf)

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(name, Backoff(self._random))
        return topic
