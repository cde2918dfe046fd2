"""One broker's connection to a modelled ensemble: delays, a server that lags behind, broken links, a stopped process, all from one seed.

What is asked arrives at the server in order, is carried out there, and what the server says (answers, watches) arrives in the order in
which it said it. Reads show the tree as the connection's server knows it (`seen`), which never goes back, is as new as the session's own
changes, and as new as everything after a Sync. Cutting the link loses answers on their way; requests on their way may still be carried
out, or not, until the session is taken up again on another link.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from tests.fakes.memory_ensemble import MemoryEnsemble, Timeline
from zmqmq.core.tree import (
    Answer,
    Answered,
    Change,
    Children,
    Connected,
    Event,
    List,
    Lost,
    Missing,
    Node,
    Read,
    Request,
    Suspended,
    Sync,
    Synced,
    Touched,
    Unknown,
)

__all__ = ["MemoryEnsemble", "MemoryTree", "Timeline", "instant"]


def instant() -> tuple[Timeline, MemoryEnsemble]:
    """Time, and an ensemble on it, for plain tests: without delay everything is answered before `submit` returns."""
    timeline = Timeline()
    return timeline, MemoryEnsemble(timeline.now, timeline.schedule)


class Link:
    """One connection's life: what is on its way when it ends is lost, or comes to nobody."""

    def __init__(self) -> None:
        self.open = True
        self.arrives = 0.0
        self.returns = 0.0


class MemoryTree:
    """Implements `zmqmq.core.tree.Tree`. `delay` and `lag` are upper bounds in seconds, drawn from evenly; `late` is the chance
    that a request on its way over a link that is cut is carried out all the same."""

    def __init__(
        self, ensemble: MemoryEnsemble, *, timeout: float = 4.0, delay: float = 0.0, lag: float = 0.0, late: float = 0.5, rng: Random | None = None
    ) -> None:
        self.ensemble = ensemble
        self.timeout = timeout
        self.delay = delay
        self.lag = lag
        self.late = late
        self.session = 0
        self.seen = ensemble.zxid
        self.paused = False
        self._rng = rng or ensemble.rng
        self._wake: Callable[[], None] = _nobody
        self._events: list[Event] = []
        self._link: Link | None = None
        self._believes = False
        self._outstanding: list[int] = []
        self._watches: set[tuple[str, str]] = set()
        self._held: list[Callable[[], None]] = []
        self._reachable = True
        self._over = False

    # --- the port ----------------------------------------------------------------------------------------------------

    def start(self, wake: Callable[[], None]) -> None:
        """Connects after a delay."""
        self._wake = wake
        self.ensemble.join(self)
        self._after(self._connect)

    def submit(self, requests: Sequence[tuple[int, Request]]) -> None:
        """Sends requests; without a connection they are answered Unknown."""
        for number, request in requests:
            if not self._believes or self._link is None:
                self._say(Answered(number, Unknown()))
                continue
            self._outstanding.append(number)
            link = self._link
            if not link.open:
                continue
            link.arrives = max(link.arrives, self.ensemble.now() + self._draw(self.delay))
            self._at(link.arrives, partial(self._arrive, link, self.session, number, request))

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Ends the session at once, if the servers can be reached."""
        if self._over:
            return
        link, session = self._link, self.session
        self._drop(None)
        if session:
            self._say(Lost())
        self.crash()
        if link is not None and link.open and self.ensemble.running:
            self.ensemble.expire(session)

    # --- what a simulator does to it -------------------------------------------------------------------------------------

    def crash(self) -> None:
        """The process is gone: its session lives on until it expires."""
        self._over = True
        self._believes = False
        self._link = None
        self._held.clear()
        self.ensemble.leave(self)

    def cut(self, notice: float = 0.0) -> None:
        """The servers cannot be reached. The broker learns of it `notice` seconds later; until then it sends into the void."""
        self._reachable = False
        link = self._link
        if link is not None:
            link.open = False
            self._at(self.ensemble.now() + notice, partial(self._guard, partial(self._notice, link)))

    def mend(self) -> None:
        """The servers can be reached again; the session is taken up, or a new one is made."""
        if not self._reachable:
            self._reachable = True
            self._guard(partial(self._notice, self._link))
            self._after(self._connect)

    def expire(self) -> None:
        """The servers end the session."""
        self.ensemble.expire(self.session)

    def pause(self) -> None:
        """The process is stopped: it sends nothing, what comes waits."""
        self.paused = True

    def resume(self) -> None:
        """It goes on: what has come meanwhile is there, in order."""
        self.paused = False
        held, self._held = self._held, []
        for act in held:
            self._guard(act)

    # --- what the ensemble tells ---------------------------------------------------------------------------------------

    def learn(self, zxid: int) -> None:
        """The server of this connection will know the transaction after its lag."""
        link = self._link
        if link is not None and link.open:
            self._at(self.ensemble.now() + self._draw(self.lag), partial(self._see, link, zxid))

    def session_ended(self) -> None:
        """The server closes the connection; the end itself is heard after connecting again."""
        self._link_broken()

    def ensemble_down(self) -> None:
        self._link_broken()

    def ensemble_up(self) -> None:
        self._after(self._connect)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _link_broken(self) -> None:
        link = self._link
        if link is not None and link.open:
            link.open = False
            self._guard(partial(self._notice, link))
            if self.ensemble.running and self._reachable:
                self._after(self._connect)

    def _connect(self) -> None:
        """The client's next attempt; in vain if the servers are away. A connection that is there stays."""
        if self._over or not self._reachable or not self.ensemble.running or (self._link is not None and self._link.open):
            return
        self._link = link = Link()
        self._look_from_here()
        if not self.session or not self.ensemble.resume(self.session, self, link):
            if self.session:
                self._say(Lost())
            self.session = self.ensemble.open(self.timeout, self, link)
        self._believes = True
        self._say(Connected(self.session, self.timeout))
        self.learn(self.ensemble.zxid)
        self._ping_later(link)

    def _look_from_here(self) -> None:
        """The tree as the server knows it: as it is, or a little older, but never older than what was seen before."""
        newest = self.ensemble.zxid
        oldest = newest if not self.lag else max(self.ensemble.oldest(), newest - 5)
        self.seen = max(self.seen, self._rng.randint(min(oldest, newest), newest))

    def _ping_later(self, link: Link) -> None:
        self._at(self.ensemble.now() + self.timeout / 3, partial(self._ping, link))

    def _ping(self, link: Link) -> None:
        """kazoo's own sign of life; a stopped process gives none."""
        if self._link is link and link.open and not self._over:
            if not self.paused:
                self.ensemble.hear(self.session, link)
            self._ping_later(link)

    def _arrive(self, link: Link, session: int, number: int, request: Request) -> None:
        if not link.open and (not isinstance(request, Change) or self._rng.random() >= self.late):
            return
        if self.ensemble.hear(session, link):
            answer = self._carry_out(session, request, link)
            self._return(link, partial(self._answer, number, answer))

    def _carry_out(self, session: int, request: Request, link: Link) -> Answer:
        if isinstance(request, Change):
            changed = self.ensemble.commit(session, request.steps)
            self._see(link, self.ensemble.zxid)
            return changed
        if isinstance(request, Sync):
            self._see(link, self.ensemble.zxid)
            return Synced()
        node = self.ensemble.read(request.path, self.seen)
        if isinstance(request, List):
            return self._list(request, node)
        assert isinstance(request, Read)
        if request.watch and not (node is None and request.if_there):
            self._watches.add(("data", request.path))
        return node or Missing()

    def _list(self, request: List, node: Node | None) -> Answer:
        if node is None:
            return Missing()
        if request.watch:
            self._watches.add(("children", request.path))
        return Children(self.ensemble.names(request.path, self.seen))

    def _see(self, link: Link, zxid: int) -> None:
        """The server has come to the transaction: watches on what was touched up to there are told first."""
        if self._link is not link or not link.open:
            return
        while self.seen < zxid:
            self.seen += 1
            for touch in self.ensemble.touched.get(self.seen, ()):
                if touch in self._watches:
                    self._watches.discard(touch)
                    self._return(link, partial(self._say, Touched(touch[1])))

    def _return(self, link: Link, act: Callable[[], None]) -> None:
        """What the server says, in its order; lost with the link."""
        if link.open:
            link.returns = max(link.returns, self.ensemble.now() + self._draw(self.delay))
            self._at(link.returns, partial(self._come, link, act))

    def _come(self, link: Link, act: Callable[[], None]) -> None:
        """It has reached the machine, if the link still was there; a stopped process reads it when it goes on."""
        if self._link is link and link.open:
            self._guard(act)

    def _answer(self, number: int, answer: Answer) -> None:
        if number in self._outstanding:
            self._outstanding.remove(number)
            self._say(Answered(number, answer))

    def _notice(self, link: Link | None) -> None:
        if self._link is link and link is not None and not link.open:
            self._drop(Suspended())

    def _drop(self, event: Event | None) -> None:
        """The link is lost to the broker: what was asked is answered Unknown, watches are forgotten."""
        outstanding, self._outstanding = self._outstanding, []
        for number in outstanding:
            self._say(Answered(number, Unknown()))
        self._watches.clear()
        if event is not None and self._believes:
            self._say(event)
        self._believes = False

    def _guard(self, act: Callable[[], None]) -> None:
        """Delivers to the process: later if it is stopped, never if it is gone."""
        if self.paused:
            self._held.append(act)
        elif not self._over:
            act()

    def _after(self, act: Callable[[], None]) -> None:
        self._at(self.ensemble.now() + self._draw(self.delay), partial(self._guard, act))

    def _at(self, moment: float, act: Callable[[], None]) -> None:
        self.ensemble.schedule(moment - self.ensemble.now(), act)

    def _draw(self, bound: float) -> float:
        return self._rng.uniform(0.0, bound) if bound else 0.0

    def _say(self, event: Event) -> None:
        self._events.append(event)
        self._wake()


def _nobody() -> None:
    """Nobody waits for events yet."""
