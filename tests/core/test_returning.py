"""Messages that a consumer gives back: what it must not hand out meanwhile, and what it still holds."""

from __future__ import annotations

import pytest

from tests.core.test_consuming import BROKER, Script, delivered
from zmqmq.core.commands import KeptLease, Outcome, Settle, Settled


def returned(script: Script, outcome: Outcome) -> None:
    """All that was delivered is handed out, and the first message goes back."""
    script.taken()
    held, index = script.held(1)
    script.consuming.settle(held, [index], outcome, None, "")


def test_a_nack_holds_back_later_messages_of_its_key_only() -> None:
    script = delivered(1, 2, 3, 4, keys=[b"a", b"b", b"a", None])
    assert script.taken(1) == [1]
    held, index = script.held(1)
    script.consuming.settle(held, [index], "nack", None, "no")
    assert script.taken() == [2, 4]


def test_a_delivery_that_crosses_a_nack_does_not_overtake() -> None:
    script = delivered(1, 2, keys=[b"a", b"b"])
    returned(script, "nack")
    (settle,) = script.step(Settle)
    script.deliver([5, 6], [b"a", b"b"], lease=2, turn=0)
    assert script.taken() == [6]
    script.consuming.hear(BROKER, Settled(settle.id, []), 0.0)
    script.deliver([1, 7], [b"a", b"a"], lease=3, turn=0)
    assert script.taken() == [1, 7]


def test_a_redelivery_shows_that_the_return_was_seen() -> None:
    script = delivered(1, keys=[b"a"])
    returned(script, "release")
    script.step(Settle)
    script.deliver([1, 5], [b"a", b"a"], lease=2, turn=0)
    assert script.taken() == [1, 5]


@pytest.mark.parametrize("key", [None, b"a"])
def test_what_was_returned_and_delivered_again_is_presented_once(key: bytes | None) -> None:
    script = delivered(1, 2, keys=[key, b"b"])
    returned(script, "release")
    (settle,) = script.step(Settle)
    script.deliver([1, 5], [key, key], lease=2, turn=0)
    script.open()
    subscribe = script.subscribe(KeptLease(0, 1, 1, 2, 55, [2], []), KeptLease(0, 1, 2, 2, 56, [1, 5], []))
    assert [(lease.lease, lease.offsets) for lease in subscribe.held] == [(1, [2]), (2, [1, 5])]
    assert script.step(Settle) == [], "it has been returned"
    assert script.taken() == [1, 5]


def test_a_delivery_of_an_earlier_leadership_shows_nothing_of_a_return() -> None:
    script = delivered(1, keys=[b"a"])
    returned(script, "release")
    script.deliver([1], [b"a"], lease=9, turn=0, epoch=0)
    script.deliver([2], [b"a"], lease=2, turn=0)
    assert script.taken() == [], "the second one crossed the return, too"
