"""What waits for a commit: when the log is on this disk, and not yet on the others."""

from __future__ import annotations

import pytest

from tests.core.test_partition import _NUMBERS, WALL, Bench
from tests.core.world import World
from zmqmq.core.commands import Produce
from zmqmq.core.dedup import RUNS_MAX
from zmqmq.core.log import Log
from zmqmq.core.operations import Acked, Died, GroupCreated, Matured, MemberJoined, Operation, ProducersExpired, Revived, Trimmed
from zmqmq.core.pending import Pending
from zmqmq.core.writes import PutDead, PutHead, PutProducers
from zmqmq.errors import NotLeader, StorageFull


class Replicated(Bench):
    """A partition whose followers have what `reported` says."""

    def __init__(self) -> None:
        self.reported = 1 << 60
        super().__init__()
        self.partition.log.agree = lambda durable: min(durable, self.reported)
        self.reported = self.partition.log.end

    def report(self, offset: int) -> int:
        self.reported = offset
        return self.partition.persisted(WALL)


def test_what_followers_do_not_have_is_neither_confirmed_nor_applied() -> None:
    bench = Replicated()
    bench.produce(b"a", b"b")
    bench.append(GroupCreated("g", 0))
    bench.end_turn()
    assert bench.confirmed == [] and bench.partition.queues == {} and bench.partition.messages == 0
    assert bench.report(3) == 2
    assert bench.confirmed == [(1, WALL)] and bench.partition.queues == {}
    bench.report(4)
    assert list(bench.partition.queues) == ["g"]


def test_a_batch_of_which_a_follower_has_a_part_is_not_confirmed() -> None:
    bench = Replicated()
    bench.produce(b"a", b"b")
    bench.end_turn()
    bench.report(2)
    assert bench.confirmed == []
    bench.report(3)
    assert bench.confirmed == [(1, WALL)]


def test_who_waits_is_told_when_followers_have_it() -> None:
    bench, called = Replicated(), list[str]()
    bench.produce(b"a")
    bench.partition.after_commit(lambda: called.append("done"), lambda error: called.append(error.code))
    bench.end_turn()
    assert called == []
    bench.report(2)
    assert called == ["done"]


@pytest.mark.parametrize("operation", [Trimmed(5, 5, 5), Acked("g", [(4, 5)]), GroupCreated("g", 0), Revived("g", [3]), Died("g", [4], "no", "c", [1])])
def test_nothing_is_deleted_while_what_it_was_counted_by_is_not_committed(operation: Operation) -> None:
    pending = Pending()
    assert not pending.disturbs(5)
    pending.add_operation(9, operation, 0.0)
    assert pending.disturbs(5) and list(pending.committed(10)) and not pending.disturbs(5)


def test_what_waits_above_does_not_hold_up_a_deletion() -> None:
    pending = Pending()
    for number, operation in enumerate([Acked("g", [(5, 9)]), Died("g", [7], "no", "c", [1]), MemberJoined("g", "c", 5.0), Matured([1])]):
        pending.add_operation(number, operation, 0.0)
    assert not pending.disturbs(5)


def test_a_full_disk_takes_back_only_what_is_not_on_it() -> None:
    bench = Replicated()
    bench.produce(b"a")
    bench.end_turn()
    bench.produce(b"b")
    bench.partition.drop_appends(StorageFull("full"))
    bench.end_turn()
    assert [error.code for error in bench.refused] == ["StorageFull"]
    bench.report(2)
    assert bench.confirmed == [(1, WALL)] and bench.partition.pending.size == 0
    bench.produce(b"b", sequence=1)
    bench.end_turn()
    bench.report(3)
    assert bench.confirmed[1:] == [(2, WALL)], "its offset is given anew"


def test_who_waits_for_a_turn_that_was_taken_back_does_not_wait_for_ever() -> None:
    bench = Replicated()
    called: list[str] = []
    bench.produce(b"a")
    bench.partition.after_commit(lambda: called.append("over"), lambda error: called.append(error.code))
    bench.partition.drop_appends(StorageFull("full"))
    bench.end_turn()
    assert called == ["over"]


def test_a_repeat_is_answered_when_the_first_is_committed() -> None:
    bench = Replicated()
    bench.produce(b"a")
    bench.end_turn()
    bench.produce(b"a", sequence=0)
    bench.partition.drop_appends(StorageFull("full"))
    bench.end_turn()
    assert bench.confirmed == [] and bench.refused == [], "it is on disk: a full disk does not concern it"
    bench.report(2)
    assert bench.confirmed == [(1, WALL)]


def test_a_batch_that_is_repeated_for_hours_waits_once_and_whoever_asked_last_is_told() -> None:
    bench = Replicated()
    askers: list[int] = []
    for number in range(100):
        bench.partition.produce(batch_of(0), WALL, lambda offset, time, number=number: askers.append(number), bench.refused.append)  # type: ignore[misc]
        bench.end_turn()
    bench.report(2)
    assert askers == [99] and bench.partition.pending.size == 0
    bench.produce(b"b", sequence=0)
    bench.end_turn()
    assert [offset for offset, _ in bench.confirmed] == [1], "what is committed is answered again"


def test_a_repeat_that_is_cut_differently_waits_beside_the_first() -> None:
    bench = Replicated()
    bench.produce(b"a")
    bench.produce(b"b")
    bench.end_turn()
    bench.produce(b"a", b"b", sequence=0)
    bench.produce(b"a", b"b", sequence=0)
    bench.end_turn()
    bench.report(3)
    assert [offset for offset, _ in bench.confirmed] == [1, 2, 1]


def test_a_repeat_whose_place_is_forgotten_is_not_taken_back_with_what_came_later() -> None:
    bench = Replicated()
    for number in range(RUNS_MAX + 1):
        bench.produce(b"a", sequence=number)
        bench.append(GroupCreated(f"g{number}", 0))
    bench.end_turn()
    bench.produce(b"later", sequence=RUNS_MAX + 1)
    bench.produce(b"a", b"a", sequence=0)
    bench.partition.drop_appends(StorageFull("full"))
    bench.end_turn()
    assert len(bench.refused) == 1, "the later one"
    bench.report(bench.partition.log.end)
    assert [offset for offset, _ in bench.confirmed][-1] == -1, "accepted, its place is forgotten"


def test_a_lost_leadership_refuses_all_that_is_not_committed() -> None:
    bench, lost = Replicated(), list[str]()
    bench.produce(b"a")
    bench.partition.after_commit(lambda: lost.append("done"), lambda error: lost.append(error.code))
    bench.partition.after_commit(lambda: lost.append("anyway"))
    bench.end_turn()
    bench.partition.abandon(NotLeader("the leadership is over"))
    assert [error.code for error in bench.refused] == ["NotLeader"] and lost == ["NotLeader", "anyway"]
    bench.report(2)
    assert bench.confirmed == [] and bench.partition.closed


def test_a_snapshot_knows_nothing_of_producers_that_are_not_committed() -> None:
    bench = Replicated()
    bench.produce(b"a")
    bench.end_turn()
    bench.report(2)
    bench.produce(b"b")
    bench.end_turn()
    bench.partition.snapshot()
    writes = bench.partition.take_writes()
    assert [write.rows for write in writes if isinstance(write, PutProducers)] == [[(7, 0, "[[0,0,1]]", WALL)]]
    assert [write.applied for write in writes if isinstance(write, PutHead)] == [2]
    assert bench.partition.has(batch_of(1)), "at the end of the log it is known"


def batch_of(sequence: int) -> Produce:
    return World.produce(_NUMBERS, [b"b"], sequence=sequence)  # type: ignore[arg-type]


def test_an_expired_producer_begins_anew_at_once_and_a_batch_behind_it_stays_known() -> None:
    bench = Replicated()
    bench.produce(b"a")
    bench.end_turn()
    bench.partition.expire_producers([7])
    bench.produce(b"b", sequence=0)
    bench.end_turn()
    bench.report(bench.partition.log.end)
    assert bench.confirmed == [(1, WALL), (3, WALL)]
    rows = bench.partition.confirmed_producers.take_changed()
    assert rows == bench.partition.producers.take_changed() == [(7, 0, "[[0,0,3]]", WALL)]


def test_deaths_count_as_pending_until_they_are_in_the_tables() -> None:
    bench = Replicated()
    bench.append(GroupCreated("g", 0))
    bench.produce(b"a")
    bench.append(Died("g", [2], "because", "c", [1]))
    bench.end_turn()
    assert bench.partition.pending_deaths("g") == [2]
    bench.report(4)
    assert bench.partition.pending_deaths("g") == [2], "on its way to the tables"
    assert any(isinstance(write, PutDead) for write in bench.end_turn())
    assert bench.partition.pending_deaths("g") == []


def test_messages_that_wait_are_counted_from_an_offset_on() -> None:
    bench = Replicated()
    bench.produce(b"a", b"b", b"c")
    bench.append(Acked("g", [(0, 1)]))
    bench.produce(b"d")
    assert [bench.partition.pending.messages(since) for since in (0, 1, 3, 4, 5, 6)] == [4, 4, 2, 1, 1, 0]
    assert bench.partition.pending.size == 4


def test_operations_that_expire_producers_reach_what_is_written_down() -> None:
    bench = Replicated()
    bench.produce(b"a")
    bench.end_turn()
    bench.append(ProducersExpired([7]))
    bench.end_turn()
    bench.report(3)
    assert len(bench.partition.confirmed_producers) == 0


# --- the log's epochs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch, found", [(0, (-1, 0)), (1, (1, 5)), (2, (1, 5)), (3, (3, 9)), (4, (4, 12)), (9, (4, 12))])
def test_where_a_leadership_ends(epoch: int, found: tuple[int, int]) -> None:
    assert Log(1, 0, 12, 4, [(1, 0), (3, 5), (4, 9)]).end_of_epoch(epoch) == found


def test_a_log_without_leaderships_diverges_at_its_beginning() -> None:
    log = Log(1, 0, 0, 0, ())
    assert log.end_of_epoch(5) == (-1, 0) and log.last_epoch == log.epoch_at(0) == -1


def test_the_leadership_of_a_record() -> None:
    log = Log(1, 0, 12, 4, [(1, 0), (3, 5), (4, 5)])
    assert [log.epoch_at(offset) for offset in (-1, 0, 4, 5, 11)] == [-1, 1, 1, 4, 4]


def test_a_truncated_log_forgets_the_leaderships_that_began_there() -> None:
    log = Log(1, 0, 12, 4, [(1, 0), (3, 5), (4, 9)], committed=5)
    log.truncate(9)
    assert (log.end, log.durable, log.committed, log.epochs) == (9, 9, 5, [(1, 0), (3, 5)])
    log.begin_epoch(6, 9)
    assert log.last_epoch == 6
    with pytest.raises(AssertionError, match="committed stays"):
        log.truncate(4)


def test_committed_follows_what_is_agreed_and_never_goes_back() -> None:
    log = Log(1, 0, 5, 1, (), committed=2)
    agreed = 4
    log.agree = lambda durable: agreed
    assert log.advance() and log.committed == 4
    agreed = -1
    assert not log.advance() and log.committed == 4
    agreed = 99
    log.give(3)
    assert log.advance() and log.committed == 5, "not beyond what is on this disk"
