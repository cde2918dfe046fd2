"""Questions to the brokers that lead the partitions of a topic.

In a cluster every broker answers for what it leads, and partitions move while they are asked about. So what only asks goes to all leaders together
with the question what they lead: it is complete when their answers cover all partitions, and begins anew otherwise. What changes something is told
partition by partition, so that none is told twice or missed: whoever does not lead it says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from zmqmq.client.desk import LAST_ROUND, ROUND_TIMEOUT, Build, Desk, Question, is_open
from zmqmq.core.admin_commands import DescribePartitions, PartitionList
from zmqmq.core.commands import Command, Describe, Described
from zmqmq.core.model import Placement
from zmqmq.core.requests import Request
from zmqmq.core.topology import leaderless
from zmqmq.errors import NotLeader, UnknownGroup, UnknownTopic

Answer = TypeVar("Answer", bound=Command)
BuildOne = Callable[[int, int], Command]
"""Makes a command about a partition with an id."""
LOOK_AFTER = 1.0
"""Seconds without an answer after which a leader is looked for again."""


class Order(NamedTuple):
    """One partition that was told something."""

    place: Placement
    request: Request


class Leaders:
    """The leaders of one topic. Every call takes at most the desk's timeout."""

    def __init__(self, desk: Desk, topic: str) -> None:
        self._desk = desk
        self._topic = topic

    def described(self, until: float = float("inf")) -> Described:
        """Who leads what. Raises UnknownTopic."""
        return self._desk.ask(lambda id: Describe(id, self._topic), Described, until=until)

    # --- asking --------------------------------------------------------------------------------------------------

    def ask(self, build: Build, kind: type[Answer], *, is_strict: bool = False, is_change: bool = False) -> tuple[list[Answer], list[int]]:
        """The answers of all leaders, and the partitions that they do not cover. `is_strict`: there are none, or NotLeader is raised.

        `is_change`: the question does something, so that a group which is not there any more is no surprise. Raises UnknownTopic; UnknownGroup
        if all of them say so."""
        began = time.monotonic()
        earlier: list[Request] = []
        while True:
            placements = self.described(began + self._desk.timeout).placements
            left = began + self._desk.timeout - time.monotonic()
            questions = _questions(placements, build)
            surveys = _questions(placements, lambda id: DescribePartitions(id, self._topic))
            requests = self._desk.ask_all([*questions, *surveys], min(ROUND_TIMEOUT, left))
            asked = requests[: len(questions)]
            silent = [request for request in requests if _is_open(request)]
            missing = _missing(placements, requests[len(questions) :])
            age = time.monotonic() - began
            if not silent and (not missing or (not is_strict and age >= min(ROUND_TIMEOUT, self._desk.timeout - LAST_ROUND))):
                return self._known(asked, kind, earlier if is_change else []), missing
            if age >= self._desk.timeout - LAST_ROUND:
                raise self._desk.late(silent[0]) if silent else leaderless(self._topic, missing[0])
            earlier += asked
            self._desk.pause()

    def _known(self, requests: Sequence[Request], kind: type[Answer], earlier: Sequence[Request]) -> list[Answer]:
        """The answers; a group that some leaders do not know may be known to others, or was so until a moment ago."""
        known = [request for request in requests if not isinstance(request.error, UnknownGroup)]
        if not known and any(request.sent_ever and not isinstance(request.error, UnknownGroup | NotLeader) for request in earlier):
            return []
        return [self._desk.answer(request, kind) for request in known or requests]

    # --- telling -------------------------------------------------------------------------------------------------

    def tell(self, build: BuildOne, kind: type[Answer], partition: int | None = None) -> list[Answer]:
        """Tells the leader of each partition, or of one. Raises as `ask`; NotLeader if a partition stays without a leader: others may have been told."""
        began = time.monotonic()
        orders: dict[int, Order] = {}
        while True:
            places = _wanted(self.described(began + self._desk.timeout).placements, partition)
            left = began + self._desk.timeout - time.monotonic()
            self._renew(orders, places, build, left)
            self._desk.wait([order.request for order in orders.values()], min(LOOK_AFTER, left))
            if len(orders) == len(places) and not any(_is_open(order.request) for order in orders.values()):
                return self._known([orders[number].request for number in sorted(orders)], kind, [])
            if time.monotonic() >= began + self._desk.timeout - LAST_ROUND:
                self._desk.forget(order.request for order in orders.values())
                raise self._failure(orders, places)
            self._desk.pause()

    def _renew(self, orders: dict[int, Order], places: dict[int, Placement], build: BuildOne, timeout: float) -> None:
        """Tells those that have not been told, and the new leaders of partitions whose old ones do not answer."""
        for number, order in list(orders.items()):
            is_moved = number in places and (places[number].leader, places[number].epoch) != (order.place.leader, order.place.epoch)
            if _is_open(order.request) and (order.request.done or is_moved):
                self._desk.forget([order.request])
                del orders[number]
        due = [(number, place) for number, place in sorted(places.items()) if number not in orders and place.leader]
        requests = self._desk.send([Question(_about(build, number), place.leader, place.endpoint) for number, place in due], timeout)
        orders.update((number, Order(place, request)) for (number, place), request in zip(due, requests, strict=True))

    def _failure(self, orders: dict[int, Order], places: dict[int, Placement]) -> BaseException:
        silent = next((order.request for order in orders.values() if _is_open(order.request)), None)
        return self._desk.late(silent) if silent is not None else leaderless(self._topic, min(places.keys() - orders.keys()))


def _is_open(request: Request) -> bool:
    """Whether it is to be asked again; a leader that does not know the topic has not heard of it yet, or the next description says that it is gone."""
    return is_open(request) or isinstance(request.error, UnknownTopic)


def _questions(placements: Iterable[Placement], build: Build) -> list[Question]:
    endpoints = {placement.leader: placement.endpoint for placement in placements if placement.leader}
    return [Question(build, broker, endpoint) for broker, endpoint in endpoints.items()]


def _missing(placements: Iterable[Placement], surveys: Iterable[Request]) -> list[int]:
    """The partitions that nobody says he leads."""
    lists = [request.answer for request in surveys if isinstance(request.answer, PartitionList)]
    led = {part.partition for answer in lists for part in answer.partitions}
    return sorted({placement.partition for placement in placements} - led)


def _wanted(placements: Sequence[Placement], partition: int | None) -> dict[int, Placement]:
    """By partition: who is to be told. For a partition that there is not, somebody who says so."""
    if partition is None:
        return {placement.partition: placement for placement in placements}
    return {partition: placements[partition if 0 <= partition < len(placements) else 0]}


def _about(build: BuildOne, number: int) -> Build:
    return lambda id: build(number, id)
