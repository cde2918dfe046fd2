"""What an engine works for: a producer, a consumer or an administrator, as the engine sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from zmqmq.core.commands import Beacon, Command, Welcome
from zmqmq.core.topology import Letter
from zmqmq.errors import Unreachable, ZmqmqError


class Role(Protocol):
    """All methods run on the engine's thread; `now` is `time.monotonic()`, `broker` the id of the broker concerned.

    `lines` are the brokers with an open session, those first that are known to be well."""

    def opened(self, broker: str, welcome: Welcome, now: float) -> None:
        """A new session: declare everything that concerns this broker."""

    def down(self, broker: str, reason: Unreachable, gives_up_at: float) -> None:
        """There is no session with this broker now, and at that moment it has surely given up the one that was; "": an attempt to find any broker has
        failed."""

    def hear(self, broker: str, command: Command, now: float) -> None:
        """A command that is not about the session."""

    def woken(self, broker: str) -> None:
        """A wake-up."""

    def beacon(self, broker: str, beacon: Beacon, now: float) -> None:
        """A beacon."""

    def wanted(self) -> Mapping[str, str]:
        """The brokers to have sessions with, by id, and their endpoints."""

    def needs_another(self, lines: Sequence[str]) -> bool:
        """Whether one more broker is needed, whichever it is."""

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        """What to send now, and to whom."""

    def deadline(self, lines: Sequence[str]) -> float:
        """When to step again if nothing happens."""

    def is_quiet(self) -> bool:
        """Nothing is left to do before a goodbye."""

    def fail(self, error: ZmqmqError) -> None:
        """Everything that waits ends with `error`."""
