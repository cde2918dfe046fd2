"""The producer for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from zmqmq.aio.ear import Ear
from zmqmq.client.producer import Producer as BlockingProducer
from zmqmq.client.receipt import DEFAULT_TIMEOUT, PendingReceipt, Receipt
from zmqmq.errors import BufferFull


class AwaitableReceipt:
    """A message on its way; `await receipt.result()` or simply `await receipt`."""

    __slots__ = ("_ear", "_pending")

    def __init__(self, ear: Ear, pending: PendingReceipt) -> None:
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


class Producer:
    """`zmqmq.Producer` for asyncio; see there for the arguments."""

    def __init__(
        self, brokers: str | Iterable[str], *, when_full: Literal["block", "raise"] = "block", block_timeout: float = DEFAULT_TIMEOUT, **options: Any
    ) -> None:
        self._producer = BlockingProducer(brokers, when_full="raise", **options)
        self._block_timeout = block_timeout if when_full == "block" else 0.0
        self._ear = Ear(self._producer._bell)

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
