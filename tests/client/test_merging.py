"""Answers of several brokers, put together."""

from __future__ import annotations

from zmqmq.client import merging
from zmqmq.core.admin_commands import Explanation, GroupList, GroupSummary, LagReport, PartitionLag, PartitionList, PartitionSummary, Reason, TopicSummary
from zmqmq.core.cluster_commands import ClusterReport, PlaceSummary
from zmqmq.core.model import Placement


def lag(partition: int, end: int = 10) -> PartitionLag:
    return PartitionLag(partition, 0, end, 1, 0, 0, 0, None)


def part(partition: int, leader: str, epoch: int = 1) -> PartitionSummary:
    return PartitionSummary(partition, leader, epoch, [leader], [leader], 0, 5, 5, 5, 50, 0)


def place(partition: int, leader: str, epoch: int, end: int = -1) -> PlaceSummary:
    return PlaceSummary("t", partition, leader, epoch, ["a", "b"], ["a", "b"], [], [], [], 2, end)


def report(broker: str, *places: PlaceSummary, connected: bool = True, epoch: int = 1) -> ClusterReport:
    return ClusterReport(1, "c", broker, "a", epoch, connected, [], list(places))


def test_what_topics_hold_is_summed_over_their_leaders() -> None:
    one = TopicSummary("t", 2, 3, messages=5, size=50, groups=1, delayed=1)
    other = TopicSummary("t", 2, 3, messages=7, size=70, groups=2, delayed=0)
    assert merging.topics_of([[one, TopicSummary("s", 1, 1, 0, 0, 0, 0)], [other]]) == [
        TopicSummary("s", 1, 1, 0, 0, 0, 0),
        TopicSummary("t", 2, 3, 12, 120, 2, 1),
    ]


def test_a_member_that_takes_part_at_two_brokers_is_one_member() -> None:
    answers = [GroupList(1, [GroupSummary("t", "g", 2, 10, 3, 1, 0)]), GroupList(2, [GroupSummary("t", "g", 2, 5, 1, 0, 4)])]
    assert merging.groups_of(answers) == [GroupSummary("t", "g", 2, 15, 4, 1, 4)]


def test_partitions_are_listed_by_number_and_those_without_a_leader_too() -> None:
    answers = [PartitionList(1, "t", [part(2, "a")]), PartitionList(2, "t", [part(0, "b", 4), part(2, "b", 3)])]
    placements = [Placement(0, 4, "b", ""), Placement(1, 6, "", ""), Placement(2, 3, "b", "")]
    assert [(one.partition, one.leader, one.epoch) for one in merging.partitions_of(answers, placements)] == [(0, "b", 4), (1, "", 6), (2, "b", 3)]


def test_lags_of_all_leaders_make_one_report() -> None:
    merged = merging.lags_of([LagReport(1, "t", "g", [lag(1)]), LagReport(2, "t", "g", [lag(0), lag(1, 12)])])
    assert [(one.partition, one.end) for one in merged.partitions] == [(0, 10), (1, 12)]


def test_the_verdict_is_about_all_partitions() -> None:
    settled = Explanation(1, "t", "g", "nothing is left: every message is settled", [Reason(0, "settled", "done", 0)])
    waiting = Explanation(2, "t", "g", "partition 1: waits", [Reason(1, "no_consumer", "3 messages wait and no consumer is connected", 3)])
    assert merging.explanation_of("t", "g", [settled], []) is settled
    assert merging.explanation_of("t", "g", [settled, waiting], []).verdict == "partition 1: 3 messages wait and no consumer is connected"


def test_a_cluster_is_seen_by_who_knows_most_and_each_leader_tells_its_own() -> None:
    stale = report("b", place(0, "b", 1, end=40), place(1, "b", 3, end=9), connected=False)
    fresh = report("a", place(0, "a", 2, end=50), place(1, "b", 3), epoch=2)
    merged = merging.report_of([stale, fresh])
    assert merged.broker == "a"
    assert [(one.leader, one.end) for one in merged.places] == [("a", 50), ("b", 9)]
