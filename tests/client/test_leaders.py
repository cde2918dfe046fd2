"""Questions to the leaders of a topic while they change: everything is asked until it is complete, and nothing is told twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import pytest

from zmqmq import Admin
from zmqmq.client.desk import Desk, Question
from zmqmq.client.leaders import Leaders
from zmqmq.core.admin_commands import AskLag, DeleteGroup, DescribePartitions, Done, LagReport, PartitionLag, PartitionList, PartitionSummary, Replay
from zmqmq.core.commands import Command, Described
from zmqmq.core.model import Placement, TopicSettings
from zmqmq.core.requests import Request
from zmqmq.errors import InvalidValue, NotLeader, UnknownGroup, UnknownTopic, ZmqmqError
from zmqmq.testing import TestBroker


class Brokers(Desk):
    """A desk whose brokers are here: `leads` is who leads what in truth, `told` what descriptions say. No time passes but for pauses."""

    def __init__(self, leads: dict[int, str], timeout: float = 5.0) -> None:
        self.timeout = timeout
        self.leads = dict(leads)
        self.described: dict[int, tuple[str, int]] = {number: (leader, 1) for number, leader in leads.items()}
        self.mute: set[str] = set()
        self.knows = dict.fromkeys(leads.values(), True)
        """Whether a broker knows the group."""
        self.done: list[tuple[str, int | None]] = []
        self.rounds: list[Callable[[], None]] = []
        """What happens in the pauses, one after the other."""
        self._ids = count(1)

    def ask(self, build: Any, kind: Any, broker: str = "", endpoint: str = "", until: float = 0.0) -> Any:
        placements = [Placement(number, epoch, leader, f"tcp://{leader}:1") for number, (leader, epoch) in sorted(self.described.items())]
        return Described(1, "t", 1, 3, placements, TopicSettings())

    def send(self, questions: Sequence[Question], timeout: float) -> list[Request]:
        requests = [Request(question.build(next(self._ids)), 0.0, question.broker) for question in questions]
        for request in requests:
            request.sent_ever = True
            if request.broker not in self.mute:
                self._answer(request)
        return requests

    def wait(self, requests: Sequence[Request], timeout: float) -> None:
        """All have answered who ever will."""

    def forget(self, requests: Iterable[Request]) -> None:
        """Nothing to do."""

    def pause(self) -> None:
        if self.rounds:
            self.rounds.pop(0)()

    def _answer(self, request: Request) -> None:
        request.done = True
        try:
            request.answer = self._say(request.broker, request.command)
        except ZmqmqError as error:
            request.error = error

    def _say(self, broker: str, command: Command) -> Command:
        led = [number for number, leader in self.leads.items() if leader == broker]
        if isinstance(command, DescribePartitions):
            return PartitionList(command.id, "t", [PartitionSummary(number, broker, 1, [], [], 0, 0, 0, 0, 0, 0) for number in led])
        if not led:
            raise NotLeader("no")
        if not self.knows[broker]:
            raise UnknownGroup("no")
        if isinstance(command, AskLag):
            return LagReport(command.id, "t", "g", [PartitionLag(number, 0, 1, 1, 0, 0, 0, None) for number in led])
        if isinstance(command, Replay):
            if command.partition not in led:
                raise NotLeader("no")
            self.done.append((broker, command.partition))
            return Done(command.id, 1)
        assert isinstance(command, DeleteGroup)
        self.knows[broker] = False
        self.done.append((broker, None))
        return Done(command.id, 1)


def lag(brokers: Brokers) -> list[int]:
    answers, missing = Leaders(brokers, "t").ask(lambda id: AskLag(id, "t", "g"), LagReport, is_strict=True)
    assert missing == []
    return sorted(part.partition for answer in answers for part in answer.partitions)


def replay(brokers: Brokers, partition: int | None = None) -> int:
    return sum(answer.count for answer in Leaders(brokers, "t").tell(lambda number, id: Replay(id, "t", "g", number), Done, partition))


def test_all_leaders_are_asked() -> None:
    assert lag(Brokers({0: "a", 1: "b", 2: "a"})) == [0, 1, 2]


def test_a_leader_that_has_just_been_appointed_is_waited_for() -> None:
    brokers = Brokers({0: "a", 1: "b", 2: "a"})
    brokers.leads[1] = ""  # it is elected, and has not begun
    brokers.rounds = [lambda: None, lambda: brokers.leads.update({1: "b"})]
    assert lag(brokers) == [0, 1, 2]


def test_a_description_that_is_out_of_date_leaves_nothing_out() -> None:
    brokers = Brokers({0: "a", 1: "b"})
    brokers.leads[1] = "a"
    brokers.leads[0] = "b"
    brokers.described[1] = ("b", 1)
    assert lag(brokers) == [0, 1]  # they have changed places: both answered all the same
    brokers.leads = {0: "b", 1: "c"}
    brokers.knows["c"] = True
    brokers.rounds = [lambda: brokers.described.update({0: ("b", 2)}), lambda: brokers.described.update({1: ("c", 2)})]
    assert lag(brokers) == [0, 1]


def test_what_nobody_leads_is_an_error_for_the_strict_and_named_for_others() -> None:
    brokers = Brokers({0: "a", 1: "b"}, timeout=0.3)
    brokers.leads[1] = ""
    brokers.described[1] = ("", 2)
    with pytest.raises(NotLeader, match="partition 1"):
        lag(brokers)
    answers, missing = Leaders(brokers, "t").ask(lambda id: AskLag(id, "t", "g"), LagReport)
    assert (len(answers), missing) == (1, [1])


def test_a_group_that_one_leader_knows_is_known() -> None:
    brokers = Brokers({0: "a", 1: "b"})
    brokers.knows["a"] = False
    assert lag(brokers) == [1]
    brokers.knows["b"] = False
    with pytest.raises(UnknownGroup):
        lag(brokers)


def test_a_leader_that_has_not_heard_of_the_topic_yet_is_asked_again() -> None:
    brokers = Brokers({0: "a", 1: "b"})
    known, say = [False], brokers._say

    def ignorant(broker: str, command: Command) -> Command:
        if broker == "b" and not known[0]:
            raise UnknownTopic("no")
        return say(broker, command)

    brokers._say = ignorant  # type: ignore[method-assign]
    brokers.rounds = [lambda: known.__setitem__(0, True)]
    assert lag(brokers) == [0, 1]


def test_every_partition_is_told_once_whoever_leads_it_by_then() -> None:
    brokers = Brokers({0: "a", 1: "b", 2: "a"})
    brokers.leads[2] = "b"
    brokers.rounds = [lambda: brokers.described.update({2: ("b", 2)})]
    assert replay(brokers) == 3
    assert sorted(brokers.done, key=lambda deed: deed[1] or 0) == [("a", 0), ("b", 1), ("b", 2)]


def test_a_silent_leader_is_told_nothing_twice_and_left_when_another_one_leads() -> None:
    brokers = Brokers({0: "a", 1: "b"})
    brokers.mute.add("b")

    def elect() -> None:
        brokers.leads[1] = "a"
        brokers.described[1] = ("a", 2)

    asked: list[int | None] = []
    send = brokers.send

    def counted(questions: Sequence[Question], timeout: float) -> list[Request]:
        requests = send(questions, timeout)
        asked.extend(request.command.partition for request in requests if isinstance(request.command, Replay))
        return requests

    brokers.send = counted  # type: ignore[method-assign]
    brokers.rounds = [lambda: None, lambda: None, elect]
    assert replay(brokers) == 2
    assert asked == [0, 1, 1]
    assert brokers.done == [("a", 0), ("a", 1)]


def test_one_partition_is_told_alone() -> None:
    brokers = Brokers({0: "a", 1: "b"})
    assert replay(brokers, 1) == 1
    assert brokers.done == [("b", 1)]


def test_a_group_is_forgotten_even_if_its_leaders_change_meanwhile() -> None:
    brokers = Brokers({0: "a", 1: "b"})
    brokers.leads[1] = ""
    brokers.rounds = [lambda: brokers.leads.update({1: "b"})]
    answers, _ = Leaders(brokers, "t").ask(lambda id: DeleteGroup(id, "t", "g"), Done, is_strict=True, is_change=True)
    assert len(answers) == 1
    assert brokers.done == [("a", None), ("b", None)]
    with pytest.raises(UnknownGroup):
        Leaders(brokers, "t").ask(lambda id: DeleteGroup(id, "t", "g"), Done, is_strict=True, is_change=True)


def test_a_group_that_was_forgotten_in_the_first_round_is_not_unknown_in_the_second() -> None:
    brokers = Brokers({0: "a", 1: "a"})
    brokers.leads[1] = ""
    brokers.rounds = [lambda: brokers.leads.update({1: "a"})]
    answers, _ = Leaders(brokers, "t").ask(lambda id: DeleteGroup(id, "t", "g"), Done, is_strict=True, is_change=True)
    assert answers == []
    assert brokers.done == [("a", None)]


def test_a_broker_alone_says_that_it_is_no_cluster() -> None:
    with TestBroker() as broker, Admin(broker.endpoint, timeout=5) as admin:
        admin.create_topic("t")
        calls: list[Callable[[], object]] = [
            admin.cluster,
            lambda: admin.drain_broker("b"),
            lambda: admin.remove_broker("b"),
            lambda: admin.reassign("t", 0, ["b"]),
            lambda: admin.add_partitions("t", 2),
        ]
        for call in calls:
            with pytest.raises(InvalidValue, match="stands alone"):
                call()
        (only,) = admin.brokers()
        assert admin.status(broker=only.broker_id).role == "standalone"
