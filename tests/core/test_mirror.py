"""Tests of the mirror: the view follows the tree through watches, lost watches, broken connections and stale answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.mirroring import Room, a_broker, a_place, a_topic
from zmqmq.core import layout
from zmqmq.core.cluster_view import Key, PlaceEntry
from zmqmq.core.layout import ControllerEpoch, ControllerInfo, Wish, encode
from zmqmq.core.mirror import OUTSTANDING_MAX, REREAD_INTERVAL, RETRY_INTERVAL
from zmqmq.core.places import Member
from zmqmq.core.tree import Answered, Change, Create, Delete, List, Node, Read, Sync, Unknown


@pytest.fixture
def room() -> Room:
    room = Room()
    room.furnish()
    return room


def test_after_the_first_reading_the_view_is_whole_and_fresh(room: Room) -> None:
    room.register("a", 3, 50)
    room.tree.put(layout.wish_path("a"), encode(Wish(drain=True)))
    room.tree.put(layout.CONTROLLER_EPOCH, encode(ControllerEpoch(4)))
    room.tree.apply((Create(layout.CONTROLLER, encode(ControllerInfo("a", 3)), ephemeral=True),), 50)
    room.tree.put(layout.deleted_path(5), b"{}")
    assert not room.mirror.view.is_fresh
    room.connect()
    view = room.mirror.view
    assert view.is_fresh
    assert view.controller == ControllerInfo("a", 3)
    assert view.controller_epoch == (4, 0)
    assert view.lives("a") == Member("a", 3, "s-a")
    assert view.lives("b") is None
    assert view.is_draining("a")
    assert view.topics["t"].record == view.topics_by_id[7].record == a_topic(7, "t")
    assert view.places_of(7) == {0: PlaceEntry(a_place(), 0), 1: PlaceEntry(a_place(), 0)}
    assert view.part_topics == {7}
    assert view.deleted == {5}
    assert room.mirror.take_changes() == {"controller", "brokers", "wishes", "topics", "parts", "deleted", "fresh", (7, 0), (7, 1)}
    assert room.mirror.take_changes() == set()


def test_everything_is_read_after_a_sync(room: Room) -> None:
    room.connect()
    assert isinstance(room.seat.log[0], Sync)
    assert sum(isinstance(request, Sync) for request in room.seat.log) == 1


def test_one_change_costs_one_read_and_is_told_by_its_key(room: Room) -> None:
    room.connect()
    room.mirror.take_changes()
    room.seat.log.clear()
    room.tree.put(layout.place_path(7, 1), encode(a_place(epoch=2)))
    room.seat.run()
    assert room.seat.log == [Read(layout.place_path(7, 1), watch=True, if_there=True)]
    assert room.mirror.take_changes() == {(7, 1)}
    assert room.mirror.view.places[7, 1] == (a_place(epoch=2), 1)


def test_an_earlier_view_does_not_change(room: Room) -> None:
    room.connect()
    before = room.mirror.view
    room.tree.put(layout.place_path(7, 1), encode(a_place(epoch=2)))
    room.seat.run()
    assert before.places[7, 1].place.epoch == 1


def test_brokers_come_and_go_and_come_again(room: Room) -> None:
    room.connect()
    room.register("a", 1, 50)
    room.seat.run()
    assert room.mirror.view.lives("a") == Member("a", 1, "s-a")
    room.tree.end_session(50)
    room.seat.run()
    assert room.mirror.view.lives("a") is None
    room.register("a", 2, 51)
    room.seat.run()
    assert room.mirror.view.lives("a") == Member("a", 2, "s-a")


def test_a_registration_that_was_replaced_unseen_is_the_new_one(room: Room) -> None:
    room.register("a", 1, 50)
    room.connect()
    room.tree.apply((Delete(layout.broker_path("a")), Create(layout.broker_path("a"), encode(a_broker("a", 2)), ephemeral=True)), 51)
    room.seat.run()
    assert room.mirror.view.lives("a") == Member("a", 2, "s-a")


def test_topics_and_their_partitions_come_and_go(room: Room) -> None:
    room.connect()
    room.tree.put(layout.place_path(8, 0), encode(a_place("b")))
    room.tree.put(layout.topic_path("u"), encode(a_topic(8, "u", 1)))
    room.seat.run()
    assert room.mirror.view.places[8, 0].place.leader == "b"
    assert room.mirror.view.part_topics == {7, 8}
    for path in (layout.topic_path("u"), layout.place_path(8, 0), layout.parts_path(8)):
        room.tree.remove(path)
    room.seat.run()
    assert "u" not in room.mirror.view.topics
    assert set(room.mirror.view.places) == {(7, 0), (7, 1)}
    assert room.mirror.view.part_topics == {7}
    room.tree.put(layout.place_path(8, 0), encode(a_place("a")))
    room.seat.run()
    assert room.mirror.view.places[8, 0].place.leader == "a"


def test_a_tree_without_anything_is_filled_while_we_watch() -> None:
    room = Room()
    room.connect()
    assert room.mirror.view.is_fresh
    room.furnish()
    room.seat.run()
    assert set(room.mirror.view.places) == {(7, 0), (7, 1)}
    assert set(room.mirror.view.topics) == {"t"}


def test_a_lost_connection_ends_freshness_and_keeps_the_view(room: Room) -> None:
    room.connect()
    room.mirror.take_changes()
    room.seat.cut()
    assert not room.mirror.view.is_fresh
    assert set(room.mirror.view.places) == {(7, 0), (7, 1)}
    assert room.mirror.take_changes() == {"fresh"}
    assert room.mirror.deadline() == float("inf")


def test_what_happened_without_a_connection_is_seen_after_it(room: Room) -> None:
    room.register("a", 1, 50)
    room.connect()
    room.seat.cut()
    room.tree.end_session(50)
    room.tree.put(layout.place_path(7, 0), encode(a_place(epoch=5)))
    room.tree.remove(layout.place_path(7, 1))
    room.mirror.take_changes()
    room.connect()
    view = room.mirror.view
    assert view.is_fresh
    assert view.lives("a") is None
    assert view.places[7, 0].place.epoch == 5
    assert (7, 1) not in view.places
    assert room.mirror.take_changes() == {"brokers", "fresh", (7, 0), (7, 1)}
    room.tree.put(layout.place_path(7, 0), encode(a_place(epoch=6)))
    room.seat.run()
    assert room.mirror.view.places[7, 0].place.epoch == 6


def test_a_new_session_reads_everything_too(room: Room) -> None:
    room.connect(1)
    room.seat.expire()
    room.tree.put(layout.place_path(7, 0), encode(a_place(epoch=5)))
    room.connect(2)
    assert room.mirror.view.is_fresh
    assert room.mirror.view.places[7, 0].place.epoch == 5


def test_a_lost_watch_is_made_up_for_by_the_next_complete_reading(room: Room) -> None:
    room.connect()
    room.seat.mute = True
    room.tree.put(layout.place_path(7, 0), encode(a_place(epoch=5)))
    room.register("b", 1, 50)
    room.seat.mute = False
    room.seat.run()
    assert room.mirror.view.places[7, 0].place.epoch == 1
    room.wait(REREAD_INTERVAL)
    assert room.mirror.view.places[7, 0].place.epoch == 5
    assert room.mirror.view.lives("b") is not None
    room.tree.put(layout.place_path(7, 0), encode(a_place(epoch=6)))
    room.tree.end_session(50)
    room.seat.run()
    assert room.mirror.view.places[7, 0].place.epoch == 6
    assert room.mirror.view.lives("b") is None


def test_reading_again_sets_no_second_watch(room: Room) -> None:
    room.connect()
    room.seat.log.clear()
    for _ in range(5):
        room.wait(REREAD_INTERVAL)
    reads = [request for request in room.seat.log if isinstance(request, Read | List)]
    assert len(reads) == 5 * 11
    assert not any(request.watch for request in reads)
    assert room.mirror.view.is_fresh


def test_a_complete_reading_that_is_slower_than_their_interval_ends(room: Room) -> None:
    room.seat.connect(1)
    waiting = []
    for _ in range(12):
        room.now += REREAD_INTERVAL / 3
        room.mirror.tick(room.now)
        waiting += room.outlet.take()
        number, request = waiting.pop(0)
        room.outlet.hear(Answered(number, room.seat._answer(request)))
    assert room.mirror.view.is_fresh


def test_an_older_answer_changes_nothing(room: Room) -> None:
    room.connect()
    room.tree.put(layout.place_path(7, 0), encode(a_place(epoch=2)))
    room.seat.run()
    room.mirror.take_changes()
    node = room.tree.nodes[layout.place_path(7, 0)]
    room.tree.nodes[layout.place_path(7, 0)] = Node(encode(a_place(epoch=1)), 0, 0, node.created)
    room.wait(REREAD_INTERVAL)
    assert room.mirror.view.places[7, 0] == (a_place(epoch=2), 1)
    assert room.mirror.take_changes() == set()


def test_an_own_write_is_seen_at_once_and_not_taken_back(room: Room) -> None:
    room.connect()
    room.mirror.take_changes()
    room.mirror.learn((7, 0), a_place(epoch=2), 1)
    assert room.mirror.view.places[7, 0] == (a_place(epoch=2), 1)
    assert room.mirror.take_changes() == {(7, 0)}
    room.wait(REREAD_INTERVAL)
    assert room.mirror.view.places[7, 0].version == 1
    room.mirror.learn((7, 0), a_place(epoch=9), 0)
    assert room.mirror.view.places[7, 0].place.epoch == 2


def test_reading_one_partition_again_syncs_first_and_tells_even_if_nothing_has_changed(room: Room) -> None:
    room.connect()
    room.mirror.take_changes()
    room.seat.log.clear()
    room.mirror.reread((7, 0))
    room.seat.run()
    assert [type(request) for request in room.seat.log] == [Sync, Read]
    assert room.mirror.take_changes() == {(7, 0)}


def test_what_is_asked_while_a_sync_is_under_way_gets_its_own(room: Room) -> None:
    room.connect()
    room.mirror.take_changes()
    room.seat.log.clear()
    room.mirror.reread((7, 0))
    room.mirror.reread((7, 1))
    room.seat.run()
    assert sum(isinstance(request, Sync) for request in room.seat.log) == 2
    assert room.mirror.take_changes() == {(7, 0), (7, 1)}


def test_reading_again_without_a_connection_is_told_after_the_next_one(room: Room) -> None:
    room.connect()
    room.mirror.reread((7, 0))
    room.seat.cut()
    room.mirror.reread((9, 3))
    room.mirror.take_changes()
    room.connect()
    assert room.mirror.take_changes() == {"fresh", (7, 0), (9, 3)}


def test_a_read_that_failed_is_asked_again_later(room: Room) -> None:
    room.connect()
    room.tree.put(layout.place_path(7, 0), encode(a_place(epoch=2)))
    room.seat.touched, touched = [], room.seat.touched
    assert touched == [layout.place_path(7, 0)]
    room.mirror.reread((7, 0))
    for _ in range(2):
        for number, _request in room.outlet.take():
            room.outlet.hear(Answered(number, Unknown()))
        assert room.mirror.deadline() == room.now + RETRY_INTERVAL
        room.now += RETRY_INTERVAL
        room.mirror.tick(room.now)
    room.seat.run()
    assert room.mirror.view.places[7, 0].place.epoch == 2


def test_reads_are_pipelined_and_bounded() -> None:
    room = Room()
    room.furnish(partitions=1200)
    room.seat.connect(1)
    most = 0
    while requests := room.outlet.take():
        most = max(most, len(requests))
        for number, request in requests:
            room.outlet.hear(Answered(number, room.seat._answer(request)))
    assert most == OUTSTANDING_MAX
    assert room.mirror.view.is_fresh
    assert len(room.mirror.view.places) == 1200


def test_damaged_and_foreign_nodes_are_left_out_and_told_once(room: Room) -> None:
    room.tree.put(layout.place_path(7, 1), b"\xff rubbish")
    room.tree.put(layout.topic_path("x y"), b"")
    room.tree.put(f"{layout.PARTS}/notes", b"hello")
    room.tree.put(layout.broker_path("c"), encode(a_broker("c")))
    room.tree.put(layout.wish_path("c"), b"[]")
    room.tree.put(layout.topic_path("twin"), encode(a_topic(7, "twin")))
    room.tree.put(layout.CONTROLLER, encode(ControllerInfo("a", 1)))
    room.connect()
    view = room.mirror.view
    assert view.is_fresh
    assert set(view.places) == {(7, 0)}
    assert set(view.topics) == {"t"}
    assert view.brokers == {}
    assert view.wishes == {}
    assert view.controller is None
    notes = room.mirror.take_notes()
    assert {note.path for note in notes} == set(view.damaged)
    assert len(notes) == 7
    assert "belongs to no session" in view.damaged[layout.broker_path("c")]
    assert "topic id of t" in view.damaged[layout.topic_path("twin")]
    room.wait(REREAD_INTERVAL)
    assert room.mirror.take_notes() == []
    room.tree.put(layout.place_path(7, 1), encode(a_place()))
    room.seat.run()
    assert (7, 1) in room.mirror.view.places
    assert layout.place_path(7, 1) not in room.mirror.view.damaged


STEPS = st.lists(st.tuples(st.sampled_from(["put", "remove", "broker", "gone", "cut", "mute", "run"]), st.integers(0, 3)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_the_view_ends_as_the_tree_is(steps: list[tuple[str, int]]) -> None:
    room = Room()
    room.connect()
    room.furnish(0)
    for number, (what, which) in enumerate(steps):
        path = layout.place_path(7, which)
        if what == "put":
            room.tree.put(path, encode(a_place(epoch=number)))
        elif what == "remove" and path in room.tree.nodes:
            room.tree.remove(path)
        elif what == "broker" and layout.broker_path(f"b{which}") not in room.tree.nodes:
            room.register(f"b{which}", number, 100 + which)
        elif what == "gone":
            room.tree.end_session(100 + which)
        elif what == "cut":
            room.seat.cut(applied=bool(which))
            room.seat.connect(1)
        elif what == "mute":
            room.seat.mute = bool(which)
        elif what == "run":
            room.seat.run()
    room.seat.run()
    room.wait(REREAD_INTERVAL)
    view = room.mirror.view
    assert view.is_fresh
    expected: dict[Key, bytes] = {(7, n): room.tree.nodes[path].data for n in range(4) if (path := layout.place_path(7, n)) in room.tree.nodes}
    assert {key: encode(entry.place) for key, entry in view.places.items()} == expected
    assert sorted(view.brokers) == room.tree.children(layout.IDS)
    assert all(not isinstance(request, Change) for request in room.seat.log)
