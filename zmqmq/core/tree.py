"""The tree that coordinates a cluster, as data: what can be asked of it, what it answers, and how it changes.

ZooKeeper is such a tree; a simulator keeps another. The core decides what to ask and what an answer means; the shell carries
requests to the tree and answers back, and never blocks the loop. Rules that every tree obeys:

- each request gets exactly one answer; requests of one session are carried out, and answered, in the order in which they were asked;
- a change is carried out completely or not at all, and only if every version that it names is the present one;
- `Unknown` means that nobody knows whether a change was carried out (the connection broke): read again before deciding anything;
- reads may be stale unless a `Sync` was answered before them in the same session; an answer is never older than one given before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

ANY_VERSION = -1
"""In place of a version: whatever it is."""


# --- requests --------------------------------------------------------------------------------------------------------


class Create(NamedTuple):
    """A new node; its parent must exist. An ephemeral one goes with the session."""

    path: str
    data: bytes = b""
    ephemeral: bool = False


class Put(NamedTuple):
    """New data for a node that exists; its version grows by one."""

    path: str
    data: bytes
    version: int = ANY_VERSION


class Delete(NamedTuple):
    path: str
    version: int = ANY_VERSION


class Check(NamedTuple):
    """The node exists and has this version; changes nothing."""

    path: str
    version: int = ANY_VERSION


Step = Create | Put | Delete | Check


class Change(NamedTuple):
    """All steps or none."""

    steps: Sequence[Step]


class Read(NamedTuple):
    """A node's data. With `watch`, the next change, creation or deletion of it is reported once as `Touched`."""

    path: str
    watch: bool = False
    if_there: bool = False
    """Nothing is watched where there is no node: its creation is of no interest, or told by its folder."""


class List(NamedTuple):
    """A node's children. With `watch`, the next child that comes or goes is reported once as `Touched`."""

    path: str
    watch: bool = False


class Sync(NamedTuple):
    """What is read after the answer is at least as new as this moment."""


Request = Change | Read | List | Sync


# --- answers ---------------------------------------------------------------------------------------------------------


class Changed(NamedTuple):
    """The change was carried out. `versions` has one entry per step: the version that the node has now (-1 for Delete)."""

    versions: Sequence[int]


class Refusal(NamedTuple):
    """The change was not carried out: `step` is the index of the step that could not be."""

    reason: Literal["missing", "exists", "version", "not_empty", "other"]
    step: int = 0
    text: str = ""


class Unknown(NamedTuple):
    """The connection or the session went away before the answer came."""


class Node(NamedTuple):
    """A node as read."""

    data: bytes
    version: int
    owner: int
    """Session of an ephemeral node, 0 for others."""
    created: int
    """Number of the transaction that created it; a node that was deleted and made again has another."""


class Missing(NamedTuple):
    """There is no such node."""


class Children(NamedTuple):
    names: Sequence[str]
    """Ascending."""


class Synced(NamedTuple):
    pass


Answer = Changed | Refusal | Unknown | Node | Missing | Children | Synced


# --- what happens by itself ------------------------------------------------------------------------------------------


class Connected(NamedTuple):
    """A session is there: a new one, or the old one again. `timeout` is what the servers granted, in seconds."""

    session: int
    timeout: float


class Suspended(NamedTuple):
    """The connection is lost; whether the session lives on, only the servers know. Watches are forgotten."""


class Lost(NamedTuple):
    """The session is over: its ephemeral nodes are gone."""


class Touched(NamedTuple):
    """A watched node has changed."""

    path: str


class Answered(NamedTuple):
    request: int
    answer: Answer


class Trouble(NamedTuple):
    """For the operator's log: why there is no connection."""

    text: str


Event = Connected | Suspended | Lost | Touched | Answered | Trouble


class Tree(Protocol):
    """The port: what the broker needs of whatever keeps the tree. For the broker's thread; `wake` is called from any."""

    def start(self, wake: Callable[[], None]) -> None:
        """Begins to connect and keeps trying for ever; calls `wake` whenever there is an event to take."""
        ...

    def submit(self, requests: Sequence[tuple[int, Request]]) -> None:
        """Sends requests, each with a number of the asker's choice. Without a connection they are answered Unknown."""
        ...

    def take_events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        ...

    def stop(self) -> None:
        """Closes the session, so that its ephemeral nodes go at once; returns within a few seconds whatever happens."""
        ...


# --- asking ----------------------------------------------------------------------------------------------------------

Then = Callable[[Answer], None]


class Outlet:
    """Where the core's parts leave their requests, and where answers find whoever asked."""

    def __init__(self) -> None:
        self._last = 0
        self._requests: list[tuple[int, Request]] = []
        self._waiting: dict[int, Then] = {}

    def ask(self, request: Request, then: Then) -> None:
        """Leaves a request; `then` gets the one answer."""
        self._last += 1
        self._waiting[self._last] = then
        self._requests.append((self._last, request))

    def take(self) -> list[tuple[int, Request]]:
        """The requests to submit, in order."""
        requests, self._requests = self._requests, []
        return requests

    def hear(self, event: Answered) -> None:
        """An answer has come."""
        then = self._waiting.pop(event.request, None)
        if then is not None:
            then(event.answer)

    def forget(self) -> None:
        """The session is over: nobody waits for the answers to what was asked in it."""
        self._requests.clear()
        self._waiting.clear()
