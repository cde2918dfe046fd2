"""zmqmq: a durable message queue over ZeroMQ and SQLite.

    from zmqmq import Producer, Consumer, Admin

    with Producer("tcp://127.0.0.1:7400") as producer:
        receipt = producer.send("temp_1", b"21.5", key="sensor-1")
        receipt.result(timeout=10)

    with Consumer("tcp://127.0.0.1:7400", "temp_1", group="controllers") as consumer:
        for message in consumer:
            print(message.value)
            message.ack()

Importing this needs pyzmq and msgspec only. The same classes with `await` are in `zmqmq.aio`.
"""

from __future__ import annotations

from zmqmq import errors
from zmqmq.client.admin import Admin
from zmqmq.client.consumer import Consumer
from zmqmq.client.message import Message, PendingSettlement, Token
from zmqmq.client.producer import Producer
from zmqmq.client.receipt import PendingReceipt, Receipt
from zmqmq.errors import ZmqmqError
from zmqmq.version import VERSION as __version__

__all__ = ["Admin", "Consumer", "Message", "PendingReceipt", "PendingSettlement", "Producer", "Receipt", "Token", "ZmqmqError", "__version__", "errors"]
