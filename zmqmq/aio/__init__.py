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

from zmqmq.aio.admin import Admin
from zmqmq.aio.consumer import AwaitableSettlement, Consumer
from zmqmq.aio.producer import AwaitableReceipt, Producer
from zmqmq.client.message import Message
from zmqmq.client.receipt import Receipt

__all__ = ["Admin", "AwaitableReceipt", "AwaitableSettlement", "Consumer", "Message", "Producer", "Receipt"]
