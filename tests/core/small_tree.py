"""A tree for tests of the core: one dictionary, several sessions, nothing happens until the test says so.

What a part asks for lies in its outlet until `run`; then it is carried out in order and answered at once. A session can be cut (its requests
are answered Unknown, carried out or not) and expired.
"""

from __future__ import annotations

from collections.abc import Callable

from zmqmq.core.tree import (
    ANY_VERSION,
    Answer,
    Answered,
    Change,
    Changed,
    Check,
    Children,
    Connected,
    Create,
    Delete,
    Event,
    List,
    Lost,
    Missing,
    Node,
    Outlet,
    Put,
    Read,
    Refusal,
    Request,
    Step,
    Suspended,
    Sync,
    Synced,
    Touched,
    Unknown,
)


class SmallTree:
    """The nodes, with everything that ZooKeeper would remember about them."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {"": Node(b"", 0, 0, 0)}
        self.seats: list[Seat] = []
        self._transaction = 0

    def apply(self, steps: tuple[Step, ...], session: int) -> Changed | Refusal:
        before = self.nodes.copy()
        self._transaction += 1
        versions = []
        for index, step in enumerate(steps):
            refusal = self._apply(step, session)
            if refusal is not None:
                self.nodes = before
                return refusal._replace(step=index)
            versions.append(ANY_VERSION if isinstance(step, Delete) else self.nodes[step.path].version)
        for step in steps:
            if not isinstance(step, Check):
                self._touch(step)
        return Changed(versions)

    def _apply(self, step: Step, session: int) -> Refusal | None:
        node = self.nodes.get(step.path)
        if isinstance(step, Create):
            if node is not None or step.path.rpartition("/")[0] not in self.nodes:
                return Refusal("missing" if node is None else "exists")
            self.nodes[step.path] = Node(step.data, 0, session if step.ephemeral else 0, self._transaction)
            return None
        if node is None or step.version not in (ANY_VERSION, node.version):
            return Refusal("missing" if node is None else "version")
        if isinstance(step, Put):
            self.nodes[step.path] = node._replace(data=step.data, version=node.version + 1)
        elif isinstance(step, Delete):
            if self.children(step.path):
                return Refusal("not_empty")
            del self.nodes[step.path]
        return None

    def _touch(self, step: Step) -> None:
        for seat in self.seats:
            seat.touch(step.path, by_child=False)
            if not isinstance(step, Put):
                seat.touch(step.path.rpartition("/")[0], by_child=True)
                seat.touch(step.path, by_child=True)

    def children(self, path: str) -> list[str]:
        return sorted(name.rpartition("/")[2] for name in self.nodes if name and name.rpartition("/")[0] == path)

    def put(self, path: str, data: bytes) -> None:
        """Somebody writes: the node is made if it is not there, parents too."""
        if path not in self.nodes:
            parent = path.rpartition("/")[0]
            if parent not in self.nodes:
                self.put(parent, b"")
            self.apply((Create(path, data),), 0)
        else:
            self.apply((Put(path, data),), 0)

    def remove(self, path: str) -> None:
        assert isinstance(self.apply((Delete(path),), 0), Changed)

    def end_session(self, session: int) -> None:
        for path in [path for path, node in self.nodes.items() if node.owner == session]:
            self.remove(path)


class Seat:
    """One broker's session with the tree."""

    def __init__(self, tree: SmallTree, outlet: Outlet, hear: Callable[[Event], None]) -> None:
        self.tree, self.outlet, self.hear = tree, outlet, hear
        self.session = 0
        self.connected = False
        self.touched: list[str] = []
        self.log: list[Request] = []
        """Everything that was asked."""
        self.mute = False
        """Watches are set and never told."""
        self.refused: dict[str, Refusal] = {}
        """Paths that this session may neither read nor write."""
        self._data: set[str] = set()
        self._lists: set[str] = set()
        tree.seats.append(self)

    def connect(self, session: int, timeout: float = 4.0) -> None:
        self.session, self.connected = session, True
        self.hear(Connected(session, timeout))

    def cut(self, *, applied: bool = False) -> None:
        """The connection breaks: what was asked is Unknown, carried out if `applied`."""
        for number, request in self.outlet.take():
            if applied:
                self._answer(request)
            self.outlet.hear(Answered(number, Unknown()))
        self._data.clear()
        self._lists.clear()
        self.touched.clear()
        self.connected = False
        self.hear(Suspended())

    def expire(self) -> None:
        self.tree.end_session(self.session)
        if self.connected:
            self.cut()
        self.hear(Lost())

    def run(self, limit: int = 100_000) -> None:
        """Carries out and answers everything, until nobody asks any more."""
        while limit > 0:
            touched, self.touched = self.touched, []
            for path in touched:
                self.hear(Touched(path))
            requests = self.outlet.take()
            if not requests and not self.touched:
                return
            for number, request in requests:
                limit -= 1
                self.log.append(request)
                self.outlet.hear(Answered(number, self._answer(request) if self.connected else Unknown()))
        raise AssertionError("it asks for ever")

    def some(self, steps: int) -> None:
        """Tells of one watch or answers one request, so many times; what comes after that is still under way."""
        waiting: list[tuple[int, Request]] = []
        for _ in range(steps):
            waiting += self.outlet.take()
            if self.touched:
                self.hear(Touched(self.touched.pop(0)))
            elif waiting:
                number, request = waiting.pop(0)
                self.log.append(request)
                self.outlet.hear(Answered(number, self._answer(request)))
        self.outlet._requests[:0] = waiting

    def touch(self, path: str, *, by_child: bool) -> None:
        watches = self._lists if by_child else self._data
        if path in watches:
            watches.discard(path)
            if not self.mute:
                self.touched.append(path)

    def _answer(self, request: Request) -> Answer:
        if isinstance(request, Sync):
            return Synced()
        steps = request.steps if isinstance(request, Change) else (request,)
        for number, step in enumerate(steps):
            if step.path in self.refused:
                return self.refused[step.path]._replace(step=number)
        if isinstance(request, Change):
            return self.tree.apply(tuple(request.steps), self.session)
        node = self.tree.nodes.get(request.path)
        if isinstance(request, Read):
            if request.watch and not (node is None and request.if_there):
                self._data.add(request.path)
            return Missing() if node is None else node
        assert isinstance(request, List)
        if node is None:
            return Missing()
        if request.watch:
            self._lists.add(request.path)
        return Children(self.tree.children(request.path))
