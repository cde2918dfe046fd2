"""The consumer for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from zmqmq.aio.ear import Ear
from zmqmq.aio.handlers import run_handlers
from zmqmq.client.consumer import Consumer as BlockingConsumer
from zmqmq.client.message import Message, PendingSettlement
from zmqmq.client.receipt import DEFAULT_TIMEOUT
from zmqmq.core.commands import Outcome
from zmqmq.core.held import Held
from zmqmq.errors import ClosedError, ZmqmqError


class AwaitableSettlement(PendingSettlement):
    """A decision on its way; await it to know that the broker has recorded it."""

    __slots__ = ("_ear",)

    def __init__(self, pending: PendingSettlement, ear: Ear) -> None:
        super().__init__(pending._keeper, pending._parts)
        self._ear = ear

    async def confirmed(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Waits for the broker. Raises as PendingSettlement.result."""
        await self._ear.wait_for(self.done, timeout)
        super().result(0)

    def __await__(self) -> Generator[Any, None, None]:
        return self.confirmed().__await__()


class Consumer:
    """`zmqmq.Consumer` for asyncio; see there for the arguments."""

    def __init__(self, brokers: str | Iterable[str], topics: str | Iterable[str], group: str = "default", **options: Any) -> None:
        self._consumer = BlockingConsumer(brokers, topics, group, **options)
        self._ear = Ear(self._consumer._bell)

    async def receive(self, timeout: float | None = DEFAULT_TIMEOUT) -> Message | None:
        """As Consumer.receive."""
        messages = await self.receive_many(1, timeout)
        return messages[0] if messages else None

    async def receive_many(self, limit: int, timeout: float | None = DEFAULT_TIMEOUT) -> list[Message]:
        """As Consumer.receive_many."""
        taken = self._consumer.take_now(limit)
        if not taken:
            await self._ear.wait_for(self._consumer._is_ready, timeout)
            taken = self._consumer.take_now(limit)
        return [Message(self, message._held, message._index) for message in taken]

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                message = await self.receive(None)
            except ClosedError:
                return
            if message is not None:
                yield message

    def ack(self, messages: Message | Sequence[Message]) -> AwaitableSettlement:
        """As Consumer.ack; await it to wait for the broker."""
        return AwaitableSettlement(self._consumer.ack(self._theirs(messages)), self._ear)

    def nack(self, messages: Message | Sequence[Message], delay: float | None = None, reason: str = "") -> AwaitableSettlement:
        """As Consumer.nack; await it to wait for the broker."""
        return AwaitableSettlement(self._consumer.nack(self._theirs(messages), delay, reason), self._ear)

    def release(self, messages: Message | Sequence[Message]) -> AwaitableSettlement:
        """As Consumer.release; await it to wait for the broker."""
        return AwaitableSettlement(self._consumer.release(self._theirs(messages)), self._ear)

    def reject(self, messages: Message | Sequence[Message], reason: str = "") -> AwaitableSettlement:
        """As Consumer.reject; await it to wait for the broker."""
        return AwaitableSettlement(self._consumer.reject(self._theirs(messages), reason), self._ear)

    def settle_one(self, held: Held, index: int, outcome: Outcome, delay: float | None, reason: str) -> AwaitableSettlement:
        """What `Message.ack` and its like do."""
        return AwaitableSettlement(self._consumer.settle_one(held, index, outcome, delay, reason), self._ear)

    def wait_settled(self, held: Held, indices: list[int], timeout: float | None) -> None:
        """As Consumer.wait_settled: it blocks; on the event loop use `await`."""
        self._consumer.wait_settled(held, indices, timeout)

    async def run(self, handler: Callable[[Message], Awaitable[object]], workers: int = 4) -> None:
        """As Consumer.run, with a coroutine function; until the consumer is stopped or closed, or this is cancelled. Signals are the application's."""
        await run_handlers(self, handler, workers)

    def stop(self) -> None:
        """As Consumer.stop."""
        self._consumer.stop()

    async def close(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """As Consumer.close."""
        await asyncio.to_thread(self._consumer.close, timeout)
        self._ear.stop()

    @property
    def is_stopping(self) -> bool:
        """As Consumer.is_stopping."""
        return self._consumer.is_stopping

    @property
    def lost(self) -> int:
        """As Consumer.lost."""
        return self._consumer.lost

    @property
    def obstacle(self) -> ZmqmqError | None:
        """As Consumer.obstacle."""
        return self._consumer.obstacle

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _theirs(self, messages: Message | Sequence[Message]) -> list[Message]:
        """The messages as the blocking consumer handed them out."""
        many = [messages] if isinstance(messages, Message) else messages
        return [Message(self._consumer, message._held, message._index) if message._keeper is self else message for message in many]
