"""The outbox: readings survive, arrive once and in order, and what is dropped is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zmqmq import Consumer, Producer
from zmqmq.client.outbox import Outbox
from zmqmq.errors import BufferFull, StorageDamaged, StorageLocked
from zmqmq.testing import TestBroker

NOWHERE = "127.0.0.1:1"
LIFE = """
import os, sys
from zmqmq import Producer
endpoint, path, start, stop, confirm = sys.argv[1:]
producer = Producer(endpoint, outbox=path)
receipts = [producer.send("t", b"%d" % number, key="k") for number in range(int(start), int(stop))]
if confirm:
    receipts[-1].result(10)
os._exit(0)
"""
"""A program of its own: a fork of the test's process would have its locks, but not the threads that give them back."""


def received(broker: TestBroker, expected: int) -> list[int]:
    values: list[int] = []
    with Consumer(broker.endpoint, "t", group="check") as consumer:
        while len(values) < expected:
            messages = consumer.receive_many(1000, 5)
            assert messages
            values += [int(message.value) for message in messages]
            consumer.ack(messages)
        assert consumer.receive(0.3) is None
    return values


def life(endpoint: str, path: Path, start: int, stop: int, *, confirm: bool) -> None:
    """A sensor's process that sends, and is then cut off without a word."""
    arguments = [endpoint, str(path), str(start), str(stop), "confirm" if confirm else ""]
    assert subprocess.run([sys.executable, "-c", LIFE, *arguments], timeout=60).returncode == 0


def test_readings_of_several_lives_arrive_once_and_in_order(broker: TestBroker, tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    life(NOWHERE, path, 0, 50, confirm=False)
    life(broker.endpoint, path, 50, 100, confirm=False)
    life(broker.endpoint, path, 100, 150, confirm=True)
    with Producer(broker.endpoint, outbox=path) as producer:
        producer.send("t", b"150", key="k").result(10)
        assert producer.buffered == 0
    assert received(broker, 151) == list(range(151))


def test_a_batch_that_was_numbered_before_a_reboot_is_recognised(broker: TestBroker, tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with Producer(broker.endpoint, outbox=path) as producer:
        producer.send("t", b"0", key="k").result(10)
        partition = producer.send("t", b"1", key="k").result(10).partition
    outbox = Outbox(path)
    id = outbox.put("t", b"1", b"k", None, None)
    outbox.number("t", partition, [(1, [id])], 2)
    outbox.close()
    with Producer(broker.endpoint, outbox=path) as producer:
        producer.send("t", b"2", key="k").result(10)
        producer.flush(10)
    assert received(broker, 3) == [0, 1, 2]


def test_the_oldest_reading_goes_when_the_outbox_is_full_and_is_counted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes=1000)
    for number in range(20):
        outbox.put("t", b"%036d" % number, None, None, None)
    assert outbox.dropped == {"the outbox was full": 10}
    assert [int(reading.value) for reading in outbox.take(100)] == list(range(10, 20))
    outbox.close()


def test_a_full_outbox_raises_when_it_is_told_to(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_bytes=200, when_full="raise")
    outbox.put("t", bytes(100), None, None, None)
    with pytest.raises(BufferFull):
        outbox.put("t", bytes(100), None, None, None)
    outbox.close()


def test_the_same_file_is_not_opened_twice(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    with pytest.raises(StorageLocked):
        Outbox(tmp_path / "outbox.db")
    outbox.close()
    Outbox(tmp_path / "outbox.db").close()


def test_a_damaged_file_is_no_outbox(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is no database, and never was one" * 200)
    with pytest.raises(StorageDamaged):
        Outbox(path)
