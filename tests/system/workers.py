"""The workers of the system tests: producers and consumers that write down what they do.

    python -m tests.system.workers produce BROKER TOPIC NUMBER MESSAGES KEYS
    python -m tests.system.workers consume BROKER TOPIC NAME LOG [--work SECONDS] [--session-timeout SECONDS]
    python -m tests.system.workers hold BROKER TOPIC COUNT
    python -m tests.system.workers die BROKER TOPIC POISON
    python -m tests.system.workers listen BROKER TOPIC NAME

A consumer's log has a line when it begins with a message, before it acknowledges (`got`), and one when the broker has
confirmed or refused the settlement (`end`). Times are of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

from devices.running import stop_on_signals
from zmqmq import Consumer, Message, PendingSettlement, Producer
from zmqmq.errors import LeaseLost

GROUP = "workers"
BATCH = 20
"""Messages that a consumer takes at a time."""
LOOK = 0.05
"""Seconds, at most, between two looks at what has become of acknowledgements: much less than others wait for what a consumer has lost."""


def say(text: str) -> None:
    print(text, flush=True)


def produce(given: argparse.Namespace) -> None:
    """Sends numbered messages over the keys in turn; every one must be confirmed."""
    with Producer(given.broker, delivery_timeout=600) as producer:
        values = (f"{given.number}:{index}".encode() + b" " * given.padding for index in range(given.messages))
        receipts = [producer.send(given.topic, value, key=f"key-{index % given.keys}") for index, value in enumerate(values)]
        say("sent")
        places = [receipt.result(timeout=600) for receipt in receipts]
    say(json.dumps({"confirmed": len(places)}))


class Diary:
    """A consumer's log file: every line is with the operating system before the next step."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._pending: list[tuple[Message, PendingSettlement]] = []

    def got(self, message: Message) -> None:
        epoch, lease = message.token
        value = message.value.decode().rstrip()
        self._write(f"got {time.monotonic():.6f} {message.partition} {message.offset} {epoch} {lease} {message.attempt} {message.key} {value}")

    def acknowledged(self, message: Message, pending: PendingSettlement) -> None:
        self._pending.append((message, pending))
        self.look()

    def look(self) -> None:
        """Writes down what has been answered or lost, in order. It does not wait for what is open: others may get what is lost."""
        pending, self._pending = self._pending, []
        for message, settlement in pending:
            if not settlement.done():
                self._pending.append((message, settlement))
                continue
            try:
                settlement.result(timeout=0)
                self.end(message, "ack")
            except LeaseLost:
                self.end(message, "lost")

    def end(self, message: Message, outcome: str) -> None:
        epoch, lease = message.token
        self._write(f"end {time.monotonic():.6f} {message.partition} {message.offset} {epoch} {lease} {outcome}")

    def _write(self, line: str) -> None:
        os.write(self._file, line.encode() + b"\n")


def consume(given: argparse.Namespace) -> None:
    """Takes, works, acknowledges, one message after the other, until SIGTERM."""
    end, diary = stop_on_signals(), Diary(given.log)
    consumer = Consumer(given.broker, given.topic, group=GROUP, name=given.name, session_timeout=given.session_timeout, prefetch=given.prefetch)
    say("ready")
    while not end.is_set():
        for message in consumer.receive_many(BATCH, timeout=LOOK):
            if not message.is_held:
                continue
            diary.got(message)
            if given.work:
                end.wait(given.work)
            try:
                diary.acknowledged(message, message.ack())
            except LeaseLost:
                diary.end(message, "lost")
        diary.look()
    consumer.close()
    diary.look()
    say("closed")


def hold(given: argparse.Namespace) -> None:
    """Takes messages and keeps them until SIGTERM; then acknowledges them, and ends with 0 if they were still its own."""
    end = stop_on_signals()
    with Consumer(given.broker, given.topic, group=GROUP, name="holder", session_timeout=given.session_timeout) as consumer:
        messages: list[Message] = []
        while len(messages) < given.count:
            messages += consumer.receive_many(given.count - len(messages), timeout=1.0)
        say(f"holds {' '.join(message.value.decode() for message in messages)}")
        end.wait()
        consumer.ack(messages).result(timeout=10)
    say("acknowledged")


def die(given: argparse.Namespace) -> None:
    """Acknowledges what it gets and prints it; a poison message ends the process at once, without a word to anybody."""
    with Consumer(given.broker, given.topic, group=GROUP, session_timeout=given.session_timeout, prefetch=1) as consumer:
        say("ready")
        for message in consumer:
            if message.value == given.poison.encode():
                os._exit(86)
            message.ack().result()
            say(f"did {message.value.decode()}")


def listen(given: argparse.Namespace) -> None:
    """Prints and acknowledges each message with the moment at which it came."""
    with Consumer(given.broker, given.topic, group=GROUP, name=given.name, session_timeout=given.session_timeout) as consumer:
        say("ready")
        for message in consumer:
            say(f"{time.time():.6f} {message.value.decode()}")
            message.ack().result()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    kinds = made.add_subparsers(required=True)
    for work in (produce, consume, hold, die, listen):
        kind = kinds.add_parser(work.__name__)
        kind.set_defaults(run=work)
        kind.add_argument("broker")
        kind.add_argument("topic")
        kind.add_argument("--session-timeout", type=float, default=2.0)
        _own_arguments(work, kind)
    return made


def _own_arguments(work: Callable[[argparse.Namespace], None], kind: argparse.ArgumentParser) -> None:
    if work is produce:
        for name in ("number", "messages", "keys"):
            kind.add_argument(name, type=int)
        kind.add_argument("--padding", type=int, default=0)
    elif work is consume:
        kind.add_argument("name")
        kind.add_argument("log")
        kind.add_argument("--work", type=float, default=0.0, help="seconds per message")
        kind.add_argument("--prefetch", type=int, default=200)
    elif work is hold:
        kind.add_argument("count", type=int)
    elif work is die:
        kind.add_argument("poison")
    else:
        kind.add_argument("name")


def main() -> None:
    given = parser().parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
