"""What a consumer has agreed with one broker about one subscription: for which partitions it was asked, and which are consumed there."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zmqmq.core.backoff import Backoff
from zmqmq.core.held import Held
from zmqmq.core.topology import FIRST_DOUBT_DELAY

ANSWER_TIMEOUT = 10.0
"""Seconds after which an unanswered Subscribe is repeated."""


class Join:
    """The subscription at one broker, in one session."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.queue: int | None = None
        """The broker's number for it, None before the first answer."""
        self.joined: dict[int, int] = {}
        """Epochs of the partitions that are consumed there."""
        self.asked: dict[int, int] = {}
        """Epochs of the partitions in the Subscribe that is not answered yet."""
        self.presented: list[Held] = []
        self.id = 0
        self.asked_at = -inf
        self.resume_at = -inf
        self.backoff = Backoff(random, FIRST_DOUBT_DELAY)

    def missing(self, led: dict[int, int]) -> dict[int, int]:
        """What the broker leads and has not been asked for under that leadership."""
        return {partition: epoch for partition, epoch in led.items() if self.joined.get(partition, -1) < epoch}

    def due(self) -> float:
        """When to ask (again) if something is missing."""
        return self.asked_at + ANSWER_TIMEOUT if self.id else self.resume_at
