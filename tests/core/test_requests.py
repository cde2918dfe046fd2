"""Questions without answers: whom they go to, and when they go again."""

from __future__ import annotations

from itertools import count

from zmqmq.core.admin_commands import BrokerList, ListBrokers
from zmqmq.core.commands import Refused
from zmqmq.core.requests import ANOTHER_AFTER, RETRY_AFTER, Requests
from zmqmq.errors import ClosedError, InvalidValue, NotLeader

ANSWER = BrokerList(1, "c", "a", [])


def asked(broker: str = "", deadline: float = 60.0) -> tuple[Requests, list[str]]:
    """One question, and whom it went to at first."""
    requests = Requests(count(1).__next__)
    requests.ask(ListBrokers, deadline, broker, "tcp://127.0.0.1:1" if broker else "")
    return requests, to(requests, 0.0, "a", "b")


def to(requests: Requests, now: float, *lines: str) -> list[str]:
    return [broker for broker, _ in requests.step(now, lines)]


def test_a_question_for_anybody_goes_to_the_best_line_once() -> None:
    requests, first = asked()
    assert first == ["a"]
    assert to(requests, 0.1, "a", "b") == []


def test_a_question_for_one_broker_waits_for_its_line_and_wants_it() -> None:
    requests, first = asked("c")
    assert first == []
    assert requests.wanted() == {"c": "tcp://127.0.0.1:1"}
    assert to(requests, 0.1, "a", "c") == ["c"]


def test_a_question_goes_again_on_a_new_session() -> None:
    requests, _ = asked()
    requests.opened("a")
    assert to(requests, 0.1, "a") == ["a"]


def test_a_silent_broker_is_passed_over_after_a_while() -> None:
    requests, _ = asked()
    assert to(requests, ANOTHER_AFTER, "a") == []
    assert requests.needs_another()
    assert requests.deadline() == float("inf")
    assert to(requests, ANOTHER_AFTER, "a", "b") == ["b"]


def test_a_broker_that_cannot_tell_now_is_followed_by_another_one_after_a_pause() -> None:
    requests, _ = asked()
    assert requests.hear(Refused(1, NotLeader.__name__, "no"), 0.0)
    assert to(requests, RETRY_AFTER / 2, "a", "b") == []
    assert requests.deadline() == RETRY_AFTER
    assert to(requests, RETRY_AFTER, "a", "b") == ["b"]


def test_the_one_broker_that_is_asked_answers_for_itself() -> None:
    requests = Requests(count(1).__next__)
    request = requests.ask(ListBrokers, 60.0, "a", "tcp://127.0.0.1:1")
    to(requests, 0.0, "a")
    requests.hear(Refused(1, NotLeader.__name__, "no"), 0.0)
    assert request.done and isinstance(request.error, NotLeader)


def test_an_answer_or_a_final_refusal_ends_a_question() -> None:
    requests = Requests(count(1).__next__)
    good, bad = requests.ask(ListBrokers, 60.0), requests.ask(ListBrokers, 60.0)
    assert requests.hear(ANSWER, 0.0)
    assert requests.hear(Refused(2, InvalidValue.__name__, "no"), 0.0)
    assert good.answer is ANSWER and isinstance(bad.error, InvalidValue)
    assert len(requests) == 0
    assert not requests.hear(ANSWER, 0.0)


def test_questions_end_at_their_deadline_when_forgotten_or_when_the_client_ends() -> None:
    requests, _ = asked(deadline=5.0)
    to(requests, 5.0, "a")
    assert len(requests) == 0
    requests.forget(requests.ask(ListBrokers, 60.0))
    assert len(requests) == 0
    last = requests.ask(ListBrokers, 60.0)
    requests.fail(ClosedError("closed"))
    assert last.done and isinstance(last.error, ClosedError)
