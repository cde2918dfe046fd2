"""How a broker becomes cluster leader: one change that makes `/controller` and raises `/controller_epoch`, or is refused.

Because both happen at once and on condition of the epoch's version, there is one winner per version, and the version proves who it is. When the
answer is lost, the candidate reads: if the epoch is exactly one version further and `/controller` names this very registration, it has won. A
`/controller` whose holder is not registered any more (its registration was removed before its session ended) is replaced in the same
change, as is one that this broker left behind.
"""

from __future__ import annotations

from math import inf

from zmqmq.core import layout
from zmqmq.core.cluster_view import ClusterView, EpochEntry
from zmqmq.core.layout import ControllerEpoch, ControllerInfo
from zmqmq.core.places import Member
from zmqmq.core.tree import ANY_VERSION, Answer, Change, Changed, Check, Create, Delete, Node, Outlet, Put, Read, Refusal, Step, Sync, Unknown

PAUSE = 0.5
"""Seconds between two attempts, so that the view can follow."""
VACANT_AFTER = 1.0
"""Seconds that `/controller` may name somebody who is not registered before it is replaced."""


class Candidate:
    """Tries to win the office whenever it is vacant."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._attempt = 0
        self._is_waiting = False
        self._won: EpochEntry | None = None
        self._next = 0.0
        self._zombie: tuple[ControllerInfo, float] | None = None
        """Who holds the office without being registered, since when."""
        self._unclear: tuple[EpochEntry, ControllerInfo] | None = None
        """An attempt of which only a reading can tell what came of it."""
        self._now = 0.0

    def forget(self) -> None:
        """The session is over: nothing that was asked in it counts."""
        self._attempt += 1
        self._is_waiting = False
        self._won = self._unclear = self._zombie = None
        self._next = 0.0

    def deadline(self) -> float:
        """When `step` has something to do although nothing has happened."""
        if self._is_waiting:
            return inf
        times = [self._next] if self._next > self._now or self._unclear is not None else []
        if self._zombie is not None:
            times.append(self._zombie[1] + VACANT_AFTER)
        return min(times, default=inf)

    def step(self, view: ClusterView, me: Member, now: float) -> EpochEntry | None:
        """Given a fresh view. The term of office, once, when it was won."""
        self._now = now
        won, self._won = self._won, None
        if won is not None:
            return won
        if self._is_waiting or now < self._next:
            return None
        if self._unclear is not None:
            self._find_out()
        elif self._is_vacant(view, me):
            self._try(view, me)
        return None

    def _is_vacant(self, view: ClusterView, me: Member) -> bool:
        holder = view.controller
        life = view.lives(holder.broker) if holder is not None else None
        own = holder is not None and holder.broker == me.broker and holder.be < me.be
        if holder is None or own:
            return True
        if life is not None and life.be == holder.be and holder.broker != me.broker:
            self._zombie = None
            return False
        if self._zombie is None or self._zombie[0] != holder:
            self._zombie = (holder, self._now)
        return self._now >= self._zombie[1] + VACANT_AFTER

    def _try(self, view: ClusterView, me: Member) -> None:
        info, known = ControllerInfo(me.broker, me.be), view.controller_epoch
        epoch = known.epoch + 1 if known is not None else 1
        data = layout.encode(ControllerEpoch(epoch))
        steps: list[Step] = [Check(layout.epoch_path(me.broker), me.be)]
        if view.controller is not None or layout.CONTROLLER in view.damaged:
            steps.append(Delete(layout.CONTROLLER))
        steps.append(Create(layout.CONTROLLER, layout.encode(info), ephemeral=True))
        if known is not None:
            steps.append(Put(layout.CONTROLLER_EPOCH, data, known.version))
        elif layout.CONTROLLER_EPOCH in view.damaged:
            steps.append(Put(layout.CONTROLLER_EPOCH, data, ANY_VERSION))
        else:
            steps.append(Create(layout.CONTROLLER_EPOCH, data))
        self._is_waiting, self._zombie = True, None
        expected = EpochEntry(epoch, known.version + 1 if known is not None else 0)
        attempt = self._attempt
        self._outlet.ask(Change(steps), lambda answer: self._tried(expected, info, answer) if attempt == self._attempt else None)

    def _tried(self, expected: EpochEntry, info: ControllerInfo, answer: Answer) -> None:
        self._is_waiting = False
        self._next = self._now + PAUSE
        if isinstance(answer, Changed):
            self._won = EpochEntry(expected.epoch, answer.versions[-1])
        elif not isinstance(answer, Refusal):
            self._unclear = (expected, info)
            self._next = self._now

    def _find_out(self) -> None:
        assert self._unclear is not None
        expected, info = self._unclear
        self._is_waiting = True
        attempt = self._attempt
        answers: list[Answer] = []

        def heard(answer: Answer) -> None:
            if attempt != self._attempt:
                return
            answers.append(answer)
            if len(answers) == 1 and not isinstance(answer, Unknown):
                self._outlet.ask(Read(layout.CONTROLLER), heard)
            elif len(answers) == 2 and not isinstance(answer, Unknown):
                self._outlet.ask(Read(layout.CONTROLLER_EPOCH), heard)
            else:
                self._found(expected, info, answers)

        self._outlet.ask(Sync(), heard)

    def _found(self, expected: EpochEntry, info: ControllerInfo, answers: list[Answer]) -> None:
        self._is_waiting = False
        self._next = self._now + PAUSE
        if isinstance(answers[-1], Unknown):
            return
        self._unclear = None
        _, holder, epoch = answers
        if isinstance(holder, Node) and isinstance(epoch, Node) and epoch.version == expected.version:
            if layout.decode(layout.CONTROLLER, holder.data, ControllerInfo) == info:
                self._won = expected
