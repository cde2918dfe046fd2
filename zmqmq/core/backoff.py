"""How long to wait before trying again: exponential, with full jitter, so that a crowd of clients does not return as one.

The randomness is injected: a simulator passes its own.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_RETRY_DELAY = 0.1
"""Seconds; no wait is shorter."""
MAX_RETRY_DELAY = 5.0
"""Seconds; no wait is longer."""


class Backoff:
    """The waits between the attempts at one thing."""

    __slots__ = ("_attempts", "_cap", "_first", "_random")

    def __init__(self, random: Callable[[], float], first: float = FIRST_RETRY_DELAY, cap: float = MAX_RETRY_DELAY) -> None:
        """`random` gives numbers in [0, 1); `first` and `cap` are seconds."""
        self._random = random
        self._first = first
        self._cap = cap
        self._attempts = 0

    def next(self) -> float:
        """Seconds to wait now: evenly between `first` and a ceiling that doubles each time up to `cap`."""
        ceiling = min(self._cap, self._first * (1 << min(self._attempts, 16)))
        self._attempts += 1
        return self._first + self._random() * (ceiling - self._first)

    def reset(self) -> None:
        """It worked: the next wait is a first one again."""
        self._attempts = 0
