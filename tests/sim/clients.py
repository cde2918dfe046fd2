"""Clients of the simulation: the production engine and its roles, turned in virtual time over simulated links.

What a process with such a client would do stands here too: a producer sends, a consumer handles messages for a while and
settles them. Every one of them can be stopped (SIGSTOP), killed, or closed in good order.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from math import inf
from random import Random
from typing import cast

from tests.sim.clocks import DRIFT_MAX, MachineTime
from tests.sim.network import Network
from tests.sim.scheduler import Alarm, Scheduler
from zmqmq.client import lifetimes
from zmqmq.client.bell import Bell
from zmqmq.client.endpoint_book import EndpointBook
from zmqmq.client.engine import Engine
from zmqmq.client.link import Link
from zmqmq.client.role import Role

TURNS_PER_SECOND = 1000
"""Turns of one client in one virtual second; more is a busy loop."""
ENDPOINT = "tcp://sim:7400"
"""Where a broker is looked for while none has ever listened."""


class SimEngine(Engine):
    """The production engine, without its thread, sockets, clock and randomness."""

    def __init__(self, role: Role, bell: Bell, next_id: Callable[[], int], client: str, network: Network, rng: Random, timeout: float, hints: bool) -> None:
        endpoints = tuple(network._owners) or (ENDPOINT,)
        super().__init__(endpoints, role, bell, next_id, name=client, session_timeout=timeout, wants_hints=hints)
        lifetimes.forget(self)
        self._reader.close()
        self._writer.close()
        self._network = network
        self.client_id = client
        self._lines.book = EndpointBook(endpoints, rng.random)

    def _open_link(self, endpoint: str) -> Link:
        return cast(Link, self._network.dial(self.client_id, endpoint))

    def goes_on(self, now: float) -> bool:
        """Before each turn: whether to take it."""
        return self._goes_on(now)

    def wake_at(self, now: float) -> float:
        """When it wants its next turn if nothing comes."""
        return now if self._called or self._lines.is_behind else self._wake_at(now)

    def stop_at(self, now: float) -> None:
        """Begins to stop, until `now` at the latest."""
        self._stop_at = now
        self.call()

    def end(self) -> None:
        """The process is gone."""
        self._lines.close()


class SimClient:
    """A process with one client object."""

    def __init__(self, name: str, scheduler: Scheduler, network: Network, rng: Random) -> None:
        self.name = name
        self.rng = rng
        self.machine = MachineTime(scheduler, rng.uniform(0, 1e6), rng.uniform(-DRIFT_MAX, DRIFT_MAX))
        self.bell = Bell()
        self.next_id = count(1).__next__
        self.engine: SimEngine
        self.is_alive = True
        self.is_stopping = False
        self.paused_until = -inf
        self.turns = 0
        self._scheduler = scheduler
        self._network = network
        self._alarm = Alarm(scheduler, self._turn)
        self._second = (-1, 0)
        network.ring[name] = self.ring

    def begin(self, role: Role, timeout: float, hints: bool) -> None:
        """Starts its engine."""
        self.engine = SimEngine(role, self.bell, self.next_id, self.name, self._network, self.rng, timeout, hints)
        self._alarm.set(self._scheduler.now)

    @property
    def now(self) -> float:
        """Its own monotonic time."""
        return self.machine.monotonic()

    @property
    def is_paused(self) -> bool:
        """Stopped by SIGSTOP."""
        return self._scheduler.now < self.paused_until

    def ring(self) -> None:
        """Something has come, or there is work: a turn, soon."""
        if self.is_alive:
            self._alarm.set(max(self._scheduler.now, self.paused_until))

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self.paused_until = max(self.paused_until, self._scheduler.now + seconds)
        self._alarm.set(self.paused_until)

    def kill(self) -> None:
        """SIGKILL."""
        if self.is_alive:
            self.is_alive = False
            self._alarm.cancel()
            self._network.ring.pop(self.name, None)
            self.engine.end()

    def close(self, timeout: float) -> None:
        """Begins a close in good order."""
        self.is_stopping = True
        self.engine.stop_at(self.now + timeout)
        self.ring()

    def _turn(self) -> None:
        if not self.is_alive:
            return
        if self.is_paused:
            self._alarm.set(self.paused_until)
            return
        self._count()
        now = self.now
        if not self.engine.goes_on(now):
            self.kill()
            return
        self.engine.turn(now)
        self.work()
        if self.is_alive:
            self._alarm.set(self.machine.virtual(min(self.engine.wake_at(now), self.wants())))

    def _count(self) -> None:
        self.turns += 1
        second = int(self._scheduler.now)
        self._second = (second, self._second[1] + 1 if self._second[0] == second else 1)
        assert self._second[1] <= TURNS_PER_SECOND, f"{self.name} is busy without end"

    def work(self) -> None:
        """What the application does when the engine has had its turn."""

    def wants(self) -> float:
        """When the application wants to be asked again, by its own clock."""
        return inf
