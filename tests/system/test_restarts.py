"""The broker is killed and comes back under clients that go on: nothing confirmed is lost, what is held stays held, nobody starts anew."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.system.processes import BrokerProcess, Programs, eventually
from zmqmq import Admin, Consumer, Producer, aio
from zmqmq.errors import Unreachable, ZmqmqError
from zmqmq.testing import TestBroker

TOPIC, GROUP = "readings", "workers"
LIVES = 3
BATCH = 200


def receive_all(consumer: Consumer, count: int) -> list[bytes]:
    """Takes and acknowledges messages until there were so many different ones."""
    values: dict[bytes, None] = {}
    deadline = time.monotonic() + 30
    while len(values) < count:
        assert time.monotonic() < deadline, f"{len(values)} of {count} messages came"
        messages = consumer.receive_many(BATCH, timeout=1.0)
        values.update((message.value, None) for message in messages)
        consumer.ack([message for message in messages if message.is_held])
    return list(values)


def test_producer_and_consumer_live_through_kills_of_the_broker(programs: Programs, broker: BrokerProcess) -> None:
    with Producer(broker.endpoint) as producer, Consumer(broker.endpoint, TOPIC, GROUP) as consumer:
        receipts = []
        for life in range(LIVES):
            receipts += [producer.send(TOPIC, b"%d" % (life * BATCH + index), key="k") for index in range(BATCH)]
            receipts[-BATCH // 2].result()
            broker.restart()
        places = [receipt.result(timeout=20) for receipt in receipts]
        assert [int(value) for value in receive_all(consumer, LIVES * BATCH)] == list(range(LIVES * BATCH))
    assert [place.offset for place in places] == sorted({place.offset for place in places})
    with Admin(broker.endpoint) as admin:
        assert eventually(lambda: admin.lag(TOPIC, GROUP).lag == 0, "everything is settled")
        assert admin.explain(TOPIC, GROUP).verdict


def test_asyncio_clients_live_through_a_kill_of_the_broker(programs: Programs, broker: BrokerProcess) -> None:
    async def story() -> list[bytes]:
        values: list[bytes] = []
        async with aio.Producer(broker.endpoint) as producer, aio.Consumer(broker.endpoint, TOPIC, group=GROUP) as consumer:
            for value in (b"before", b"after"):
                await (await producer.send(TOPIC, value, key="k"))
                async for message in consumer:
                    values.append(message.value)
                    await message.ack()
                    break
                await asyncio.to_thread(broker.restart)
        return values

    assert asyncio.run(asyncio.wait_for(story(), 40)) == [b"before", b"after"]


def test_what_a_consumer_holds_is_given_to_nobody_else_over_a_kill_of_the_broker(programs: Programs, broker: BrokerProcess) -> None:
    with Producer(broker.endpoint) as producer:
        for number in range(6):
            producer.send(TOPIC, b"%d" % number, key=f"key-{number % 2}").result()
        holder = programs.worker("holder", "hold", broker.endpoint, TOPIC, 6, "--session-timeout", 4)
        holder.line("holds")
        broker.restart()
        with Consumer(broker.endpoint, TOPIC, GROUP) as other:
            assert other.receive(timeout=2.0) is None
            assert holder.stop() == 0, holder.errors
            assert "acknowledged" in holder.text
            producer.send(TOPIC, b"new", key="key-1").result()
            assert receive_all(other, 1) == [b"new"], "and nothing of what was held"


def test_what_a_dead_consumer_held_is_delivered_again_after_a_kill_of_the_broker(programs: Programs, broker: BrokerProcess) -> None:
    with Producer(broker.endpoint) as producer:
        for number in range(4):
            producer.send(TOPIC, b"%d" % number, key="k").result()
    holder = programs.worker("holder", "hold", broker.endpoint, TOPIC, 4, "--session-timeout", 1)
    holder.line("holds")
    holder.kill()
    broker.restart()
    with Consumer(broker.endpoint, TOPIC, GROUP) as other:
        assert receive_all(other, 4) == [b"0", b"1", b"2", b"3"]


def test_a_broker_that_ends_in_good_order_comes_back_with_everything(programs: Programs, broker: BrokerProcess) -> None:
    with Producer(broker.endpoint) as producer:
        producer.send(TOPIC, b"one").result()
        assert broker.program.stop() == 0
        pending = producer.send(TOPIC, b"two")
        broker.restart()
        assert pending.result(timeout=20).topic == TOPIC
    with Consumer(broker.endpoint, TOPIC, GROUP) as consumer:
        assert sorted(receive_all(consumer, 2)) == [b"one", b"two"]


# --- The broker that users start in their own tests ----------------------------------------------------------------------


def test_a_test_broker_survives_kill_and_restart_with_its_data(inner: TestBroker) -> None:
    with Producer(inner.endpoint) as producer:
        producer.send(TOPIC, b"one").result()
        inner.kill()
        assert not inner.is_running
        with pytest.raises(Unreachable):
            producer.send(TOPIC, b"two").result(timeout=0.5)
        inner.restart()
        with Consumer(inner.endpoint, TOPIC) as consumer:
            assert sorted(receive_all(consumer, 2)) == [b"one", b"two"]


def test_a_test_broker_removes_what_it_made_and_keeps_what_it_was_given(tmp_path: object) -> None:
    with TestBroker() as own:
        assert own.data.is_dir()
    assert not own.data.exists()
    own.close()
    with TestBroker(str(tmp_path)) as given, Producer(given.endpoint) as producer:
        producer.send(TOPIC, b"one").result()
    assert (given.data / "zmqmq.db").exists()
    with TestBroker(str(tmp_path)) as again, Consumer(again.endpoint, TOPIC) as consumer:
        assert receive_all(consumer, 1) == [b"one"]


def test_a_test_broker_explains_what_it_cannot_do(inner: TestBroker) -> None:
    with pytest.raises(ZmqmqError, match="unknown settings: colour"):
        TestBroker(colour="red")
    with pytest.raises(ZmqmqError, match="another broker uses the data directory"):
        TestBroker(inner.data)
    with pytest.raises(ZmqmqError, match="the port is in use"):
        TestBroker(bind=inner.endpoint)
