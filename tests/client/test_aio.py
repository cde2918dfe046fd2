"""The clients for asyncio, on the same engine."""

from __future__ import annotations

import asyncio

from zmqmq.aio import Admin, Consumer, Message, Producer
from zmqmq.testing import TestBroker


def test_a_message_goes_there_and_is_acknowledged(broker: TestBroker) -> None:
    async def scene() -> None:
        async with Producer(broker.endpoint) as producer, Consumer(broker.endpoint, "t") as consumer:
            receipt = await producer.send("t", b"one", key="k")
            place = await receipt.result(5)
            message = await consumer.receive(5)
            assert message is not None
            assert (message.value, message.offset) == (b"one", place.offset)
            await message.ack()
        async with Admin(broker.endpoint) as admin:
            assert (await admin.lag("t", "default")).lag == 0

    asyncio.run(scene())


def test_a_small_buffer_delays_the_sender_and_loses_nothing(broker: TestBroker) -> None:
    async def scene() -> None:
        async with Producer(broker.endpoint, buffer_messages=20) as producer:
            receipts = [await producer.send("t", b"x") for _ in range(500)]
            await producer.flush(10)
            places = {(await receipt)[1:3] for receipt in receipts}
        assert len(places) == 500

    asyncio.run(scene())


def test_handlers_keep_the_order_of_each_key_over_failures(broker: TestBroker) -> None:
    seen: list[tuple[str | bytes | None, int]] = []

    async def scene() -> None:
        async with Admin(broker.endpoint) as admin:
            await admin.create_topic("t", retry_delay=0.01)
        async with Producer(broker.endpoint) as producer:
            for number in range(300):
                await producer.send("t", b"%d" % number, key=f"k{number % 5}")
        async with Consumer(broker.endpoint, "t") as consumer:

            async def handle(message: Message) -> None:
                await asyncio.sleep(0)
                if message.attempt == 1 and int(message.value) % 50 == 7:
                    raise RuntimeError("not yet")
                seen.append((message.key, int(message.value)))
                if len(seen) == 300:
                    consumer.stop()

            await asyncio.wait_for(consumer.run(handle, workers=3), 30)

    asyncio.run(scene())
    assert len(seen) == 300
    for number in range(5):
        values = [value for key, value in seen if key == f"k{number}"]
        assert values == sorted(values)
