"""Ten producers and five consumers, of which one is killed and one stopped; with the broker killed too. Full size: `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.chaos import Chaos, Plan
from tests.system.processes import Programs
from tests.system.verdict import Absence, Delivery, judge

SMALL = Plan(messages=1000, keys=50, work=0.001)


@pytest.mark.parametrize("plan", [SMALL, SMALL._replace(producers=5, broker_kills=2, seed=1)], ids=["consumers fail", "the broker fails too"])
def test_every_message_is_settled_once_in_order_and_held_by_one_at_a_time(plan: Plan, programs: Programs, tmp_path: Path) -> None:
    verdict = Chaos(plan, programs, tmp_path).run()
    assert verdict.violations == []
    assert verdict.settled == plan.total


# --- The judge itself ------------------------------------------------------------------------------------------------


def delivery(consumer: str, began: float, offset: int, lease: int, outcome: str = "ack", value: str = "") -> Delivery:
    made = Delivery(consumer, began, (0, offset), (1, lease), "key", value or f"value-{offset}")
    made.outcome = outcome
    made.ended = None if outcome == "open" else began + 1
    return made


def violations(*deliveries: Delivery, gone: dict[str, Absence] | None = None) -> list[str]:
    return judge({delivery.value for delivery in deliveries}, deliveries, gone or {}).violations


def test_the_judge_accepts_a_redelivery_after_a_kill() -> None:
    assert violations(delivery("a", 1, 0, 1, "open"), delivery("b", 5, 0, 2), delivery("b", 7, 1, 2), gone={"a": (1.5, 4)}) == []


def test_the_judge_sees_a_message_that_nobody_settled() -> None:
    assert violations(delivery("a", 1, 0, 1, "lost")) == ["not settled value-0: a (1, 1) from 1.000: lost"]


def test_the_judge_sees_two_holders() -> None:
    assert violations(delivery("a", 1, 0, 1, "lost"), delivery("b", 1.5, 0, 2))[0].startswith("two holders of (0, 0): a")


def test_the_judge_knows_that_a_consumer_may_get_again_what_it_has_lost_before_it_writes_that_down() -> None:
    assert violations(delivery("a", 1, 0, 1, "lost"), delivery("a", 1.5, 0, 2)) == []


def test_the_judge_sees_a_message_that_was_delivered_after_it_was_done() -> None:
    assert violations(delivery("a", 1, 0, 1), delivery("b", 5, 0, 2))[0].startswith("two holders of (0, 0): a")


def test_the_judge_knows_that_a_stopped_consumer_may_hear_of_what_another_one_has_done() -> None:
    assert violations(delivery("a", 1, 0, 1), delivery("b", 5, 0, 2), gone={"a": (1.5, 4)}) == []


def test_the_judge_sees_a_duplicate() -> None:
    assert violations(delivery("a", 1, 0, 1, value="x"), delivery("a", 3, 1, 1, value="x")) == ["two offsets for x: [(0, 0), (0, 1)]"]


def test_the_judge_sees_disorder_within_a_key() -> None:
    assert violations(delivery("a", 5, 0, 1), delivery("b", 1, 1, 2)) == ["out of order: key: (0, 1) by b before (0, 0) by a"]
