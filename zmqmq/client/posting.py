"""The producer's role on the engine: carries parcels from the gathering to `Producing`, and outcomes back to whoever waits."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from math import inf

from zmqmq.client.bell import Bell
from zmqmq.client.engine import Engine
from zmqmq.client.gathering import Gathering
from zmqmq.core.commands import Beacon, Command, Welcome
from zmqmq.core.model import Limits
from zmqmq.core.parcel import Parcel
from zmqmq.core.producing import Producing
from zmqmq.core.topology import Letter
from zmqmq.errors import ClosedError, Unreachable, ZmqmqError

TAKE_INTERVAL = 0.25
"""Seconds after which parcels are taken even if they cannot travel, so that they can run out of time."""
UNKNOWN_LIMITS = Limits(max_message_bytes=64 << 20, max_batch_bytes=128 << 20, max_key_bytes=65536, max_headers_bytes=1 << 20, max_delay=inf)
"""What is checked before the first welcome: only what no broker accepts."""
MAX_UNSEEN_FAILURES = 1000
"""Failed parcels remembered for the next flush."""


class Posting:
    """One producer's work. Methods of the role run on the engine's thread, the others on any."""

    def __init__(self, gathering: Gathering, bell: Bell, producer: int, delivery_timeout: float, create: bool, next_id: Callable[[], int]) -> None:
        self.limits = UNKNOWN_LIMITS
        """As the broker last announced them."""
        self._gathering = gathering
        self._bell = bell
        self._engine: Engine | None = None
        self._producing = Producing(producer, next_id, random.random, delivery_timeout, create)
        self._inside: dict[Parcel, None] = {}
        self._failures: dict[Parcel, ZmqmqError] = {}
        self._taken_at = -inf

    def attach(self, engine: Engine) -> None:
        """The engine that this works on; before anything else."""
        self._engine = engine

    # --- For the producer and its receipts -----------------------------------------------------------------------

    def wait_resolved(self, parcel: Parcel, index: int, timeout: float | None) -> None:
        """Waits until the message has an outcome. Raises DeadlineExceeded or Unreachable."""
        if parcel.is_resolved(index):
            return
        engine = self._engine_now()
        with self._bell.lock:
            is_resolved = self._bell.wait_for(lambda: parcel.is_resolved(index) or engine.trouble is not None, timeout)
        if not parcel.is_resolved(index):
            engine.check()
        if not is_resolved:
            raise engine.explain("confirming the message")

    def observed(self, parcel: Parcel) -> None:
        """Somebody has seen that messages of this parcel failed."""
        self._failures.pop(parcel, None)

    def flush(self, timeout: float | None) -> None:
        """Waits for an outcome of everything there is now; raises the first failure that nobody has seen."""
        is_flushed = self.flushed()
        with self._bell.lock:
            is_done = self._bell.wait_for(is_flushed, timeout)
        self.after_flush(is_done)

    def flushed(self) -> Callable[[], bool]:
        """A question to ask again and again: has everything that there is now got an outcome?"""
        engine = self._engine_now()
        with self._bell.lock:
            pending = [*self._inside, *self._gathering.waiting()]
        engine.call()
        return lambda: engine.trouble is not None or not any(_is_pending(parcel) for parcel in pending)

    def after_flush(self, is_done: bool) -> None:
        """Raises what a flush has to raise."""
        with self._bell.lock:
            failures, self._failures = self._failures, {}
        if not is_done:
            raise self._engine_now().explain("flushing")
        if failures:
            raise next(iter(failures.values()))

    def obstacle(self) -> ZmqmqError | None:
        """What holds messages up now."""
        return self._producing.obstacle

    def _engine_now(self) -> Engine:
        assert self._engine is not None, "a producer attaches its engine first"
        return self._engine

    # --- The role ------------------------------------------------------------------------------------------------

    def opened(self, broker: str, welcome: Welcome, now: float) -> None:
        self.limits = welcome.limits
        self._producing.opened(broker, welcome.limits)

    def down(self, broker: str, reason: Unreachable, gives_up_at: float) -> None:
        """Sequences outlive sessions: nothing is lost."""
        self._producing.obstacle = reason
        self._producing.down(broker)

    def hear(self, broker: str, command: Command, now: float) -> None:
        self._producing.hear(command, now)

    def woken(self, broker: str) -> None:
        """Producers do not sleep."""

    def beacon(self, broker: str, beacon: Beacon, now: float) -> None:
        """Producers do not sleep."""

    def wanted(self) -> Mapping[str, str]:
        return self._producing.wanted()

    def needs_another(self, lines: Sequence[str]) -> bool:
        return self._producing.needs_another(lines)

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        everything = now >= self._taken_at + TAKE_INTERVAL
        if everything or lines:
            self._take(now, everything)
        letters = self._producing.step(now, lines)
        if self._producing.completed:
            self._conclude()
        return letters

    def deadline(self, lines: Sequence[str]) -> float:
        if self._gathering.is_empty:
            return self._producing.deadline()
        return min(self._producing.deadline(), self._taken_at + TAKE_INTERVAL)

    def is_quiet(self) -> bool:
        return self._gathering.is_empty and not self._producing.unresolved

    def fail(self, error: ZmqmqError) -> None:
        for parcel in self._gathering.take(lambda topic: 0, True):
            self._add(parcel)
        self._producing.fail(error)
        self._finish(not isinstance(error, ClosedError))

    # --- Details -------------------------------------------------------------------------------------------------

    def _take(self, now: float, everything: bool) -> None:
        with self._bell.lock:
            if self._gathering.is_empty:
                self._taken_at = now
                return
            if everything:
                self._taken_at = now
            for parcel in self._gathering.take(self._producing.load, everything):
                self._add(parcel)

    def _add(self, parcel: Parcel) -> None:
        self._inside[parcel] = None
        self._producing.add(parcel)

    def _conclude(self) -> None:
        with self._bell.lock:
            self._finish(True)
            self._bell.ring()

    def _finish(self, remember: bool) -> None:
        completed, self._producing.completed = self._producing.completed, []
        for parcel in completed:
            self._gathering.done(parcel)
            self._inside.pop(parcel, None)
            error = parcel.error or next((part.error for part in parcel.parts if part.error is not None), None)
            if error is not None and remember and len(self._failures) < MAX_UNSEEN_FAILURES:
                self._failures[parcel] = error


def _is_pending(parcel: Parcel) -> bool:
    return parcel.error is None and (not parcel.parts or parcel.unresolved > 0)
