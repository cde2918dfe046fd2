"""Makes a broker a member of its cluster, and proves from then on that it still is one.

A registration is one change of the tree: the broker's epoch node is written, on condition that nobody has written it since it was read, and
the ephemeral nodes that show the broker are made. The version that the epoch node gets is the broker epoch `be`: it names this life, and
`Check(epoch_path(broker), be)` proves in any other change that the life goes on.

The heartbeat is such a change too. It goes through the quorum, so a success proves that the session was alive when it was sent: the lease lasts
half a session timeout from then, which ends before the servers can give up the session. Pings prove less: a client of a server that is cut off goes on
believing. Nothing is decided on a lost answer: after the next connection the tree is read again and compared.

Who may be pushed aside: a registration of this very data directory by an earlier life (the lock on the directory proves that it is dead). Anybody else
is waited for, two session timeouts long, and then this broker refuses to start.
"""

from __future__ import annotations

from math import inf

from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.founding import Founding
from zmqmq.core.layout import BrokerEpoch, BrokerInfo, decode, encode
from zmqmq.core.places import Member
from zmqmq.core.registration import Papers, Registration, burial, complaint, taken_error, timeout_error
from zmqmq.core.tree import (
    Answer,
    Change,
    Changed,
    Check,
    Connected,
    Event,
    Lost,
    Node,
    Outlet,
    Put,
    Read,
    Refusal,
    Request,
    Step,
    Suspended,
    Sync,
    Then,
    Touched,
    Unknown,
)
from zmqmq.errors import ZmqmqError

__all__ = ["Registrar", "Registration"]

BEATS_PER_TIMEOUT = 6
"""Heartbeats in one session timeout."""
LEASE_PART = 0.5
"""How much of the session timeout a lease lasts, from the moment when the heartbeat was sent."""
BEAT_PATIENCE = 1 / 3
"""Part of the session timeout after which an unanswered heartbeat is sent again."""
TAKEN_WAIT = 2.0
"""Session timeouts that a registration of somebody else is waited for: it is gone by then if its owner is dead."""
TIMEOUT_TOLERANCE = 0.1
"""Part by which the session timeout that the servers grant may differ from the configured one."""
RETRY_INTERVAL = 0.2
"""Seconds until a step that failed is tried again."""
REFUSED_INTERVAL = 5.0
"""Seconds until the way in is tried again after the tree has refused something that members may do."""


class Registrar:
    """A broker's registration. What has become of it is read from the attributes, after each `hear`, `tick` and answer."""

    def __init__(self, outlet: Outlet, settings: Registration) -> None:
        self.settings = settings
        self.me: Member | None = None
        """The present registration; None: this broker has no role."""
        self.session = 0
        """The coordination session."""
        self.reason = "not registered yet"
        """Why there is no registration."""
        self.trouble = ""
        """What the tree does not let this broker do; it goes on trying."""
        self.fatal: ZmqmqError | None = None
        """Why there will never be one."""
        self.needs_new_storage_id = False
        """The store is an old copy: give it a new identity, then call `renewed`. Nothing is registered before."""
        self._outlet = outlet
        self._papers = Papers(settings)
        self._founding = Founding(settings, self._papers, self._step, self._retry, self._fail, self._look)
        self._timeout = settings.session_timeout
        self._life = 0
        """Answers to what was asked before it changed do not count."""
        self._connected = self._over = self._renewing = False
        self._retry_at = self._next_beat = inf
        self._taken_since: float | None = None
        self._now = self._lease_until = -inf
        self._burials: set[tuple[str, int]] = set()

    # --- what others see and do ----------------------------------------------------------------------------------------

    @property
    def adopted_cluster_id(self) -> str:
        """The cluster that a broker without data has joined; to be stored."""
        return self._founding.adopted_cluster_id

    def lease_valid(self, now: float) -> bool:
        """Whether nobody else can have been given this broker's roles yet."""
        return self.me is not None and now < self._lease_until

    def hear(self, event: Event, now: float) -> None:
        """The connection comes or goes, or a watched node was touched."""
        self._now = now
        if isinstance(event, Connected):
            self._connect(event)
        elif isinstance(event, Suspended):
            self._disconnect()
        elif isinstance(event, Lost):
            self._disconnect()
            self._unregister("the coordination session has expired")
        elif isinstance(event, Touched) and event.path == layout.broker_path(self.settings.broker_id) and self._connected:
            if self.me is not None:
                self._next_beat = now
            elif self._taken_since is not None:
                self._retry_at = now

    def tick(self, now: float) -> None:
        """Time passes: heartbeats, and steps that are due again."""
        self._now = now
        if self._over or not self._connected:
            return
        if self.me is not None and now >= self._next_beat:
            self._beat()
        elif self.me is None and now >= self._retry_at:
            self._enter()

    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self._over or not self._connected:
            return inf
        return self._retry_at if self.me is None else self._next_beat

    def resign(self) -> None:
        """The broker stops: no heartbeat any more, and no registration."""
        self._over = True
        self._life += 1
        self._unregister("the broker stops")

    def start_over(self, reason: str) -> None:
        """Gives the registration up at once, and asks for another one: what rested on it is void."""
        if self.me is not None:
            self._papers.given_up = self.me.be
            self._unregister(reason)
            self._retry_at = self._now

    def renewing(self) -> None:
        """The new identity of the store is being written."""
        self.needs_new_storage_id = False
        self._renewing = True

    def renewed(self, storage_id: str) -> None:
        """The store has a new identity, durably. Whose copy it is may live: no earlier registration counts as its own any more."""
        self.needs_new_storage_id = self._renewing = False
        self._papers.renew(storage_id)
        self._retry_at = self._now

    def bury(self, info: BrokerInfo, view: ClusterView) -> None:
        """A broker's process is dead: removes its registration, unless it has registered again since. If it was the cluster leader, that office is free too."""
        name = (info.broker_id, info.be)
        if not self._connected or name in self._burials or info.broker_id == self.settings.broker_id:
            return
        self._burials.add(name)
        for steps in burial(info, view):
            self._ask(Change(steps), lambda answer: self._burials.discard(name))

    # --- the session -----------------------------------------------------------------------------------------------------

    def _connect(self, event: Connected) -> None:
        self._disconnect()
        self._connected = True
        if event.session != self.session:
            self._unregister("the coordination session is a new one")
        self.session, self._timeout = event.session, event.timeout
        self._papers.add_session(event.session)
        wanted = self.settings.session_timeout
        if abs(event.timeout - wanted) > wanted * TIMEOUT_TOLERANCE:
            self._fail(timeout_error(event.timeout, wanted))
        elif self.me is not None:
            self._next_beat = self._now
        elif not self._over:
            self._enter()

    def _disconnect(self) -> None:
        self._connected = False
        self._life += 1
        self._next_beat = self._retry_at = inf
        self._taken_since = None
        self._burials.clear()

    def _unregister(self, reason: str) -> None:
        if self.me is not None:
            self.reason = reason
        self.me = None
        self._lease_until = -inf

    def _fail(self, error: ZmqmqError) -> None:
        self.fatal = error
        self._over = True
        self._life += 1
        self._unregister(str(error))
        self.reason = str(error)

    def _ask(self, request: Request, then: Then) -> None:
        life = self._life
        self._outlet.ask(request, lambda answer: then(answer) if life == self._life else None)

    def _step(self, request: Request, then: Then) -> None:
        """One step of the way in; without an answer the way begins again."""

        def answered(answer: Answer) -> None:
            if isinstance(answer, Unknown):
                self._retry()
            elif isinstance(answer, Refusal) and answer.reason == "other":
                self.trouble = self.reason = complaint(request, answer)
                self._retry_at = self._now + REFUSED_INTERVAL
            else:
                then(answer)

        self._ask(request, answered)

    def _retry(self) -> None:
        self._retry_at = self._now + RETRY_INTERVAL

    # --- the way in --------------------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        self._life += 1
        self._retry_at = inf
        self._burials.clear()
        self._step(Sync(), lambda answer: self._founding.begin())

    # --- the way in: who stands under our name? ------------------------------------------------------------------------------

    def _look(self) -> None:
        broker = self.settings.broker_id

        def epoch_read(epoch: Answer) -> None:
            if isinstance(epoch, Node):
                self._step(Read(layout.broker_path(broker), watch=True), lambda shown: broker_read(epoch, shown))
            else:
                self._founding.make(layout.epoch_path(broker), encode(BrokerEpoch()), self._look)

        def broker_read(epoch: Node, shown: Answer) -> None:
            self._step(Read(layout.heartbeat_path(broker)), lambda beat: self._judge(epoch, shown, beat))

        self._step(Read(layout.epoch_path(broker)), epoch_read)

    def _judge(self, epoch: Node, shown: Answer, beat: Answer) -> None:
        last = decode(layout.epoch_path(self.settings.broker_id), epoch.data, BrokerEpoch)
        if self._papers.must_renew or (isinstance(last, BrokerEpoch) and self._papers.is_old_copy(last)):
            self.needs_new_storage_id = not self._renewing
            self.reason = "the store is an old copy"
            return
        if isinstance(shown, Node):
            if self._papers.is_present(shown, epoch.version, self.session) and isinstance(beat, Node):
                self._registered(epoch.version, -inf)
                return
            if not self._papers.is_own(shown):
                self._wait_for(shown)
                return
        self._register(epoch.version, shown=isinstance(shown, Node), beat=isinstance(beat, Node))

    def _wait_for(self, node: Node) -> None:
        if self._taken_since is None:
            self._taken_since = self._now
        until = self._taken_since + TAKEN_WAIT * self._timeout
        self.reason = "another broker is registered under the same broker id"
        if self._now >= until:
            self._fail(taken_error(self.settings, self._papers.info(node)))
        else:
            self._retry_at = min(until, self._now + self._timeout / 2)

    # --- registration ------------------------------------------------------------------------------------------------------

    def _register(self, version: int, *, shown: bool, beat: bool) -> None:
        self._papers.attempted = True
        sent = self._now

        def answered(answer: Answer) -> None:
            if isinstance(answer, Changed):
                self._registered(answer.versions[0], sent)
            else:
                self._founding.incomplete = isinstance(answer, Refusal) and answer.reason == "missing"
                self._retry()

        self._step(Change(self._papers.steps(version, shown=shown, beat=beat)), answered)

    def _registered(self, be: int, sent: float) -> None:
        self.me = Member(self.settings.broker_id, be, self._papers.storage_id)
        self.reason = self.trouble = ""
        self._taken_since = None
        self._lease_until = sent + self._timeout * LEASE_PART
        self._next_beat = max(sent, self._now) + self._timeout / BEATS_PER_TIMEOUT if sent > -inf else self._now

    # --- heartbeat -----------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """One heartbeat is out at a time, but none is waited for longer than its patience; a late answer counts for when it was sent."""
        me, sent = self.me, self._now
        assert me is not None, "only a member proves that it is one"
        self._next_beat = sent + self._timeout * BEAT_PATIENCE
        steps: list[Step] = [Check(layout.epoch_path(me.broker), me.be), Put(layout.heartbeat_path(me.broker), b"")]
        self._ask(Change(steps), lambda answer: self._beaten(answer, me, sent))

    def _beaten(self, answer: Answer, me: Member, sent: float) -> None:
        if me != self.me:
            return
        if isinstance(answer, Changed):
            self._lease_until = max(self._lease_until, sent + self._timeout * LEASE_PART)
            self._next_beat = min(self._next_beat, sent + self._timeout / BEATS_PER_TIMEOUT)
        elif isinstance(answer, Refusal) and answer.reason in ("missing", "version"):
            self._unregister("somebody has removed the registration")
            self._enter()
