"""Questions to every broker, while none is registered yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import pytest

from zmqmq.client.desk import Desk, Question
from zmqmq.core.admin_commands import BrokerList, BrokerSummary, ListTopics, TopicList
from zmqmq.core.requests import Request
from zmqmq.errors import NotLeader


class Brokers(Desk):
    """A desk where anybody answers: `lists` are the brokers that are registered, as told in one round after the other, the last of them for ever."""

    def __init__(self, *lists: list[str], timeout: float = 5.0) -> None:
        self.timeout = timeout
        self.asked: list[str] = []
        self._lists = list(lists)
        self._ids = count(1)

    def ask(self, build: Any, kind: Any, broker: str = "", endpoint: str = "", until: float = 0.0) -> Any:
        names = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        return BrokerList(1, "c", "", [BrokerSummary(name, f"tcp://{name}:1", "member", 0, "") for name in names])

    def send(self, questions: Sequence[Question], timeout: float) -> list[Request]:
        requests = [Request(question.build(next(self._ids)), 0.0, question.broker) for question in questions]
        for request in requests:
            self.asked.append(request.broker)
            request.done, request.answer = True, TopicList(1, [])
        return requests

    def wait(self, requests: Sequence[Request], timeout: float) -> None:
        """All have answered."""

    def forget(self, requests: Iterable[Request]) -> None:
        """Nothing to do."""

    def pause(self) -> None:
        """No time passes."""


def test_brokers_that_are_not_registered_yet_are_waited_for() -> None:
    brokers = Brokers([], [], ["a", "b"])
    assert len(brokers.everywhere(lambda id: ListTopics(id, ""), TopicList)) == 2
    assert brokers.asked[-2:] == ["a", "b"]


def test_with_nobody_registered_nothing_is_known_rather_than_that_there_is_nothing() -> None:
    with pytest.raises(NotLeader, match="no broker is registered"):
        Brokers([], timeout=0.3).everywhere(lambda id: ListTopics(id, ""), TopicList)


def test_with_nobody_registered_the_lenient_hear_whoever_can_be_reached() -> None:
    brokers = Brokers([])
    assert len(brokers.everywhere(lambda id: ListTopics(id, ""), TopicList, is_lenient=True)) == 1
    assert brokers.asked == [""]
