"""What every storage does, the real one and the one in memory alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.storage_contract import LOG, Stores, dead, delayed, log, messages, offsets, operation, stores, topic
from zmqmq.core import writes as w
from zmqmq.core.checksum import checksum
from zmqmq.errors import StorageFailed, StorageLocked

INF = float("inf")


@pytest.fixture(params=["sqlite", "memory"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    yield from stores(request.param, tmp_path)


@pytest.fixture
def store(shelf: Stores) -> Any:
    opened = shelf.open()
    opened.commit([topic(), log()])
    return opened


def test_a_new_store_is_empty(shelf: Stores) -> None:
    reader = shelf.open().reader
    assert list(reader.topics()) == []
    assert list(reader.logs()) == []


def test_the_time_of_the_newest_record_is_known(shelf: Stores) -> None:
    store = shelf.open()
    assert store.reader.last_time() == 0.0
    store.commit([topic(), log(), log(2, partition=1)])
    assert store.reader.last_time() == 0.0
    store.commit([messages(0, [b"a"], time=7.0), operation(1, time=9.0), messages(0, [b"b"], time=8.0, log_id=2)])
    assert shelf.reopen(store).reader.last_time() == 9.0


def test_the_ids_stay_and_the_incarnation_grows_with_every_opening(shelf: Stores) -> None:
    first = shelf.open()
    second = shelf.reopen(first)
    assert (second.storage_id, second.cluster_id) == (first.storage_id, first.cluster_id)
    assert (first.incarnation, second.incarnation) == (1, 2)
    assert first.storage_id != first.cluster_id
    assert tuple(second.identity) == (first.storage_id, first.cluster_id, 2, True, 0, False)


def test_a_store_that_is_open_cannot_be_opened_again(shelf: Stores) -> None:
    shelf.open()
    with pytest.raises(StorageLocked):
        shelf.open()


def test_a_closed_store_refuses_to_commit_and_may_be_closed_again(store: Any) -> None:
    store.close()
    store.close()
    with pytest.raises(StorageFailed):
        store.commit([messages(0, [b"a"])])


def test_a_turn_without_writes_does_nothing(store: Any) -> None:
    store.commit([])
    assert store.reader.logs()[0].end == 0


def test_topics_come_back_with_their_settings(shelf: Stores, store: Any) -> None:
    changed = topic(partitions=3, keep="log", max_age=60.0)
    store.commit([changed, topic(2, "temp_2")])
    assert list(shelf.reopen(store).reader.topics()) == [changed.topic, topic(2, "temp_2").topic]


def test_messages_come_back_as_they_were_written(shelf: Stores, store: Any) -> None:
    store.commit([messages(0, [b"21.5", b"", bytes(range(256))], keys=[b"k", None, b""], headers=['{"unit":"°C"}', None, "{}"], time=7.25)])
    rows = shelf.reopen(store).reader.read(LOG, 0, 10, 1 << 20)
    assert [tuple(row) for row in rows] == [
        (0, 7.25, b"k", '{"unit":"°C"}', b"21.5", checksum(b"21.5", b"k", '{"unit":"°C"}')),
        (1, 7.25, None, None, b"", 0),
        (2, 7.25, b"", "{}", bytes(range(256)), checksum(bytes(range(256)), b"", "{}")),
    ]


def test_reading_starts_at_an_offset_skips_operations_and_stops_at_the_limit(store: Any) -> None:
    store.commit([messages(0, [b"a", b"b"]), operation(2), messages(5, [b"c", b"d", b"e"]), delayed(8, 99.0)])
    assert offsets(store.reader.read(LOG, 1, 3, 1 << 20)) == [1, 5, 6]
    assert offsets(store.reader.read(LOG, 7, 10, 1 << 20)) == [7]
    assert offsets(store.reader.read(LOG, 8, 10, 1 << 20)) == []


def test_reading_stops_after_the_message_that_reaches_the_bytes_but_gives_one_at_least(store: Any) -> None:
    store.commit([messages(0, [b"x" * 100] * 10)])
    assert offsets(store.reader.read(LOG, 0, 10, 250)) == [0, 1, 2]
    assert offsets(store.reader.read(LOG, 4, 10, 0)) == [4]


def test_given_offsets_are_read_in_order_delayed_ones_too_and_missing_ones_left_out(store: Any) -> None:
    store.commit([messages(0, [b"a", b"b", b"c"]), operation(3), delayed(4, 99.0)])
    assert offsets(store.reader.read_offsets(LOG, [0, 2, 3, 4, 77])) == [0, 2, 4]
    assert offsets(store.reader.read_offsets(LOG, [])) == []


def test_replay_gives_every_kind_with_what_the_tables_need(store: Any) -> None:
    store.commit([messages(0, [b"abc", b"d"], keys=[b"k", None], headers=["é", None], producer=7, sequence=40), operation(2, b'{"op":"x"}'), delayed(3, 9.0)])
    assert [tuple(record) for record in store.reader.replay(LOG, 0, 10)] == [
        (0, 0, 5.0, 7, 40, 6, b""),
        (1, 0, 5.0, 7, 41, 1, b""),
        (2, 2, 5.0, 0, 0, 0, b'{"op":"x"}'),
        (3, 1, 5.0, 7, 3, 6, b""),
    ]
    assert offsets(store.reader.replay(LOG, 1, 2)) == [1, 2]


def test_the_end_follows_the_head_or_the_last_record_whichever_is_higher(store: Any) -> None:
    store.commit([messages(0, [b"a"] * 3)])
    assert store.reader.logs()[0].end == 3
    store.commit([w.PutHead(LOG, 4, 1, 9, 2, 3, 30, 1)])
    state = store.reader.logs()[0]
    assert (state.epoch, state.start, state.end, state.applied, state.messages, state.size, state.delayed) == (4, 1, 9, 2, 3, 30, 1)
    store.commit([messages(9, [b"b"])])
    assert store.reader.logs()[0].end == 10


def test_the_state_of_a_partition_comes_back_after_a_restart(shelf: Stores, store: Any) -> None:
    group, other = w.PutGroup(LOG, "g", 3, "[[5,6]]", "{}", "[]", 4, 2, "[2,7]"), w.PutGroup(LOG, "b", 0, "[]", "{}", "[]", 0)
    members = [w.PutMember(LOG, "g", "m1", 10.0), w.PutMember(LOG, "g", "m2", 5.0)]
    store.commit([w.PutEpoch(LOG, 2, 7), w.PutEpoch(LOG, 1, 0), w.PutProducers(LOG, [(9, 5, "[]", 1.5), (4, 1, "[]", 2.5)]), group, other, *members])
    state = shelf.reopen(store).reader.logs()[0]
    assert list(state.epochs) == [(1, 0), (2, 7)]
    assert list(state.producers) == [(4, 1, "[]", 2.5), (9, 5, "[]", 1.5)]
    assert list(state.groups) == [other, group]
    assert list(state.members) == members


def test_state_is_replaced_and_dropped_by_its_name(store: Any) -> None:
    store.commit([w.PutProducers(LOG, [(9, 5, "[]", 1.5), (4, 1, "[]", 2.5)]), w.PutMember(LOG, "g", "m1", 10.0), w.PutMember(LOG, "g", "m2", 5.0)])
    store.commit([w.PutProducers(LOG, [(9, 6, "[1]", 3.5)]), w.DropProducers(LOG, [4, 77]), w.DropMember(LOG, "g", "m1"), w.PutMember(LOG, "g", "m2", 6.0)])
    state = store.reader.logs()[0]
    assert list(state.producers) == [(9, 6, "[1]", 3.5)]
    assert list(state.members) == [w.PutMember(LOG, "g", "m2", 6.0)]


def test_delayed_messages_are_due_earliest_first(store: Any) -> None:
    store.commit([delayed(0, 30.0), delayed(1, 10.0), delayed(2, 20.0), delayed(3, 10.0)])
    assert list(store.reader.due(LOG, 20.0, 10)) == [(1, 10.0), (3, 10.0), (2, 20.0)]
    assert list(store.reader.due(LOG, INF, 2)) == [(1, 10.0), (3, 10.0)]
    store.commit([w.DropDelayed(LOG, [1, 3])])
    assert list(store.reader.due(LOG, INF, 1)) == [(2, 20.0)]


def test_a_trim_deletes_what_lies_below_and_counting_starts_there(store: Any) -> None:
    store.commit([messages(0, [b"ab"] * 10), operation(10), messages(11, [b"cde"])])
    store.commit([w.TrimLog(LOG, 4)])
    assert offsets(store.reader.replay(LOG, 0, 100)) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert store.reader.count(LOG, 0) == 7
    assert store.reader.count(LOG, 9) == 2
    assert store.reader.weigh(LOG, 0, 11) == (6, 12)
    assert store.reader.weigh(LOG, 8, 12) == (3, 7)
    store.commit([w.TrimLog(LOG, 2)])
    assert store.reader.count(LOG, 0) == 7


def test_a_trim_keeps_dead_revived_and_delayed_records_until_nothing_needs_them(store: Any) -> None:
    store.commit([messages(0, [b"m"] * 6), delayed(6, 50.0), dead(1, 2), dead(2, 4, group="h"), w.ReviveDead(LOG, "g", [1])])
    store.commit([w.TrimLog(LOG, 7)])
    assert offsets(store.reader.replay(LOG, 0, 100)) == [1, 2, 4, 6]
    store.commit([w.DropDead(LOG, "g", [1, 2])])
    assert offsets(store.reader.replay(LOG, 0, 100)) == [2, 4, 6]
    store.commit([w.DropGroup(LOG, "h"), w.DropDelayed(LOG, [6])])
    assert offsets(store.reader.replay(LOG, 0, 100)) == []


def test_letting_go_of_a_letter_above_the_trim_leaves_its_record(store: Any) -> None:
    store.commit([messages(0, [b"m"] * 4), dead(3), w.TrimLog(LOG, 2)])
    store.commit([w.DropDead(LOG, "g", [3])])
    assert offsets(store.reader.replay(LOG, 0, 100)) == [2, 3]


def test_dead_letters_are_listed_with_their_reason_and_record(store: Any) -> None:
    store.commit([messages(0, [b"a", b"b", b"c"], keys=[b"k", b"k", None]), dead(0, 2), dead(1, attempts=1)])
    first, second, third = store.reader.dead(LOG, "g", -1, 10)
    assert (first.offset, first.attempts, first.reason, first.consumer, first.died) == (0, 5, "sensor gone", "controller-1", 9.0)
    assert (second.attempts, second.row.value, third.row.offset) == (1, b"b", 2)
    assert offsets(store.reader.dead(LOG, "g", 0, 1)) == [1]
    assert list(store.reader.dead_offsets(LOG, "g", 2)) == [0, 1]
    assert list(store.reader.dead(LOG, "other", -1, 10)) == []


def test_revived_letters_are_not_listed_and_may_die_again(store: Any) -> None:
    store.commit([messages(0, [b"a", b"b"]), dead(0, 1), w.ReviveDead(LOG, "g", [0])])
    assert list(store.reader.dead_offsets(LOG, "g", 10)) == [1]
    store.commit([dead(0, attempts=9)])
    assert [letter.attempts for letter in store.reader.dead(LOG, "g", -1, 10)] == [9, 5]


def test_the_first_offset_of_a_time_is_found_over_gaps_and_operations(store: Any) -> None:
    store.commit([messages(10, [b"a"], time=1.0), operation(20, time=2.0), messages(21, [b"b", b"c"], time=2.0), messages(500, [b"d"], time=4.0)])
    assert [store.reader.offset_at(LOG, time) for time in (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 4.5)] == [10, 10, 20, 20, 500, 500, None]
    store.commit([dead(10), w.TrimLog(LOG, 21)])
    assert store.reader.offset_at(LOG, 0.0) == 21


def test_a_topic_that_is_deleted_and_made_again_starts_empty(shelf: Stores, store: Any) -> None:
    store.commit([messages(0, [b"old"]), dead(0), delayed(1, 9.0), w.PutGroup(LOG, "g", 1, "[]", "{}", "[]", 0), w.PutEpoch(LOG, 1, 0)])
    store.commit([w.DropTopic(1), topic(2), log(2, 2), messages(0, [b"new"], log_id=2)])
    reader = shelf.reopen(store).reader
    assert [record.topic_id for record in reader.topics()] == [2]
    assert [(state.log_id, state.end, list(state.groups), list(state.epochs)) for state in reader.logs()] == [(2, 1, [], [])]
    assert reader.read(2, 0, 10, 100)[0].value == b"new"
    assert list(reader.dead_offsets(2, "g", 10)) == list(reader.due(2, INF, 10)) == []


@pytest.mark.parametrize("name", ["temp", "Temp"])
def test_a_name_is_one_topics_in_whatever_case(shelf: Stores, name: str) -> None:
    store = shelf.open()
    store.commit([topic(1, "Temp"), log(1, 1, "Temp")])
    with pytest.raises(StorageFailed):
        store.commit([topic(2, name), log(2, 2, name)])


def test_logs_of_one_topic_are_apart(store: Any) -> None:
    store.commit([log(2, partition=1), messages(0, [b"a"], log_id=1), messages(0, [b"b", b"c"], log_id=2)])
    assert [(state.log_id, state.partition, state.end) for state in store.reader.logs()] == [(1, 0, 1), (2, 1, 2)]
    assert [row.value for row in store.reader.read(2, 0, 10, 100)] == [b"b", b"c"]


def test_any_name_that_a_topic_may_have_works(store: Any) -> None:
    names = ["x", "x_1", "X.y-z", "-", ".", "0", "select", "group", "a" * 200]
    numbers = range(10, 10 + len(names))
    store.commit([write for number, name in zip(numbers, names, strict=True) for write in (topic(number, name), log(number, number, name))])
    store.commit([messages(0, [name.encode()], log_id=number) for number, name in zip(numbers, names, strict=True)])
    assert [store.reader.read(number, 0, 1, 1)[0].value.decode() for number in numbers] == names


def test_a_store_with_room_has_room_and_needs_no_upkeep(store: Any) -> None:
    assert store.has_room()
    store.maintain(True)
    store.maintain(False)
    assert store.disk_free() > 0
    assert store.storage_bytes() >= 0
