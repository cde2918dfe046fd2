"""Tests of the tree's layout: what is written can be read, and what anybody else may have written does no harm."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqmq.core import layout
from zmqmq.core.layout import BrokerEpoch, BrokerInfo, ClusterIdentity, ControllerEpoch, ControllerInfo, Damaged, Tombstone, Wish, decode, encode
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.core.places import Member, Place, begin_move, elect, end_move, is_moved, leave, needed_of, release, with_in_sync, without

RECORD = TopicRecord(7, "temp_1", 3, 3, TopicSettings(), 1.5)
PLACE = Place(replicas=["a", "b"], leader="a", leader_be=4, epoch=2, isr=[Member("a", 4, "s1")], elr=[Member("b", 1, "s2")], nonce="a.4.1")
INFO = BrokerInfo(broker_id="a", incarnation=3, be=4, endpoint="tcp://h:1", storage_id="s1")
VALUES = [
    (layout.CLUSTER, ClusterIdentity("c1")),
    (layout.CONTROLLER, ControllerInfo("a", 4)),
    (layout.CONTROLLER_EPOCH, ControllerEpoch(9)),
    (layout.broker_path("a"), INFO),
    (layout.epoch_path("a"), BrokerEpoch("s1", 3)),
    (layout.wish_path("a"), Wish(drain=True)),
    (layout.topic_path("temp_1"), RECORD),
    (layout.place_path(7, 0), PLACE),
    (layout.deleted_path(7), Tombstone("temp_1")),
]
KINDS = [type(value) for _, value in VALUES]


@pytest.mark.parametrize(("path", "value"), VALUES, ids=[path for path, _ in VALUES])
def test_what_is_written_is_read_again(path: str, value: msgspec.Struct) -> None:
    assert decode(path, encode(value), type(value)) == value


@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_any_bytes_give_a_value_or_a_reason(data: bytes, kind: type[msgspec.Struct]) -> None:
    value = decode("/some/path", data, kind)
    assert isinstance(value, kind) or (isinstance(value, Damaged) and value.path == "/some/path" and value.reason)


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=9), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner)))
def test_any_json_gives_a_value_or_a_reason(value: object) -> None:
    for kind in KINDS:
        assert isinstance(decode("/x", msgspec.json.encode(value), kind), kind | Damaged)


def test_json_nested_without_end_is_damage_and_no_crash() -> None:
    assert isinstance(decode("/x", b'{"x":' + b"[" * 100_000, Wish), Damaged)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (layout.topic_path("other"), RECORD, "names topic 'temp_1'"),
        (layout.topic_path("kelvin"), msgspec.structs.replace(RECORD, name="\N{KELVIN SIGN}elvin"), "names topic '\N{KELVIN SIGN}elvin'"),
        (layout.topic_path("temp_1"), msgspec.structs.replace(RECORD, partitions=0), "0 partitions"),
        (layout.topic_path("temp_1"), msgspec.structs.replace(RECORD, partitions=20_000_000), "20000000 partitions"),
        (layout.topic_path("temp_1"), msgspec.structs.replace(RECORD, topic_id=-1), "-1 is out of range"),
        (layout.broker_path("b"), INFO, "names broker 'a'"),
        (layout.broker_path("a"), msgspec.structs.replace(INFO, be=-1), "-1 is out of range"),
        (layout.CONTROLLER, ControllerInfo("a/b", 1), "names broker 'a/b'"),
        (layout.CLUSTER, ClusterIdentity(""), "cluster id is empty"),
        (layout.CONTROLLER_EPOCH, ControllerEpoch(-5), "-5 is out of range"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, replicas=["a", "a"]), "twice in replicas"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, replicas=[]), "no replicas"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, isr=[Member("a", 1, "s"), Member("a", 2, "s")]), "twice in isr"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, elr=[Member("", 1, "s")]), "no broker id"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, epoch=1 << 63), "out of range"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, isr=[Member("c", 1, "s")]), "'c' in isr is no replica"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, elr=[Member("c", 1, "s")]), "'c' in elr is no replica"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, adding=["c"]), "'c' in adding is no replica"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, removing=["c"]), "'c' in removing is no replica"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, adding=["b", "b"]), "twice in adding"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, elr=[Member("a", 1, "s")]), "'a' is in isr and elr"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, adding=["b"], removing=["b"]), "'b' is in adding and removing"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, adding=["a", "b"]), "every replica is in adding"),
        (layout.place_path(7, 0), msgspec.structs.replace(PLACE, removing=["a", "b"]), "every replica is in removing"),
    ],
)
def test_values_that_cannot_be_are_damaged_with_the_reason(path: str, value: msgspec.Struct, reason: str) -> None:
    damaged = decode(path, encode(value), type(value))
    assert isinstance(damaged, Damaged)
    assert reason in damaged.reason


NAMES = "abcde"
RULES = st.lists(st.tuples(st.sampled_from(["move", "in sync", "elect", "end", "release", "without", "leave"]), st.permutations(NAMES), st.integers(1, 5)))


@given(RULES)
def test_whatever_the_rules_make_of_a_place_is_no_damage(rules: list[tuple[str, list[str], int]]) -> None:
    place = Place(replicas=["a", "b", "c"], leader="a", leader_be=1, epoch=1, isr=[Member(name, 1, "s") for name in "abc"])
    for rule, order, count in rules:
        chosen, needed = order[:count], needed_of(place, 0)
        members = [Member(name, 1, "s") for name in chosen if name in place.replicas]
        if rule == "move":
            place = begin_move(place, chosen)
        elif rule == "in sync":
            place = with_in_sync(place, members, needed)
        elif rule == "elect":
            place = elect(place, {member.broker: member for member in members}.get, needed)
        elif rule == "end" and is_moved(place, needed):
            place = end_move(place, needed)
        elif rule == "release":
            place = release(place)
        elif rule in ("without", "leave"):
            place = (without if rule == "without" else leave)(place, chosen[0], needed)
        assert decode(layout.place_path(7, 0), encode(place), Place) == place


def test_fields_of_newer_versions_are_ignored() -> None:
    assert decode(layout.wish_path("a"), b'{"drain":true,"later":[1]}', Wish) == Wish(drain=True)


@pytest.mark.parametrize("name", ["", "01", "-1", "1.5", "x", "٣", "9" * 19, "1" * 40, " 1"])
def test_a_foreign_name_is_no_number(name: str) -> None:
    assert layout.number_name(name) is None


@given(st.integers(0, layout.INTEGER_MAX))
def test_every_number_is_the_name_that_its_path_ends_with(number: int) -> None:
    assert layout.number_name(layout.parts_path(number).rpartition("/")[2]) == number


def test_names_of_brokers_and_topics_follow_the_rules_of_names() -> None:
    assert layout.broker_name("broker-1") == "broker-1"
    assert layout.topic_name("temp_1.x") == "temp_1.x"
    assert layout.broker_name("a b") is None
    assert layout.topic_name(".hidden") is None


def test_topics_whose_names_differ_only_in_case_are_one_node() -> None:
    path = layout.topic_path("Temp_1")
    assert path == layout.topic_path("temp_1")
    record = msgspec.structs.replace(RECORD, name="Temp_1")
    assert decode(path, encode(record), TopicRecord) == record
    assert layout.topic_name("Temp_1") is None, "no node is called so"


def test_parents_come_first_in_the_skeleton() -> None:
    for index, path in enumerate(layout.SKELETON):
        parent = path.rpartition("/")[0]
        assert parent == "" or parent in layout.SKELETON[:index]
