"""Where brokers are looked for: what was configured, what brokers have told, and what has failed."""

from __future__ import annotations

from math import inf

import pytest

from zmqmq.client.endpoint_book import FIRST_REDIAL_DELAY, KNOWN_MAX, EndpointBook

A, B, C = "tcp://a:1", "tcp://b:1", "tcp://c:1"


def book(*given: str) -> EndpointBook:
    return EndpointBook(given, lambda: 0.0)


def test_endpoints_that_were_not_tried_come_first_and_at_once() -> None:
    known = book(A, B)
    assert known.next(0.0, (), ()) == A
    known.failed(A, "", "refused", 0.0)
    assert known.next(0.0, (), ()) == B


def test_when_all_have_failed_the_one_that_failed_first_is_tried_after_a_pause() -> None:
    known = book(A, B)
    known.failed(B, "", "refused", 0.0)
    known.failed(A, "", "refused", 1.0)
    assert known.next(1.0, (), ()) is None
    assert known.look_at((), ()) == known.redial_at("") > 1.0
    assert known.next(known.redial_at(""), (), ()) == B


def test_brokers_that_were_told_are_tried_too() -> None:
    known = book(A)
    known.told({"b": B})
    known.failed(A, "", "refused", 0.0)
    assert known.next(0.0, (), ()) == B
    assert known.look_at({A}, {"b"}) == inf


def test_a_broker_behind_a_proxy_is_dialled_there_until_it_advertises_something_else() -> None:
    known = book(A)
    known.told({"b": B})
    known.opened(A, "b")
    assert known.endpoint_of("b") == A
    known.told({"b": C})
    assert known.endpoint_of("b") == C


def test_a_broken_line_is_dialled_again_soon() -> None:
    known = book(A)
    known.told({"b": A})
    known.opened(A, "b")
    known.failed(A, "b", "closed", 5.0, was_open=True)
    assert known.redial_at("b") == 5.0 + FIRST_REDIAL_DELAY == known.redial_at("")


def test_nobody_to_look_for_is_no_reason_to_look() -> None:
    known = book(A)
    assert known.next(0.0, {A}, ()) is None
    assert known.look_at({A}, ()) == inf


@pytest.mark.parametrize("count", [2, KNOWN_MAX + 1])
def test_brokers_that_are_told_together_are_known_however_many_were_told_before(count: int) -> None:
    known = book()
    known.told({"b0": B})
    known.told({f"c{number}": f"{C}{number}" for number in range(KNOWN_MAX - 1)})
    wanted = {f"b{number}": f"{B}{number}" for number in range(count)}
    known.told(wanted)
    assert {broker: known.endpoint_of(broker) for broker in wanted} == wanted


def test_why_nothing_answers_is_told_for_each_endpoint() -> None:
    known = book(A, B)
    known.failed(A, "", "connection refused", 0.0)
    assert known.unreachable().details == {A: "connection refused", B: "not tried yet"}
