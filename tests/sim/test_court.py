"""The court sees: hand-made histories of clusters, good ones that pass and bad ones that do not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.core.small_cluster import fence
from tests.sim.copies import entries
from tests.sim.history import History, Violation
from tests.sim.stage import BROKERS, KEY, TOPIC, Stage, member, message, place
from zmqmq.core import operations as op
from zmqmq.core import writes as w
from zmqmq.core.places import Place, elect, end_move, hand_over, with_in_sync


@pytest.fixture
def stage() -> Stage:
    return Stage()


def lives(*brokers: str, be: int = 1):  # type: ignore[no-untyped-def]
    return lambda broker: member(broker, be) if broker in brokers else None


# --- good ones -------------------------------------------------------------------------------------------------------


def test_a_history_without_fault_passes_and_tells_what_is_committed(stage: Stage) -> None:
    history = History()
    stage.court.on_committed = lambda key, records: history.adopt(key, "t", [entry.write for _, entry in records if entry.write is not None])
    created = w.AppendOperation(1, 0, 1, 0.0, op.encode(op.GroupCreated("g", 0)))
    stage.put("abc", created, message(1), message(2))
    stage.put("ab", message(3))
    stage.court.committed("a", KEY, 3)
    stage.court.delivers(("a", 1), KEY, 1)
    assert [sorted(log.messages) for log in history.logs.values()] == [[1, 2]]
    assert next(iter(history.logs.values())).groups["g"].unsettled == 2
    stage.agree(fence(stage.place, "a", lives("b", "c"), 2))
    assert stage.place.leader == "b"
    stage.court.opened(KEY, 2, ("b", 1))
    stage.put("c", w.TruncateLog(1, 3))
    stage.put("b", message(4, 2))
    stage.put("c", message(3, 1), message(4, 2))
    stage.court.committed("b", KEY, 5)
    assert sorted(stage.court.truth(KEY).committed) == [0, 1, 2, 3, 4]


def test_the_uncommitted_end_of_a_deposed_leader_may_be_cut_off(stage: Stage) -> None:
    stage.put("abc", message(0))
    stage.court.committed("a", KEY, 1)
    stage.put("a", message(1))
    stage.agree(fence(stage.place, "a", lives("b", "c"), 2))
    stage.put("bc", message(1, 2, b"another"))
    stage.court.committed("b", KEY, 2)
    stage.put("a", w.TruncateLog(1, 1), message(1, 2, b"another"))
    stage.agree(with_in_sync(stage.place, [*stage.place.isr, member("a", 2)], 2))
    assert stage.court.unwell() == []
    stage.court.agree()


def test_a_single_survivor_may_lead_when_it_was_eligible(stage: Stage) -> None:
    stage.put("abc", message(0))
    stage.court.committed("a", KEY, 1)
    stage.agree(with_in_sync(stage.place, [member("a"), member("b")], 2))
    stage.agree(with_in_sync(stage.place, [member("a")], 2))
    assert [one.broker for one in stage.place.elr] == ["b"]
    stage.agree(elect(stage.place, lives("b", be=2), 2))
    assert stage.place.leader == "b" and stage.court.situations["eligible one elected"] == 1


def test_a_cluster_that_lacks_something_is_not_well(stage: Stage) -> None:
    stage.agree(replace(with_in_sync(stage.place, [member("a")], 2), leader="", leader_be=0, epoch=2))
    assert len(stage.court.unwell()) == 3


def test_records_may_be_gaps_apart_and_a_snapshot_has_none_of_the_old_ones(stage: Stage) -> None:
    stage.put("ab", message(0), message(5))
    stage.agree(with_in_sync(stage.place, [member("a"), member("b")], 2))
    stage.court.committed("a", KEY, 6)
    stage.put("ab", w.TrimLog(1, 5))
    snapshot = w.PutSnapshot(2, 5, 5, 1, 1, 0, [], [], [], [], [])
    stage.put("c", w.DropLog(1), w.CreateLog(2, 7, "t", 0), w.PutPromise(2, 1), snapshot)
    stage.put("c", message(5)._replace(log_id=2))
    stage.agree(with_in_sync(stage.place, [*stage.place.isr, member("c")], 2))
    assert stage.court.situations["snapshot installed"] == 1


# --- bad ones --------------------------------------------------------------------------------------------------------


def test_two_leaders_in_one_epoch_are_seen(stage: Stage) -> None:
    stage.court.delivers(("a", 1), KEY, 1)
    with pytest.raises(Violation, match="R1"):
        stage.court.delivers(("b", 1), KEY, 1)


def test_a_later_life_that_goes_on_with_an_epoch_is_seen(stage: Stage) -> None:
    with pytest.raises(Violation, match="R1"):
        stage.court.opened(KEY, 1, ("a", 2))


def test_a_write_that_replaces_what_was_not_read_is_seen(stage: Stage) -> None:
    with pytest.raises(Violation, match="R2"):
        stage.agree(place("a", "b"), expected=-1)
    with pytest.raises(Violation, match="R2"):
        Stage().agree(place("a", "b"), expected=5)


@pytest.mark.parametrize(
    "bad",
    [
        place(*BROKERS, leader="b"),
        place(*BROKERS, epoch=4),
        place("a"),
        replace(place("a", "b"), elr=[member("c")]),
    ],
    ids=["another leader in one epoch", "epochs left out", "complete ones forgotten", "eligible ones though enough are in sync"],
)
def test_a_place_that_does_not_follow_from_the_one_before_is_seen(stage: Stage, bad: Place) -> None:
    with pytest.raises(Violation, match="R2"):
        stage.agree(bad)


@pytest.mark.parametrize(
    "bad",
    [
        place("b", "c"),
        replace(place("a", "b"), isr=[member("a"), member("a", 2)]),
        replace(place("a", "b"), isr=[member("a"), member("z")]),
        replace(place("a"), elr=[member("a")]),
    ],
    ids=["its leader is not in sync", "a broker twice", "no replica", "in sync and eligible"],
)
def test_a_place_that_makes_no_sense_is_seen(stage: Stage, bad: Place) -> None:
    with pytest.raises(Violation):
        stage.agree(bad)


def test_logs_that_differ_are_seen(stage: Stage) -> None:
    stage.put("a", message(0))
    with pytest.raises(Violation, match="R3: two records"):
        stage.put("b", message(0, 1, b"another"))


def test_logs_that_differ_below_are_seen(stage: Stage) -> None:
    stage.put("a", message(0, 1), message(1, 2))
    with pytest.raises(Violation, match="R3: a record stands"):
        stage.put("b", message(0, 0), message(1, 2))


def test_a_confirmation_with_too_few_copies_is_seen(stage: Stage) -> None:
    stage.agree(with_in_sync(stage.place, [member("a"), member("b")], 2))
    stage.put("a", message(0))
    with pytest.raises(Violation, match="R9"):
        stage.court.committed("a", KEY, 1)


def test_a_confirmation_without_a_member_of_the_in_sync_set_is_seen(stage: Stage) -> None:
    stage.put("ab", message(0))
    with pytest.raises(Violation, match="R6: c"):
        stage.court.committed("a", KEY, 1)


def test_a_member_taken_in_too_early_is_seen(stage: Stage) -> None:
    stage.agree(with_in_sync(stage.place, [member("a"), member("b")], 2))
    stage.put("ab", message(0))
    stage.court.committed("a", KEY, 1)
    with pytest.raises(Violation, match="R6: c"):
        stage.agree(with_in_sync(stage.place, [*stage.place.isr, member("c")], 2))


def test_a_leader_that_misses_something_is_seen(stage: Stage) -> None:
    stage.agree(with_in_sync(stage.place, [member("a"), member("b")], 2))
    stage.put("ab", message(0))
    stage.court.committed("a", KEY, 1)
    with pytest.raises(Violation, match="R7"):
        stage.court.opened(KEY, 2, ("c", 1))


def test_a_partition_is_expected_to_be_led_as_long_as_one_complete_disk_is_left(stage: Stage) -> None:
    stage.agree(fence(stage.place, "a", lives(), 2))
    for broker in BROKERS:
        assert stage.court.unwell()
        stage.court.shelves[broker].wipe(f"disk-new-{broker}")
    assert not stage.court.unwell(), "nothing heals that"
    stage.court.topic_written(TOPIC)
    assert stage.court.lost_topics() == {TOPIC.name}


def test_a_disk_that_was_exchanged_is_excused_until_it_opens(stage: Stage) -> None:
    stage.put("abc", message(0))
    stage.court.committed("a", KEY, 1)
    stage.court.shelves["c"].wipe("disk-new")
    stage.agree(with_in_sync(stage.place, [member("a"), member("c")], 2))
    stage.agree(hand_over(stage.place, member("c")))
    with pytest.raises(Violation, match="R7"):
        stage.court.opened(KEY, 2, ("c", 1))


def test_disks_that_are_counted_on_and_gone_are_known(stage: Stage) -> None:
    assert stage.court.lacking_disks() == []
    stage.court.shelves["c"].wipe("disk-new")
    stage.court.shelves["b"].restore(stage.court.shelves["b"].image())
    assert stage.court.lacking_disks() == ["b", "c"] and stage.court.unwell() == []


def test_an_older_image_of_a_disk_is_excused_until_it_opens(stage: Stage) -> None:
    image = stage.court.shelves["b"].image()
    stage.put("abc", message(0))
    stage.court.committed("a", KEY, 1)
    stage.court.shelves["b"].restore(image)
    stage.agree(with_in_sync(stage.place, [member("a"), member("b")], 2))
    stage.put("b", w.RenewStorageId("disk-b2"))
    stage.agree(hand_over(stage.place, member("b")))
    with pytest.raises(Violation, match="R7"):
        stage.court.opened(KEY, 2, ("b", 1))


def test_committed_records_that_are_cut_off_are_seen(stage: Stage) -> None:
    stage.put("abc", message(0), message(1))
    stage.court.committed("a", KEY, 2)
    with pytest.raises(Violation, match="R8"):
        stage.put("c", w.TruncateLog(1, 1))


def test_records_deleted_before_they_are_committed_are_seen(stage: Stage) -> None:
    stage.put("a", message(0), message(1))
    with pytest.raises(Violation, match="R8"):
        stage.put("a", w.TrimLog(1, 1))


def test_a_confirmation_after_the_end_of_the_session_is_seen(stage: Stage) -> None:
    stage.court.session_ended(99, 4.0)
    stage.court.acts(("a", 1), 99, 3.9, "produced")
    with pytest.raises(Violation, match="R10"):
        stage.court.acts(("a", 1), 99, 4.1, "produced")


def test_who_is_declared_dead_by_mistake_may_go_on_no_longer_than_its_lease(stage: Stage) -> None:
    stage.court.lease = 2.0
    stage.court.session_ended(99, 4.0)
    stage.court.bury(("a", 1), 4.0)
    stage.court.bury(("a", 1), 5.0)
    stage.court.acts(("a", 1), 99, 6.0, "produced")
    with pytest.raises(Violation, match="R10"):
        stage.court.acts(("a", 1), 99, 6.1, "produced")


def test_a_deposed_leader_that_delivers_is_seen_unless_it_was_declared_dead_by_mistake(stage: Stage) -> None:
    stage.court.delivers(("b", 1), KEY, 2)
    with pytest.raises(Violation, match="R10"):
        stage.court.delivers(("a", 1), KEY, 1)
    assert not stage.court.is_deposed(("a", 1), KEY, 1)
    stage.court.bury(("a", 1), 4.0)
    stage.court.delivers(("a", 1), KEY, 1)
    assert stage.court.is_deposed(("a", 1), KEY, 1) and not stage.court.is_deposed(("a", 1), KEY, 2)


def test_what_a_failed_attempt_to_add_partitions_has_left_is_nobodys_trouble(stage: Stage) -> None:
    stage.court.topic_written(TOPIC)
    stage.court.place_written((7, TOPIC.partitions), 0, 0, place("a"))
    assert not stage.court.unwell()
    stage.court.topic_written(replace(TOPIC, partitions=TOPIC.partitions + 1))
    assert stage.court.unwell()


def test_a_role_without_a_registration_is_seen(stage: Stage) -> None:
    stage.court.role("a", KEY, "none", None)
    stage.court.role("a", KEY, "leader", 1)
    with pytest.raises(Violation, match="R11"):
        stage.court.role("a", KEY, "follower", None)


def test_a_promise_that_is_forgotten_is_seen(stage: Stage) -> None:
    stage.put("c", w.PutPromise(1, 5))
    stage.agree(with_in_sync(stage.place, [member("a"), member("b")], 2))
    with pytest.raises(Violation, match="R11"):
        stage.put("c", w.DropLog(1), w.CreateLog(2, 7, "t", 0))


def test_a_replica_that_is_deleted_is_seen(stage: Stage) -> None:
    with pytest.raises(Violation, match="R12"):
        stage.put("c", w.DropLog(1))


def test_a_copy_that_nobody_counts_on_may_be_deleted(stage: Stage) -> None:
    moved = replace(stage.place, removing=["c"])
    stage.agree(moved)
    stage.agree(end_move(stage.place, 2))
    stage.put("c", w.DropLog(1))
    assert stage.court.situations["copy deleted"] == 1


def test_a_snapshot_in_place_of_a_copy_that_counts_is_seen(stage: Stage) -> None:
    with pytest.raises(Violation, match="R12"):
        stage.put("c", w.DropLog(1), w.CreateLog(2, 7, "t", 0), w.PutPromise(2, 1))


def test_records_are_the_same_however_they_were_written_together() -> None:
    together = w.AppendMessages(1, 4, 1, 0.0, 5, 9, [b"x", b"y"], [1, 2], None, None)
    alone = w.AppendMessages(3, 5, 1, 0.0, 5, 10, [b"y"], [2], [None], [None])
    (_, second) = list(entries(together))
    assert second[0] == 5 and second[1].same(next(entries(alone))[1])
