"""Anything at all may arrive at the broker's port: it is answered with a typed error, costs nothing, and disturbs nobody."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import BrokerProcess, Program, Programs, cpu_seconds, eventually
from tests.system.wire_client import WireClient
from zmqmq import Admin, Consumer, Producer
from zmqmq.config import split_endpoint
from zmqmq.core.checksum import checksums
from zmqmq.core.commands import (
    Describe,
    Described,
    Hello,
    Ping,
    Pong,
    Produce,
    Produced,
    Refused,
    Settle,
    Settled,
    Settlement,
    Subscribe,
    Subscribed,
    WhoAreYou,
)
from zmqmq.core.model import Limits
from zmqmq.errors import MessageTooLarge, UnknownTopic
from zmqmq.testing import TestBroker
from zmqmq.wire import encode, max_frame_bytes

RANDOM_FRAMES = 10_000
TOPIC = "readings"
HEALTHY = 200
"""Messages that a well-behaved pair exchanges meanwhile."""


class Healthy:
    """A well-behaved producer and consumer, who must notice nothing."""

    def __init__(self, endpoint: str) -> None:
        self._producer, self._consumer = Producer(endpoint), Consumer(endpoint, "healthy")
        self._sent = 0

    def exchange(self, count: int = HEALTHY) -> None:
        """Sends messages, and gets every one of them back, in order."""
        expected = [b"%d" % number for number in range(self._sent, self._sent + count)]
        self._sent += count
        receipts = [self._producer.send("healthy", value, key="k") for value in expected]
        found: list[bytes] = []
        while len(found) < count:
            messages = self._consumer.receive_many(count)
            assert messages, f"{len(found)} of {count} messages came"
            assert all(message.attempt == 1 for message in messages)
            self._consumer.ack(messages).result()
            found += [message.value for message in messages]
        assert found == expected
        for receipt in receipts:
            receipt.result()  # it may be on its way still

    def close(self) -> None:
        self._producer.close()
        self._consumer.close()


@pytest.fixture
def healthy(broker: BrokerProcess) -> Iterator[Healthy]:
    """The pair; at the end it has noticed nothing, and the broker has not complained of itself."""
    pair = Healthy(broker.endpoint)
    pair.exchange()
    yield pair
    pair.exchange()
    pair.close()
    assert broker.program.stop() == 0
    assert "Traceback" not in broker.program.errors


def memory(program: Program) -> int:
    """Bytes that a process has in memory."""
    import psutil

    return int(psutil.Process(program.pid).memory_info().rss)


@pytest.mark.parametrize(
    ("frames", "code", "text"),
    [
        ([b""], "BadFrame", "an empty frame is no command"),
        ([b"\x01"], "BadFrame", "begins with a command's name"),
        ([b"\x01garbage"], "BadFrame", "begins with a command's name"),
        ([b"\x01\x91\xa5hallo"], "BadFrame", "unknown command 'hallo'"),
        ([b"\x01" + b"\x91" * 100_000], "BadFrame", ""),
        ([b"\x01\xdd\xff\xff\xff\xff"], "BadFrame", ""),
        ([b"\x02\x91\xa5hello"], "UnsupportedVersion", "protocol version 2 is not spoken here"),
        ([b"\x00" * 64], "UnsupportedVersion", "protocol version 0 is not spoken here"),
        ([b"GET / HTTP/1.1\r\n\r\n"], "UnsupportedVersion", "protocol version 71"),
        ([encode(Ping(1)), encode(Ping(2))], "BadFrame", "a message must be one frame"),
        ([b"", encode(Ping(1))], "BadFrame", "a message must be one frame"),
        ([encode(Produce(7, TOPIC, 0, 1, 5, 0, 0, [b"x"], [1, 2]))], "BadFrame", "produce.crcs has 2 entries"),
        ([encode(Hello((2, 9), "new", 1, "new", 1.0, "new"))], "UnsupportedVersion", "the client speaks protocol 2 to 9"),
    ],
)
def test_a_bad_frame_is_answered_with_what_is_wrong(inner: TestBroker, frames: list[bytes], code: str, text: str) -> None:
    with WireClient(inner.endpoint) as client:
        client.say(*frames)
        refused = client.hear(Refused)
        assert (refused.id, refused.code) == (0, code)
        assert text in refused.message
        assert client.greet().version == 1, "the same connection may still say hello"


def test_every_truncation_of_a_good_command_is_refused(inner: TestBroker) -> None:
    frame = encode(Produce(7, TOPIC, 0, 1, 5, 0, 0, [b"value"], [1], [b"key"], ['{"unit": "C"}'], [None]))
    with WireClient(inner.endpoint) as client:
        client.greet()
        for length in range(len(frame)):
            client.say(frame[:length])
            assert client.hear(Refused).code == "BadFrame"


def test_ten_thousand_random_frames_disturb_nobody(programs: Programs, broker: BrokerProcess, healthy: Healthy) -> None:
    chance = random.Random(7400)
    good = [encode(Ping(1)), encode(Describe(2, TOPIC, True)), encode(Subscribe(3, TOPIC, "g")), encode(Produce(4, TOPIC, 0, 1, 5, 0, 0, [b"x" * 50], [1]))]
    with WireClient(broker.endpoint) as stranger, WireClient(broker.endpoint) as known:
        known.greet("known")
        for number in range(RANDOM_FRAMES):
            sender = known if number % 2 else stranger
            sender.say(*_random_message(chance, good))
            if number % 500 == 499:
                healthy.exchange(20)
                known.say(encode(Ping(number)))
                eventually(lambda number=number: known.hear(Pong).id == number, "the broker goes on")  # type: ignore[misc]
    assert memory(broker.program) < 150 << 20


def _random_message(chance: random.Random, good: list[bytes]) -> list[bytes]:
    """Noise, or a good frame with some of its bytes changed; now and then several frames."""
    if chance.random() < 0.5:
        frame = b"\x01" * chance.randrange(2) + chance.randbytes(chance.randrange(200))
    else:
        changed = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(1, len(changed))] = chance.randrange(256)
        frame = bytes(changed)
    return [frame] * chance.choice([1, 1, 1, 1, 2, 5])


def test_a_frame_over_the_limit_costs_only_its_own_connection(broker: BrokerProcess, healthy: Healthy) -> None:
    with WireClient(broker.endpoint) as client:
        client.greet()
        client.say(b"\x01" + bytes(max_frame_bytes(Limits())))
        healthy.exchange()
        client.say(encode(Ping(9)))
        assert isinstance(client.hear(WhoAreYou), WhoAreYou), "the connection is a new one, and unknown"


def test_a_message_over_the_limit_is_refused_on_both_sides(broker: BrokerProcess, healthy: Healthy) -> None:
    limit = Limits().max_message_bytes
    with Producer(broker.endpoint) as producer, WireClient(broker.endpoint) as client:
        producer.send(TOPIC, bytes(limit)).result()
        with pytest.raises(MessageTooLarge):
            producer.send(TOPIC, bytes(limit + 1)).result()
        client.greet()
        epoch = client.ask(Describe(1, TOPIC), Described).placements[0].epoch
        refused = client.ask(Produce(2, TOPIC, 0, epoch, 5, 0, 0, [bytes(limit + 1)], [0]), Refused)
        assert (refused.id, refused.code) == (2, "MessageTooLarge")


def test_noise_below_zeromq_disturbs_nobody(broker: BrokerProcess, healthy: Healthy) -> None:
    host, port = split_endpoint(broker.endpoint)
    for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(5000), b"\xff" + struct.pack(">Q", 2**63) + b"\x7f", b""):
        for to in (port, port + 1):
            with socket.create_connection((host, to)) as bare:
                bare.sendall(noise)
        healthy.exchange(20)


def test_a_crowd_of_half_open_connections_costs_little(broker: BrokerProcess, healthy: Healthy) -> None:
    host, port = split_endpoint(broker.endpoint)
    before = cpu_seconds(broker.program.pid)
    crowd = [socket.create_connection((host, port)) for _ in range(100)]
    healthy.exchange()
    for bare in crowd:
        bare.close()
    assert cpu_seconds(broker.program.pid) - before < 2.0


def test_what_is_not_ones_own_is_not_ones_to_settle(inner: TestBroker) -> None:
    endpoint = inner.endpoint
    with Producer(endpoint) as producer, Consumer(endpoint, TOPIC, "g") as owner, WireClient(endpoint) as thief:
        producer.send(TOPIC, b"mine").result()
        message = owner.receive()
        assert message is not None
        thief.greet()
        queue = thief.ask(Subscribe(1, TOPIC, "g"), Subscribed).queue
        theft = Settlement(queue, message.partition, *message.token, "ack", [message.offset])
        thief.say(encode(Settle(2, [theft])))
        assert [lost.offsets for lost in thief.hear(Settled).lost] == [[message.offset]]
        assert message.ack().result() is None


def test_repeated_batches_get_their_first_answer(inner: TestBroker) -> None:
    with WireClient(inner.endpoint) as client:
        client.greet()
        epoch = client.ask(Describe(1, TOPIC, True), Described).placements[0].epoch
        batch = Produce(2, TOPIC, 0, epoch, 77, 0, 0, [b"a", b"b"], checksums([b"a", b"b"], None, None))
        assert client.ask(batch, Produced).offset == client.ask(batch, Produced).offset


def test_unknown_topics_are_refused_where_creation_is_off(programs: Programs, tmp_path: Path) -> None:
    broker = programs.broker(tmp_path / "data", topics__auto_create="false")
    with Producer(broker.endpoint) as producer, Consumer(broker.endpoint, "none") as consumer, Admin(broker.endpoint) as admin:
        with pytest.raises(UnknownTopic):
            producer.send("none", b"x").result()
        with pytest.raises(UnknownTopic):
            consumer.receive()
        admin.create_topic("some", partitions=1)
        assert producer.send("some", b"x").result().offset >= 0
