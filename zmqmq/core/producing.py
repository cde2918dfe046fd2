"""The producer's session-independent state: topics, their lanes, and the parcels on their way through them.

Parcels come in, commands and completed parcels go out. A topic is described by any broker, then parcels are cut over its partitions and queue
up in lanes (`zmqmq.core.lane`), each of which sends to the broker that leads its partition (`zmqmq.core.topology`). Whatever sessions and leaders
do, everything unresolved stays here and is declared again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf

from zmqmq.core.batch import Batch
from zmqmq.core.commands import Command, Described, Moved, Produced, Refused
from zmqmq.core.lane import MAX_IN_FLIGHT, Lane
from zmqmq.core.model import Limits
from zmqmq.core.parcel import Parcel, cut
from zmqmq.core.topology import SUSPECT_AFTER, Letter, Topology, Whereabouts
from zmqmq.errors import DeadlineExceeded, NotLeader, UnknownTopic, ZmqmqError, from_code

QUESTIONS_MAX = 16
"""Repeats of one batch to which an answer is still understood."""


class _Topic:
    """What the producer knows of a topic."""

    def __init__(self, where: Whereabouts) -> None:
        self.name = where.name
        self.where = where
        self.uncut: deque[Parcel] = deque()
        self.lanes: dict[int, Lane] = {}
        self.turn = 0
        """Rotates the partition of messages without a key."""

    @property
    def is_idle(self) -> bool:
        return not self.uncut and all(lane.is_idle for lane in self.lanes.values())

    def keyless(self) -> int:
        """The partition of the next messages without a key: in turn, of those that somebody leads."""
        partitions = len(self.where.placements)
        for _ in range(partitions):
            partition, self.turn = self.turn % partitions, self.turn + 1
            lane = self.lanes.get(partition)
            if lane is not None and lane.is_placed:
                break
        return partition


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
        self._topology = Topology(random)
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
            lanes[partition] = Lane(partition, self._random, sequence)
        return lanes[partition]

    def opened(self, broker: str, limits: Limits) -> None:
        """A new session with a broker: what goes there is declared again."""
        self.limits = limits
        self.obstacle = None
        self._topology.opened(broker)
        self._unplace(broker)

    def down(self, broker: str) -> None:
        """No session with the broker now: others are asked who leads what it led."""
        self._topology.down(broker)
        self._unplace(broker)

    def hear(self, command: Command, now: float) -> bool:
        """Takes an answer; False if it answers nothing of ours."""
        if isinstance(command, Described):
            return self._described(command, now)
        if isinstance(command, Produced):
            return self._produced(command, now)
        if isinstance(command, Refused):
            return self._refused(command, now)
        if isinstance(command, Moved):
            self._topology.hint(command.topic)
            return True
        return False

    def wanted(self) -> Mapping[str, str]:
        """The brokers to have sessions with, by id, and their endpoints."""
        return self._topology.wanted()

    def needs_another(self, lines: Sequence[str]) -> bool:
        """Whether somebody else than these brokers must be asked."""
        return any(topic.where.needs_another(lines) for topic in self._busy.values())

    def _unplace(self, broker: str) -> None:
        for topic in self._topics.values():
            for lane in topic.lanes.values():
                if lane.leader == broker:
                    lane.unplace()
        self._sort_out()

    def _unplace_all(self, topic: _Topic) -> None:
        """The topic is not there: nothing of it is sent until it is described."""
        for lane in topic.lanes.values():
            lane.unplace()
        self._sort_out()

    def _sort_out(self) -> None:
        """Forgets questions that have been taken back (their batches are sent again), and those about batches that were given up."""
        self._sent = {id: (topic, lane, batch) for id, (topic, lane, batch) in self._sent.items() if id in batch.ids and batch in lane.flight}

    def _forget(self, batch: Batch) -> None:
        """It has its outcome: no question about it is open."""
        for id in batch.ids:
            self._sent.pop(id, None)

    def fail(self, error: ZmqmqError) -> None:
        """Ends everything with `error`."""
        for topic in self._busy.values():
            self._fail_uncut(topic, error)
            for lane in topic.lanes.values():
                self._complete(lane.fail(error))
        self._busy.clear()
        self._sent.clear()

    # --- Out -----------------------------------------------------------------------------------------------------

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        """Gives up what is late and says what to send now, and to whom. `lines` are the brokers with an open session, the best first."""
        letters: list[Letter] = []
        self._deadline = inf
        has_given_up = False
        for topic in list(self._busy.values()):
            has_given_up = self._expire(topic, now) or has_given_up
            if lines:
                letters += self._send(topic, now, lines)
            if topic.is_idle:
                del self._busy[topic.name]
            else:
                self._deadline = min(self._deadline, self._topic_deadline(topic, lines))
        if has_given_up:
            self._sort_out()
        return letters

    def deadline(self) -> float:
        """When to step again if nothing is heard; as of the last step."""
        return self._deadline

    def load(self, name: str) -> int:
        """Batches on their way in the fullest lane of the topic that is not held up; 0 if it could send more at once."""
        topic = self._busy.get(name)
        if topic is None:
            return 0
        if topic.uncut or not any(lane.is_placed for lane in topic.lanes.values()):
            return MAX_IN_FLIGHT
        loads = [lane.load for lane in topic.lanes.values() if lane.load and lane.is_placed and lane.obstacle is None]
        return max(loads, default=0 if topic.is_idle else MAX_IN_FLIGHT)

    def _send(self, topic: _Topic, now: float, lines: Sequence[str]) -> list[Letter]:
        where = topic.where
        letters: list[Letter] = []
        if where.is_known and any(lane.is_placed for lane in topic.lanes.values()):
            while topic.uncut:
                self._cut(topic, topic.uncut.popleft())
            for lane in topic.lanes.values():
                if not lane.is_idle and lane.is_placed and lane.leader in lines:
                    letters += self._transmit(topic, lane, now)
        where.look_around(now)
        question = where.ask(now, lines, self._next_id, self._create)
        return letters if question is None else [*letters, question]

    def _transmit(self, topic: _Topic, lane: Lane, now: float) -> list[Letter]:
        formed = lane.form(self.limits)
        if formed and self.before_send is not None:
            self.before_send(topic.name, lane, formed)
        if now >= lane.silent_since + SUSPECT_AFTER:
            topic.where.doubt(lane.partition)
        produces = lane.transmit(now, self._next_id, self.producer)
        if produces:
            self._note_sent(topic, lane)
        return [(lane.leader, produce) for produce in produces]

    def _note_sent(self, topic: _Topic, lane: Lane) -> None:
        for batch in lane.flight:
            self._sent.update((id, (topic, lane, batch)) for id in batch.ids)
            for id in batch.ids[:-QUESTIONS_MAX]:
                del self._sent[id]
            del batch.ids[:-QUESTIONS_MAX]

    def _cut(self, topic: _Topic, parcel: Parcel) -> None:
        cut(parcel, len(topic.where.placements), topic.keyless(), self.limits)
        for part in parcel.parts:
            if part.error is not None:
                self._complete([parcel] if part.fail(part.error) else [])
            else:
                self.lane(topic.name, part.partition).waiting.append(part)

    # --- Answers -------------------------------------------------------------------------------------------------

    def _described(self, command: Described, now: float) -> bool:
        where = self._topology.described(command, now)
        if where is None:
            return False
        moved = [self.lane(where.name, placement.partition).place(placement.leader, placement.epoch) for placement in where.placements]
        for partition, lane in self._topic(where.name).lanes.items():
            if partition >= len(where.placements):  # of a larger topic that had this name: its broker refuses what is left
                lane.place(where.leader(0), 0)
        if any(moved):
            self._sort_out()
        return True

    def _produced(self, command: Produced, now: float) -> bool:
        found = self._sent.pop(command.id, None)
        if found is None:
            return False
        topic, lane, batch = found
        if batch in lane.flight:
            lane.heard_at = now
            topic.where.believe(lane.partition)
            self._complete(lane.accepted(batch, command))
        self._forget(batch)
        return True

    def _refused(self, command: Refused, now: float) -> bool:
        error = from_code(command.code, command.message, command.hint, command.details)
        found = self._sent.pop(command.id, None)
        if found is None:
            return self._undescribed(command.id, error, now)
        topic, lane, batch = found
        if batch.id != command.id or batch not in lane.flight:
            return True
        batch.ids.remove(command.id)
        lane.heard_at = now
        if isinstance(error, UnknownTopic):
            topic.where.look_again()
            self._unplace_all(topic)
        elif isinstance(error, NotLeader):
            topic.where.doubt(lane.partition)
        else:
            topic.where.believe(lane.partition)
        self._complete(lane.refused(batch, error, now))
        if batch not in lane.flight:
            self._forget(batch)
        return True

    def _undescribed(self, id: int, error: ZmqmqError, now: float) -> bool:
        where = self._topology.refused(id, error, now)
        if where is None:
            return False
        topic = self._topic(where.name)
        if error.retryable:
            return True
        if not where.is_known and where.was_gentle:  # it is asked for once more, and made if it may be
            self._unplace_all(topic)
            return True
        self._fail_uncut(topic, error)
        for lane in topic.lanes.values():
            self._complete(lane.fail(error))
        self._sort_out()
        return True

    # --- Ends ----------------------------------------------------------------------------------------------------

    def _expire(self, topic: _Topic, now: float) -> bool:
        """True if something was given up that had been sent."""
        obstacle = topic.where.obstacle or self.obstacle
        while topic.uncut and topic.uncut[0].created + self._delivery_timeout <= now:
            late = obstacle or DeadlineExceeded("the message could not be delivered in time", topic=topic.name)
            topic.uncut[0].fail(late)
            self._complete([topic.uncut.popleft()])
        has_given_up = False
        for lane in topic.lanes.values():
            if not lane.is_idle:
                load = lane.load
                self._complete(lane.expire(now, self._delivery_timeout, obstacle))
                has_given_up = has_given_up or lane.load < load
        return has_given_up

    def _fail_uncut(self, topic: _Topic, error: ZmqmqError) -> None:
        while topic.uncut:
            parcel = topic.uncut.popleft()
            parcel.fail(error)
            self._complete([parcel])

    def _complete(self, parcels: list[Parcel]) -> None:
        self.unresolved -= len(parcels)
        self.completed += parcels

    def _topic_deadline(self, topic: _Topic, lines: Sequence[str]) -> float:
        where = topic.where
        times = [
            lane.deadline(self._delivery_timeout, lane.is_placed and lane.leader in lines, where.is_doubted(lane.partition))
            for lane in topic.lanes.values()
        ]
        if topic.uncut:
            times.append(topic.uncut[0].created + self._delivery_timeout)
        if lines:
            times.append(where.due())
        return min(times, default=inf)

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(self._topology.topic(name))
        return topic
