"""The consumer against a real broker: delivery, settling, order, competition, restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from tests.client.conftest import eventually
from zmqmq import Admin, Consumer, Message, Producer
from zmqmq.core.model import Limits
from zmqmq.errors import AlreadySettled, ClosedError, InvalidValue, LeaseLost
from zmqmq.testing import TestBroker


def produce(broker: TestBroker, values: Iterable[object], keys: int = 1, topic: str = "t") -> None:
    with Producer(broker.endpoint) as producer:
        for number, value in enumerate(values):
            producer.send(topic, str(value).encode(), key=f"k{number % keys}")


def test_a_message_arrives_as_it_was_sent(broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        sent = producer.send("t", b"21.5", key="sensor-1", headers={"unit": "C"}).result()
        producer.send("t", b"\xff", key=b"\xff\xfe").result()
    with Consumer(broker.endpoint, "t") as consumer:
        messages = {message.value: message for message in (consumer.receive(5), consumer.receive(5)) if message is not None}
        first, second = messages[b"21.5"], messages[b"\xff"]
        assert (first.topic, first.partition, first.offset, first.timestamp) == sent
        assert (first.key, first.headers, first.attempt) == ("sensor-1", {"unit": "C"}, 1)
        assert second.key == b"\xff\xfe"
        consumer.ack([first, second]).result(5)


def test_a_sleeping_consumer_is_woken(broker: TestBroker) -> None:
    with Consumer(broker.endpoint, "t") as consumer:
        assert consumer.receive(0.5) is None
        produce(broker, [1])
        message = consumer.receive(5)
        assert message is not None
        message.ack().result(5)


def test_settling_twice_is_refused_and_names_the_message(broker: TestBroker) -> None:
    produce(broker, [1])
    with Consumer(broker.endpoint, "t") as consumer:
        message = consumer.receive(5)
        assert message is not None
        message.ack()
        with pytest.raises(AlreadySettled, match="offset"):
            message.nack()
        with Consumer(broker.endpoint, "t") as other, pytest.raises(InvalidValue):
            other.ack(message)


def test_a_nacked_message_comes_back_counted_and_before_the_later_ones_of_its_key(broker: TestBroker) -> None:
    with Admin(broker.endpoint) as admin:
        admin.create_topic("t", partitions=1, retry_delay=0.05)
    produce(broker, range(10), keys=2)
    seen: list[tuple[str | bytes | None, int]] = []
    with Consumer(broker.endpoint, "t") as consumer:
        while len(seen) < 10:
            message = consumer.receive(5)
            assert message is not None
            if message.attempt == 1 and message.value == b"2":
                message.nack(reason="not now")
                continue
            seen.append((message.key, int(message.value)))
            message.ack()
        assert consumer.lost == 0
    for key in ("k0", "k1"):
        values = [value for owner, value in seen if owner == key]
        assert values == sorted(values)


@contextmanager
def handed(max_delay: float) -> Iterator[tuple[Consumer, Message]]:
    """A consumer and a message that it was handed by a broker with that limit."""
    with TestBroker(limits=Limits(max_delay=max_delay)) as broker:
        produce(broker, [1])
        with Consumer(broker.endpoint, "t") as consumer:
            message = consumer.receive(5)
            assert message is not None
            yield consumer, message


def test_a_delay_over_the_limit_of_the_broker_is_refused_at_once_and_the_message_is_still_held() -> None:
    with handed(max_delay=60.0) as (consumer, message):
        with pytest.raises(InvalidValue, match="60"):
            message.nack(delay=61.0)
        with pytest.raises(InvalidValue, match="60"):
            consumer.nack([message], delay=61.0)
        message.ack().result(5)


def test_a_delay_that_only_this_broker_allows_is_taken() -> None:
    with handed(max_delay=1e9) as (_, message):
        message.nack(delay=1e9).result(5)


def test_when_one_of_several_topics_is_deleted_the_others_are_settled(broker: TestBroker) -> None:
    for topic in ("kept", "doomed"):
        produce(broker, [topic], topic=topic)
    with Consumer(broker.endpoint, ["kept", "doomed"]) as consumer, Admin(broker.endpoint) as admin:
        held: dict[str, Message] = {}
        while len(held) < 2:
            held.update({message.topic: message for message in consumer.receive_many(2, 5)})
        admin.delete_topic("doomed")
        with pytest.raises(LeaseLost):
            consumer.ack([held["doomed"], held["kept"]]).result(5)
        eventually(lambda: admin.lag("kept", "default").lag == 0)
        assert admin.lag("kept", "default").held == 0


def test_a_rejected_message_is_a_dead_letter_that_can_be_replayed(broker: TestBroker) -> None:
    produce(broker, ["bad"])
    with Consumer(broker.endpoint, "t") as consumer, Admin(broker.endpoint) as admin:
        message = consumer.receive(5)
        assert message is not None
        message.reject("no use").result(5)
        (letter,) = admin.dead_letters("t", "default")
        assert (letter.value, letter.reason) == (b"bad", "no use")
        assert admin.replay("t", "default") == 1
        again = consumer.receive(5)
        assert again is not None
        again.ack().result(5)


def test_what_a_closed_consumer_did_not_start_goes_to_the_next_uncounted(broker: TestBroker) -> None:
    produce(broker, range(20))
    with Consumer(broker.endpoint, "t") as consumer:
        assert consumer.receive(5) is not None
    with pytest.raises(ClosedError):
        consumer.receive(1)
    with Consumer(broker.endpoint, "t") as consumer:
        messages: list[Message] = []
        while len(messages) < 20:
            messages += consumer.receive_many(20, 5)
        assert [int(message.value) for message in messages] == list(range(20))
        assert {message.attempt for message in messages} == {1}


def test_held_messages_survive_a_restart_of_the_broker(broker: TestBroker) -> None:
    produce(broker, range(10))
    with Consumer(broker.endpoint, "t") as consumer:
        messages = consumer.receive_many(10, 5)
        while len(messages) < 10:
            messages += consumer.receive_many(10, 5)
        broker.restart(crash=True)
        consumer.ack(messages).result(10)
        with Admin(broker.endpoint) as admin:
            eventually(lambda: admin.lag("t", "default").lag == 0)


def test_a_lease_that_outlived_its_broker_is_lost(broker: TestBroker) -> None:
    produce(broker, [1])
    with Consumer(broker.endpoint, "t") as consumer:
        message = consumer.receive(5)
        assert message is not None
        broker.kill()
        eventually(lambda: not message.is_held)
        with pytest.raises(LeaseLost):
            message.ack()
        assert consumer.lost == 1
        broker.restart()
        again = consumer.receive(10)
        assert again is not None
        again.ack().result(5)


def test_competing_consumers_share_the_work_and_repeat_nothing(broker: TestBroker) -> None:
    produce(broker, range(3000), keys=30)
    seen: list[tuple[str | bytes | None, int]] = []
    consumers = [Consumer(broker.endpoint, "t", prefetch=50) for _ in range(3)]

    def handle(message: Message) -> None:
        seen.append((message.key, int(message.value)))

    threads = [threading.Thread(target=consumer.run, args=(handle,), kwargs={"workers": 2}) for consumer in consumers]
    for thread in threads:
        thread.start()
    eventually(lambda: len(seen) >= 3000, 30)
    for consumer in consumers:
        consumer.stop()
    for thread in threads:
        thread.join()
    for consumer in consumers:
        consumer.close()
    assert sorted(value for _, value in seen) == list(range(3000))
    for number in range(30):
        values = [value for key, value in seen if key == f"k{number}"]
        assert values == sorted(values)


def test_a_handler_that_fails_gets_the_message_again(broker: TestBroker) -> None:
    with Admin(broker.endpoint) as admin:
        admin.create_topic("t", retry_delay=0.01)
    produce(broker, [1])
    attempts: list[int] = []
    consumer = Consumer(broker.endpoint, "t")

    def handle(message: Message) -> None:
        attempts.append(message.attempt)
        if message.attempt < 3:
            raise RuntimeError("not yet")
        consumer.stop()

    consumer.run(handle, workers=1)
    consumer.close()
    assert attempts == [1, 2, 3]


def test_stopping_from_another_thread_ends_an_endless_wait(broker: TestBroker) -> None:
    consumer = Consumer(broker.endpoint, "t")
    threading.Timer(0.1, consumer.stop).start()
    started = time.monotonic()
    assert list(consumer) == []
    assert time.monotonic() - started < 5
    consumer.close()
