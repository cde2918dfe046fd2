"""The rules of the queue see: hand-made bad deliveries."""

from __future__ import annotations

import pytest

from tests.sim import queue_verdicts as rules
from tests.sim.history import Violation

QUEUE = ("g", 7, 0)


def hold(consumer: str, offset: int, key: bytes | None = b"k", partition: int = 0) -> rules.Hold:
    return rules.Hold(consumer, ("g", 7, partition), offset, key)


def expected(value: bytes = b"v", concluded: bool = False, failures: int = 0) -> rules.Expected:
    return rules.Expected(value, concluded, failures, {"c"})


def test_a_good_delivery_passes() -> None:
    rules.deliverable("c", 3, b"v", 2, expected(failures=1))


@pytest.mark.parametrize(
    ("client", "attempt", "facts", "said"),
    [
        ("c", 1, None, "not committed"),
        ("c", 1, expected(b"w"), "another message"),
        ("c", 1, expected(concluded=True), "settled"),
        ("d", 1, expected(), "not joined"),
        ("c", 1, expected(failures=1), "attempts"),
        ("c", 2, expected(), "attempts"),
    ],
)
def test_a_delivery_that_should_not_be_is_seen(client: str, attempt: int, facts: rules.Expected | None, said: str) -> None:
    with pytest.raises(Violation, match=said):
        rules.deliverable(client, 3, b"v", attempt, facts)


def test_two_holders_of_a_message_or_a_key_are_seen() -> None:
    rules.one_holder(hold("c", 3), [hold("c", 2), hold("d", 3, partition=1), hold("d", 4, b"other")])
    with pytest.raises(Violation, match="two consumers"):
        rules.one_holder(hold("c", 3), [hold("d", 4)])
    with pytest.raises(Violation, match="two consumers"):
        rules.one_holder(hold("c", 3, None), [hold("d", 3, None)])


def test_a_message_that_overtakes_its_key_is_seen() -> None:
    rules.in_key_order(hold("c", 5), [3, 4], {3: "concluding", 4: "working"})
    with pytest.raises(Violation, match="overtakes an earlier one"):
        rules.in_key_order(hold("c", 5), [3, 4], {3: "working"})
    with pytest.raises(Violation, match="goes back"):
        rules.in_key_order(hold("c", 5), [3], {3: "returning"})


def test_first_deliveries_in_another_order_are_seen_and_repeats_are_not_counted() -> None:
    newest: dict[tuple[rules.Queue, bytes], int] = {}
    seen: dict[rules.Queue, set[int]] = {}
    for offset in (3, 5, 3, 5):
        rules.first_in_order(newest, seen, hold("c", offset))
    rules.first_in_order(newest, seen, hold("d", 4, b"other"))
    with pytest.raises(Violation, match="another order"):
        rules.first_in_order(newest, seen, hold("d", 2))


def test_a_token_that_does_not_grow_is_seen_also_when_the_leader_changes() -> None:
    tokens: dict[tuple[rules.Queue, bytes], tuple[tuple[int, int], str]] = {}
    rules.token_grows(tokens, QUEUE, b"k", (1, 9), "c")
    rules.token_grows(tokens, QUEUE, b"k", (1, 9), "c")
    rules.token_grows(tokens, QUEUE, b"k", (2, 1), "d")
    for token, client in (((1, 10), "c"), ((2, 1), "c")):
        with pytest.raises(Violation, match="token"):
            rules.token_grows(tokens, QUEUE, b"k", token, client)


def test_what_was_confirmed_as_settled_and_comes_again_is_seen() -> None:
    settled = {(QUEUE, 3): "c"}
    rules.stays_settled(settled, hold("d", 4))
    with pytest.raises(Violation, match="confirmed"):
        rules.stays_settled(settled, hold("d", 3))
