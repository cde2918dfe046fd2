"""Where brokers can be found: the endpoints that the client was given, and those that brokers have told it.

A broker that was reached through an endpoint that the client was given is dialled there again (it may stand behind a proxy), as long as it
advertises the same address; else it is dialled at the address that it advertises.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from math import inf

from zmqmq.core.backoff import Backoff
from zmqmq.errors import Unreachable

FIRST_REDIAL_DELAY = 0.02
"""Seconds after which a broken line is dialled again."""
MAX_REDIAL_DELAY = 5.0
"""Seconds between two attempts at one broker, at most."""
KNOWN_MAX = 256
"""Endpoints that are remembered."""


class _Attempts:
    """The attempts at one broker, or at any."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.backoff = Backoff(random, FIRST_REDIAL_DELAY, MAX_REDIAL_DELAY)
        self.redial_at = -inf


class EndpointBook:
    """All endpoints, how they did, and when to try again."""

    def __init__(self, given: tuple[str, ...], random: Callable[[], float]) -> None:
        """`given`: those of the configuration; they are tried from a random one on, so that a crowd of clients spreads."""
        first = int(random() * len(given))
        self._given = given[first:] + given[:first]
        self._random = random
        self._told: dict[str, str] = {}
        self._reached: dict[str, tuple[str, str]] = {}
        self._failed: dict[str, float] = {}
        self._reasons: dict[str, str] = dict.fromkeys(given, "not tried yet")
        self._attempts: dict[str, _Attempts] = {}

    def told(self, brokers: Mapping[str, str]) -> None:
        """Brokers and the endpoints that they advertise. These are known from now on; of others those that were told last stay."""
        if self._told.items() >= brokers.items():
            return
        for broker, endpoint in brokers.items():
            self._told.pop(broker, None)
            self._told[broker] = endpoint
        while len(self._told) > max(KNOWN_MAX, len(brokers)):
            del self._told[next(iter(self._told))]

    def endpoint_of(self, broker: str) -> str:
        """Where to dial a broker that was told."""
        for endpoint, (reached, told) in self._reached.items():
            if reached == broker and told in ("", self._told[broker]):
                return endpoint
        return self._told[broker]

    def next(self, now: float, taken: Container[str], brokers: Container[str]) -> str | None:
        """Where to look for any broker now. `taken`: endpoints that are in use; `brokers`: those that are reached or dialled already."""
        candidates = self._candidates(taken, brokers)
        untried = [endpoint for endpoint in candidates if endpoint not in self._failed]
        if untried:
            return untried[0]
        if not candidates or now < self.redial_at(""):
            return None
        return min(candidates, key=lambda endpoint: self._failed[endpoint])

    def look_at(self, taken: Container[str], brokers: Container[str]) -> float:
        """When `next` has an answer, if nothing changes; inf if it never has."""
        candidates = self._candidates(taken, brokers)
        if not candidates:
            return inf
        return self.redial_at("") if all(endpoint in self._failed for endpoint in candidates) else -inf

    def _candidates(self, taken: Container[str], brokers: Container[str]) -> list[str]:
        theirs = {self.endpoint_of(broker) for broker in self._told if broker in brokers}
        others = [self.endpoint_of(broker) for broker in self._told if broker not in brokers]
        return [endpoint for endpoint in dict.fromkeys((*self._given, *others)) if endpoint not in taken and endpoint not in theirs]

    def redial_at(self, broker: str) -> float:
        """When to dial a broker (again); "": any."""
        attempts = self._attempts.get(broker)
        return attempts.redial_at if attempts is not None else -inf

    def opened(self, endpoint: str, broker: str) -> None:
        """A broker has answered."""
        if endpoint in self._given:
            self._reached[endpoint] = (broker, self._told.get(broker, ""))
        self._failed.pop(endpoint, None)
        self._attempts.pop("", None)
        self._attempts.pop(broker, None)

    def failed(self, endpoint: str, broker: str, reason: str, now: float, was_open: bool = False) -> None:
        """An attempt, or a line, has come to an end. `broker`: whom it was for, "" for any; `was_open`: it had been welcomed."""
        self._failed.pop(endpoint, None)
        self._failed[endpoint] = now
        self._reasons.pop(endpoint, None)
        self._reasons[endpoint] = reason
        while len(self._reasons) > KNOWN_MAX:
            del self._reasons[next(iter(self._reasons))]
        for whom in (broker, "") if was_open and broker else (broker,):
            attempts = self._attempts.setdefault(whom, _Attempts(self._random))
            attempts.redial_at = now + attempts.backoff.next()

    def unreachable(self) -> Unreachable:
        """Every endpoint with the reason why it is of no use."""
        return Unreachable("no broker answered", hint="the client keeps trying", **self._reasons)
