"""The administrator for people: topics, groups, dead letters, and why nothing is delivered.

Every call waits for its answer, at most `timeout` seconds; while brokers are away it goes on trying until then. Calls that
change something raise OutcomeUnknown when they were sent and never answered: repeating them is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import count
from math import isfinite
from types import TracebackType
from typing import Literal, Self, TypeVar

import msgspec

from zmqmq.client.admin_values import DeadLetter, Lag, Topic, dead_letter_of, lag_of, topic_of
from zmqmq.client.asking import Asking
from zmqmq.client.bell import Bell
from zmqmq.client.endpoints import parse_endpoints
from zmqmq.client.engine import Engine
from zmqmq.client.receipt import DEFAULT_TIMEOUT
from zmqmq.client.values import positive
from zmqmq.core import admin_commands as ask
from zmqmq.core.commands import Command, Describe, Described
from zmqmq.core.model import TopicSettings
from zmqmq.core.names import check_name
from zmqmq.core.requests import Request
from zmqmq.errors import DeadlineExceeded, InvalidValue, OutcomeUnknown, ProtocolError, ZmqmqError

Answer = TypeVar("Answer", bound=Command)
SeekTo = Literal["earliest", "latest", "offset", "time"]
Setting = str | int | float | None
_CHANGING = (ask.CreateTopic, ask.AlterTopic, ask.DeleteTopic, ask.DeleteGroup, ask.Seek, ask.Replay, ask.Purge)
DEAD_PAGE = 100
"""Dead letters fetched at a time."""


class Admin:
    """Administers a broker or cluster. Thread-safe; close it, or use it in a `with` block."""

    def __init__(self, brokers: str | Iterable[str], *, name: str = "", timeout: float = DEFAULT_TIMEOUT) -> None:
        """Connects when first used. `timeout` is how long each call may take, in seconds. Raises InvalidValue."""
        self._timeout = positive("timeout", timeout, 1e8)
        next_id = count(1).__next__
        self._bell = Bell()
        self._asking = Asking(next_id, self._bell)
        self._engine = Engine(parse_endpoints(brokers), self._asking, self._bell, next_id, name=name, session_timeout=0.0, wants_hints=False)

    # --- Topics --------------------------------------------------------------------------------------------------

    def topics(self) -> list[ask.TopicSummary]:
        """All topics, by name."""
        found: list[ask.TopicSummary] = []
        while True:
            after = found[-1].topic if found else ""
            page = self._ask(partial(_list_topics, after), ask.TopicList).topics
            found += page
            if len(page) < ask.PAGE_LIMIT:
                return found

    def topic(self, topic: str) -> Topic:
        """One topic. Raises UnknownTopic."""
        name = check_name("topic", topic)
        described = self._ask(lambda id: Describe(id, name), Described)
        return topic_of(described, self._ask(lambda id: ask.DescribePartitions(id, name), ask.PartitionList).partitions)

    def create_topic(self, topic: str, partitions: int | None = None, replicas: int | None = None, **settings: Setting) -> Topic:
        """Creates a topic; `settings` are fields of TopicSettings, and what is not named is as the broker's defaults say.

        One that exists with the same settings is no error.

        Raises TopicExists, InvalidName, InvalidValue."""
        name = check_name("topic", topic)
        _settings(settings)
        numbers = (_number("partitions", partitions, 1e6), _number("replicas", replicas, 100))
        self._ask(lambda id: ask.CreateTopic(id, name, *numbers, dict(settings)), Described)
        return self.topic(name)

    def alter_topic(self, topic: str, **changes: Setting) -> Topic:
        """Changes the settings that are named. Raises UnknownTopic, InvalidValue."""
        name = check_name("topic", topic)
        _settings(changes)
        self._ask(lambda id: ask.AlterTopic(id, name, dict(changes)), Described)
        return self.topic(name)

    def delete_topic(self, topic: str) -> None:
        """Deletes a topic with all that belongs to it. Raises UnknownTopic."""
        name = check_name("topic", topic)
        self._ask(lambda id: ask.DeleteTopic(id, name), ask.Done)

    # --- Groups --------------------------------------------------------------------------------------------------

    def groups(self, topic: str = "") -> list[ask.GroupSummary]:
        """The groups of a topic, or of all topics. Raises UnknownTopic."""
        name = check_name("topic", topic) if topic else ""
        return list(self._ask(lambda id: ask.ListGroups(id, name), ask.GroupList).groups)

    def delete_group(self, topic: str, group: str) -> None:
        """Forgets a group, its positions and dead letters; refused while consumers are in it. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        self._ask(lambda id: ask.DeleteGroup(id, *names), ask.Done)

    def lag(self, topic: str, group: str) -> Lag:
        """How far the group is behind. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        return lag_of(self._ask(lambda id: ask.AskLag(id, *names), ask.LagReport))

    def seek(self, topic: str, group: str, to: str | int | float | datetime, partition: int | None = None) -> int:
        """Moves a group to "earliest", "latest", an offset, or a time; its leases are recalled. Gives its new lag.

        partition: only this one. Raises UnknownTopic, UnknownGroup, InvalidValue."""
        names = _names(topic, group)
        kind, value = _position(to)
        return self._ask(lambda id: ask.Seek(id, *names, kind, value, partition), ask.Done).count

    def explain(self, topic: str, group: str) -> ask.Explanation:
        """Why nothing is delivered to the group now. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        return self._ask(lambda id: ask.AskExplain(id, *names), ask.Explanation)

    # --- Dead letters --------------------------------------------------------------------------------------------

    def dead_letters(self, topic: str, group: str) -> Iterator[DeadLetter]:
        """The dead letters of a group in (partition, offset) order, fetched page by page. Raises UnknownTopic, UnknownGroup."""
        names = _names(topic, group)
        partition, offset = 0, -1
        while True:
            page = self._ask(partial(_list_dead, names, partition, offset), ask.DeadList)
            for letter in page.letters:
                yield dead_letter_of(*names, letter)
                partition, offset = letter.partition, letter.offset
            if not page.more or not page.letters:
                return

    def replay(self, topic: str, group: str, partition: int | None = None, offsets: Sequence[int] = ()) -> int:
        """Puts dead letters back into delivery: all, those of a partition, or the named offsets of it. Gives how many. Raises as `lag`."""
        names, chosen = _names(topic, group), _chosen(partition, offsets)
        return self._ask(lambda id: ask.Replay(id, *names, partition, chosen), ask.Done).count

    def purge(self, topic: str, group: str, partition: int | None = None, offsets: Sequence[int] = ()) -> int:
        """Deletes dead letters for good; selection as in `replay`. Gives how many."""
        names, chosen = _names(topic, group), _chosen(partition, offsets)
        return self._ask(lambda id: ask.Purge(id, *names, partition, chosen), ask.Done).count

    # --- Brokers -------------------------------------------------------------------------------------------------

    def status(self, sessions: int = 100) -> ask.BrokerStatus:
        """The broker that answers, with up to `sessions` of its sessions."""
        return self._ask(lambda id: ask.AskStatus(id, sessions), ask.BrokerStatus)

    def brokers(self) -> list[ask.BrokerSummary]:
        """All brokers of the cluster; a standalone one is alone."""
        return list(self._ask(ask.ListBrokers, ask.BrokerList).brokers)

    def leader(self) -> ask.BrokerSummary | None:
        """The cluster leader, None while there is none."""
        answer = self._ask(ask.ListBrokers, ask.BrokerList)
        return next((broker for broker in answer.brokers if broker.broker_id == answer.leader), None)

    # --- Life ----------------------------------------------------------------------------------------------------

    def close(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Says goodbye and ends; at most `timeout` seconds. Closing twice is fine."""
        if self._engine.trouble is None:
            self._engine.stop(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, build: Callable[[int], Command], kind: type[Answer]) -> Answer:
        engine = self._engine
        engine.check()
        with self._bell.lock:
            engine.start()
            request = self._asking.ask(build, self._timeout)
            engine.call()
            self._bell.wait_for(lambda: request.done or engine.trouble is not None, self._timeout)
        if not request.done:
            engine.check()
            raise self._late(request)
        if request.error is not None:
            raise request.error
        if not isinstance(request.answer, kind):
            raise ProtocolError(f"the broker answered {type(request.command).__name__} with {type(request.answer).__name__}")
        return request.answer

    def _late(self, request: Request) -> ZmqmqError:
        question = type(request.command).__name__
        if request.sent_ever and isinstance(request.command, _CHANGING):
            return OutcomeUnknown(f"{question} was sent and not answered within {self._timeout:g} s", hint="it may have been done; repeating it is safe")
        if self._engine.is_open:
            return DeadlineExceeded(f"{question} was not answered within {self._timeout:g} s")
        return self._engine.unreachable()


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
