"""A broker to which nobody can connect, while it can connect to all: it leads no longer than it takes to find that out, and not again soon."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.core.acts import Producer
from tests.core.cluster_world import PEER, ClusterWorld, Machine
from zmqmq.core import controller
from zmqmq.core.agreements import ALONE_MAX
from zmqmq.core.controller import BALANCE_INTERVAL, LEAD_AT_LEAST
from zmqmq.core.places import Place
from zmqmq.core.tree import Event

MAX_LAG = 4.0
"""Seconds after which a follower that says nothing is out of sync."""
GIVEN_UP = MAX_LAG + ALONE_MAX + 1.0
WEARY_FOR = 100.0
"""Shorter here."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "WEARY_FOR", WEARY_FOR)


def place(cluster: ClusterWorld) -> Place:
    (entry,) = cluster.leader.cluster.view.places.values()
    return entry.place


def a_cluster() -> ClusterWorld:
    """One partition, led by "a", which is preferred."""
    cluster = ClusterWorld("abc")
    Producer(cluster["a"]).send(b"m0")
    cluster.pass_time(LEAD_AT_LEAST)
    assert (place(cluster).leader, len(place(cluster).isr)) == ("a", 3)
    return cluster


def cut_off(machine: Machine) -> None:
    """What other brokers ask never arrives; what it asks does."""
    one_turn = machine.one_turn

    def deaf(events: Iterable[Event]) -> None:
        machine.frames = [frame for frame in machine.frames if not frame[0].startswith(PEER)]
        one_turn(events)

    machine.one_turn = deaf  # type: ignore[method-assign]


def reconnect(machine: Machine) -> None:
    del machine.one_turn  # type: ignore[method-assign]


def epochs_after(cluster: ClusterWorld, seconds: float) -> int:
    """How many leaderships begin and end in that time."""
    before = place(cluster).epoch
    cluster.pass_time(seconds)
    return place(cluster).epoch - before


def test_a_leader_to_whom_nobody_can_connect_does_not_get_its_leadership_back_for_being_preferred() -> None:
    cluster = a_cluster()
    cut_off(cluster["a"])
    cluster.pass_time(GIVEN_UP)
    assert (place(cluster).leader, place(cluster).weary) == ("b", "a")
    assert epochs_after(cluster, WEARY_FOR - GIVEN_UP) == 0
    assert len(place(cluster).isr) == 3, "as a follower it is as good as any other"


def test_it_is_tried_again_after_a_long_time_and_costs_as_much_as_the_first_time() -> None:
    cluster = a_cluster()
    cut_off(cluster["a"])
    cluster.pass_time(GIVEN_UP)
    assert epochs_after(cluster, WEARY_FOR + 2 * BALANCE_INTERVAL + GIVEN_UP) == 3, "handed over, given up, led by another one"
    assert (place(cluster).leader, place(cluster).weary) == ("b", "a")


def test_who_can_be_reached_again_gets_its_leadership_back() -> None:
    cluster = a_cluster()
    cut_off(cluster["a"])
    cluster.pass_time(GIVEN_UP)
    reconnect(cluster["a"])
    assert epochs_after(cluster, WEARY_FOR + 2 * BALANCE_INTERVAL) == 1
    assert (place(cluster).leader, place(cluster).weary) == ("a", "")
    assert epochs_after(cluster, WEARY_FOR) == 0


def test_who_is_weary_leads_if_nobody_else_is_there() -> None:
    cluster = a_cluster()
    cut_off(cluster["a"])
    cluster.pass_time(GIVEN_UP)
    cluster["b"].die()
    cluster.pass_time(1.0)
    assert place(cluster).leader == "c"
    reconnect(cluster["a"])
    cluster["c"].die()
    cluster.pass_time(1.0)
    assert place(cluster).leader == "a"


def test_a_broker_that_stops_hands_over_to_who_is_not_weary() -> None:
    cluster = a_cluster()
    cut_off(cluster["a"])
    cluster.pass_time(GIVEN_UP)
    cluster["b"].cluster.retire()
    cluster.pass_time(1.0)
    assert place(cluster).leader == "c"


def test_two_to_whom_nobody_can_connect_take_turns_less_and_less_often() -> None:
    cluster = a_cluster()
    cut_off(cluster["a"])
    cut_off(cluster["b"])
    early = epochs_after(cluster, 60.0)
    assert epochs_after(cluster, 60.0) < early / 2
