"""The weather: how bad the network is at the moment, between whom.

A cut is directed: what goes from one party to another does not arrive, while the way back may be open, as with a broken route or firewall.
Parties are clients, brokers and the tree; `EVERYBODY` stands for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

SLOWEST = 2.0
"""Seconds that a frame may take at the worst."""
EVERYBODY = "*"
TREE = "tree"
"""The servers that keep the tree, as a party of the network."""


class Weather:
    """What holds at the moment."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._cuts: dict[tuple[str, str], int] = {}
        self.on_change: list[Callable[[], None]] = []
        """Called when a cut begins or ends."""
        self.calms = 0
        """How often it has cleared up: cuts from before need no mend."""
        self.slow = 0.0
        """Share of frames that take up to SLOWEST."""
        self.hints_lost = 0.0
        """Share of hints that never arrive."""
        self.wrong_obituaries = 0.0
        """Share of broken connections between brokers after which a living process is taken for dead."""

    # --- cuts --------------------------------------------------------------------------------------------------------

    def cut(self, sender: str, receiver: str) -> None:
        """Nothing of the sender reaches the receiver any more; several cuts of one pair need as many mends."""
        self._cuts[sender, receiver] = self._cuts.get((sender, receiver), 0) + 1
        self._tell()

    def mend(self, sender: str, receiver: str) -> None:
        """One cut less."""
        left = self._cuts.get((sender, receiver), 0) - 1
        if left > 0:
            self._cuts[sender, receiver] = left
        else:
            self._cuts.pop((sender, receiver), None)
        self._tell()

    def _tell(self) -> None:
        for hear in self.on_change:
            hear()

    def cut_off(self, party: str) -> None:
        """Nobody is reached by the party, and nobody reaches it."""
        self.cut(party, EVERYBODY)
        self.cut(EVERYBODY, party)

    def take_back(self, party: str) -> None:
        """Ends `cut_off`."""
        self.mend(party, EVERYBODY)
        self.mend(EVERYBODY, party)

    def passes(self, sender: str, receiver: str) -> bool:
        """Whether what is sent now arrives."""
        if not self._cuts:
            return True
        return not any(pair in self._cuts for pair in ((sender, receiver), (sender, EVERYBODY), (EVERYBODY, receiver)))

    def connects(self, one: str, other: str) -> bool:
        """Whether the two can make a connection: that takes both directions."""
        return self.passes(one, other) and self.passes(other, one)

    def clear(self) -> None:
        """The sun shines."""
        self._cuts.clear()
        self.calms += 1
        self._tell()
        self.slow = self.hints_lost = self.wrong_obituaries = 0.0

    # --- chances -----------------------------------------------------------------------------------------------------

    def delay(self) -> float:
        """Seconds that the next frame takes."""
        if self._rng.random() < self.slow:
            return self._rng.uniform(0.0, SLOWEST)
        return self._rng.uniform(0.0001, 0.003)

    def hint_copies(self) -> int:
        """How many copies of a hint arrive."""
        if self._rng.random() < self.hints_lost:
            return 0
        return 2 if self._rng.random() < 0.05 else 1

    def is_obituary_wrong(self) -> bool:
        """Whether a living process is taken for dead this time."""
        return self.wrong_obituaries > 0 and self._rng.random() < self.wrong_obituaries
