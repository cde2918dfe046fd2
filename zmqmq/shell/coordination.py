"""Who leads: the port to whatever decides that, and the answer of a broker that stands alone.

A broker asks its coordination who it is and what the cluster looks like. Alone, the data directory's own identity answers both: the lock on
the directory is what makes two leaders impossible.
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

    def stop(self) -> None:
        """Gives every role back."""
        ...


class Standalone:
    """One broker, alone: it leads everything, as long as it holds its data directory."""

    def __init__(self, cluster_id: str, broker_id: str, incarnation: int) -> None:
        self._view = View(cluster_id, broker_id, incarnation, broker_id)

    def start(self) -> View:
        return self._view

    def stop(self) -> None:
        """Nobody else has to know."""
