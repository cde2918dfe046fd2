"""The same clients for asyncio: same names, same arguments, with `await` and `async for`.

    async with Producer("tcp://127.0.0.1:7400") as producer:
        receipt = await producer.send("temp_1", b"21.5")     # waits only while the buffer is full
        await receipt.result(timeout=10)

    async with Consumer("tcp://127.0.0.1:7400", "temp_1", group="controllers") as consumer:
        async for message in consumer:
            await message.ack()                              # waits for the broker; without `await` it is merely on its way

Each object stands on the blocking client's engine thread; nothing here blocks the event loop, and no thread is spent on waiting.
Use an object on one event loop only.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar

from zmqmq.client.admin import Admin as BlockingAdmin
from zmqmq.client.admin import Setting
from zmqmq.client.admin_values import DeadLetter, Lag, Topic
from zmqmq.client.bell import Bell
from zmqmq.client.consumer import Consumer as BlockingConsumer
from zmqmq.client.message import Message, PendingSettlement
from zmqmq.client.producer import Producer as BlockingProducer
from zmqmq.client.receipt import DEFAULT_TIMEOUT, PendingReceipt, Receipt
from zmqmq.core import admin_commands as ask
from zmqmq.core.commands import Outcome
from zmqmq.core.held import Held
from zmqmq.errors import BufferFull, ClosedError, LeaseLost

__all__ = ["Admin", "AwaitableReceipt", "AwaitableSettlement", "Consumer", "Message", "Producer", "Receipt"]

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")
log = logging.getLogger("zmqmq.aio")


class _Ear:
    """Hears a client's bell on the event loop: waits for predicates without a thread."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_told = False

    async def wait_for(self, predicate: Callable[[], object], timeout: float | None) -> bool:
        """Waits until `predicate()` is true, at most `timeout` seconds (None: for ever); gives the predicate."""
        if predicate():
            return True
        loop = self._listen()
        deadline = None if timeout is None else loop.time() + timeout
        while not predicate():
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                return False
            rung = loop.create_future()
            self._waiting.add(rung)
            try:
                await asyncio.wait_for(rung, left)
            except TimeoutError:
                continue
            finally:
                self._waiting.discard(rung)
        return True

    def _listen(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._bell.listen(self._tell)
        return self._loop

    def _tell(self) -> None:
        """On the engine's thread: one word to the loop for however many rings it has not heard yet."""
        if self._waiting and not self._is_told and self._loop is not None and not self._loop.is_closed():
            self._is_told = True
            self._loop.call_soon_threadsafe(self._rung)

    def _rung(self) -> None:
        self._is_told = False
        for rung in self._waiting:
            if not rung.done():
                rung.set_result(None)

    def stop(self) -> None:
        """Listens no more."""
        self._bell.unlisten(self._tell)


class AwaitableReceipt:
    """A message on its way; `await receipt.result()` or simply `await receipt`."""

    __slots__ = ("_ear", "_pending")

    def __init__(self, ear: _Ear, pending: PendingReceipt) -> None:
        self._ear = ear
        self._pending = pending

    def done(self) -> bool:
        """Whether it is known what became of the message."""
        return self._pending.done()

    async def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> Receipt:
        """As PendingReceipt.result."""
        await self._ear.wait_for(self._pending.done, timeout)
        return self._pending.result(0)

    def __await__(self) -> Generator[Any, None, Receipt]:
        return self.result(None).__await__()


class AwaitableSettlement(PendingSettlement):
    """A decision on its way; await it to know that the broker has recorded it."""

    __slots__ = ("_ear",)

    def __init__(self, pending: PendingSettlement, ear: _Ear) -> None:
        super().__init__(pending._keeper, pending._parts)
        self._ear = ear

    async def confirmed(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Waits for the broker. Raises as PendingSettlement.result."""
        await self._ear.wait_for(self.done, timeout)
        super().result(0)

    def __await__(self) -> Generator[Any, None, None]:
        return self.confirmed().__await__()


class Producer:
    """`zmqmq.Producer` for asyncio; see there for the arguments."""

    def __init__(
        self, brokers: str | Iterable[str], *, when_full: Literal["block", "raise"] = "block", block_timeout: float = DEFAULT_TIMEOUT, **options: Any
    ) -> None:
        self._producer = BlockingProducer(brokers, when_full="raise", **options)
        self._block_timeout = block_timeout if when_full == "block" else 0.0
        self._ear = _Ear(self._producer._bell)

    async def send(
        self, topic: str, value: bytes, key: str | bytes | None = None, headers: Mapping[str, str] | None = None, delay: float | None = None
    ) -> AwaitableReceipt:
        """As Producer.send; waits while the buffer is full, at most `block_timeout` seconds."""
        try:
            return AwaitableReceipt(self._ear, self._producer.send(topic, value, key, headers, delay))
        except BufferFull:
            full = self._producer.buffered
            await self._ear.wait_for(lambda: self._producer.buffered < full, self._block_timeout)
            return AwaitableReceipt(self._ear, self._producer.send(topic, value, key, headers, delay))

    async def flush(self, timeout: float | None = None) -> None:
        """As Producer.flush."""
        posting = self._producer._posting
        posting.after_flush(await self._ear.wait_for(posting.flushed(), timeout))

    async def close(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """As Producer.close."""
        await asyncio.to_thread(self._producer.close, timeout)
        self._ear.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self._producer.__exit__, kind, error, trace)
        self._ear.stop()


class Consumer:
    """`zmqmq.Consumer` for asyncio; see there for the arguments."""

    def __init__(self, brokers: str | Iterable[str], topics: str | Iterable[str], group: str = "default", **options: Any) -> None:
        self._consumer = BlockingConsumer(brokers, topics, group, **options)
        self._ear = _Ear(self._consumer._bell)

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
        await _run(self, handler, workers)

    def stop(self) -> None:
        """As Consumer.stop."""
        self._consumer.stop()

    async def close(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """As Consumer.close."""
        await asyncio.to_thread(self._consumer.close, timeout)
        self._ear.stop()

    @property
    def lost(self) -> int:
        """As Consumer.lost."""
        return self._consumer.lost

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def _theirs(self, messages: Message | Sequence[Message]) -> list[Message]:
        """The messages as the blocking consumer handed them out."""
        many = [messages] if isinstance(messages, Message) else messages
        return [Message(self._consumer, message._held, message._index) if message._keeper is self else message for message in many]


async def _run(consumer: Consumer, handler: Callable[[Message], Awaitable[object]], workers: int) -> None:
    """At most `workers` handlers at a time, messages of one key one after the other."""
    lines: dict[Hashable, deque[Message]] = {}
    room = asyncio.Semaphore(workers)

    async def work(key: Hashable) -> None:
        while lines[key]:
            async with room:
                await _handle(lines[key].popleft(), handler)
        del lines[key]

    async with asyncio.TaskGroup() as tasks:
        async for message in consumer:
            key: Hashable = message if message.key_bytes is None else (message.topic, message.key_bytes)
            if key in lines:
                lines[key].append(message)
            else:
                lines[key] = deque([message])
                tasks.create_task(work(key))
            async with room:
                """Takes no more messages than there are handlers for."""


async def _handle(message: Message, handler: Callable[[Message], Awaitable[object]]) -> None:
    if not message.is_held:
        return
    try:
        await handler(message)
        if message.is_held:
            message.ack()
    except (LeaseLost, ClosedError) as error:
        log.info("%s", error)
    except Exception as error:
        log.warning("the handler failed on %r: %s: %s", message, type(error).__name__, error)
        if message.is_held:
            message.nack(reason=f"{type(error).__name__}: {error}")


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

    async def create_topic(self, topic: str, partitions: int = 4, replicas: int = 1, **settings: Setting) -> Topic:
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

    async def status(self, sessions: int = 100) -> ask.BrokerStatus:
        """As Admin.status."""
        return await _call(self._admin.status, sessions)

    async def brokers(self) -> list[ask.BrokerSummary]:
        """As Admin.brokers."""
        return await _call(self._admin.brokers)

    async def leader(self) -> ask.BrokerSummary | None:
        """As Admin.leader."""
        return await _call(self._admin.leader)

    async def close(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """As Admin.close."""
        await _call(self._admin.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


async def _call(function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    return await asyncio.to_thread(function, *args, **kwargs)
