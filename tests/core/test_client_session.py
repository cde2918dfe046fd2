"""The client's session: greeting, heartbeat, and every way in which it ends."""

from __future__ import annotations

import pytest

from zmqmq.core.client_session import GREETING_TIMEOUT, ClientSession, Heard
from zmqmq.core.commands import Command, Farewell, Moved, Pong, Produced, Recalled, Refused, SessionReplaced, Welcome, WhoAreYou
from zmqmq.core.model import Limits


def welcome(epoch: int, timeout: float = 9.0) -> Welcome:
    return Welcome(1, "cluster", "broker-1", 1, epoch, Limits(), timeout, 1.0, "tcp://127.0.0.1:7401", b"12345678", "test", 0.0)


def opened() -> ClientSession:
    session = ClientSession("c", "sensor", "test")
    session.greet(0.0)
    assert session.hear(welcome(1), 0.0) is Heard.OPENED
    return session


def test_a_welcome_opens_the_session() -> None:
    session = opened()
    assert session.is_open
    assert session.timeout == 9.0


def test_a_welcome_for_an_older_hello_is_ignored() -> None:
    session = ClientSession("c", "sensor", "test")
    session.greet(0.0)
    session.greet(1.0)
    assert session.hear(welcome(1), 1.0) is Heard.CONSUMED
    assert session.hear(welcome(2), 1.0) is Heard.OPENED


def test_each_hello_has_a_higher_epoch() -> None:
    session = ClientSession("c", "sensor", "test")
    assert [session.greet(0.0).session_epoch for _ in range(3)] == [1, 2, 3]


def test_a_broker_that_does_not_know_us_is_greeted_again_once() -> None:
    session = opened()
    assert session.hear(WhoAreYou(), 1.0) is Heard.FORGOTTEN
    session.greet(1.0)
    assert session.hear(WhoAreYou(), 1.0) is Heard.CONSUMED


def test_a_refused_greeting_tells_why() -> None:
    session = ClientSession("c", "sensor", "test")
    session.greet(0.0)
    assert session.hear(Refused(0, "UnsupportedVersion", "version 1 is not spoken"), 0.0) is Heard.REFUSED
    assert session.refusal is not None
    assert session.refusal.code == "UnsupportedVersion"


def test_a_ping_is_due_after_a_third_of_the_timeout_whatever_else_is_said() -> None:
    session = opened()
    session.said(2.0)
    assert session.ping(2.9, lambda: 1) is None and session.deadline() == 3.0
    assert session.ping(3.0, lambda: 1) is not None
    assert session.ping(5.9, lambda: 2) is None


def test_silence_is_death_before_the_broker_returns_what_is_held() -> None:
    session = opened()
    assert not session.is_dead(8.0)
    assert session.is_dead(8.1), "the rest of the 9 s is for us to notice"


def test_the_session_lasts_from_when_the_ping_was_sent_that_was_answered() -> None:
    session = opened()
    session.ping(3.0, lambda: 1)
    session.ping(6.0, lambda: 2)
    assert session.hear(Pong(2), 8.0) is Heard.CONSUMED
    assert session.hear(Pong(1), 8.5) is Heard.CONSUMED, "it comes late, and proves less"
    assert not session.is_dead(14.0) and session.is_dead(14.1)
    assert session.gives_up_at() == 14.1


@pytest.mark.parametrize("unasked", [Moved("t"), Recalled(1, 0, 1, 1, [1]), Produced(1, 0, 0.0), Pong(77)])
def test_what_a_broker_says_does_not_prove_that_it_hears(unasked: Command) -> None:
    session = opened()
    session.ping(3.0, lambda: 1)
    session.hear(unasked, 8.0)
    assert session.gives_up_at() == 8.1 and session.deadline() == 6.0
    assert session.is_dead(8.1)


def test_a_ping_of_the_session_before_proves_nothing() -> None:
    session = opened()
    session.ping(3.0, lambda: 1)
    session.hear(WhoAreYou(), 4.0)
    session.greet(4.0)
    session.hear(welcome(2), 5.0)
    session.ping(7.0, lambda: 2)
    session.hear(Pong(1), 8.0)
    assert session.gives_up_at() == 12.1


def test_a_greeting_without_an_answer_is_given_up() -> None:
    session = ClientSession("c", "sensor", "test")
    session.greet(0.0)
    assert not session.is_dead(GREETING_TIMEOUT - 0.1)
    assert session.is_dead(GREETING_TIMEOUT)


def test_a_broker_that_shuts_down_ends_the_session() -> None:
    assert opened().hear(Farewell(0), 1.0) is Heard.ENDED
    assert opened().hear(SessionReplaced(), 1.0) is Heard.ENDED


def test_nothing_else_is_heard_before_the_welcome() -> None:
    session = ClientSession("c", "sensor", "test")
    session.greet(0.0)
    assert session.hear(Produced(1, 0, 0.0), 0.0) is Heard.CONSUMED
