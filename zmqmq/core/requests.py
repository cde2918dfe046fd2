"""Questions that wait for their answers: each has an id and a deadline, and is asked again on every new session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zmqmq.core.commands import Command, Refused
from zmqmq.errors import ZmqmqError, from_code


class Request:
    """One question. `answer` or `error` is set once, then `done` is true."""

    __slots__ = ("answer", "command", "deadline", "done", "error", "sent", "sent_ever")

    def __init__(self, command: Command, deadline: float) -> None:
        self.command = command
        self.deadline = deadline
        self.answer: Any = None
        self.error: ZmqmqError | None = None
        self.done = False
        self.sent = False
        self.sent_ever = False


class Requests:
    """All questions of a client that are not answered yet."""

    def __init__(self, next_id: Callable[[], int]) -> None:
        self._next_id = next_id
        self._waiting: dict[int, Request] = {}

    def ask(self, build: Callable[[int], Command], deadline: float) -> Request:
        """Queues the command that `build` makes with a fresh id."""
        id = self._next_id()
        request = Request(build(id), deadline)
        self._waiting[id] = request
        return request

    def opened(self) -> None:
        """A new session: everything unanswered is asked again."""
        for request in self._waiting.values():
            request.sent = False

    def step(self, now: float) -> list[Command]:
        """The commands to send now. Questions past their deadline are forgotten; whoever waits knows by the clock."""
        for id in [id for id, request in self._waiting.items() if now >= request.deadline]:
            del self._waiting[id]
        commands = []
        for request in self._waiting.values():
            if not request.sent:
                request.sent = request.sent_ever = True
                commands.append(request.command)
        return commands

    def hear(self, command: Command) -> bool:
        """Takes an answer; False if it answers none of these questions."""
        request = self._waiting.pop(getattr(command, "id", 0), None)
        if request is None:
            return False
        if isinstance(command, Refused):
            request.error = from_code(command.code, command.message, command.hint, command.details)
        else:
            request.answer = command
        request.done = True
        return True

    def fail(self, error: ZmqmqError) -> None:
        """Ends all questions with `error`."""
        for request in self._waiting.values():
            request.error = error
            request.done = True
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)
