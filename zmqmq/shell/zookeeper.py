"""The tree over ZooKeeper: carries the core's requests to an ensemble and its answers back, and never blocks the broker's loop.

Three threads take part. The broker's submits requests and takes events; kazoo's connection thread answers them; a watchman looks four times a
second whether a request has waited for too long, and tells the operator every few seconds why there is no connection. All that they
share is behind one lock, under which nobody waits for anything: also kazoo changes its state under it, so no request can slip from
one session into the next.

The session is shown to the broker only when the cluster's own node exists, so that everything that is asked has a place to go.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from zmqmq.config_cluster import ZooKeeperConfig
from zmqmq.core.tree import Answer, Answered, Connected, Event, Lost, Request, Suspended, Touched, Trouble, Unknown

if TYPE_CHECKING:
    from zmqmq.shell.zookeeper_link import Attempts

MAX_SENT = 100
"""Requests on their way at a time; more wait here. kazoo's wake-up pipe blocks its caller beyond some 270."""
MAX_WAITING = 100_000
"""Requests that wait here; one more is answered Unknown."""
STOP_LIMIT = 5.0
"""Seconds that closing the session may take."""
WATCH_INTERVAL = 0.25
"""Seconds between two looks of the watchman."""
TROUBLE_AFTER, TROUBLE_EVERY = 1.0, 5.0
"""Seconds without a connection until the operator is told, and until that is repeated."""


class ZooKeeperTree:
    """Implements `zmqmq.core.tree.Tree`. Events may be taken, and requests submitted, by the broker's thread only."""

    def __init__(self, config: ZooKeeperConfig, cluster: str) -> None:
        self._config = config
        self._root = config.root(cluster)
        self._lock = threading.RLock()
        self._events: deque[Event] = deque()
        self._sent: dict[int, tuple[float, object]] = {}
        self._waiting: deque[tuple[int, Request]] = deque()
        self._sending = False
        self._wake: Callable[[], None] = _nobody
        self._client: Any = None
        self._attempts: Attempts | None = None
        self._shown: Literal["nothing", "connected", "suspended"] = "nothing"
        self._life = 0
        self._away_since = 0.0
        self._next_trouble = 0.0
        self._excuse = ""
        self._stopping = threading.Event()

    def start(self, wake: Callable[[], None]) -> None:
        """Begins to connect and keeps trying for ever."""
        from zmqmq.shell.zookeeper_link import Attempts, make_client

        self._wake = wake
        self._attempts = Attempts()
        self._away_since = time.monotonic()
        self._client = make_client(self._config, self._attempts, self._lock, self._answer_all)
        self._client.add_listener(self._state_changed)
        threading.Thread(target=self._watch, name="zookeeper-watch", daemon=True).start()
        self._client.start_async()

    def submit(self, requests: Sequence[tuple[int, Request]]) -> None:
        """Sends requests in order. Without a session, and after `stop`, they are answered Unknown."""
        with self._lock:
            for number, request in requests:
                if self._shown != "connected" or self._stopping.is_set() or len(self._waiting) >= MAX_WAITING:
                    self._add(Answered(number, Unknown()))
                else:
                    self._waiting.append((number, request))
            self._send()

    def take_events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events

    def stop(self) -> None:
        """Closes the session, so that its ephemeral nodes go at once; returns within STOP_LIMIT seconds whatever happens."""
        from zmqmq.shell.zookeeper_link import close_client

        if self._stopping.is_set() or self._client is None:
            return
        self._stopping.set()
        closing = threading.Thread(target=close_client, args=(self._client,), name="zookeeper-close", daemon=True)
        closing.start()
        closing.join(STOP_LIMIT)
        with self._lock:
            self._answer_all()

    # --- requests ----------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Hands on what may be sent. Answers that come at once must not call this from within it."""
        from zmqmq.shell.zookeeper_link import perform

        if self._sending:
            return
        self._sending = True
        while self._waiting and len(self._sent) < MAX_SENT:
            number, request = self._waiting.popleft()
            token = object()
            self._sent[number] = (time.monotonic() + self._limit(), token)
            perform(self._client, self._root, request, partial(self._answered, number, token), self._touched)
        self._sending = False

    def _answered(self, number: int, token: object, answer: Answer) -> None:
        """One answer for each request: what comes after the deadline, or twice, does not count."""
        with self._lock:
            if number in self._sent and self._sent[number][1] is token:
                del self._sent[number]
                self._add(Answered(number, answer))
                if self._shown == "connected":
                    self._send()

    def _touched(self, path: str) -> None:
        with self._lock:
            self._add(Touched(path))

    def _answer_all(self) -> None:
        """The connection goes: nobody knows what becomes of what was asked, and what still waits here is never sent."""
        numbers = [*self._sent, *(number for number, _ in self._waiting)]
        self._sent.clear()
        self._waiting.clear()
        for number in numbers:
            self._add(Answered(number, Unknown()))

    def _limit(self) -> float:
        """Seconds that a request may take: beyond the session's timeout the answer is worth nothing."""
        return max(self._attempts.timeout if self._attempts else 0.0, self._config.session_timeout_seconds)

    def _add(self, event: Event) -> None:
        self._events.append(event)
        self._wake()

    # --- the session -------------------------------------------------------------------------------------------------

    def _state_changed(self, state: str) -> None:
        """On kazoo's thread, under the lock. The numbered life tells an answer about the root that comes too late."""
        from zmqmq.shell.zookeeper_link import make_root

        self._life += 1
        if state == "CONNECTED":
            make_root(self._client, self._root, partial(self._root_made, self._life))
            return
        was, self._shown = self._shown, "suspended" if state == "SUSPENDED" and self._shown != "nothing" else "nothing"
        if was == "connected":
            self._away_since = time.monotonic()
        if state == "SUSPENDED" and was == "connected":
            self._add(Suspended())
        elif state == "LOST" and was != "nothing":
            self._add(Lost())

    def _root_made(self, life: int, excuse: str) -> None:
        with self._lock:
            if life != self._life or self._shown == "connected" or self._stopping.is_set():
                return
            self._excuse = excuse
            if not excuse and self._attempts is not None:
                self._shown = "connected"
                self._next_trouble = 0.0
                self._add(Connected(self._client._session_id, self._attempts.timeout))

    # --- the watchman ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_INTERVAL):
            with self._lock:
                self._give_up_old(time.monotonic())
                self._tell_trouble(time.monotonic())

    def _give_up_old(self, now: float) -> None:
        late = [number for number, (deadline, _) in self._sent.items() if deadline <= now]
        for number in late:
            del self._sent[number]
            self._add(Answered(number, Unknown()))
        if late and self._shown == "connected":
            self._send()

    def _tell_trouble(self, now: float) -> None:
        """Says why there is no session; the root that could not be made is tried again."""
        if self._shown == "connected" or now < max(self._away_since + TROUBLE_AFTER, self._next_trouble):
            return
        self._next_trouble = now + TROUBLE_EVERY
        self._add(Trouble(self._complaint()))
        if self._excuse and self._client.connected:
            from zmqmq.shell.zookeeper_link import make_root

            make_root(self._client, self._root, partial(self._root_made, self._life))

    def _complaint(self) -> str:
        if self._excuse and self._client.connected:
            return f"ZooKeeper does not let this broker in: {self._excuse}"
        excuses = self._attempts.excuses.copy() if self._attempts else {}
        tried = [f"{host} ({excuses.get(host, 'no answer yet, or the name is unknown')})" for host in self._config.host_list]
        return f"ZooKeeper cannot be reached, trying again: {', '.join(tried)}"


def _nobody() -> None:
    """Nobody waits for events yet."""
