"""Questions of a follower broker, and how a leader broker holds and answers them."""

from __future__ import annotations

from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core import writes as w
from zmqmq.core.feeding import Allowance, Feeder, Peer, Tail
from zmqmq.core.fetching import SNAPSHOT_PAUSE, SNAPSHOT_TIMEOUT, Fetcher
from zmqmq.core.leader import Leader
from zmqmq.core.model import GroupLimits, TopicRecord, TopicSettings
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import Block, Fetch, Fetched, FetchPart
from zmqmq.core.replica import Replica, Role
from zmqmq.core.writes import AppendMessages, AppendOperation, LogState


def fetch(number: int, *parts: FetchPart, series: int = 1, first: bool = False, be: int = 3) -> Fetch:
    return Fetch(number, "cluster", "b", be, series, first, list(parts), 0.5, 1000)


def part(partition: int, offset: int, epoch: int = 2) -> FetchPart:
    return FetchPart(1, partition, epoch, offset, epoch)


def test_a_late_or_doubled_question_changes_nothing() -> None:
    peer = Peer(3)
    assert peer.take(b"x", fetch(1, part(0, 5), first=True), 0.0)
    assert peer.take(b"x", fetch(4, part(0, 9)), 0.1)
    assert not peer.take(b"x", fetch(4, part(0, 7)), 0.2)
    assert not peer.take(b"x", fetch(2, part(0, 6)), 0.2)
    assert peer.parts[1, 0].offset == 9


def test_a_question_of_an_earlier_life_changes_nothing() -> None:
    peer = Peer(3)
    peer.take(b"x", fetch(1, part(0, 5), first=True, be=4), 0.0)
    assert not peer.take(b"x", fetch(9, part(0, 9), first=True, be=3), 0.1)


def test_partitions_that_are_not_named_again_stay_as_they_were() -> None:
    peer = Peer(3)
    peer.take(b"x", fetch(1, part(0, 5), part(1, 6), first=True), 0.0)
    peer.take(b"x", fetch(2, part(1, 8)), 0.1)
    assert {key: found.offset for key, found in peer.parts.items()} == {(1, 0): 5, (1, 1): 8}


def test_a_partition_that_is_followed_no_more_is_forgotten() -> None:
    peer = Peer(3)
    peer.take(b"x", fetch(1, part(0, 5), first=True), 0.0)
    peer.take(b"x", fetch(2, FetchPart(1, 0, -1, 0, -1)), 0.1)
    assert not peer.parts and not peer.fresh


def test_an_unknown_series_is_noticed() -> None:
    peer = Peer(3)
    peer.take(b"x", fetch(5, part(0, 5), series=4), 0.0)
    assert not peer.is_known() and not peer.parts


def appended(first: int, *values: bytes) -> AppendMessages:
    return AppendMessages(1, first, 2, 0.0, 9, 0, list(values), [0] * len(values), None, None)


def blocks(found: list[Block] | None) -> list[int]:
    return [block.first for block in found or []]


def test_the_tail_gives_what_follows_an_offset_that_begins_a_block() -> None:
    tail = Tail()
    for first in (0, 2, 4):
        tail.note(appended(first, b"a", b"b"))
    assert blocks(tail.since(2, 6, 10_000)) == [2, 4]
    assert tail.since(3, 6, 10_000) is None
    assert tail.since(6, 6, 10_000) is None


def test_the_tail_gives_nothing_that_is_not_on_disk_yet() -> None:
    tail = Tail()
    for first in (0, 2):
        tail.note(appended(first, b"a", b"b"))
    assert blocks(tail.since(0, 2, 10_000)) == [0]


def test_the_tail_does_not_pass_over_what_was_not_noted() -> None:
    tail = Tail()
    for first in (0, 2, 6):
        tail.note(appended(first, b"a", b"b"))
    assert blocks(tail.since(0, 8, 10_000)) == [0, 2]
    assert tail.since(4, 8, 10_000) is None and blocks(tail.since(6, 8, 10_000)) == [6]


def test_the_tail_forgets_what_all_followers_have() -> None:
    tail = Tail()
    for first in (0, 2, 4):
        tail.note(appended(first, b"a", b"b"))
    tail.forget(4)
    assert tail.since(2, 6, 10_000) is None and blocks(tail.since(4, 6, 10_000)) == [4]


def test_a_rate_allows_at_most_one_second_at_once() -> None:
    allowance = Allowance(100.0)
    assert allowance.left(1000.0) == 100
    allowance.spend(150)
    assert allowance.left(1000.2) <= 0
    assert allowance.left(1001.0) == 50


def followed(partition: int) -> Replica:
    record = TopicRecord(1, "t", 2, 3, TopicSettings(), 0.0)
    state = LogState(partition + 10, 1, partition, 0, 0, 0, 0, 0, 0, 0, (), (), (), ())
    replica = Replica(Partition(record, partition, state, GroupLimits(), lambda: 0.5), 2)
    replica.role, replica.epoch = Role.FOLLOWER, 2
    return replica


def test_a_question_in_place_of_another_one_lists_everything_for_the_answer_to_that_one_is_not_taken() -> None:
    fetcher = Fetcher("cluster", "b", "a", 0.5, 1000)
    fetcher.follow(followed(0))
    first = fetcher.ask(0.0, 3, 1)
    fetcher.follow(followed(1))
    second = fetcher.ask(0.1, 3, 2)
    assert first is not None and first.first
    assert second is not None and second.first and [part.partition for part in second.parts] == [0, 1]
    assert not fetcher.is_answer(3, Fetched(1, 3, []), 3)
    assert fetcher.is_answer(3, Fetched(2, 3, []), 3)
    third = fetcher.ask(0.2, 3, 3)
    assert third is not None and not third.first and not third.parts


def test_what_a_full_disk_could_not_take_is_asked_for_again_after_a_pause() -> None:
    fetcher = Fetcher("cluster", "b", "a", 0.5, 1000)
    fetcher.follow(followed(0))
    fetcher.ask(0.0, 3, 1)
    assert fetcher.is_answer(3, Fetched(1, 3, []), 3)
    fetcher.begin_again(1.2)
    assert fetcher.ask(1.0, 3, 2) is None and fetcher.deadline() == 1.2
    again = fetcher.ask(1.2, 3, 3)
    assert again is not None and again.first and [part.partition for part in again.parts] == [0]


def following(*numbers: int) -> Fetcher:
    """Who has asked for these partitions and got an answer."""
    fetcher = Fetcher("cluster", "b", "a", 0.5, 1000)
    for number in numbers:
        fetcher.follow(followed(number))
    fetcher.ask(0.0, 3, 1)
    assert fetcher.is_answer(3, Fetched(1, 3, []), 3)
    return fetcher


def test_a_second_partition_that_needs_a_snapshot_has_its_turn_after_the_first() -> None:
    fetcher = following(0, 1)
    assert fetcher.ask_snapshot(0.1, 3, 2, (1, 0), 2) is not None
    assert fetcher.ask_snapshot(0.1, 3, 3, (1, 1), 2) is None
    fetcher.ask(0.1, 3, 4)
    assert fetcher.is_snapshot(2, (1, 0))
    again = fetcher.ask(0.2, 3, 5)
    assert again is not None and again.first and [part.partition for part in again.parts] == [0, 1], "the leader says again what it has said"
    assert fetcher.ask_snapshot(0.3, 3, 6, (1, 1), 2) is not None
    assert fetcher.is_snapshot(6, (1, 1)) and fetcher.ask(0.4, 3, 7) is None, "nobody waits any more"


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    fetcher = following(0)
    assert fetcher.ask_snapshot(0.1, 3, 2, (1, 0), 2) is not None
    assert fetcher.deadline() == 0.1 + SNAPSHOT_TIMEOUT
    again = fetcher.ask(0.1 + SNAPSHOT_TIMEOUT, 3, 3)
    assert again is not None and again.first and not fetcher.is_snapshot(2, (1, 0))


def test_a_snapshot_that_is_of_no_use_is_asked_for_again_after_a_pause() -> None:
    fetcher = following(0)
    assert fetcher.ask_snapshot(0.1, 3, 2, (1, 0), 2) is not None
    assert fetcher.is_snapshot(2, (1, 0))
    fetcher.ask_snapshot_again(0.2, (1, 0))
    meanwhile = fetcher.ask(0.2, 3, 3)
    assert meanwhile is not None and not meanwhile.first, "other partitions need not wait"
    assert fetcher.deadline() == 0.2 + SNAPSHOT_PAUSE
    again = fetcher.ask(0.2 + SNAPSHOT_PAUSE, 3, 4)
    assert again is not None and again.first, "the leader says again what it has said"
    assert fetcher.ask_snapshot(0.5, 3, 5, (1, 0), 2) is not None


def test_only_partitions_that_have_moved_are_named() -> None:
    fetcher = Fetcher("cluster", "b", "a", 0.5, 1000)
    replicas = [followed(number) for number in range(3)]
    for replica in replicas:
        fetcher.follow(replica)
    fetcher.ask(0.0, 3, 1)
    assert fetcher.is_answer(3, Fetched(1, 3, []), 3)
    replicas[1].partition.log.give(5)
    replicas[1].partition.log.persisted(5)
    fetcher.moved(replicas[1].key)
    fetcher.moved(replicas[2].key)
    asked = fetcher.ask(0.1, 3, 2)
    assert asked is not None and [(part.partition, part.offset) for part in asked.parts] == [(1, 5)]
    assert fetcher.is_answer(3, Fetched(2, 3, []), 3)
    fetcher.leave(replicas[0].key)
    gone = fetcher.ask(0.2, 3, 3)
    assert gone is not None and [(part.partition, part.epoch) for part in gone.parts] == [(0, -1)]


def test_records_that_are_gone_from_disk_are_not_passed_over_although_the_state_does_not_know_that_they_went() -> None:
    storage = MemoryStorage(MemoryDisk())
    record = TopicRecord(1, "t", 1, 2, TopicSettings(), 0.0)
    records = [AppendOperation(1, offset, 2, 0.0, b"{}") for offset in range(30)]
    storage.commit([w.PutTopic(record), w.CreateLog(1, 1, "t", 0), w.PutEpoch(1, 2, 0), *records, w.PutHead(1, 2, 23, 30, 28, 0, 0), w.TrimLog(1, 28)])
    led = Replica(Partition(record, 0, storage.reader.log(1), GroupLimits(), lambda: 0.5, 28), 3)
    led.role, led.epoch, led.leader = Role.OPENING, 3, Leader("a", 30, 0.0, 1, 4.0)
    feeder = Feeder(storage.reader, lambda key: led, 1e9, lambda replica, text: None)
    for number, (offset, installing, state) in enumerate([(24, -1, "trimmed"), (24, 27, "trimmed"), (24, 28, "data"), (28, -1, "data")], 1):
        feeder.fetch(b"b", fetch(number, FetchPart(1, 0, 3, offset, 2, installing), series=number, first=True), 0.0)
        ((_, answer),) = feeder.answers(0.0)
        assert [(part.state, part.start) for part in answer.parts] == [(state, 28)]


def test_more_that_is_committed_is_told_with_the_next_answer_but_no_records_are_looked_for() -> None:
    looked: list[tuple[int, int]] = []
    storage = MemoryStorage(MemoryDisk())

    def find(key: tuple[int, int]) -> Replica | None:
        looked.append(key)
        return None

    feeder = Feeder(storage.reader, find, 1e9, lambda replica, text: None)
    feeder.fetch(b"b", fetch(1, part(0, 5), series=1, first=True), 0.0)
    feeder.has_all("b", (1, 0))
    feeder.news((1, 0), records=False)
    assert list(feeder.answers(0.1)) == [] and not looked
    feeder.news((1, 0))
    assert list(feeder.answers(0.2)) == [] and looked
    looked.clear()
    ((_, answer),) = feeder.answers(0.5)
    assert answer.parts == [] and looked == [(1, 0)]
