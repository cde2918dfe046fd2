"""Tests of watches that the mirror sets: none stays behind for what is gone, and what comes again is seen."""

from __future__ import annotations

import pytest

from tests.core.mirroring import Room, a_place, a_topic
from zmqmq.core import layout
from zmqmq.core.layout import encode
from zmqmq.core.mirror import REREAD_INTERVAL


@pytest.fixture
def room() -> Room:
    room = Room()
    room.furnish()
    room.connect()
    return room


def watches(room: Room) -> int:
    return len(room.seat._data) + len(room.seat._lists)


def make(room: Room, topic_id: int) -> None:
    for partition in range(3):
        room.tree.put(layout.place_path(topic_id, partition), encode(a_place()))
    room.tree.put(layout.topic_path(f"u{topic_id}"), encode(a_topic(topic_id, f"u{topic_id}", 3)))


def delete(room: Room, topic_id: int) -> None:
    room.tree.remove(layout.topic_path(f"u{topic_id}"))
    for partition in range(3):
        room.tree.remove(layout.place_path(topic_id, partition))
    room.tree.remove(layout.parts_path(topic_id))


def test_topics_that_come_and_go_leave_no_watch_behind(room: Room) -> None:
    before = watches(room)
    for topic_id in range(100, 120):
        make(room, topic_id)
        room.seat.run()
        delete(room, topic_id)
        room.seat.run()
    room.wait(REREAD_INTERVAL)
    assert watches(room) == before
    assert len(room.mirror._watched) == before


@pytest.mark.parametrize("answered", range(6))
def test_a_node_that_is_deleted_and_made_again_is_seen_however_far_its_reading_has_come(room: Room, answered: int) -> None:
    path = layout.place_path(7, 1)
    room.tree.remove(path)
    room.seat.some(answered)
    room.tree.put(path, encode(a_place(epoch=5)))
    room.seat.run()
    assert room.mirror.view.places[7, 1].place.epoch == 5
    room.tree.put(path, encode(a_place(epoch=6)))
    room.seat.run()
    assert room.mirror.view.places[7, 1].place.epoch == 6


@pytest.mark.parametrize("answered", range(6))
def test_a_node_that_goes_while_its_folder_is_read_is_gone(room: Room, answered: int) -> None:
    path = layout.place_path(7, 2)
    room.tree.put(path, encode(a_place()))
    room.seat.some(answered)
    room.tree.remove(path)
    room.seat.run()
    assert (7, 2) not in room.mirror.view.places
    room.tree.put(path, encode(a_place(epoch=5)))
    room.seat.run()
    assert room.mirror.view.places[7, 2].place.epoch == 5
