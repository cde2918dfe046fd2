"""Answers of several brokers about the same thing, put together as if one broker led everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from zmqmq.core.admin_commands import (
    DeadLetter,
    DeadList,
    Explanation,
    GroupList,
    GroupSummary,
    LagReport,
    PartitionLag,
    PartitionList,
    PartitionSummary,
    Reason,
    TopicSummary,
)
from zmqmq.core.cluster_commands import ClusterReport, PlaceSummary
from zmqmq.core.model import Placement
from zmqmq.core.topology import NOBODY_LEADS, WAITS_FOR

OFFLINE = f"{NOBODY_LEADS}: {WAITS_FOR}"


def topics_of(pages: Sequence[Sequence[TopicSummary]]) -> list[TopicSummary]:
    """The topics by name; what is counted is summed, each broker counts what it leads."""
    found: dict[str, TopicSummary] = {}
    for topic in (topic for page in pages for topic in page):
        other = found.get(topic.topic)
        found[topic.topic] = topic if other is None else _sum_topics(other, topic)
    return [found[name] for name in sorted(found)]


def _sum_topics(one: TopicSummary, other: TopicSummary) -> TopicSummary:
    counts = {"messages": one.messages + other.messages, "size": one.size + other.size, "delayed": one.delayed + other.delayed}
    return replace(one, partitions=max(one.partitions, other.partitions), groups=max(one.groups, other.groups), **counts)


def groups_of(answers: Sequence[GroupList]) -> list[GroupSummary]:
    """The groups by topic and name. A member takes part at several brokers: the largest number of members counts."""
    found: dict[tuple[str, str], GroupSummary] = {}
    for group in (group for answer in answers for group in answer.groups):
        key = (group.topic, group.group)
        other = found.get(key)
        found[key] = group if other is None else _sum_groups(other, group)
    return [found[key] for key in sorted(found)]


def _sum_groups(one: GroupSummary, other: GroupSummary) -> GroupSummary:
    sums = {name: getattr(one, name) + getattr(other, name) for name in ("lag", "held", "waiting_retry", "dead")}
    return replace(one, members=max(one.members, other.members), **sums)


def partitions_of(answers: Sequence[PartitionList], placements: Iterable[Placement], places: Iterable[PlaceSummary] = ()) -> list[PartitionSummary]:
    """The partitions by number; of one whose leader says nothing there is what the cluster's report (`places`) knows, and no figures."""
    found: dict[int, PartitionSummary] = {}
    for part in (part for answer in answers for part in answer.partitions):
        other = found.get(part.partition)
        if other is None or part.epoch > other.epoch:
            found[part.partition] = part
    known = {place.partition: (place.replicas, place.in_sync) for place in places}
    for place in placements:
        replicas, in_sync = known.get(place.partition, ([], []))
        found.setdefault(place.partition, PartitionSummary(place.partition, place.leader, place.epoch, replicas, in_sync, 0, 0, 0, 0, 0, 0))
    return [found[number] for number in sorted(found)]


def lags_of(answers: Sequence[LagReport]) -> LagReport:
    """The partitions by number."""
    found: dict[int, PartitionLag] = {}
    for part in (part for answer in answers for part in answer.partitions):
        other = found.get(part.partition)
        if other is None or part.end > other.end:
            found[part.partition] = part
    return replace(answers[0], partitions=[found[number] for number in sorted(found)])


def letters_of(answers: Sequence[DeadList]) -> tuple[list[DeadLetter], bool]:
    """One page of dead letters in (partition, offset) order, and whether there are more: it ends where the first of the brokers has to be asked again."""
    ends = [_position(answer.letters[-1]) for answer in answers if answer.more and answer.letters]
    found = {_position(letter): letter for answer in answers for letter in answer.letters}
    return [found[position] for position in sorted(found) if not ends or position <= min(ends)], bool(ends)


def _position(letter: DeadLetter) -> tuple[int, int]:
    return letter.partition, letter.offset


def explanation_of(topic: str, group: str, answers: Sequence[Explanation], missing: Sequence[int]) -> Explanation:
    """All reasons by partition, and the verdict over them. `missing`: partitions that nobody leads."""
    if len(answers) == 1 and not missing:
        return answers[0]
    from zmqmq.core.explain import verdict

    offline = [Reason(number, "offline", OFFLINE, 0) for number in missing]
    reasons = sorted([*offline, *(reason for answer in answers for reason in answer.reasons)], key=lambda reason: reason.partition)
    return Explanation(0, topic, group, verdict(reasons), reasons)


def report_of(reports: Sequence[ClusterReport]) -> ClusterReport:
    """The view of the broker that knows most, with what each leader alone knows of its partitions."""
    base = max(reports, key=lambda report: (report.connected, report.epoch, bool(report.leader)))
    own = {(place.topic, place.partition): place for report in reports for place in report.places if place.leader == report.broker}
    return replace(base, places=[_newest(place, own.get((place.topic, place.partition))) for place in base.places])


def _newest(place: PlaceSummary, own: PlaceSummary | None) -> PlaceSummary:
    return own if own is not None and own.epoch >= place.epoch else place
