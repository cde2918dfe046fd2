"""What the model of an ensemble does to a broker: cuts, stopped processes, stale reads, late changes, all from one seed."""

from __future__ import annotations

from random import Random

import pytest

from tests.contracts.tree_rigs import LOOK, Seat
from tests.fakes.memory_tree import MemoryEnsemble, MemoryTree, Timeline, instant
from zmqmq.core.tree import Change, Connected, Create, Event, List, Lost, Missing, Node, Put, Read, Suspended, Sync, Touched, Unknown


class Table:
    """Several seats at one ensemble."""

    def __init__(self, seed: int = 0) -> None:
        self.timeline, self.ensemble = instant()
        self.rng = Random(seed)

    def seat(self, delay: float = 0.0, lag: float = 0.0, late: float = 0.5) -> tuple[Seat, MemoryTree]:
        tree = MemoryTree(self.ensemble, timeout=4.0, delay=delay, lag=lag, late=late, rng=self.rng)
        tree.start(lambda: None)
        seat = Seat(tree, lambda: self.timeline.advance(LOOK))
        seat.wait(Connected)
        return seat, tree


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


def test_a_cut_that_is_mended_in_time_keeps_the_session() -> None:
    table = Table()
    seat, tree = table.seat()
    seat.do(Create("/a", ephemeral=True))
    before = len(seat.events)
    tree.cut()
    table.timeline.advance(3.5)
    tree.mend()
    seat.wait(Connected, after=before)
    assert kinds(seat.events[before:]) == [Suspended, Connected]
    assert isinstance(seat.ask(Read("/a")), Node)


def test_a_cut_beyond_the_timeout_ends_the_session_and_that_is_heard_only_after_it() -> None:
    table = Table()
    seat, tree = table.seat()
    seat.do(Create("/a", ephemeral=True))
    before = len(seat.events)
    tree.cut()
    table.timeline.advance(5.0)
    assert table.ensemble.read("/a") is None
    seat.look()
    assert kinds(seat.events[before:]) == [Suspended]
    tree.mend()
    seat.wait(Connected, after=before)
    assert kinds(seat.events[before:]) == [Suspended, Lost, Connected]


def test_a_connected_broker_that_asks_nothing_keeps_its_session() -> None:
    table = Table()
    seat, tree = table.seat()
    table.timeline.advance(100.0)
    assert table.ensemble.alive(tree.session)
    assert kinds(seat.events) == [Connected]


def test_a_cut_that_is_not_noticed_yet_swallows_what_is_asked() -> None:
    table = Table()
    seat, tree = table.seat(late=1.0)
    tree.cut(notice=2.0)
    numbers = seat.ask_all(Change([Create("/a")]))
    table.timeline.advance(1.9)
    seat.look()
    assert kinds(seat.events) == [Connected]
    table.timeline.advance(0.2)
    assert seat.answers(numbers) == [Unknown()]
    assert isinstance(seat.events[-1], Suspended)
    assert table.ensemble.read("/a") is None


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_a_change_on_its_way_when_the_link_is_cut_may_be_carried_out_although_its_answer_is_unknown(late: float) -> None:
    table = Table()
    seat, tree = table.seat(delay=1.0, late=late)
    numbers = seat.ask_all(Change([Create("/a")]))
    tree.cut()
    assert seat.answers(numbers) == [Unknown()]
    table.timeline.advance(2.0)
    assert (table.ensemble.read("/a") is not None) == bool(late)


def test_a_change_on_its_way_is_refused_once_the_session_is_taken_up_on_another_link() -> None:
    table = Table()
    seat, tree = table.seat(late=1.0)
    tree.delay = 10.0
    numbers = seat.ask_all(Change([Create("/a")]))
    tree.cut()
    tree.delay = 0.0
    tree.mend()
    table.timeline.advance(20.0)
    assert seat.answers(numbers) == [Unknown()]
    assert table.ensemble.read("/a") is None


def test_a_stopped_process_hears_when_it_goes_on_what_came_before_its_session_was_over() -> None:
    table = Table()
    seat, tree = table.seat(delay=0.1)
    numbers = seat.ask_all(Change([Create("/a", ephemeral=True)]))
    tree.pause()
    table.timeline.advance(10.0)
    assert table.ensemble.read("/a") is None
    before = len(seat.events)
    seat.look()
    assert seat.events[before:] == []
    tree.resume()
    seat.wait(Connected, after=before)
    assert not isinstance(seat.answers(numbers)[0], Unknown)
    assert kinds(seat.events[before:])[1:] == [Suspended, Lost, Connected]


def test_a_process_that_was_stopped_for_a_moment_keeps_its_session() -> None:
    table = Table()
    seat, tree = table.seat()
    tree.pause()
    table.timeline.advance(2.0)
    tree.resume()
    table.timeline.advance(20.0)
    seat.look()
    assert kinds(seat.events) == [Connected]


def test_a_killed_process_leaves_its_ephemeral_nodes_until_its_session_is_over() -> None:
    table = Table()
    seat, tree = table.seat()
    seat.do(Create("/a", ephemeral=True))
    tree.crash()
    table.timeline.advance(3.9)
    assert table.ensemble.read("/a") is not None
    table.timeline.advance(0.2)
    assert table.ensemble.read("/a") is None
    assert kinds(seat.tree.take_events()) == []


def test_sessions_have_their_whole_time_again_when_the_ensemble_comes_back() -> None:
    table = Table()
    seat, tree = table.seat()
    gone = table.seat()[1]
    gone.crash()
    before = len(seat.events)
    table.ensemble.down()
    table.timeline.advance(100.0)
    assert seat.ask(Read("/")) == Unknown()
    table.ensemble.up()
    table.timeline.advance(3.9)
    assert table.ensemble.alive(gone.session)
    table.timeline.advance(0.2)
    assert not table.ensemble.alive(gone.session)
    assert table.ensemble.alive(tree.session)
    seat.look()
    assert [kind for kind in kinds(seat.events[before:]) if kind in (Suspended, Lost, Connected)] == [Suspended, Connected]


def test_a_server_that_lags_shows_an_older_tree_until_a_sync() -> None:
    table = Table(seed=1)
    one, _ = table.seat()
    two, tree = table.seat()
    one.do(Create("/a", b"0"))
    two.ask(Sync())
    tree.lag = 1000.0
    one.do(Put("/a", b"1"))
    old = two.ask(Read("/a", watch=True))
    assert isinstance(old, Node) and old.data == b"0"
    two.ask(Sync())
    assert isinstance(two.events[-2], Touched)
    new = two.ask(Read("/a"))
    assert isinstance(new, Node) and new.data == b"1"


@pytest.mark.parametrize("seed", range(20))
def test_what_a_session_reads_never_goes_back_and_includes_its_own_changes(seed: int) -> None:
    table = Table(seed)
    writer, _ = table.seat(delay=0.05)
    reader, tree = table.seat(delay=0.05, lag=1.0)
    writer.do(Create("/a", b"0"))
    reader.ask(Sync())
    seen = 0
    for count in range(1, 60):
        writer.do(Put("/a", b"%d" % count))
        if table.rng.random() < 0.1:
            tree.cut()
            tree.mend()
            reader.wait(Connected, after=len(reader.events))
        if table.rng.random() < 0.2:
            written = reader.do(Put("/a", b"%d" % count)).versions[0]
            assert written >= seen
            seen = written
        node = reader.ask(Read("/a"))
        assert isinstance(node, Node) and seen <= node.version
        seen = node.version
    assert len(table.ensemble.touched) < 200


def test_the_same_seed_gives_the_same_story() -> None:
    def story() -> list[object]:
        table = Table(seed=7)
        one, _ = table.seat(delay=0.3, lag=0.5)
        two, tree = table.seat(delay=0.3, lag=0.5)
        one.do(Create("/a"))
        numbers = two.ask_all(*[Read("/a"), Change([Put("/a", b"x")]), List("/")] * 10)
        table.timeline.advance(0.2)
        tree.cut()
        tree.mend()
        two.answers(numbers)
        return [*one.events, *two.events, table.timeline.now(), table.ensemble.read("/a")]

    assert story() == story()


def test_nothing_is_read_of_an_ensemble_that_another_one_holds() -> None:
    timeline = Timeline()
    one, two = MemoryEnsemble(timeline.now, timeline.schedule), MemoryEnsemble(timeline.now, timeline.schedule)
    one.change(Create("/a"))
    assert one.read("/a") is not None and two.read("/a") is None
    seat = Seat(MemoryTree(two), lambda: timeline.advance(LOOK))
    seat.tree.start(lambda: None)
    assert seat.ask(Read("/a")) == Missing()
