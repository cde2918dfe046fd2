"""Asks for the status of a cluster again and again, of each broker that runs and of all by an administrator's client, while brokers are killed and started.

Use it in a `with` block; brokers are killed and started through it, so that it knows. At the end every answer is looked at for lies.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from tests.system.cluster import SLOW, ClusterProcesses
from tests.system.cluster_truth import ADMIN, Lives, Said, behind, concerns, contradictions, lies
from tests.system.processes import eventually
from zmqmq import Admin

SESSION = 4.0
"""Seconds that a session lasts: the longest that silence takes to be noticed, and dead brokers are noticed earlier."""
NOTICE = 2 * SESSION
"""Seconds after which no status may count a dead broker: twice what it should take, for a busy machine."""
HOLD = SESSION + 1.0
"""Seconds for which a status has to stay true: what the end of a dead broker's session changes lies in between."""
PAUSE = 0.1
"""Seconds between two rounds of questions."""


class StatusWatch:
    """What was said, and what was done meanwhile."""

    def __init__(self, cluster: ClusterProcesses, topics: Mapping[str, int]) -> None:
        """`topics`: replicas of each topic; there are no others."""
        self.cluster, self._topics = cluster, topics
        self.said: list[Said] = []
        self._failures: list[str] = []
        self._lives = Lives()
        self._running = {name for name, member in cluster.members.items() if member.is_running}
        for name in self._running:
            self._lives.begin(name, 0.0)
        self._admin = Admin(cluster.brokers)
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=[source], daemon=True) for source in [*cluster.members, ADMIN]]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._admin.close()
        if kind is None:
            assert self._failures == []
            found = lies(sorted(self.said, key=lambda one: one.span), self._lives, NOTICE)
            assert found == [], found[:10]

    # --- what is done --------------------------------------------------------------------------------------------------

    def kill(self, *brokers: str) -> None:
        """As the cluster's."""
        self._running = self._running - {*brokers}
        self.cluster.kill(*brokers)
        for name in brokers:
            self._lives.end(name, time.monotonic())

    def start(self, *brokers: str) -> None:
        """As the cluster's."""
        for name in brokers:
            self._lives.begin(name, time.monotonic())
        self.cluster.start(*brokers)
        self._running = self._running | {*brokers}

    # --- what is said --------------------------------------------------------------------------------------------------

    def _watch(self, source: str) -> None:
        while not self._end.wait(PAUSE):
            asked, running = time.monotonic(), self._running
            try:
                report = self._admin.cluster() if source == ADMIN else self.cluster.report(source) if source in running else None
            except Exception as error:  # whatever it is: a person who asks would see it
                if running & self._running:
                    self._failures.append(f"{type(error).__name__} while {sorted(running)} run: {error}")
                continue
            if report is not None:
                self.said.append(Said(source, (asked, time.monotonic()), report))

    def becomes_true(self) -> None:
        """Waits until every source tells the truth about who runs now, and demands that each of them goes on doing so; then the command line has to."""
        began, sources = time.monotonic(), {*self._running, ADMIN}
        told: dict[str, tuple[float, list[str]]] = {}

        def look() -> bool:
            told.update(self._first_truths(began))
            return {source for source, (_, wrong) in told.items() if not wrong} == sources

        try:
            eventually(look, f"all tell that {sorted(self._running)} run", SLOW)
        except AssertionError as error:
            raise AssertionError(f"{error}: {told}") from None
        self._stays_true({source: when for source, (when, _) in told.items()})
        self._command_line_is_right()

    def _first_truths(self, since: float) -> dict[str, tuple[float, list[str]]]:
        """When each source first told the truth, or what was wrong with its last answer."""
        found: dict[str, tuple[float, list[str]]] = {}
        for one in [one for one in self.said if one.span[0] >= since]:
            if one.source not in found or found[one.source][1]:
                found[one.source] = (one.span[1], self._wrong(one) + behind(one.report, self._running))
        return found

    def _wrong(self, one: Said) -> list[str]:
        return contradictions(one.report, self._topics, self._running)

    def _stays_true(self, since: Mapping[str, float]) -> None:
        until = max(since.values()) + HOLD
        eventually(lambda: {one.source for one in self.said if one.span[0] >= until} >= since.keys(), f"all have told for {HOLD:g} s", SLOW)
        later = [one for one in self.said if one.source in since and one.span[0] > since[one.source] and one.report.connected]
        changed = [(one.source, one.span, wrong) for one in later if (wrong := self._wrong(one))]
        assert changed == [], f"it was true at {since}, and then: {changed[:5]}"

    def _command_line_is_right(self) -> None:
        """`zmqmq cluster status` at one broker that runs names all that is wrong and nothing else, and its exit code says whether anything is."""
        asked = self.cluster.members[min(self._running)].endpoint
        code = 0 if len(self._running) == len(self.cluster.members) else 1
        program = self.cluster.programs.command(asked, "cluster", "status", "--json", expect=code)
        shown: dict[str, Any] = json.loads(program.text)
        wanted = concerns(self.said[-1].report, self._running)
        assert {(concern["level"], concern["what"]) for concern in shown["concerns"]} == wanted
        assert shown["healthy"] == (not wanted)
