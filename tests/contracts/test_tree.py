"""What every tree obeys, run on the model and on a real ZooKeeper server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.tree_rigs import TIMEOUT, MemoryRig, Rig, Seat, ZooKeeperRig
from tests.system.ensemble import Ensemble
from zmqmq.core.tree import (
    ANY_VERSION,
    Answer,
    Change,
    Changed,
    Check,
    Children,
    Connected,
    Create,
    Delete,
    List,
    Lost,
    Missing,
    Node,
    Put,
    Read,
    Refusal,
    Suspended,
    Sync,
    Synced,
    Touched,
    Unknown,
)

CLUSTERS = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """One real server for the module."""
    directory: Path = tmp_path_factory.mktemp("zookeeper")
    with Ensemble(directory, servers=1) as ensemble:
        ensemble.wait_ready()
        yield ensemble


@pytest.fixture(params=["model", "zookeeper"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    chosen: Rig = MemoryRig() if request.param == "model" else ZooKeeperRig(request.getfixturevalue("server"), f"contract-{next(CLUSTERS)}")
    yield chosen
    chosen.close()


def touches(seat: Seat) -> list[str]:
    return [event.path for event in seat.events if isinstance(event, Touched)]


def settled(seat: Seat) -> None:
    """Everything that the server said before this moment has been heard."""
    assert seat.ask(Sync()) == Synced()


def refused(seat: Seat, *steps: Create | Put | Delete | Check) -> tuple[str, int]:
    answer = seat.ask(Change(steps))
    assert isinstance(answer, Refusal), answer
    return answer.reason, answer.step


# --- Changes ---------------------------------------------------------------------------------------------------------


def test_a_node_is_made_written_read_and_deleted(rig: Rig) -> None:
    seat = rig.seat()
    assert list(seat.do(Create("/a", b"one")).versions) == [0]
    assert list(seat.do(Put("/a", b"two", 0)).versions) == [1]
    node = seat.ask(Read("/a"))
    assert isinstance(node, Node) and (node.data, node.version, node.owner) == (b"two", 1, 0)
    assert list(seat.do(Delete("/a", 1)).versions) == [-1]
    assert seat.ask(Read("/a")) == Missing()


def test_a_node_that_was_made_again_has_another_birth_and_begins_with_version_0(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/a"), Put("/a", b"x"))
    first = seat.ask(Read("/a"))
    seat.do(Delete("/a"), Create("/a"))
    second = seat.ask(Read("/a"))
    assert isinstance(first, Node) and isinstance(second, Node)
    assert (first.version, second.version) == (1, 0)
    assert second.created > first.created


def test_a_change_tells_the_version_of_every_step(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/a"), Create("/b"))
    answer = seat.do(Check("/a", 0), Put("/a", b"x"), Put("/a", b"y", 1), Create("/a/c"), Delete("/b", 0))
    assert list(answer.versions) == [0, 1, 2, 0, -1]


REFUSALS = {
    "a missing node written": ([Put("/none", b"")], "missing"),
    "a missing node deleted": ([Delete("/none")], "missing"),
    "a missing node checked": ([Check("/none", ANY_VERSION)], "missing"),
    "a node below a missing one": ([Create("/none/a")], "missing"),
    "a node that is there": ([Create("/a")], "exists"),
    "another version written": ([Put("/a", b"", 5)], "version"),
    "another version deleted": ([Delete("/a/b", 5)], "version"),
    "another version checked": ([Check("/a", 5)], "version"),
    "a node with children deleted": ([Delete("/a")], "not_empty"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("before", [0, 2])
def test_a_refused_change_names_its_step_and_changes_nothing(rig: Rig, name: str, before: int) -> None:
    seat = rig.seat()
    seat.do(Create("/a"), Create("/a/b"))
    steps, reason = REFUSALS[name]
    first = [Put("/a", b"new"), Create("/c")][:before]
    assert refused(seat, *first, *steps, Check("/a", ANY_VERSION)) == (reason, before)
    assert seat.ask(Read("/c")) == Missing()
    node = seat.ask(Read("/a"))
    assert isinstance(node, Node) and (node.data, node.version) == (b"", 0)


def test_of_two_that_write_on_the_same_version_one_is_refused(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    one.do(Create("/a"))
    one.do(Put("/a", b"one", 0))
    assert refused(two, Put("/a", b"two", 0)) == ("version", 0)


def test_that_a_node_is_not_there_is_proved_by_making_and_deleting_it(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/a"))
    assert list(seat.do(Put("/a", b"1"), Create("/gone"), Delete("/gone")).versions) == [1, 0, -1]
    assert seat.ask(Read("/gone")) == Missing()
    seat.do(Create("/gone", b"dated"))
    assert refused(seat, Put("/a", b"2"), Create("/gone"), Delete("/gone")) == ("exists", 1)
    nodes = [seat.ask(Read(path)) for path in ("/a", "/gone")]
    assert [(node.data, node.version) for node in nodes if isinstance(node, Node)] == [(b"1", 1), (b"dated", 0)]


def test_a_node_below_an_ephemeral_one_is_refused(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/a", ephemeral=True))
    assert refused(seat, Create("/a/b")) == ("other", 0)


# --- Reads, order, watches ---------------------------------------------------------------------------------------------


def test_children_are_listed_ascending(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/p"), Create("/p/c"), Create("/p/a"), Create("/p/b"))
    assert seat.ask(List("/p")) == Children(["a", "b", "c"])
    assert seat.ask(List("/p/a")) == Children([])
    assert seat.ask(List("/none")) == Missing()
    assert seat.ask(List("/")) == Children(["p"])


def test_each_cluster_begins_with_an_empty_tree_of_its_own(rig: Rig) -> None:
    assert rig.seat().ask(List("/")) == Children([])


def test_what_is_asked_together_is_carried_out_and_answered_in_order(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/a"))
    numbers = seat.ask_all(*itertools.chain.from_iterable((Change([Put("/a", b"%d" % count)]), Read("/a"), List("/"), Sync()) for count in range(150)))
    answers: list[Answer] = seat.answers(numbers)
    assert [answer.data for answer in answers if isinstance(answer, Node)] == [b"%d" % count for count in range(150)]
    assert [answer.versions[0] for answer in answers if isinstance(answer, Changed)] == list(range(1, 151))


def test_what_is_read_after_a_sync_is_what_others_wrote_before(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    one.do(Create("/a", b"new"))
    synced, node = two.answers(two.ask_all(Sync(), Read("/a")))
    assert synced == Synced() and isinstance(node, Node) and node.data == b"new"


def test_a_watched_node_is_reported_once(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    one.do(Create("/a"))
    settled(two)
    two.ask(Read("/a", watch=True))
    one.do(Put("/a", b"1"))
    one.do(Put("/a", b"2"))
    two.wait(Touched)
    settled(two)
    assert touches(two) == ["/a"]


def test_the_report_comes_before_an_answer_that_shows_the_change(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/a"))
    seat.ask(Read("/a", watch=True))
    before = len(seat.events)
    seat.answers(seat.ask_all(Change([Put("/a", b"1")]), Read("/a")))
    assert isinstance(seat.events[before], Touched)


def test_the_creation_of_a_watched_node_that_was_missing_is_reported(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    assert two.ask(Read("/a", watch=True)) == Missing()
    settled(two)
    one.do(Create("/a"))
    two.wait(Touched)
    assert touches(two) == ["/a"]


def test_a_node_that_is_watched_only_if_it_is_there_is_not_awaited(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    assert two.ask(Read("/a", watch=True, if_there=True)) == Missing()
    settled(two)
    one.do(Create("/a"))
    settled(two)
    two.ask(Read("/a", watch=True, if_there=True))
    one.do(Delete("/a"))
    two.wait(Touched)
    assert touches(two) == ["/a"]


def test_the_deletion_of_a_watched_node_is_reported(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    one.do(Create("/a"))
    settled(two)
    two.ask(Read("/a", watch=True))
    one.do(Delete("/a"))
    two.wait(Touched)
    assert touches(two) == ["/a"]


def test_children_that_come_and_go_are_reported_once_and_their_data_is_not(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    one.do(Create("/p"), Create("/p/a"))
    settled(two)
    two.ask(List("/p", watch=True))
    one.do(Put("/p/a", b"x"))
    settled(two)
    assert touches(two) == []
    one.do(Create("/p/b"))
    one.do(Delete("/p/b"))
    two.wait(Touched)
    settled(two)
    assert touches(two) == ["/p"]


def test_nothing_is_reported_that_was_not_watched(rig: Rig) -> None:
    seat = rig.seat()
    seat.do(Create("/a"))
    seat.ask(Read("/a"))
    seat.ask(List("/"))
    seat.do(Put("/a", b"x"), Create("/b"))
    settled(seat)
    assert touches(seat) == []


# --- Sessions --------------------------------------------------------------------------------------------------------


def test_before_there_is_a_session_everything_is_unknown_at_once(rig: Rig) -> None:
    rig.seat()
    rig.down()
    seat = rig.starting()
    numbers = seat.ask_all(Read("/"), Change([Create("/a")]), Sync())
    seat.look()
    assert seat.answers(numbers) == [Unknown()] * 3
    rig.up()
    assert seat.wait(Connected).timeout == TIMEOUT
    assert seat.ask(Read("/a")) == Missing()


def test_an_ephemeral_node_names_its_session_and_goes_with_it(rig: Rig) -> None:
    one, two = rig.seat(), rig.seat()
    one.do(Create("/a", ephemeral=True))
    settled(two)
    node = two.ask(Read("/a", watch=True))
    assert isinstance(node, Node) and node.owner == one.wait(Connected).session
    one.tree.stop()
    two.wait(Touched)
    assert two.ask(Read("/a")) == Missing()


def test_after_the_end_everything_is_unknown(rig: Rig) -> None:
    seat = rig.seat()
    seat.tree.stop()
    seat.tree.stop()
    assert seat.ask(Read("/")) == Unknown()


def test_what_is_asked_when_the_connection_breaks_is_unknown_and_that_comes_before_the_suspension(rig: Rig) -> None:
    seat = rig.seat()
    rig.freeze()
    numbers = seat.ask_all(Change([Create("/a")]), *[Read("/")] * 300)
    rig.down()
    seat.wait(Suspended)
    at = len([event for event in seat.events if not isinstance(event, Suspended | Connected)])
    assert seat.answers(numbers) == [Unknown()] * 301
    assert isinstance(seat.events[at + 1], Suspended)
    assert seat.ask(Read("/")) == Unknown()
    rig.up()
    seat.wait(Connected, after=at)


def test_a_session_outlives_an_outage_with_its_ephemeral_nodes_and_without_its_watches(rig: Rig) -> None:
    seat = rig.seat()
    session = seat.wait(Connected).session
    seat.do(Create("/a", ephemeral=True))
    seat.ask(Read("/a", watch=True))
    rig.down()
    seat.wait(Suspended)
    before = len(seat.events)
    rig.up()
    assert seat.wait(Connected, after=before).session == session
    node = seat.ask(Read("/a"))
    assert isinstance(node, Node) and node.owner == session
    seat.do(Put("/a", b"x"))
    settled(seat)
    assert touches(seat) == []
    assert not any(isinstance(event, Lost) for event in seat.events)


def test_a_session_that_the_servers_ended_is_lost_and_another_one_follows(rig: Rig) -> None:
    seat = rig.seat()
    first = seat.wait(Connected).session
    seat.do(Create("/a", ephemeral=True), Create("/b"))
    before = len(seat.events)
    rig.expire(seat)
    again = seat.wait(Connected, after=before)
    assert again.session != first
    told = [type(event) for event in seat.events[before:] if isinstance(event, Suspended | Lost | Connected)]
    assert told == [Suspended, Lost, Connected]
    assert seat.ask(Read("/a")) == Missing()
    assert isinstance(seat.ask(Read("/b")), Node)
