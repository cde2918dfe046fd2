"""What the suite of the tree runs on: a model, and a real ZooKeeper server. Both let time pass in their own way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tests.fakes.memory_tree import MemoryTree, instant
from tests.system.ensemble import Ensemble
from zmqmq.config_cluster import ZooKeeperConfig
from zmqmq.core.tree import Answer, Answered, Change, Changed, Connected, Event, Request, Step, Tree
from zmqmq.shell.zookeeper import ZooKeeperTree

LOOKS = 600
"""How often a test looks for what it waits for, 0.05 s apart."""
LOOK = 0.05
TIMEOUT = 2.0
"""Seconds that the sessions of the tests last."""
Kind = TypeVar("Kind")


class Seat:
    """Somebody at a tree: asks, and remembers what has happened."""

    def __init__(self, tree: Tree, let_pass: Callable[[], object]) -> None:
        self.tree = tree
        self.events: list[Event] = []
        self._let_pass = let_pass
        self._last = 0

    def look(self) -> None:
        self.events += self.tree.take_events()

    def until(self, found: Callable[[], object], what: str) -> None:
        for _ in range(LOOKS):
            self.look()
            if found():
                return
            self._let_pass()
        raise AssertionError(f"never: {what}; so far {self.events}")

    def wait(self, kind: type[Kind], after: int = 0) -> Kind:
        """The first event of the kind from the position `after` on."""
        self.until(lambda: any(isinstance(event, kind) for event in self.events[after:]), kind.__name__)
        return next(event for event in self.events[after:] if isinstance(event, kind))

    def ask_all(self, *requests: Request) -> list[int]:
        """Submits; returns the numbers."""
        numbered = [(self._last + place + 1, request) for place, request in enumerate(requests)]
        self._last += len(requests)
        self.tree.submit(numbered)
        return [number for number, _ in numbered]

    def answers(self, numbers: list[int]) -> list[Answer]:
        """The answers to all of them, in the order of the questions; each is there once."""
        self.until(lambda: {event.request for event in self.events if isinstance(event, Answered)} >= set(numbers), f"answers to {numbers}")
        heard = [event for event in self.events if isinstance(event, Answered) and event.request in numbers]
        assert [event.request for event in heard] == numbers
        return [event.answer for event in heard]

    def ask(self, request: Request) -> Answer:
        return self.answers(self.ask_all(request))[0]

    def do(self, *steps: Step) -> Changed:
        """A change that must succeed."""
        answer = self.ask(Change(steps))
        assert isinstance(answer, Changed), answer
        return answer


class Rig(Protocol):
    def seat(self) -> Seat:
        """A connected session."""
        ...

    def starting(self) -> Seat:
        """One that has begun to connect."""
        ...

    def freeze(self) -> None:
        """What is asked from now on stays unanswered."""
        ...

    def down(self) -> None:
        """The servers are gone."""
        ...

    def up(self) -> None:
        """They are back, with all that they had."""
        ...

    def expire(self, seat: Seat) -> None:
        """The servers end a session."""
        ...

    def close(self) -> None: ...


class MemoryRig:
    def __init__(self) -> None:
        self.timeline, self.ensemble = instant()
        self._trees: list[MemoryTree] = []

    def starting(self) -> Seat:
        tree = MemoryTree(self.ensemble, timeout=TIMEOUT)
        self._trees.append(tree)
        tree.start(_nothing)
        return Seat(tree, lambda: self.timeline.advance(LOOK))

    def seat(self) -> Seat:
        seat = self.starting()
        seat.wait(Connected)
        return seat

    def freeze(self) -> None:
        for tree in self._trees:
            tree.delay = 1000.0

    def down(self) -> None:
        for tree in self._trees:
            tree.delay = 0.0
        self.ensemble.down()

    def up(self) -> None:
        self.ensemble.up()

    def expire(self, seat: Seat) -> None:
        assert isinstance(seat.tree, MemoryTree)
        seat.tree.expire()

    def close(self) -> None:
        for tree in self._trees:
            tree.stop()


class ZooKeeperRig:
    def __init__(self, ensemble: Ensemble, cluster: str) -> None:
        self.ensemble, self.cluster = ensemble, cluster
        self._trees: list[ZooKeeperTree] = []

    def starting(self) -> Seat:
        tree = ZooKeeperTree(ZooKeeperConfig(hosts=self.ensemble.hosts, session_timeout_seconds=TIMEOUT), self.cluster)
        self._trees.append(tree)
        woken = threading.Event()
        tree.start(woken.set)

        def let_pass() -> None:
            woken.wait(LOOK)
            woken.clear()

        return Seat(tree, let_pass)

    def seat(self) -> Seat:
        seat = self.starting()
        seat.wait(Connected)
        return seat

    def freeze(self) -> None:
        self.ensemble.servers[0].signal(signal.SIGSTOP)

    def down(self) -> None:
        self.ensemble.stop_server(0)

    def up(self) -> None:
        self.ensemble.start_server(0)
        self.ensemble.wait_ready()

    def expire(self, seat: Seat) -> None:
        """Whoever knows a session's password may end it."""
        from kazoo.client import KazooClient

        own: Any = seat.tree
        other = KazooClient(hosts=self.ensemble.hosts, client_id=own._client.client_id, timeout=TIMEOUT)
        other.start()
        other.stop()
        other.close()

    def close(self) -> None:
        for tree in self._trees:
            tree.stop()


def _nothing() -> None:
    """Nobody has to be woken where time passes by hand."""
