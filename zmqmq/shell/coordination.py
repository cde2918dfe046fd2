"""Who leads: the port to whatever decides that, and the answer of a broker that stands alone.

A broker asks its coordination three things: who it is, whether it may lead now, and what the cluster looks like. Alone, the data
directory's own identity answers all of them: the lock on the directory is what makes two leaders impossible.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class View(NamedTuple):
    """An immutable picture of the cluster."""

    cluster_id: str
    broker_id: str
    incarnation: int
    leader: str
    """broker_id of the cluster leader."""


class Coordination(Protocol):
    """What the broker needs of its coordination."""

    def start(self) -> View:
        """Registers the broker and returns the first view."""
        ...

    def may_lead(self, now: float) -> bool:
        """Is the lease of leadership good at this moment (monotonic seconds)?"""
        ...

    def stop(self) -> None:
        """Gives every role back."""
        ...


class Standalone:
    """One broker, alone: it leads everything, as long as it holds its data directory."""

    def __init__(self, cluster_id: str, broker_id: str, incarnation: int) -> None:
        self._view = View(cluster_id, broker_id, incarnation, broker_id)
        self._started = False

    def start(self) -> View:
        self._started = True
        return self._view

    def may_lead(self, now: float) -> bool:
        return self._started

    def stop(self) -> None:
        self._started = False
