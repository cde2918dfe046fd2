"""Asking one broker for messages: one Pull is outstanding at a time; a broker with nothing to give lets the consumer sleep.

It wakes on its own wake-up, on a beacon that shows a queue of its own with a newer version, or when beacons fail to come. All of these are hints.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import inf

from zmqmq.core.commands import Beacon, Empty, Pull, Welcome

BEACON_JITTER = 0.3
"""Seconds, at most, that are added to the beacon's interval before its absence counts."""
SILENT_INTERVALS = 1.5
"""Beacon intervals without an answer to a Pull after which the broker is in doubt."""
MAX_PULL_BYTES = 4 << 20
"""Bytes that one Pull asks for, at most."""


class Puller:
    """The pulls of one session with one broker. Times are seconds of any monotonic clock."""

    def __init__(self, welcome: Welcome, random: Callable[[], float], turn: int) -> None:
        """`turn`: the last one that was used before."""
        self.turn = turn
        self.credit = 0
        """Messages that the outstanding pull asks for, 0 without one."""
        self.pulled_at: float | None = None
        self.asleep_until: float | None = None
        self.max_in_flight = welcome.limits.max_in_flight
        self.is_starved = False
        """The broker gives no more before something is settled."""
        self.is_in_doubt = False
        """The outstanding pull has waited for long, and others have been asked who leads."""
        self._max_bytes = min(MAX_PULL_BYTES, welcome.limits.max_batch_bytes)
        self._repeat_after = welcome.session_timeout / 3
        self._interval = welcome.beacon_interval
        self._random = random
        self._empty_version = 0

    @property
    def reserved(self) -> int:
        """Messages that are on their way, as far as we may hope."""
        return 0 if self.is_in_doubt else self.credit

    def is_due(self, now: float) -> bool:
        """Whether a pull may go out, if there is room: none is on its way (or for too long), and we do not sleep."""
        if self.pulled_at is not None:
            return now >= self.pulled_at + self._repeat_after
        return self.asleep_until is None or now >= self.asleep_until

    def pull(self, credit: int, now: float) -> Pull:
        """The pull to send; one without an answer is repeated under the same turn."""
        if self.pulled_at is None:
            self.turn += 1
        self.asleep_until = None
        self.pulled_at = now
        self.credit = credit
        return Pull(self.turn, credit, self._max_bytes)

    def delivered(self, turn: int) -> bool:
        """A delivery has come; False if it answers no present pull."""
        if turn != self.turn:
            return False
        self.pulled_at, self.credit = None, 0
        return True

    def sleep(self, command: Empty, now: float, held: int) -> None:
        """There is nothing: sleep. `held`: messages that we hold from this broker."""
        if command.turn != self.turn or self.pulled_at is None:
            return
        self.pulled_at, self.credit = None, 0
        self._empty_version = command.version
        self.asleep_until = now + self._patience()
        self.is_starved = held >= self.max_in_flight

    def wake(self) -> None:
        """There may be something."""
        self.asleep_until = None

    def settled(self) -> None:
        """Something was settled here: there may be room for more."""
        if self.is_starved:
            self.is_starved = False
            self.wake()

    def beacon(self, beacon: Beacon, queues: Collection[int | None], now: float) -> None:
        """The broker's beacon: go on sleeping, or not. `queues`: ours."""
        if self.asleep_until is None:
            return
        if beacon.crowded or any(queue in queues and version > self._empty_version for queue, version in beacon.waiting):
            self.wake()
        else:
            self.asleep_until = now + self._patience()

    def is_silent(self, now: float) -> bool:
        """Whether the outstanding pull has waited for so long that the broker is in doubt; said once for each pull."""
        if self.is_in_doubt or now < self._doubt_at():
            return False
        self.is_in_doubt = True
        return True

    def deadline(self, is_hungry: bool) -> float:
        """When to look again if nothing is heard."""
        if self.pulled_at is not None:
            return min(self.pulled_at + self._repeat_after, inf if self.is_in_doubt else self._doubt_at())
        return self.asleep_until if self.asleep_until is not None and is_hungry else inf

    def _doubt_at(self) -> float:
        return inf if self.pulled_at is None else self.pulled_at + SILENT_INTERVALS * self._interval

    def _patience(self) -> float:
        return self._interval + self._random() * BEACON_JITTER
