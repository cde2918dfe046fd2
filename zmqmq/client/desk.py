"""Questions of an administrator: to any broker, to every broker, or to those that lead a topic's partitions.

In a cluster every broker answers for the partitions that it leads. So a question about a topic goes to all its leaders, and when one of them
leads no more, or falls silent, the topic is described again. What only asks begins anew then; what changes something goes on with the
partitions that have not been told, one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple, TypeVar

from zmqmq.client.asking import Asking
from zmqmq.client.bell import Bell
from zmqmq.client.endpoints import parse_endpoints
from zmqmq.client.engine import Engine
from zmqmq.core import admin_commands as ask
from zmqmq.core import cluster_commands as cluster
from zmqmq.core.commands import Command, Describe, Described
from zmqmq.core.model import Placement
from zmqmq.core.requests import Request
from zmqmq.errors import BrokerError, DeadlineExceeded, NotLeader, OutcomeUnknown, ProtocolError, UnknownGroup, Unreachable, ZmqmqError

Answer = TypeVar("Answer", bound=Command)
Build = Callable[[int], Command]
ROUND_TIMEOUT = 2.0
"""Seconds after which those who have not answered are looked for again."""
PAUSE = 0.1
"""Seconds between two rounds."""
_CHANGING_TOPICS = (ask.CreateTopic, ask.AlterTopic, ask.DeleteTopic, ask.DeleteGroup, ask.Seek, ask.Replay, ask.Purge)
_CHANGING_CLUSTERS = (cluster.DrainBroker, cluster.RemoveBroker, cluster.Reassign, cluster.AddPartitions)


class Question(NamedTuple):
    """One of several questions that are asked at once."""

    build: Build
    broker: str
    endpoint: str
    partitions: frozenset[int] = frozenset()
    """What it is about, for questions to leaders."""


class Desk:
    """Asks, and waits. Thread-safe."""

    def __init__(self, brokers: str | Iterable[str], name: str, timeout: float) -> None:
        """Connects when first used; `timeout` is how long each question may take, in seconds. Raises InvalidValue."""
        self.timeout = timeout
        next_id = count(1).__next__
        self._bell = Bell()
        self._asking = Asking(next_id, self._bell)
        self._engine = Engine(parse_endpoints(brokers), self._asking, self._bell, next_id, name=name, session_timeout=0.0, wants_hints=False)

    def close(self, timeout: float) -> None:
        """Says goodbye and ends."""
        if self._engine.trouble is None:
            self._engine.stop(timeout)

    # --- one -----------------------------------------------------------------------------------------------------

    def ask(self, build: Build, kind: type[Answer], broker: str = "", endpoint: str = "") -> Answer:
        """Asks any broker, or the one named. Raises what it answers, or why it did not."""
        (request,) = self._ask_all([Question(build, broker, endpoint)], self.timeout)
        return self._answer(request, kind)

    def _answer(self, request: Request, kind: type[Answer]) -> Answer:
        if not request.done:
            raise self._late(request)
        if request.error is not None:
            raise request.error
        if not isinstance(request.answer, kind):
            raise ProtocolError(f"the broker answered {type(request.command).__name__} with {type(request.answer).__name__}")
        return request.answer

    def _ask_all(self, questions: Sequence[Question], timeout: float) -> list[Request]:
        """Asks several at once; gives the requests when all are answered, or the time is over."""
        engine = self._engine
        engine.check()
        with self._bell.lock:
            engine.start()
            requests = [self._asking.ask(question.build, timeout, question.broker, question.endpoint) for question in questions]
            engine.call()
            self._bell.wait_for(lambda: all(request.done for request in requests) or engine.trouble is not None, timeout)
            for request in requests:
                if not request.done:
                    self._asking.forget(request)
        if not all(request.done for request in requests):
            engine.check()
        return requests

    def _late(self, request: Request) -> ZmqmqError:
        question = type(request.command).__name__
        if request.error is not None:
            return request.error
        if request.sent_ever and isinstance(request.command, _CHANGING_TOPICS + _CHANGING_CLUSTERS):
            return OutcomeUnknown(f"{question} was sent and not answered within {self.timeout:g} s", hint="it may have been done; repeating it is safe")
        if self._engine.is_open:
            return DeadlineExceeded(f"{question} was not answered within {self.timeout:g} s", broker=request.broker or None)
        return self._engine.unreachable()

    def _pause(self) -> None:
        with self._bell.lock:
            self._bell.wait_for(lambda: self._engine.trouble is not None, PAUSE)
        self._engine.check()

    # --- every broker --------------------------------------------------------------------------------------------

    def everywhere(self, build: Build, kind: type[Answer], is_lenient: bool = False) -> list[Answer]:
        """Asks all brokers that are registered. `is_lenient`: those that do not answer in one round are left out, if anybody does."""
        until = time.monotonic() + self.timeout
        while True:
            brokers = self.ask(ask.ListBrokers, ask.BrokerList).brokers
            questions = [Question(build, broker.broker_id, broker.endpoint) for broker in brokers]
            requests = self._ask_all(questions, max(0.0, min(ROUND_TIMEOUT, until - time.monotonic())))
            silent = [request for request in requests if _is_open(request)]
            if not silent or (is_lenient and len(silent) < len(requests)):
                return [self._answer(request, kind) for request in requests if request not in silent]
            if time.monotonic() >= until:
                raise self._late(silent[0])
            self._pause()

    # --- the leaders of a topic ----------------------------------------------------------------------------------

    def described(self, topic: str) -> Described:
        """Who leads what. Raises UnknownTopic."""
        return self.ask(lambda id: Describe(id, topic), Described)

    def read(self, topic: str, build: Build, kind: type[Answer], covers: Callable[[Answer], Iterable[int]] | None = None) -> list[Answer]:
        """Asks all leaders of the topic; partitions that nobody leads for a whole round are left out.

        `covers` tells the partitions of an answer, if a leader that has just been appointed can be told by it.
        Raises UnknownTopic; UnknownGroup if all of them say so."""
        began = time.monotonic()
        while True:
            placements = self.described(topic).placements
            waits = any(not placement.leader for placement in placements) and time.monotonic() < began + ROUND_TIMEOUT
            requests = [] if waits else self._ask_all(_questions(placements, build), self._round(began))
            silent = [request for request in requests if _is_open(request)]
            if not waits and not silent:
                answers = self._known(requests, kind)
                seen = {number for answer in answers for number in covers(answer)} if covers is not None else set()
                if covers is None or len(seen) == len(placements) or time.monotonic() >= began + min(ROUND_TIMEOUT, self.timeout):
                    return answers
            elif time.monotonic() >= began + self.timeout:
                raise self._late(silent[0]) if silent else _leaderless(topic, placements)
            self._pause()

    def change(self, topic: str, build: Callable[[int | None, int], Command], kind: type[Answer], partition: int | None = None) -> list[Answer]:
        """Tells all leaders of the topic, or that of one partition. `build` takes the partition to name in the command (None: all that the
        broker leads) and the id. Raises as `read`; NotLeader if a partition stays without a leader, and then others may have been told."""
        began = time.monotonic()
        told: set[int] = set()
        requests: list[Request] = []
        while True:
            placements = self.described(topic).placements
            left = _left(placements, partition, told)
            silent: list[Request] = []
            if all(placement.leader for placement in left):
                questions = _orders(left, build, partition, bool(told))
                asked = self._ask_all(questions, self._round(began))
                for question, request in zip(questions, asked, strict=True):
                    if _is_open(request):
                        silent.append(request)
                    else:
                        requests.append(request)
                        told |= question.partitions
                if not silent:
                    return self._known(requests, kind)
            if time.monotonic() >= began + self.timeout:
                raise self._late(silent[0]) if silent else _leaderless(topic, left)
            self._pause()

    def _round(self, began: float) -> float:
        return max(0.0, min(ROUND_TIMEOUT, began + self.timeout - time.monotonic()))

    def _known(self, requests: Sequence[Request], kind: type[Answer]) -> list[Answer]:
        """The answers; a group that some leaders do not know may be known to others."""
        known = [request for request in requests if not isinstance(request.error, UnknownGroup)]
        return [self._answer(request, kind) for request in known or requests]


def _is_open(request: Request) -> bool:
    """Whether it is to be asked again, of somebody else perhaps."""
    return not request.done or isinstance(request.error, NotLeader | Unreachable)


def _questions(placements: Sequence[Placement], build: Build) -> list[Question]:
    led: dict[str, tuple[str, set[int]]] = {}
    for placement in placements:
        if placement.leader:
            led.setdefault(placement.leader, (placement.endpoint, set()))[1].add(placement.partition)
    return [Question(build, broker, endpoint, frozenset(partitions)) for broker, (endpoint, partitions) in led.items()]


def _left(placements: Sequence[Placement], partition: int | None, told: set[int]) -> list[Placement]:
    """Who is to be told; for a partition that there is not, somebody who says so."""
    if partition is None:
        return [placement for placement in placements if placement.partition not in told]
    return [placements[partition if 0 <= partition < len(placements) else 0]]


def _orders(left: Sequence[Placement], build: Callable[[int | None, int], Command], partition: int | None, again: bool) -> list[Question]:
    def told_to(number: int | None) -> Build:
        return lambda id: build(number, id)

    if partition is not None or not again:
        return _questions(left, told_to(partition))
    return [Question(told_to(place.partition), place.leader, place.endpoint, frozenset({place.partition})) for place in left]


def _leaderless(topic: str, placements: Sequence[Placement]) -> BrokerError:
    number = next(placement.partition for placement in placements if not placement.leader)
    return NotLeader("nobody leads the partition", hint="try again when enough brokers are there: zmqmq cluster status", topic=topic, partition=number)
