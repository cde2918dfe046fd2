"""The producer against a real broker: receipts, limits, errors, restarts."""

from __future__ import annotations

import os
import threading
import time

import pytest

from zmqmq import Consumer, Producer
from zmqmq.errors import BufferFull, ClosedError, DeadlineExceeded, ForkedError, InvalidName, InvalidValue, MessageTooLarge, Unreachable
from zmqmq.testing import TestBroker

NOWHERE = "127.0.0.1:1"


def test_a_receipt_says_where_the_message_is(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        first = producer.send("temp_1", b"21.5", key="s", headers={"unit": "C"}).result(10)
        second = producer.send("temp_1", b"21.6", key="s").result(10)
    assert first.topic == "temp_1"
    assert second.partition == first.partition
    assert second.offset > first.offset
    assert abs(first.timestamp - time.time()) < 60


def test_many_messages_of_many_keys_are_all_confirmed_once(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        receipts = [producer.send("t", b"%d" % number, key=f"k{number % 17}") for number in range(20_000)]
        producer.flush(30)
        places = {receipt.result(0)[1:3] for receipt in receipts}
    assert len(places) == len(receipts)


def test_closing_confirms_everything(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        receipts = [producer.send("t", b"x") for _ in range(1000)]
    assert all(receipt.done() for receipt in receipts)
    with pytest.raises(ClosedError):
        producer.send("t", b"x")
    producer.close()


def test_an_absent_broker_is_explained_endpoint_by_endpoint() -> None:
    producer = Producer([NOWHERE, "nosuch.invalid:7400"])
    receipt = producer.send("t", b"x")
    with pytest.raises(Unreachable) as caught:
        receipt.result(2)
    assert caught.value.details["tcp://127.0.0.1:1"] == "connection refused"
    with pytest.raises(Unreachable):
        producer.close(0.1)
    assert receipt.done()


def test_a_message_that_no_broker_took_in_time_fails_with_the_reason() -> None:
    producer = Producer(NOWHERE, delivery_timeout=0.5)
    receipt = producer.send("t", b"x")
    with pytest.raises(Unreachable, match="connection refused"):
        receipt.result(10)
    producer.close(1)


def test_a_full_buffer_raises_or_blocks_as_it_is_told() -> None:
    for policy, waits in (("raise", 0.0), ("block", 0.2)):
        producer = Producer(NOWHERE, buffer_messages=10, when_full=policy, block_timeout=0.2)  # type: ignore[arg-type]
        for _ in range(10):
            producer.send("t", b"x")
        started = time.monotonic()
        with pytest.raises(BufferFull):
            producer.send("t", b"x")
        assert time.monotonic() - started >= waits
        with pytest.raises((Unreachable, DeadlineExceeded)):
            producer.close(0)


def test_a_blocked_send_goes_on_when_there_is_room(broker: TestBroker) -> None:
    with Producer(broker.endpoint, buffer_messages=10) as producer:
        for _ in range(2000):
            producer.send("t", b"x")


def test_bad_arguments_are_refused_at_once(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        producer.send("t", b"x").result(10)
        for bad in ("", "a/b", "a b", "a\0", "x" * 300):
            with pytest.raises(InvalidName):
                producer.send(bad, b"x")
        for key in ("", "k" * 2000):
            with pytest.raises(InvalidName):
                producer.send("t", b"x", key=key)
        with pytest.raises(InvalidValue):
            producer.send("t", "text")  # type: ignore[arg-type]
        with pytest.raises(InvalidValue):
            producer.send("t", b"x", delay=-1)
        with pytest.raises(InvalidValue):
            producer.send("t", b"x", headers={"a": 1})  # type: ignore[dict-item]
        with pytest.raises(MessageTooLarge):
            producer.send("t", bytes(2 << 20))
        assert producer.send("t", b"still fine").result(10).offset >= 0


def test_a_restarted_broker_gets_what_it_missed_and_nothing_twice(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        receipts = []
        for number in range(300):
            if number in (100, 200):
                broker.restart(crash=True)
            receipts.append(producer.send("t", b"%d" % number, key="k"))
        producer.flush(30)
    places = [receipt.result(0).offset for receipt in receipts]
    assert places == sorted(set(places))
    with Consumer(broker.endpoint, "t") as consumer:
        got: list[int] = []
        while len(got) < 300:
            messages = consumer.receive_many(500, 10)
            assert messages
            got += [int(message.value) for message in messages]
            consumer.ack(messages)
    assert got == list(range(300))


def test_threads_share_a_producer(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        offsets: list[tuple[int, int]] = []

        def work() -> None:
            for _ in range(50):
                receipt = producer.send("t", b"x").result(10)
                offsets.append((receipt.partition, receipt.offset))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(offsets)) == 400


def test_a_forked_child_is_told_to_make_its_own(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        producer.send("t", b"x").result(10)
        child = os.fork()
        if child == 0:
            try:
                producer.send("t", b"x")
                os._exit(1)
            except ForkedError:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        producer.send("t", b"y").result(10)
