"""What sensors measure: believable values, one after the other.

Each kind is a random walk that is pulled back towards its usual value, so that a temperature drifts like a
temperature and does not jump; motion is a coin that rarely shows heads.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple


class Kind(NamedTuple):
    """How one quantity behaves. Values are in `unit`."""

    unit: str
    usual: float
    low: float
    high: float
    step: float
    """Standard deviation of the change from one reading to the next."""
    decimals: int


KINDS: dict[str, Kind] = {
    "temp": Kind("C", 21.5, -10.0, 45.0, 1.2, 1),
    "humidity": Kind("%", 48.0, 0.0, 100.0, 3.0, 1),
    "pressure": Kind("hPa", 1013.0, 950.0, 1050.0, 1.5, 1),
    "motion": Kind("bool", 0.2, 0.0, 1.0, 0.0, 0),
}
PULL = 0.1
"""Part of the distance to the usual value that each step takes back."""


class Gauge:
    """One sensor's instrument."""

    def __init__(self, name: str, random: Random) -> None:
        """`name` is one of KINDS."""
        self.kind = KINDS[name]
        self._random = random
        self._value = self.kind.usual

    def read(self) -> str:
        """The next value as text, e.g. "21.5"; motion is "1" or "0"."""
        kind = self.kind
        if kind.unit == "bool":
            return "1" if self._random.random() < kind.usual else "0"
        drift = self._random.gauss(0.0, kind.step) + PULL * (kind.usual - self._value)
        self._value = min(kind.high, max(kind.low, self._value + drift))
        return f"{self._value:.{kind.decimals}f}"
