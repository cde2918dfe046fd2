"""What every storage does for replicas: blocks to pass on, logs cut, dropped and taken over, promises, and who the store is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.contracts.storage_contract import LOG, Stores, dead, delayed, everything, log, messages, offsets, operation, stores, topic
from zmqmq.core import writes as w
from zmqmq.core.checksum import checksums
from zmqmq.core.model import Kind
from zmqmq.core.peer_commands import Block

ALL = 1 << 40
TEXT = b'{"op":"acked","group":"g","ranges":[]}'


@pytest.fixture(params=["sqlite", "memory"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    yield from stores(request.param, tmp_path)


@pytest.fixture
def store(shelf: Stores) -> Any:
    opened = shelf.open()
    opened.commit([topic(), log()])
    return opened


def blocks(store: Any, start: int = 0, stop: int = ALL, max_bytes: int = ALL, log_id: int = LOG) -> list[Block]:
    return list(store.reader.blocks(log_id, start, stop, max_bytes))


def spans(found: list[Block]) -> list[tuple[int, int]]:
    return [(block.first, len(block.values)) for block in found]


# --- Blocks ----------------------------------------------------------------------------------------------------------


def test_a_block_is_what_the_leader_appended(store: Any) -> None:
    values, keys, headers = [b"a", b"", b"c"], [b"k", None, b""], ['{"unit":"°C"}', None, "{}"]
    store.commit([messages(5, values, keys=keys, headers=headers, producer=7, sequence=40, time=2.5, epoch=3)])
    assert blocks(store) == [Block(Kind.MESSAGE, 5, 3, 2.5, 7, 40, values, checksums(values, keys, headers), keys, headers)]


def test_columns_that_are_empty_throughout_are_none(store: Any) -> None:
    store.commit([messages(0, [b"a", b"b"], keys=[None, None], headers=[None, "{}"])])
    (block,) = blocks(store)
    assert (block.keys, block.headers) == (None, [None, "{}"])


def test_operations_of_one_turn_are_one_block_with_checksums(store: Any) -> None:
    store.commit([operation(0, TEXT), operation(1, b'"\xc2\xb0"'), operation(2, TEXT, time=6.0)])
    first, second = blocks(store)
    assert first == Block(Kind.OPERATION, 0, 1, 5.0, 0, 0, [TEXT, b'"\xc2\xb0"'], [crc32(TEXT), crc32(b'"\xc2\xb0"')], None, None)
    assert (second.first, second.values) == (2, [TEXT])


def test_a_new_block_begins_where_anything_but_offset_and_sequence_differs(store: Any) -> None:
    store.commit([messages(0, [b"a"] * 2, producer=7, sequence=1), messages(2, [b"b"], producer=7, sequence=3), messages(3, [b"c"], producer=7, sequence=9)])
    store.commit([messages(4, [b"d"], producer=8, sequence=10), messages(5, [b"e"], producer=8, sequence=11, epoch=2)])
    store.commit([messages(6, [b"f"], producer=8, sequence=12, epoch=2, time=6.0), operation(7, time=6.0)])
    assert spans(blocks(store)) == [(0, 3), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)]


def test_offsets_within_a_block_have_no_gaps(store: Any) -> None:
    store.commit([messages(0, [b"x"] * 8, producer=7, sequence=0), dead(1, 2, 4), w.TrimLog(LOG, 6)])
    assert spans(blocks(store)) == [(1, 2), (4, 1), (6, 2)]
    assert [block.sequence for block in blocks(store)] == [1, 4, 6]
    store.commit([operation(10), operation(12)])
    assert spans(blocks(store, 8)) == [(10, 1), (12, 1)]


def test_a_delayed_message_is_a_block_of_its_own_with_its_time_until_it_has_matured(store: Any) -> None:
    store.commit([delayed(0, 30.0), delayed(1, 40.0), w.DropDelayed(LOG, [0])])
    assert [(block.kind, block.first, block.due, block.values) for block in blocks(store)] == [
        (Kind.DELAYED, 0, None, [b"later"]),
        (Kind.DELAYED, 1, 40.0, [b"later"]),
    ]


def test_a_message_that_has_matured_elsewhere_is_stored_without_a_time(store: Any) -> None:
    store.commit([delayed(0, None)])
    assert list(store.reader.due(LOG, float("inf"), 10)) == []
    assert offsets(store.reader.read_offsets(LOG, [0])) == [0]


def test_blocks_keep_within_the_range_and_the_bytes_but_give_one_record_at_least(store: Any) -> None:
    store.commit([messages(0, [b"x" * 100] * 10, producer=7, sequence=0)])
    assert spans(blocks(store, 3, 6)) == [(3, 3)]
    assert blocks(store, 3, 6)[0].sequence == 3
    assert spans(blocks(store, 4, ALL, 0)) == [(4, 1)]
    assert spans(blocks(store, 0, ALL, 300)) == [(0, 3)]
    assert blocks(store, 10) == blocks(store, 5, 5) == []


def test_empty_messages_count_too(store: Any) -> None:
    store.commit([messages(0, [b""] * 1000)])
    assert sum(len(block.values) for block in blocks(store, max_bytes=3200)) == 100


def test_what_is_read_as_blocks_and_appended_elsewhere_is_the_same_log(store: Any) -> None:
    store.commit([messages(2, [b"a", b"b"], keys=[b"k", None], producer=7, sequence=4), operation(4), operation(5), delayed(9, 50.0)])
    before = blocks(store)
    store.commit([w.CreateLog(2, 1, "temp_1", 1), *(write for block in before for write in copied(2, block))])
    assert blocks(store, log_id=2) == before
    assert list(store.reader.replay(2, 0, 100)) == list(store.reader.replay(LOG, 0, 100))
    assert list(store.reader.due(2, 99.0, 10)) == [(9, 50.0)]


def copied(log_id: int, block: Block) -> Iterator[w.Write]:
    """The writes of a follower."""
    if block.kind == Kind.OPERATION:
        yield from (w.AppendOperation(log_id, block.first + index, block.epoch, block.time, text) for index, text in enumerate(block.values))
    elif block.kind == Kind.DELAYED:
        key, head = (block.keys or [None])[0], (block.epoch, block.time, block.producer, block.sequence)
        yield w.AppendDelayed(log_id, block.first, *head, block.values[0], block.crcs[0], key, (block.headers or [None])[0], block.due)
    else:
        yield w.AppendMessages(log_id, *head_of(block), block.values, block.crcs, block.keys, block.headers)


def head_of(block: Block) -> tuple[int, int, float, int, int]:
    return block.first, block.epoch, block.time, block.producer, block.sequence


# --- Cutting a log ---------------------------------------------------------------------------------------------------


def test_a_log_that_is_cut_ends_there_whatever_its_head_said(shelf: Stores, store: Any) -> None:
    store.commit([messages(0, [b"a"] * 10), w.PutHead(LOG, 1, 0, 12, 3, 0, 0), w.TruncateLog(LOG, 6)])
    assert store.reader.log(LOG).end == 6
    assert shelf.reopen(store).reader.log(LOG).end == 6


def test_a_cut_in_a_gap_is_the_end_all_the_same(store: Any) -> None:
    store.commit([messages(0, [b"a"] * 3), messages(8, [b"b"]), w.TruncateLog(LOG, 6)])
    assert store.reader.log(LOG).end == 6


def test_a_cut_beyond_the_end_does_not_move_it(store: Any) -> None:
    store.commit([messages(0, [b"a"] * 3), w.TruncateLog(LOG, 7)])
    assert store.reader.log(LOG).end == 3


def test_epochs_that_begin_at_the_cut_or_beyond_it_go(store: Any) -> None:
    store.commit([messages(0, [b"a"] * 10), w.PutEpoch(LOG, 1, 0), w.PutEpoch(LOG, 3, 5), w.PutEpoch(LOG, 4, 6), w.PutEpoch(LOG, 5, 9)])
    store.commit([w.TruncateLog(LOG, 6)])
    assert list(store.reader.log(LOG).epochs) == [(1, 0), (3, 5)]
    store.commit([w.TruncateLog(LOG, 0)])
    assert list(store.reader.log(LOG).epochs) == []


def test_a_cut_takes_the_times_of_delayed_messages_along(store: Any) -> None:
    store.commit([delayed(0, 30.0), delayed(1, 40.0), delayed(2, 20.0), w.TruncateLog(LOG, 1)])
    assert list(store.reader.due(LOG, 99.0, 10)) == [(0, 30.0)]


def test_a_log_that_was_cut_and_written_again_reads_as_the_new_leader_wrote_it(shelf: Stores, store: Any) -> None:
    store.commit([messages(0, [b"old"] * 6, producer=7, sequence=0), w.TruncateLog(LOG, 3)])
    store.commit([messages(3, [b"new"] * 2, producer=8, sequence=0, epoch=2), operation(5)])
    store = shelf.reopen(store)
    assert spans(blocks(store)) == [(0, 3), (3, 2), (5, 1)]
    assert [row.value for row in store.reader.read(LOG, 0, 10, ALL)] == [b"old"] * 3 + [b"new"] * 2
    assert store.reader.log(LOG).end == 6 and blocks(store)[1].epoch == 2


def test_a_cut_leaves_other_logs_alone(store: Any) -> None:
    second = [log(2, partition=1), messages(0, [b"b"] * 4, log_id=2), w.PutEpoch(2, 1, 2)]
    store.commit([*second, messages(0, [b"a"] * 4), w.TruncateLog(LOG, 1)])
    assert (store.reader.log(LOG).end, store.reader.log(2).end, list(store.reader.log(2).epochs)) == (1, 4, [(1, 2)])


# --- Dropping a log, and taking one over -----------------------------------------------------------------------------


def fill(log_id: int = LOG) -> list[w.Write]:
    """Something in every table."""
    state: list[w.Write] = [w.PutHead(log_id, 3, 4, 9, 8, 5, 50, 1), w.PutEpoch(log_id, 1, 0), w.PutEpoch(log_id, 3, 4), w.PutPromise(log_id, 3)]
    state += [
        w.PutProducers(log_id, [(9, 5, "[]", 1.5)]),
        w.PutGroup(log_id, "g", 3, "[[5,6]]", "{}", "[]", 4, 2, "[2,7]"),
        w.PutMember(log_id, "g", "m1", 10.0),
    ]
    letters: list[w.Write] = [w.PutDead(log_id, "g", [(1, 5), (2, 3)], "sensor gone", "controller-1", 9.0), w.ReviveDead(log_id, "g", [2])]
    later = w.AppendDelayed(log_id, 8, 3, 5.0, 0, 0, b"later", checksums([b"later"])[0], None, None, 90.0)
    return [messages(0, [b"m"] * 8, log_id=log_id), later, *state, *letters, w.TrimLog(log_id, 4)]


def test_a_log_that_is_dropped_leaves_nothing_but_its_topic(shelf: Stores, store: Any) -> None:
    store.commit([log(2, partition=1), messages(0, [b"b"], log_id=2), *fill(), w.DropLog(LOG)])
    store = shelf.reopen(store)
    assert [state.log_id for state in store.reader.logs()] == [2]
    assert [record.topic_id for record in store.reader.topics()] == [1]
    assert [row.value for row in store.reader.read(2, 0, 10, ALL)] == [b"b"]
    with pytest.raises(KeyError):
        store.reader.log(LOG)


@pytest.mark.parametrize("same_turn", [True, False])
def test_a_partition_that_was_dropped_may_come_back_under_another_number(shelf: Stores, store: Any, same_turn: bool) -> None:
    store.commit(fill())
    first, second = [w.DropLog(LOG)], [log(5), messages(2, [b"new"], log_id=5)]
    for turn in [[*first, *second]] if same_turn else [first, second]:
        store.commit(turn)
    store = shelf.reopen(store)
    state = store.reader.log(5)
    assert (state.end, state.promised, list(state.epochs), list(state.groups), list(store.reader.dead_rows(5))) == (3, 0, [], [], [])
    assert spans(blocks(store, log_id=5)) == [(2, 1)]


def test_a_topic_may_have_only_some_of_its_partitions_here(shelf: Stores, store: Any) -> None:
    store.commit([topic(3, "spread", partitions=8), log(30, 3, "spread", 5), messages(0, [b"x"], log_id=30)])
    assert [(state.partition, state.end) for state in shelf.reopen(store).reader.logs() if state.topic_id == 3] == [(5, 1)]


def test_a_snapshot_and_the_records_make_the_same_partition(shelf: Stores, store: Any) -> None:
    store.commit([*fill(), w.CreateLog(2, 1, "temp_1", 1)])
    source, reader = store.reader.log(LOG), store.reader
    groups = [group[1:] for group in source.groups]
    members = [member[1:] for member in source.members]
    tables = (source.start, source.applied, source.messages, source.size, source.delayed, source.epochs, source.producers, groups, members)
    store.commit([w.PutSnapshot(2, *tables, reader.dead_rows(LOG)), w.PutPromise(2, source.promised)])
    assert reader.log(2).end == 0
    store.commit([write for block in blocks(store) for write in copied(2, block)])
    store = shelf.reopen(store)
    copy = store.reader.log(2)
    assert copy._replace(log_id=LOG, partition=0, groups=source.groups, members=source.members) == source
    assert [tuple(group)[1:] for group in copy.groups] == groups
    assert [tuple(member)[1:] for member in copy.members] == members
    for question in ("dead_rows", "replay", "due"):
        arguments = {"dead_rows": (), "replay": (0, 100), "due": (99.0, 10)}[question]
        assert list(getattr(store.reader, question)(2, *arguments)) == list(getattr(store.reader, question)(LOG, *arguments))


def test_records_below_the_start_of_a_snapshot_go_with_what_needs_them(store: Any) -> None:
    letters = [("g", 1, 5, "why", "who", 9.0, 0), ("h", 2, 5, "why", "who", 9.0, 1)]
    store.commit([w.PutSnapshot(LOG, 6, 6, 2, 2, 0, [(1, 0)], [], [], [], letters), messages(1, [b"a", b"b"]), messages(6, [b"c", b"d"])])
    store.commit([w.DropDead(LOG, "g", [1]), w.DropDead(LOG, "h", [2])])
    assert offsets(store.reader.replay(LOG, 0, 10)) == [6, 7]


def test_what_was_deleted_is_known_before_a_head_says_so_and_comes_with_a_snapshot(shelf: Stores, store: Any) -> None:
    store.commit([messages(0, [b"x"] * 8), w.TrimLog(LOG, 6), w.CreateLog(2, 1, "temp_1", 1)])
    store.commit([w.PutSnapshot(2, 1, 6, 2, 2, 0, [(1, 0)], [], [], [], [], 6)])
    store = shelf.reopen(store)
    assert [(state.start, state.trimmed) for state in (store.reader.log(LOG), store.reader.log(2))] == [(0, 6), (1, 6)]


def test_what_is_missing_in_a_copy_is_told_and_nothing_of_the_rest_is_deleted(shelf: Stores, store: Any) -> None:
    store.commit([messages(0, [b"x"] * 8), w.TrimLog(LOG, 2), w.PutMissing(LOG, 6), w.PutMissing(LOG, 5)])
    store = shelf.reopen(store)
    assert store.reader.log(LOG).trimmed == 6 and offsets(store.reader.read(LOG, 0, 10, ALL)) == [2, 3, 4, 5, 6, 7]
    store.commit([dead(4), w.TrimLog(LOG, 6)])
    assert store.reader.log(LOG).trimmed == 6 and offsets(store.reader.read(LOG, 0, 10, ALL)) == [4, 6, 7]


def test_rows_of_dead_letters_are_listed_by_group_replayed_ones_too(store: Any) -> None:
    store.commit([messages(0, [b"a"] * 4), dead(3, 1, group="h"), dead(2), w.ReviveDead(LOG, "h", [3])])
    assert list(store.reader.dead_rows(LOG)) == [
        ("g", 2, 5, "sensor gone", "controller-1", 9.0, 0),
        ("h", 1, 5, "sensor gone", "controller-1", 9.0, 0),
        ("h", 3, 5, "sensor gone", "controller-1", 9.0, 1),
    ]


# --- What a broker has promised, and who it is -----------------------------------------------------------------------


def test_a_promise_only_grows_and_survives(shelf: Stores, store: Any) -> None:
    assert store.reader.log(LOG).promised == 0
    store.commit([w.PutPromise(LOG, 7), w.PutPromise(LOG, 4), w.PutHead(LOG, 2, 0, 0, 0, 0, 0)])
    assert shelf.reopen(store).reader.log(LOG).promised == 7


def test_one_log_is_told_as_it_is_told_among_all(store: Any) -> None:
    store.commit([log(2, partition=1), *fill(), *fill(2)])
    assert [store.reader.log(LOG), store.reader.log(2)] == list(store.reader.logs())
    with pytest.raises(KeyError):
        store.reader.log(99)


def test_the_session_of_the_life_before_is_known_at_the_next_opening(shelf: Stores, store: Any) -> None:
    assert store.identity.session == 0
    store.commit([w.PutSession(0x1234_5678_9ABC_DEF0)])
    assert store.identity.session == shelf.reopen(store).identity.session == 0x1234_5678_9ABC_DEF0


def test_a_store_may_take_another_identity_and_cluster(shelf: Stores, store: Any) -> None:
    before = store.identity
    store.commit([w.RenewStorageId("new"), w.PutClusterId("mine")])
    assert (store.storage_id, store.cluster_id, store.identity) == ("new", "mine", before._replace(storage_id="new", cluster_id="mine"))
    again = shelf.reopen(store).identity
    assert again == ("new", "mine", before.incarnation + 1, True, 0, False)


def test_a_copy_of_a_store_in_use_is_known_until_it_has_an_identity_of_its_own(shelf: Stores, store: Any) -> None:
    assert not store.identity.copied
    shelf.crash(store)
    shelf.copy()
    copy = shelf.open()
    assert copy.identity.copied
    again = shelf.reopen(copy)
    assert again.identity.copied
    again.commit([w.RenewStorageId("new")])
    assert not again.identity.copied
    shelf.crash(again)
    assert not shelf.open().identity.copied


def test_a_store_that_was_closed_and_moved_is_no_copy(shelf: Stores, store: Any) -> None:
    store.close()
    shelf.copy()
    assert not shelf.open().identity.copied


def test_a_store_that_was_not_closed_and_stays_where_it_is_is_no_copy(shelf: Stores, store: Any) -> None:
    shelf.crash(store)
    assert not shelf.open().identity.copied


def test_a_store_has_data_as_soon_as_it_has_a_topic(shelf: Stores) -> None:
    store = shelf.open()
    assert not store.has_data
    store.commit([topic()])
    assert store.has_data
    store.commit([w.DropTopic(1)])
    assert not store.has_data


def test_all_of_it_comes_back_after_a_restart(shelf: Stores, store: Any) -> None:
    store.commit(fill())
    before = everything(store)
    assert everything(shelf.reopen(store)) == before
