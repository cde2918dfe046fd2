"""Tests of the view of a cluster and of the picture that it is copied from."""

from __future__ import annotations

import pytest

from tests.core.mirroring import a_broker, a_place, a_topic
from zmqmq.core import layout
from zmqmq.core.cluster_view import DAMAGED_MAX, ClusterView, Picture, PlaceEntry, TopicEntry, WishEntry, place_key
from zmqmq.core.layout import Wish, encode
from zmqmq.core.places import Member
from zmqmq.core.tree import Node

PATH = layout.place_path(7, 0)


def a_node(data: bytes, version: int = 0, created: int = 10, owner: int = 0) -> Node:
    return Node(data, version, owner, created)


def place_of(picture: Picture) -> PlaceEntry | None:
    return picture.view(is_fresh=True).places.get((7, 0))


def test_an_empty_view_knows_nobody_and_is_not_fresh() -> None:
    view = ClusterView()
    assert not view.is_fresh
    assert view.lives("a") is None
    assert view.places_of(7) == {}
    assert not view.is_draining("a")


def test_a_brokers_present_life_is_its_registration() -> None:
    view = ClusterView(brokers={"a": a_broker("a", 4)})
    assert view.lives("a") == Member("a", 4, "s-a")


@pytest.mark.parametrize(("drain", "remove", "draining"), [(True, False, True), (False, True, True), (False, False, False)])
def test_a_broker_that_is_drained_or_removed_shall_lead_nothing(drain: bool, remove: bool, draining: bool) -> None:
    assert ClusterView(wishes={"a": WishEntry(drain, remove, 0)}).is_draining("a") is draining


def test_the_partitions_of_a_topic_are_those_that_it_has_in_order() -> None:
    entry = TopicEntry(a_topic(7, "t", 3), 0)
    places = {(7, 2): PlaceEntry(a_place(), 0), (7, 0): PlaceEntry(a_place(), 0), (7, 9): PlaceEntry(a_place(), 0), (8, 1): PlaceEntry(a_place(), 0)}
    assert list(ClusterView(topics_by_id={7: entry}, places=places).places_of(7)) == [0, 2]


@pytest.mark.parametrize(
    ("path", "key"),
    [("/parts/7/0", (7, 0)), ("/parts/7", None), ("/parts/7/x", None), ("/parts/x/0", None), ("/other/parts/7/0", None), ("/parts/7/0/1", None)],
)
def test_a_partition_is_known_by_its_path(path: str, key: tuple[int, int] | None) -> None:
    assert place_key(path) == key


def test_what_is_older_or_known_is_no_news() -> None:
    picture = Picture()
    assert picture.take(PATH, a_node(encode(a_place(epoch=2)), version=2))
    assert not picture.take(PATH, a_node(encode(a_place(epoch=2)), version=2))
    assert not picture.take(PATH, a_node(encode(a_place(epoch=1)), version=1))
    assert not picture.take(PATH, a_node(encode(a_place(epoch=9)), version=9, created=9))
    assert place_of(picture) == (a_place(epoch=2), 2)


def test_a_node_that_was_made_again_is_news_although_its_version_is_lower() -> None:
    picture = Picture()
    picture.take(PATH, a_node(encode(a_place(epoch=5)), version=5))
    assert picture.take(PATH, a_node(encode(a_place(epoch=1)), version=0, created=11))
    assert place_of(picture) == (a_place(epoch=1), 0)


def test_a_node_that_is_gone_is_forgotten_once() -> None:
    picture = Picture()
    picture.take(PATH, a_node(encode(a_place())))
    assert picture.drop(PATH)
    assert not picture.drop(PATH)
    assert place_of(picture) is None


def test_an_own_new_partition_is_known_before_it_is_read() -> None:
    picture = Picture()
    picture.learn((7, 0), a_place(), 0)
    assert place_of(picture) == (a_place(), 0)
    assert picture.take(PATH, a_node(encode(a_place(epoch=3)), version=1))
    assert place_of(picture) == (a_place(epoch=3), 1)


def test_damage_hides_a_node_until_it_is_repaired() -> None:
    picture = Picture()
    picture.take(PATH, a_node(encode(a_place())))
    picture.take(PATH, a_node(b"rubbish", version=1))
    assert place_of(picture) is None
    assert PATH in picture.view(is_fresh=True).damaged
    picture.take(PATH, a_node(encode(a_place()), version=2))
    assert place_of(picture) == (a_place(), 2)
    assert picture.view(is_fresh=True).damaged == {}
    assert len(picture.notes) == 1


def test_of_two_topics_with_one_id_the_older_one_counts_in_whatever_order_they_are_read() -> None:
    nodes = [("old", a_node(encode(a_topic(7, "old")), created=5)), ("new", a_node(encode(a_topic(7, "new")), created=6))]
    for order in (nodes, nodes[::-1]):
        picture = Picture()
        for name, node in order:
            picture.take(layout.topic_path(name), node)
        view = picture.view(is_fresh=True)
        assert set(view.topics) == {"old"}
        assert view.topics_by_id[7].record.name == "old"


def test_a_topic_is_known_by_its_name_and_not_by_its_nodes() -> None:
    picture = Picture()
    paths, _ = picture.children(layout.TOPICS, ["temp", "Temp"])
    assert paths == [layout.topic_path("Temp")], "who has made a node of that name is a stranger"
    picture.take(paths[0], a_node(encode(a_topic(7, "Temp"))))
    view = picture.view(is_fresh=True)
    assert set(view.topics) == {"Temp"} and set(view.damaged) == {"/topics/Temp"}


def test_foreign_nodes_are_remembered_up_to_a_bound() -> None:
    picture = Picture()
    assert picture.children(layout.TOPICS, [f"bad name {number}" for number in range(2 * DAMAGED_MAX)]) == ([], True)
    assert len(picture.notes) == len(picture.view(is_fresh=True).damaged) == DAMAGED_MAX


def test_children_that_are_not_listed_any_more_are_dropped_with_theirs() -> None:
    picture = Picture()
    assert picture.children(layout.PARTS, ["7", "x"]) == ([layout.parts_path(7)], True)
    assert picture.children(layout.parts_path(7), ["0"]) == ([PATH], True)
    assert picture.children(layout.parts_path(7), ["0"]) == ([PATH], False)
    picture.take(PATH, a_node(encode(a_place())))
    assert picture.children(layout.PARTS, []) == ([], True)
    view = picture.view(is_fresh=True)
    assert view.places == {}
    assert view.part_topics == frozenset()


def test_a_view_is_a_copy() -> None:
    picture = Picture()
    before = picture.view(is_fresh=True)
    picture.take(layout.wish_path("a"), a_node(encode(Wish(remove=True))))
    assert before.wishes == {}
    assert picture.view(is_fresh=True).wishes == {"a": WishEntry(False, True, 0)}
