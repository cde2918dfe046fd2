"""`Consumer.run` for asyncio: handlers as tasks, messages of one key strictly one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable
from typing import Protocol

from zmqmq.client.message import Message
from zmqmq.errors import ClosedError, LeaseLost

AHEAD_PER_WORKER = 16
"""Messages taken from the consumer's buffer per worker before one is free."""

log = logging.getLogger("zmqmq.consumer")


class Source(AsyncIterable[Message], Protocol):
    """Where messages come from: a consumer."""

    @property
    def is_stopping(self) -> bool:
        """Whether what is not started is to go back."""


async def run_handlers(source: Source, handler: Callable[[Message], Awaitable[object]], workers: int) -> None:
    """At most `workers` handlers at a time, messages of one key one after the other; what is not started when the source stops goes back."""
    lines: dict[Hashable, deque[Message]] = {}
    running = asyncio.Semaphore(workers)
    waiting = asyncio.Semaphore(workers * AHEAD_PER_WORKER)

    async def work(key: Hashable) -> None:
        while lines[key]:
            message = lines[key].popleft()
            async with running:
                await _handle(message, _giving_back if source.is_stopping else handler)
            waiting.release()
        del lines[key]

    async with asyncio.TaskGroup() as tasks:
        async for message in source:
            await waiting.acquire()
            key: Hashable = message if message.key_bytes is None else (message.topic, message.key_bytes)
            if key in lines:
                lines[key].append(message)
            else:
                lines[key] = deque([message])
                tasks.create_task(work(key))


async def _giving_back(message: Message) -> None:
    message.release()


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
