"""A process that administers: it asks for the replay of dead letters, and writes down what it was told."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.sim.clients import SimClient
from tests.sim.network import Network
from tests.sim.scheduler import Scheduler
from zmqmq.client.asking import Asking
from zmqmq.core.admin_commands import Replay
from zmqmq.core.commands import Command
from zmqmq.core.requests import Request

PATIENCE = 30.0
"""Seconds until an unanswered question is forgotten."""


class SimAdmin(SimClient):
    """One administrator."""

    def __init__(self, name: str, scheduler: Scheduler, network: Network, rng: Random, timeout: float) -> None:
        super().__init__(name, scheduler, network, rng)
        self.asking = Asking(self.next_id, self.bell)
        self.requests: list[Request] = []
        self.begin(self.asking, timeout, False)

    def replay(self, topic: str, group: str) -> None:
        """Brings the dead letters of a group back."""
        self.ask(lambda id: Replay(id, topic, group))

    def ask(self, build: Callable[[int], Command], broker: str = "", endpoint: str = "") -> None:
        """Asks anybody, or one broker."""
        self.requests.append(self.asking._requests.ask(build, self.now + PATIENCE, broker, endpoint))
        self.engine.call()
        self.ring()
