"""A model of a ZooKeeper ensemble: the true tree with its history, and the sessions, whose end it decides alone.

The tree's history is kept as far back as somebody may still read it: a broker's connection sees the tree as it was at some
transaction, which never goes back. Time is what `now` says and `schedule(delay, act)` brings; chance is what `rng` gives. Nothing else.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from zmqmq.core.tree import ANY_VERSION, Changed, Check, Create, Delete, Node, Put, Refusal, Step

Schedule = Callable[[float, Callable[[], None]], None]


class Timeline:
    """Virtual time for plain tests: what is due is done at once, what is later waits for `advance`."""

    def __init__(self) -> None:
        self._now = 0.0
        self._count = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._running = False

    def now(self) -> float:
        return self._now

    def schedule(self, delay: float, act: Callable[[], None]) -> None:
        """Does `act` in `delay` seconds; never within the call of something else that was scheduled."""
        self._count += 1
        heapq.heappush(self._heap, (self._now + max(delay, 0.0), self._count, act))
        self._run(self._now)

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self._run(self._now + seconds)

    def _run(self, until: float) -> None:
        if self._running:
            return
        self._running = True
        try:
            while self._heap and self._heap[0][0] <= until:
                due, _, act = heapq.heappop(self._heap)
                self._now = max(self._now, due)
                act()
            self._now = max(self._now, until)
        finally:
            self._running = False


class Connection(Protocol):
    """What the ensemble tells a broker's connection."""

    seen: int

    def learn(self, zxid: int) -> None:
        """A transaction was committed; the connection's server will know of it some time."""
        ...

    def session_ended(self) -> None:
        """The servers have closed the session."""
        ...

    def ensemble_down(self) -> None:
        """No server serves."""
        ...

    def ensemble_up(self) -> None:
        """Servers serve again."""
        ...


@dataclass(slots=True)
class Session:
    timeout: float
    heard: float
    link: object = None
    """The connection's present link: requests of an earlier one are refused, as ZooKeeper does when a session has moved."""
    attached: Connection | None = None
    looks: int = 0


@dataclass(slots=True)
class History:
    """What a node was, by transaction; None: it was not."""

    zxids: list[int] = field(default_factory=list)
    nodes: list[Node | None] = field(default_factory=list)
    children: set[str] = field(default_factory=set)
    """Names that ever were below it."""

    def at(self, zxid: int) -> Node | None:
        found = bisect_right(self.zxids, zxid)
        return self.nodes[found - 1] if found else None

    def forget(self, before: int) -> None:
        """Drops what nobody can read any more."""
        found = bisect_right(self.zxids, before) - 1
        if found > 0:
            del self.zxids[:found], self.nodes[:found]


class MemoryEnsemble:
    """The true tree, and the sessions on it."""

    def __init__(self, now: Callable[[], float], schedule: Schedule, rng: Random | None = None) -> None:
        self.now = now
        self.schedule = schedule
        self.rng = rng or Random(0)
        self.zxid = 1
        self.running = True
        self.touched: dict[int, list[tuple[str, str]]] = {}
        """Per transaction what it touched: ("data" or "children", path)."""
        self._paths: dict[str, History] = {"/": History([0], [Node(b"", 0, 0, 0)])}
        self._sessions: dict[int, Session] = {}
        self._last_session = 0x1000
        self._connections: list[Connection] = []

    # --- the tree ----------------------------------------------------------------------------------------------------

    def read(self, path: str, zxid: int | None = None) -> Node | None:
        """A node as it was at a transaction, by default as it is."""
        history = self._paths.get(path)
        return history.at(self.zxid if zxid is None else zxid) if history else None

    def names(self, path: str, zxid: int | None = None) -> list[str]:
        """A node's children, ascending."""
        history = self._paths.get(path)
        return sorted(name for name in history.children if self.read(_below(path, name), zxid) is not None) if history else []

    def commit(self, session: int, steps: Sequence[Step]) -> Changed | Refusal:
        """Carries out all steps or none."""
        pending: dict[str, Node | None] = {}
        versions: list[int] = []
        for number, step in enumerate(steps):
            outcome = self._step(step, session, pending)
            if isinstance(outcome, str):
                return Refusal(outcome, number)  # type: ignore[arg-type]
            versions.append(outcome)
        if pending:
            self._apply(pending)
        return Changed(versions)

    def change(self, *steps: Step) -> Changed | Refusal:
        """A change by somebody else, for tests: an administrator with a tool of his own."""
        return self.commit(0, steps)

    def _step(self, step: Step, session: int, pending: dict[str, Node | None]) -> int | str:
        node = pending[step.path] if step.path in pending else self.read(step.path)
        if isinstance(step, Create):
            above = _above(step.path)
            parent = pending[above] if above in pending else self.read(above)
            if parent is None or node is not None:
                return "missing" if parent is None else "exists"
            if parent.owner:
                return "other"
            pending[step.path] = Node(step.data, 0, session if step.ephemeral else 0, self.zxid + 1)
            return 0
        if node is None:
            return "missing"
        if step.version not in (ANY_VERSION, node.version):
            return "version"
        if isinstance(step, Put):
            pending[step.path] = node._replace(data=step.data, version=node.version + 1)
            return node.version + 1
        if isinstance(step, Delete):
            if self._has_children(step.path, pending):
                return "not_empty"
            pending[step.path] = None
            return -1
        assert isinstance(step, Check)
        return step.version

    def _has_children(self, path: str, pending: dict[str, Node | None]) -> bool:
        names = {_below(path, name) for name in self.names(path)} | {child for child in pending if child != "/" and _above(child) == path}
        return any((pending[child] if child in pending else self.read(child)) is not None for child in names)

    def _apply(self, pending: dict[str, Node | None]) -> None:
        self.zxid += 1
        touched: list[tuple[str, str]] = []
        oldest = min((connection.seen for connection in self._connections), default=self.zxid)
        for path, node in pending.items():
            before = self.read(path, self.zxid - 1)
            history = self._paths.setdefault(path, History())
            history.zxids.append(self.zxid)
            history.nodes.append(node)
            history.forget(oldest)
            if before is None and node is None:
                continue
            touched.append(("data", path))
            if node is None:
                touched.append(("children", path))
            if before is None or node is None:
                self._paths[_above(path)].children.add(path.rpartition("/")[2])
                touched.append(("children", _above(path)))
        self.touched[self.zxid] = touched
        for zxid in [zxid for zxid in self.touched if zxid <= oldest]:
            del self.touched[zxid]
        for connection in list(self._connections):
            connection.learn(self.zxid)

    def oldest(self) -> int:
        """The oldest transaction as of which the tree can still be read."""
        return min(self.touched, default=self.zxid + 1) - 1

    # --- sessions ----------------------------------------------------------------------------------------------------

    def open(self, timeout: float, connection: Connection, link: object) -> int:
        """A new session."""
        self._last_session += 1
        self._sessions[self._last_session] = Session(timeout, self.now(), link, connection)
        self._watch(self._last_session, timeout)
        return self._last_session

    def resume(self, session: int, connection: Connection, link: object) -> bool:
        """The connection comes back to its session; False if that is over."""
        found = self._sessions.get(session)
        if found is None:
            return False
        found.heard, found.link, found.attached = self.now(), link, connection
        return True

    def hear(self, session: int, link: object) -> bool:
        """Something of the session has come over the link; False if it must not be carried out."""
        found = self._sessions.get(session)
        if found is None or found.link is not link or not self.running:
            return False
        found.heard = self.now()
        return True

    def alive(self, session: int) -> bool:
        return session in self._sessions

    def expire(self, session: int) -> None:
        """Ends a session: its ephemeral nodes go, its connection is closed."""
        found = self._sessions.pop(session, None)
        if found is None:
            return
        gone: dict[str, Node | None] = {path: None for path in sorted(self._paths) if (node := self.read(path)) is not None and node.owner == session}
        if gone:
            self._apply(gone)
        if found.attached is not None:
            found.attached.session_ended()

    def join(self, connection: Connection) -> None:
        """The connection wants to look at the tree."""
        self._connections.append(connection)

    def leave(self, connection: Connection) -> None:
        """The connection looks at the tree no more."""
        if connection in self._connections:
            self._connections.remove(connection)

    def down(self) -> None:
        """The ensemble has no quorum: nobody is served."""
        if self.running:
            self.running = False
            for connection in list(self._connections):
                connection.ensemble_down()

    def up(self) -> None:
        """It serves again. After an election every session has its whole timeout again."""
        if not self.running:
            self.running = True
            for number, session in self._sessions.items():
                session.heard = self.now()
                self._watch(number, session.timeout)
            for connection in list(self._connections):
                connection.ensemble_up()

    def _watch(self, session: int, after: float) -> None:
        """Looks again when the session would be over; a look that was asked for earlier is void."""
        found = self._sessions[session]
        found.looks += 1
        number = found.looks
        self.schedule(after, lambda: self._look(session, number))

    def _look(self, session: int, number: int) -> None:
        found = self._sessions.get(session)
        if found is None or not self.running or found.looks != number:
            return
        left = found.heard + found.timeout - self.now()
        if left <= 1e-9:
            self.expire(session)
        else:
            self._watch(session, left)


def _below(path: str, name: str) -> str:
    return f"/{name}" if path == "/" else f"{path}/{name}"


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"
