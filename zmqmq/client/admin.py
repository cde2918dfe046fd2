"""The administrator for people: topics, groups, dead letters, and why nothing is delivered; a cluster and its brokers.

Every call waits for its answer, at most `timeout` seconds; while brokers are away it goes on trying until then. In a cluster the brokers that have to
do with the matter are asked, and their answers put together. Calls that change something raise OutcomeUnknown when they were sent and never answered:
repeating them is safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from math import isfinite
from types import TracebackType
from typing import Literal, Self

import msgspec

from zmqmq.client import merging
from zmqmq.client.admin_values import DeadLetter, Lag, Topic, dead_letter_of, lag_of, topic_of
from zmqmq.client.desk import Desk
from zmqmq.client.leaders import Leaders
from zmqmq.client.receipt import DEFAULT_TIMEOUT
from zmqmq.client.values import positive
from zmqmq.core import admin_commands as ask
from zmqmq.core import cluster_commands as cluster
from zmqmq.core.commands import Described
from zmqmq.core.model import TopicSettings
from zmqmq.core.names import check_name
from zmqmq.errors import InvalidValue

SeekTo = Literal["earliest", "latest", "offset", "time"]
Setting = str | int | float | None
DEAD_PAGE = 100
"""Dead letters fetched at a time."""


class Admin:
    """Administers a broker or cluster. Thread-safe; close it, or use it in a `with` block."""

    def __init__(self, brokers: str | Iterable[str], *, name: str = "", timeout: float = DEFAULT_TIMEOUT) -> None:
        """Connects when first used. `timeout` is how long each call may take, in seconds. Raises InvalidValue."""
        self._desk = Desk(brokers, name, positive("timeout", timeout, 1e8))

    # --- Topics --------------------------------------------------------------------------------------------------

    def topics(self) -> list[ask.TopicSummary]:
        """All topics, by name."""
        found: list[ask.TopicSummary] = []
        while True:
            after = found[-1].topic if found else ""
            pages = [answer.topics for answer in self._desk.everywhere(partial(_list_topics, after), ask.TopicList)]
            full = [page[-1].topic for page in pages if len(page) >= ask.PAGE_LIMIT]
            found += [topic for topic in merging.topics_of(pages) if not full or topic.topic <= min(full)]
            if not full:
                return found

    def topic(self, topic: str) -> Topic:
        """One topic; what is in a partition that nobody leads is not known and not counted. Raises UnknownTopic."""
        name = check_name("topic", topic)
        leaders = Leaders(self._desk, name)
        answers, missing = leaders.ask(lambda id: ask.DescribePartitions(id, name), ask.PartitionList)
        described = leaders.described()
        places = self.cluster(name).places if missing else []
        return topic_of(described, merging.partitions_of(answers, described.placements, places))

    def create_topic(self, topic: str, partitions: int | None = None, replicas: int | None = None, **settings: Setting) -> Topic:
        """Creates a topic; `settings` are fields of TopicSettings, and what is not named is as the broker's defaults say.

        One that exists with the same settings is no error.

        Raises TopicExists, InvalidName, InvalidValue."""
        name = check_name("topic", topic)
        _settings(settings)
        numbers = (_number("partitions", partitions, 1e6), _number("replicas", replicas, 100))
        self._desk.ask(lambda id: ask.CreateTopic(id, name, *numbers, dict(settings)), Described)
        return self.topic(name)

    def alter_topic(self, topic: str, **changes: Setting) -> Topic:
        """Changes the settings that are named. Raises UnknownTopic, InvalidValue."""
        name = check_name("topic", topic)
        _settings(changes)
        self._desk.ask(lambda id: ask.AlterTopic(id, name, dict(changes)), Described)
        return self.topic(name)

    def delete_topic(self, topic: str) -> None:
        """Deletes a topic with all that belongs to it. Raises UnknownTopic."""
        name = check_name("topic", topic)
        self._desk.ask(lambda id: ask.DeleteTopic(id, name), ask.Done)

    # --- Groups --------------------------------------------------------------------------------------------------

    def groups(self, topic: str = "") -> list[ask.GroupSummary]:
        """The groups of a topic, or of all topics. Raises UnknownTopic."""
        if not topic:
            return merging.groups_of(self._desk.everywhere(ask.ListGroups, ask.GroupList))
        name = check_name("topic", topic)
        answers, _ = Leaders(self._desk, name).ask(lambda id: ask.ListGroups(id, name), ask.GroupList)
        return merging.groups_of(answers)

    def delete_group(self, topic: str, group: str) -> None:
        """Forgets a group, its positions and dead letters; refused while consumers are in it. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        Leaders(self._desk, names[0]).ask(lambda id: ask.DeleteGroup(id, *names), ask.Done, is_strict=True, is_change=True)

    def lag(self, topic: str, group: str) -> Lag:
        """How far the group is behind. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        answers, _ = Leaders(self._desk, names[0]).ask(lambda id: ask.AskLag(id, *names), ask.LagReport, is_strict=True)
        return lag_of(merging.lags_of(answers))

    def seek(self, topic: str, group: str, to: str | int | float | datetime, partition: int | None = None) -> int:
        """Moves a group to "earliest", "latest", an offset, or a time; its leases are recalled. Gives its new lag.

        partition: only this one. Raises UnknownTopic, UnknownGroup, InvalidValue."""
        names = _names(topic, group)
        kind, value = _position(to)
        done = Leaders(self._desk, names[0]).tell(lambda number, id: ask.Seek(id, *names, kind, value, number), ask.Done, partition)
        return sum(answer.count for answer in done)

    def explain(self, topic: str, group: str) -> ask.Explanation:
        """Why nothing is delivered to the group now. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        answers, missing = Leaders(self._desk, names[0]).ask(lambda id: ask.AskExplain(id, *names), ask.Explanation)
        return merging.explanation_of(*names, answers, missing)

    # --- Dead letters --------------------------------------------------------------------------------------------

    def dead_letters(self, topic: str, group: str) -> Iterator[DeadLetter]:
        """The dead letters of a group in (partition, offset) order, fetched page by page. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        partition, offset = 0, -1
        while True:
            build = partial(_list_dead, names, partition, offset)
            answers, _ = Leaders(self._desk, names[0]).ask(build, ask.DeadList, is_strict=True)
            letters, more = merging.letters_of(answers)
            for letter in letters:
                yield dead_letter_of(*names, letter)
                partition, offset = letter.partition, letter.offset
            if not more or not letters:
                return

    def replay(self, topic: str, group: str, partition: int | None = None, offsets: Sequence[int] = ()) -> int:
        """Puts dead letters back into delivery: all, those of a partition, or the named offsets of it. Gives how many. Raises as `lag`."""
        names, chosen = _names(topic, group), _chosen(partition, offsets)
        done = Leaders(self._desk, names[0]).tell(lambda number, id: ask.Replay(id, *names, number, chosen), ask.Done, partition)
        return sum(answer.count for answer in done)

    def purge(self, topic: str, group: str, partition: int | None = None, offsets: Sequence[int] = ()) -> int:
        """Deletes dead letters for good; selection as in `replay`. Gives how many."""
        names, chosen = _names(topic, group), _chosen(partition, offsets)
        done = Leaders(self._desk, names[0]).tell(lambda number, id: ask.Purge(id, *names, number, chosen), ask.Done, partition)
        return sum(answer.count for answer in done)

    # --- Brokers -------------------------------------------------------------------------------------------------

    def status(self, sessions: int = 100, broker: str = "") -> ask.BrokerStatus:
        """The named broker, or else the one that answers, with up to `sessions` of its sessions. Raises InvalidValue for a broker that is not there."""
        known = {one.broker_id: one.endpoint for one in self.brokers()} if broker else {"": ""}
        if broker not in known:
            raise InvalidValue(f"there is no broker {broker!r}", hint=f"registered are {', '.join(sorted(known)) or 'none'}")
        return self._desk.ask(lambda id: ask.AskStatus(id, sessions), ask.BrokerStatus, broker, known[broker])

    def brokers(self) -> list[ask.BrokerSummary]:
        """All brokers of the cluster; a standalone one is alone."""
        return list(self._desk.ask(ask.ListBrokers, ask.BrokerList).brokers)

    def leader(self) -> ask.BrokerSummary | None:
        """The cluster leader, None while there is none."""
        answer = self._desk.ask(ask.ListBrokers, ask.BrokerList)
        return next((broker for broker in answer.brokers if broker.broker_id == answer.leader), None)

    # --- A cluster -----------------------------------------------------------------------------------------------

    def cluster(self, topic: str = "") -> cluster.ClusterReport:
        """The brokers of a cluster and all partitions, or those of a topic; how far followers are behind is known for leaders that answer.

        Raises UnknownTopic; InvalidValue if the broker stands alone."""
        name = check_name("topic", topic) if topic else ""
        report = merging.report_of(self._desk.everywhere(lambda id: cluster.AskCluster(id, name), cluster.ClusterReport, is_lenient=True))
        if name and not report.places:
            Leaders(self._desk, name).described()
        return report

    def drain_broker(self, broker: str, undo: bool = False) -> int:
        """Lets a broker hand its leaderships over and take no new ones, until it is undone. Gives how many it leads now.

        Raises InvalidValue for a broker that there is not, or without which nobody could lead."""
        return self._desk.ask(lambda id: cluster.DrainBroker(id, broker, not undo), ask.Done).count

    def remove_broker(self, broker: str, undo: bool = False) -> int:
        """Moves all that a broker holds to others, until it is undone; then it may be stopped for good. Gives how many replicas have to move.

        Raises InvalidValue for a broker that there is not, or if the others could not hold all replicas."""
        return self._desk.ask(lambda id: cluster.RemoveBroker(id, broker, not undo), ask.Done).count

    def reassign(self, topic: str, partition: int, replicas: Sequence[str]) -> None:
        """Moves a partition to these brokers, the first of which is preferred as leader. Raises UnknownTopic, InvalidValue."""
        name = check_name("topic", topic)
        self._desk.ask(lambda id: cluster.Reassign(id, name, partition, list(replicas)), ask.Done)

    def add_partitions(self, topic: str, partitions: int) -> Topic:
        """Gives a topic more partitions, so many in all. Keys may get another one: order per key holds from then on only.

        Raises UnknownTopic, InvalidValue."""
        name, wanted = check_name("topic", topic), _number("partitions", partitions, 1e6)
        self._desk.ask(lambda id: cluster.AddPartitions(id, name, wanted), Described)
        return self.topic(name)

    # --- Life ----------------------------------------------------------------------------------------------------

    def close(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Says goodbye and ends; at most `timeout` seconds. Closing twice is fine."""
        self._desk.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _names(topic: str, group: str) -> tuple[str, str]:
    return check_name("topic", topic), check_name("group", group)


def _number(name: str, value: int | None, most: float) -> int:
    """0, the broker's default, for None."""
    return 0 if value is None else int(positive(name, value, most))


def _settings(settings: dict[str, Setting]) -> None:
    """Raises InvalidValue for settings that no broker would take."""
    try:
        msgspec.convert(settings, TopicSettings)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"bad topic setting: {error}", hint=f"settings are {', '.join(TopicSettings.__struct_fields__)}") from None


def _position(to: object) -> tuple[SeekTo, float]:
    if to == "earliest":
        return "earliest", 0.0
    if to == "latest":
        return "latest", 0.0
    if isinstance(to, datetime):
        return "time", to.timestamp()
    if isinstance(to, int) and not isinstance(to, bool) and to >= 0:
        return "offset", float(to)
    if isinstance(to, float) and isfinite(to) and to >= 0:
        return "time", to
    raise InvalidValue(f"{to!r} is no position", hint='allowed are "earliest", "latest", an offset (int), a time (datetime, or seconds since 1970 as float)')


def _list_topics(after: str, id: int) -> ask.ListTopics:
    return ask.ListTopics(id, after)


def _list_dead(names: tuple[str, str], partition: int, offset: int, id: int) -> ask.ListDead:
    return ask.ListDead(id, *names, partition, offset, DEAD_PAGE)


def _chosen(partition: int | None, offsets: Sequence[int]) -> list[int]:
    if offsets and partition is None:
        raise InvalidValue("offsets were named without their partition", hint="name the partition too")
    return list(offsets)
