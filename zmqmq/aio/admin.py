"""The administrator for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from zmqmq.client.admin import Admin as BlockingAdmin
from zmqmq.client.admin import Setting
from zmqmq.client.admin_values import DeadLetter, Lag, Topic
from zmqmq.client.receipt import DEFAULT_TIMEOUT
from zmqmq.core import admin_commands as ask
from zmqmq.core import cluster_commands as cluster

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class Admin:
    """`zmqmq.Admin` for asyncio: its calls are rare, each runs on a thread of asyncio's own pool. Dead letters come as a list."""

    def __init__(self, brokers: str | Iterable[str], **options: Any) -> None:
        self._admin = BlockingAdmin(brokers, **options)

    async def topics(self) -> list[ask.TopicSummary]:
        """As Admin.topics."""
        return await _call(self._admin.topics)

    async def topic(self, topic: str) -> Topic:
        """As Admin.topic."""
        return await _call(self._admin.topic, topic)

    async def create_topic(self, topic: str, partitions: int | None = None, replicas: int | None = None, **settings: Setting) -> Topic:
        """As Admin.create_topic."""
        return await _call(self._admin.create_topic, topic, partitions, replicas, **settings)

    async def alter_topic(self, topic: str, **changes: Setting) -> Topic:
        """As Admin.alter_topic."""
        return await _call(self._admin.alter_topic, topic, **changes)

    async def delete_topic(self, topic: str) -> None:
        """As Admin.delete_topic."""
        await _call(self._admin.delete_topic, topic)

    async def groups(self, topic: str = "") -> list[ask.GroupSummary]:
        """As Admin.groups."""
        return await _call(self._admin.groups, topic)

    async def delete_group(self, topic: str, group: str) -> None:
        """As Admin.delete_group."""
        await _call(self._admin.delete_group, topic, group)

    async def lag(self, topic: str, group: str) -> Lag:
        """As Admin.lag."""
        return await _call(self._admin.lag, topic, group)

    async def seek(self, topic: str, group: str, to: str | int | float | datetime, partition: int | None = None) -> int:
        """As Admin.seek."""
        return await _call(self._admin.seek, topic, group, to, partition)

    async def explain(self, topic: str, group: str) -> ask.Explanation:
        """As Admin.explain."""
        return await _call(self._admin.explain, topic, group)

    async def dead_letters(self, topic: str, group: str) -> list[DeadLetter]:
        """As Admin.dead_letters."""
        return await _call(lambda: list(self._admin.dead_letters(topic, group)))

    async def replay(self, topic: str, group: str, partition: int | None = None, offsets: Sequence[int] = ()) -> int:
        """As Admin.replay."""
        return await _call(self._admin.replay, topic, group, partition, offsets)

    async def purge(self, topic: str, group: str, partition: int | None = None, offsets: Sequence[int] = ()) -> int:
        """As Admin.purge."""
        return await _call(self._admin.purge, topic, group, partition, offsets)

    async def status(self, sessions: int = 100, broker: str = "") -> ask.BrokerStatus:
        """As Admin.status."""
        return await _call(self._admin.status, sessions, broker)

    async def brokers(self) -> list[ask.BrokerSummary]:
        """As Admin.brokers."""
        return await _call(self._admin.brokers)

    async def leader(self) -> ask.BrokerSummary | None:
        """As Admin.leader."""
        return await _call(self._admin.leader)

    async def cluster(self, topic: str = "") -> cluster.ClusterReport:
        """As Admin.cluster."""
        return await _call(self._admin.cluster, topic)

    async def drain_broker(self, broker: str, undo: bool = False) -> int:
        """As Admin.drain_broker."""
        return await _call(self._admin.drain_broker, broker, undo)

    async def remove_broker(self, broker: str, undo: bool = False) -> int:
        """As Admin.remove_broker."""
        return await _call(self._admin.remove_broker, broker, undo)

    async def reassign(self, topic: str, partition: int, replicas: Sequence[str]) -> None:
        """As Admin.reassign."""
        await _call(self._admin.reassign, topic, partition, replicas)

    async def add_partitions(self, topic: str, partitions: int) -> Topic:
        """As Admin.add_partitions."""
        return await _call(self._admin.add_partitions, topic, partitions)

    async def close(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """As Admin.close."""
        await _call(self._admin.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


async def _call(function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    return await asyncio.to_thread(function, *args, **kwargs)
