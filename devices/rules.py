"""What controllers do about a reading: one threshold rule per kind, told in a few words."""

from __future__ import annotations

from collections.abc import Callable

from zmqmq.config import RulesConfig

Rule = Callable[[float], str]


class Rules:
    """The rules of one controller. A reading of a kind without a rule is noted and nothing else."""

    def __init__(self, limits: RulesConfig) -> None:
        self._limits = limits
        self._rules: dict[str, Rule] = {"temp": self._temp, "humidity": self._humidity, "pressure": self._pressure, "motion": self._motion}

    def act(self, kind: str, text: str) -> str:
        """Does what the reading asks for and says so. A reading that is no number raises ValueError: nothing can be done about it."""
        return self._rules.get(kind, self._note)(float(text))

    def _temp(self, value: float) -> str:
        if value > self._limits.temp_high:
            return f"cooling on (above {self._limits.temp_high:g})"
        if value < self._limits.temp_low:
            return f"heating on (below {self._limits.temp_low:g})"
        return "heating and cooling off"

    def _humidity(self, value: float) -> str:
        if value > self._limits.humidity_high:
            return f"ventilation on (above {self._limits.humidity_high:g})"
        if value < self._limits.humidity_low:
            return f"humidifier on (below {self._limits.humidity_low:g})"
        return "air is fine"

    def _pressure(self, value: float) -> str:
        return f"storm warning (below {self._limits.pressure_low:g})" if value < self._limits.pressure_low else "no storm in sight"

    def _motion(self, value: float) -> str:
        return "light on" if value else "light off"

    def _note(self, value: float) -> str:
        return "noted"
