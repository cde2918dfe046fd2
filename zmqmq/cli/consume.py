"""`zmqmq consume`: prints messages as a consumer of a group, and acknowledges each when it is printed.

Nothing to print is not the same as nobody to ask: when a broker, or the leader of a partition, does not answer, it says so and fails.
With --no-ack it only looks: what it has printed is put back at the end, uncounted, for the group's other consumers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from zmqmq import Consumer, Message
from zmqmq.cli import exits
from zmqmq.cli.link import Link, leave
from zmqmq.cli.output import complain, emit, moment, short
from zmqmq.errors import LeaseLost, ZmqmqError

MAX_PEEKED = 1000
"""Messages that --no-ack holds at a time."""
LISTEN_SECONDS = 0.5
"""How long one wait is; in between, Ctrl-C is heard."""


def consume(
    link: Link,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="name of the topic")],
    group: Annotated[str, typer.Option(help="group whose messages to take")] = "default",
    count: Annotated[int | None, typer.Option(min=1, help="end after so many", show_default=False)] = None,
    timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="end when nothing has come for so long")] = 2.0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="wait for more until stopped")] = False,
    no_ack: Annotated[bool, typer.Option("--no-ack", help=f"look only: put back what was printed (at most {MAX_PEEKED})")] = False,
    create: Annotated[bool, typer.Option("--create", help="create a topic that does not exist yet")] = False,
    start: Annotated[Literal["earliest", "latest"], typer.Option(help="where a group begins that does not exist yet")] = "earliest",
) -> None:
    """Prints a topic's messages and acknowledges them, e.g. `zmqmq consume temp_1 --group controllers --count 10`."""
    if no_ack and (follow or (count or 0) > MAX_PEEKED):
        leave(exits.USAGE, f"--no-ack holds what it prints: at most --count {MAX_PEEKED}, and no --follow")
    most = min(count or MAX_PEEKED, MAX_PEEKED) if no_ack else count
    taken = 0
    prefetch = min(most or link.config.prefetch, link.config.prefetch)
    with Consumer(link.brokers, topic, group=group, start=start, create_topics=create, prefetch=prefetch) as consumer:
        for message in receive(consumer, most, None if follow else timeout, link.config.request_timeout_seconds):
            show(message, link.json)
            taken += 1
            if not no_ack:  # what is not settled goes back, uncounted, when the consumer closes
                settle(message)
    if not link.json and sys.stderr.isatty():
        complain(f"{taken} messages{' (put back)' if no_ack else ''}")


def receive(consumer: Consumer, most: int | None, patience: float | None, hope: float) -> Iterator[Message]:
    """Messages until `most`, or until nothing has come for `patience` seconds (None: for ever) while everything was consumed. What stands in the way of
    that for `hope` seconds is raised, or told where patience has no end."""
    given, waited, hindered = 0, 0.0, 0.0
    while (most is None or given < most) and (patience is None or waited < patience):
        wait = LISTEN_SECONDS if patience is None else min(LISTEN_SECONDS, patience - waited)
        message = consumer.receive(timeout=wait)
        if message is not None:
            given, waited = given + 1, 0.0
            yield message
        elif (obstacle := consumer.obstacle) is None:
            waited, hindered = waited + wait, 0.0
        else:
            hindered += wait
            if hindered - wait < hope <= hindered:
                tell(obstacle, is_final=patience is not None)


def tell(obstacle: ZmqmqError, is_final: bool) -> None:
    """Why something is not consumed: raised, or as a warning."""
    if is_final:
        raise obstacle
    complain(f"warning: {obstacle}")


def settle(message: Message) -> None:
    """Acknowledges; a message that another consumer has by now is said so."""
    try:
        message.ack()
    except LeaseLost as error:
        complain(f"warning: {error}")


def show(message: Message, as_json: bool) -> None:
    """One line of JSON, or the value; on a terminal with its place and key before it."""
    if as_json:
        names = ("topic", "partition", "offset", "timestamp", "key", "headers", "attempt", "value")
        emit({name: getattr(message, name) for name in names}, stream=True)
        return
    if sys.stdout.isatty():
        key = f" {short(message.key)}" if message.key is not None else ""
        print(f"{moment(message.timestamp)} {message.partition}/{message.offset}{key}: {message.value.decode(errors='backslashreplace')}", flush=True)
        return
    sys.stdout.buffer.write(message.value + b"\n")
    sys.stdout.buffer.flush()
