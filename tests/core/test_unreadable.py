"""Tests of nodes that a broker may not read: which of them are left out, and without which there is no fresh view."""

from __future__ import annotations

import pytest

from tests.core.mirroring import Room, a_place, a_topic
from zmqmq.core import layout
from zmqmq.core.layout import encode
from zmqmq.core.mirror import REFUSED_INTERVAL, REREAD_INTERVAL
from zmqmq.core.tree import List, Read, Refusal


@pytest.fixture
def room() -> Room:
    room = Room()
    room.furnish()
    return room


@pytest.mark.parametrize("path", [layout.place_path(7, 1), layout.topic_path("u"), layout.parts_path(8)])
def test_a_node_that_may_not_be_read_is_told_once_and_does_not_keep_the_view_from_being_fresh(room: Room, path: str) -> None:
    room.tree.put(layout.topic_path("u"), encode(a_topic(8, "u")))
    room.tree.put(layout.place_path(8, 0), encode(a_place()))
    room.seat.refused[path] = Refusal("other", 0, "NoAuthError")
    room.connect()
    assert room.mirror.view.is_fresh
    assert room.mirror.view.damaged == {path: "cannot be read: NoAuthError"}
    for _ in range(10):
        room.wait(REREAD_INTERVAL / 10)
    assert [note.path for note in room.mirror.take_notes()] == [path]
    assert sum(isinstance(request, Read | List) and request.path == path for request in room.seat.log) == 2
    room.seat.refused.clear()
    room.wait(REREAD_INTERVAL)
    assert room.mirror.view.damaged == {}
    assert set(room.mirror.view.topics) == {"t", "u"}
    assert set(room.mirror.view.places) == {(7, 0), (7, 1), (8, 0)}


def test_what_may_not_be_read_any_more_is_not_known_any_more(room: Room) -> None:
    room.connect()
    room.seat.refused[layout.place_path(7, 1)] = Refusal("other", 0, "NoAuthError")
    room.tree.put(layout.place_path(7, 1), encode(a_place(epoch=2)))
    room.seat.run()
    assert room.mirror.view.is_fresh
    assert set(room.mirror.view.places) == {(7, 0)}


@pytest.mark.parametrize("path", [layout.TOPICS, layout.PARTS, layout.IDS, layout.CONTROLLER])
def test_without_a_folder_or_the_cluster_leader_the_view_is_not_fresh(room: Room, path: str) -> None:
    room.connect()
    assert room.mirror.view.is_fresh
    room.seat.refused[path] = Refusal("other", 0, "NoAuthError")
    room.wait(REREAD_INTERVAL)
    assert not room.mirror.view.is_fresh
    for _ in range(100):
        room.wait(0.2)
    assert not room.mirror.view.is_fresh
    assert [note.path for note in room.mirror.take_notes()] == [path]
    assert sum(isinstance(request, Read | List) and request.path == path for request in room.seat.log) < 10
    room.seat.refused.clear()
    room.wait(REFUSED_INTERVAL)
    assert room.mirror.view.is_fresh
    assert room.mirror.view.damaged == {}
    assert set(room.mirror.view.places) == {(7, 0), (7, 1)}
