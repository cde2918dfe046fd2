"""What waits for the application, and how much more to ask for.

The credit follows the application: it doubles while the buffer is emptied fast and halves when messages wait in it.
"""

from __future__ import annotations

from collections import deque

from zmqmq.core.held import BUFFERED, HANDED, Held

FIRST_CREDIT = 32
"""Messages that the first pulls ask for."""
STALE_AFTER = 0.5
"""Seconds in the buffer after which the consumer has asked for too much."""


class Buffer:
    """Messages in the order of their arrival, in their leases."""

    def __init__(self, prefetch: int) -> None:
        """`prefetch` is the most messages that are asked for."""
        self.credit = min(FIRST_CREDIT, prefetch)
        """Messages that may wait here and be on their way."""
        self.count = 0
        """Messages that wait."""
        self._prefetch = prefetch
        self._waiting: deque[Held] = deque()

    def add(self, held: Held) -> None:
        """A lease has arrived."""
        self._waiting.append(held)
        self.count += held.buffered()

    def take(self, limit: int) -> list[tuple[Held, int]]:
        """Up to `limit` messages, handed out by this."""
        taken: list[tuple[Held, int]] = []
        while self._waiting and len(taken) < limit:
            held = self._waiting[0]
            states = held.states
            stop = min(len(states), held.next + limit - len(taken))
            for index in range(held.next, stop):
                if states[index] == BUFFERED:
                    states[index] = HANDED
                    taken.append((held, index))
            held.next = stop
            if stop == len(states):
                self._waiting.popleft()
        self.count -= len(taken)
        return taken

    def empty(self) -> list[Held]:
        """The leases of which something waits; they do not wait any more."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def recount(self) -> None:
        """Messages have changed their state."""
        self.count = sum(held.buffered() for held in self._waiting)

    def adapt(self, now: float) -> None:
        """Asks for more next time if the application has emptied the buffer, for less if messages grow old in it."""
        if not self._waiting:
            self.credit = min(self._prefetch, self.credit * 2)
        elif now - self._waiting[0].arrived > STALE_AFTER:
            self.credit = max(1, self.credit // 2)
