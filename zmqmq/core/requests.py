"""Questions that wait for their answers: each has an id and a deadline, and is asked again until somebody answers.

A question is for one broker, or for any. It goes again on every new session, over another line when the one that it took is silent, and
after a pause, to somebody else if possible, when the answer was only that the broker cannot tell now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from zmqmq.core.commands import Command, Refused
from zmqmq.core.topology import Letter
from zmqmq.errors import NotLeader, Unreachable, ZmqmqError, from_code

ANOTHER_AFTER = 2.0
"""Seconds after which a question to any broker takes another line."""
RETRY_AFTER = 0.2
"""Seconds after which a broker that could not answer yet is asked again."""


class Request:
    """One question. `answer` or `error` is set once, then `done` is true."""

    __slots__ = ("answer", "broker", "command", "deadline", "done", "error", "refused_by", "resume_at", "sent_at", "sent_ever", "sent_to")

    def __init__(self, command: Command, deadline: float, broker: str) -> None:
        self.command = command
        self.deadline = deadline
        self.broker = broker
        """Who is to answer, "" for anybody."""
        self.answer: Any = None
        self.error: ZmqmqError | None = None
        self.done = False
        self.sent_to: str | None = None
        """The broker that was asked in the present session."""
        self.sent_at = -inf
        self.sent_ever = False
        self.resume_at = -inf
        self.refused_by: str | None = None
        """Who could not answer yet."""

    def choose(self, now: float, lines: Sequence[str]) -> str | None:
        """The broker to ask now, if any."""
        if now < self.resume_at:
            return None
        if self.broker:
            return self.broker if self.sent_to is None and self.broker in lines else None
        if self.sent_to is None:
            return min(lines, key=lambda broker: broker == self.refused_by, default=None)
        others = [broker for broker in lines if broker != self.sent_to]
        return others[0] if others and now >= self.sent_at + ANOTHER_AFTER else None


class Requests:
    """All questions of a client that are not answered yet."""

    def __init__(self, next_id: Callable[[], int]) -> None:
        self._next_id = next_id
        self._waiting: dict[int, Request] = {}
        self._endpoints: dict[str, str] = {}
        self._stepped = -inf

    def ask(self, build: Callable[[int], Command], deadline: float, broker: str = "", endpoint: str = "") -> Request:
        """Queues the command that `build` makes with a fresh id, for anybody or for one broker, which is found at `endpoint`."""
        id = self._next_id()
        request = Request(build(id), deadline, broker)
        self._waiting[id] = request
        if broker:
            self._endpoints[broker] = endpoint
        return request

    def wanted(self) -> Mapping[str, str]:
        """The brokers that are to answer something, by id, and their endpoints."""
        return {request.broker: self._endpoints[request.broker] for request in self._waiting.values() if request.broker}

    def opened(self, broker: str) -> None:
        """A new session with a broker, or none any more: what it was asked is asked again."""
        for request in self._waiting.values():
            if request.sent_to == broker:
                request.sent_to = None

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        """What to ask now, and whom. Questions past their deadline are forgotten; whoever waits knows by the clock."""
        self._stepped = now
        for id in [id for id, request in self._waiting.items() if now >= request.deadline]:
            del self._waiting[id]
        letters: list[Letter] = []
        for request in self._waiting.values():
            broker = request.choose(now, lines)
            if broker is not None:
                request.sent_to, request.sent_at, request.sent_ever = broker, now, True
                letters.append((broker, request.command))
        return letters

    def deadline(self) -> float:
        """When to step again if nothing is heard."""
        times = [inf]
        for request in self._waiting.values():
            if request.sent_to is None:
                times.append(request.resume_at if request.resume_at > self._stepped else inf)
            elif not request.broker and request.sent_at + ANOTHER_AFTER > self._stepped:
                times.append(request.sent_at + ANOTHER_AFTER)
        return min(times)

    def needs_another(self) -> bool:
        """Whether a question has waited so long that somebody else should be asked."""
        asked = [request for request in self._waiting.values() if not request.broker and request.sent_ever]
        return any(self._stepped >= request.sent_at + ANOTHER_AFTER or request.refused_by is not None for request in asked)

    def hear(self, command: Command, now: float) -> bool:
        """Takes an answer; False if it answers none of these questions."""
        request = self._waiting.get(getattr(command, "id", 0))
        if request is None:
            return False
        if isinstance(command, Refused):
            error = from_code(command.code, command.message, command.hint, command.details)
            if isinstance(error, NotLeader | Unreachable) and not request.broker:
                request.refused_by, request.sent_to, request.resume_at = request.sent_to, None, now + RETRY_AFTER
                request.error = error
                return True
            request.error = error
        else:
            request.answer, request.error = command, None
        request.done = True
        del self._waiting[command.id]  # type: ignore[attr-defined]
        return True

    def forget(self, request: Request) -> None:
        """Nobody waits for the answer any more."""
        self._waiting = {id: waiting for id, waiting in self._waiting.items() if waiting is not request}

    def fail(self, error: ZmqmqError) -> None:
        """Ends all questions with `error`."""
        for request in self._waiting.values():
            request.error = error
            request.done = True
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)
