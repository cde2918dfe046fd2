"""What the cluster leader clears away after deleted topics: the records of their partitions at once, their tombstones after a long time.

A tombstone tells brokers that were away that a topic's data may be thrown away, so it stays for `TOMBSTONE_KEPT`: a broker that stays away for longer
keeps the data of a topic that nobody knows any more, until somebody removes them by hand. Tombstones without a date, and what is no
tombstone at all, stay for ever: whoever wrote them may need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf

from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.layout import Tombstone
from zmqmq.core.tree import Answer, Change, Children, Delete, List, Node, Outlet, Read, Step

TOMBSTONE_KEPT = 30 * 86400.0
"""Seconds for which a deleted topic's tombstone is kept."""
SWEEP_INTERVAL = 3600.0
"""Seconds between two looks at all tombstones."""
STEP_INTERVAL = 1.0
"""Seconds between two steps of one look."""
STEPS_MAX = 99
"""Tombstones read in one step, and nodes deleted by one change."""


class Cleaning:
    """The cluster leader's broom. `change` makes a change that is refused when the office has been lost."""

    def __init__(self, outlet: Outlet, change: Callable[[Iterable[Step]], Change]) -> None:
        self._outlet = outlet
        self._change = change
        self._term = 0
        """Answers to what was asked in an earlier term of office do not count."""
        self._cleaning: set[int] = set()
        self._after = -1
        """Topic id up to which the present look at tombstones has come."""
        self._next_step = 0.0
        self._wall = 0.0

    def forget(self) -> None:
        """The office is gone."""
        self._term += 1
        self._cleaning.clear()
        self._after = -1
        self._next_step = 0.0

    def deadline(self, view: ClusterView) -> float:
        """When `bury` has something to do."""
        return self._next_step if view.deleted else inf

    # --- partitions ------------------------------------------------------------------------------------------------------

    def clear(self, view: ClusterView) -> None:
        """The records of deleted topics' partitions go; their tombstones stay for brokers that come back later."""
        for topic_id in sorted((view.part_topics & view.deleted) - view.topics_by_id.keys() - self._cleaning):
            self._cleaning.add(topic_id)
            self._ask_parts(topic_id)

    def _ask_parts(self, topic_id: int) -> None:
        term = self._term
        self._outlet.ask(List(layout.parts_path(topic_id)), lambda answer: self._clear_parts(topic_id, answer) if term == self._term else None)

    def _clear_parts(self, topic_id: int, answer: Answer) -> None:
        """Whatever comes of it, the next change of the view begins anew."""
        parent, term = layout.parts_path(topic_id), self._term
        paths = [*(f"{parent}/{name}" for name in answer.names), parent] if isinstance(answer, Children) else []
        if not paths:
            self._cleaning.discard(topic_id)
        for start in range(0, len(paths), STEPS_MAX):
            is_last = start + STEPS_MAX >= len(paths)
            change = self._change([Delete(path) for path in paths[start : start + STEPS_MAX]])
            self._outlet.ask(change, lambda _, is_last=is_last: self._cleaning.discard(topic_id) if is_last and term == self._term else None)  # type: ignore[misc]

    # --- tombstones ------------------------------------------------------------------------------------------------------

    def bury(self, view: ClusterView, now: float, wall: float) -> None:
        """Looks at the next few tombstones when it is time. `wall` is broker time, seconds since 1970 UTC."""
        if not view.deleted or now < self._next_step:
            return
        self._wall = wall
        ids = sorted(topic_id for topic_id in view.deleted if topic_id > self._after)[:STEPS_MAX]
        self._after = ids[-1] if len(ids) == STEPS_MAX else -1
        self._next_step = now + (STEP_INTERVAL if self._after >= 0 else SWEEP_INTERVAL)
        term = self._term
        for path in self._removable(view, ids):
            self._outlet.ask(Read(path), lambda answer, path=path: self._look(path, answer) if term == self._term else None)  # type: ignore[misc]

    @staticmethod
    def _removable(view: ClusterView, ids: Sequence[int]) -> list[str]:
        return [layout.deleted_path(topic_id) for topic_id in ids if topic_id not in view.part_topics and topic_id not in view.topics_by_id]

    def _look(self, path: str, answer: Answer) -> None:
        tombstone = layout.decode(path, answer.data, Tombstone) if isinstance(answer, Node) else None
        if isinstance(answer, Node) and isinstance(tombstone, Tombstone) and 0 < tombstone.deleted <= self._wall - TOMBSTONE_KEPT:
            self._outlet.ask(self._change([Delete(path, answer.version)]), _whatever)


def _whatever(answer: Answer) -> None:
    """What could not be deleted is there at the next look."""
