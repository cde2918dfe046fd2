"""`zmqmq produce`: sends values given as arguments, or each line of standard input.

Lines go out while they come in, with a bounded number unconfirmed; the command ends when all are confirmed, or
fails with the number that were.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from zmqmq import PendingReceipt, Producer, Receipt
from zmqmq.cli import exits
from zmqmq.cli.link import Link, leave
from zmqmq.cli.output import complain, console, emit, say
from zmqmq.errors import ZmqmqError

if TYPE_CHECKING:
    from rich.progress import Progress

MAX_LINE_BYTES = 64 << 20
"""A longer line of standard input is refused before it fills the memory; no broker would take it."""
MAX_UNCONFIRMED = 50_000
"""Messages sent ahead of their confirmation."""
CLOSE_SECONDS = 1.0
"""Time to say goodbye in."""
PROGRESS_EVERY = 1000
"""Messages between two looks at the progress bar."""


class Entry(NamedTuple):
    """One message to send."""

    value: bytes
    key: bytes | None


def produce(
    link: Link,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="name of the topic")],
    values: Annotated[list[str] | None, typer.Argument(metavar="VALUE", help="what to send (default: each line of standard input)", show_default=False)] = None,
    key: Annotated[str | None, typer.Option(help="key of all messages: they stay in order", show_default=False)] = None,
    key_separator: Annotated[str | None, typer.Option(metavar="TEXT", help="what stands before the first TEXT is the key", show_default=False)] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="a header; may be repeated", show_default=False)] = None,
    delay: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="deliver not before so many seconds", show_default=False)] = None,
) -> None:
    """Sends messages and waits until they are safe, e.g. `zmqmq produce temp_1 21.5 --key sensor-1`, `zmqmq produce temp_1 < readings.txt`."""
    if key is not None and key_separator is not None:
        leave(exits.USAGE, "--key and --key-separator exclude each other")
    entries = (split(value, key, key_separator) for value in ((text.encode() for text in values) if values else lines()))
    sending = Sending(link, topic, headers(header), delay)
    try:
        with progress(topic, bool(values)) as bar:
            sending.send_all(entries, bar)
    finally:
        sending.close()
    sending.report()


class Sending:
    """Messages of one command on their way."""

    def __init__(self, link: Link, topic: str, named: dict[str, str] | None, delay: float | None) -> None:
        config = link.config
        self._link, self._topic, self._headers, self._delay = link, topic, named, delay
        self._timeout = config.request_timeout_seconds
        self._pending: deque[PendingReceipt] = deque()
        self._last: Receipt | None = None
        self.confirmed = 0
        self._producer = Producer(
            link.brokers, delivery_timeout=config.delivery_timeout_seconds, buffer_messages=config.buffer_messages, buffer_bytes=config.buffer_bytes
        )

    def send_all(self, entries: Iterator[Entry], bar: Progress | None) -> None:
        """Sends everything and waits for the confirmations. A failure says how many messages are safe, then goes on as an error."""
        try:
            for number, entry in enumerate(entries, 1):
                self._pending.append(self._producer.send(self._topic, entry.value, key=entry.key, headers=self._headers, delay=self._delay))
                if number % PROGRESS_EVERY == 0:
                    self._confirm(MAX_UNCONFIRMED, bar)
            self._confirm(0, bar)
        except (ZmqmqError, KeyboardInterrupt):
            if self.confirmed or len(self._pending) > 1:
                complain(f"{self.confirmed} messages are safe, {len(self._pending)} are not known to be")
            raise

    def _confirm(self, most: int, bar: Progress | None) -> None:
        while self._pending and (len(self._pending) > most or self._pending[0].done()):
            self._last = self._pending[0].result(timeout=self._timeout)
            self._pending.popleft()
            self.confirmed += 1
            if bar is not None and self.confirmed % PROGRESS_EVERY == 0:
                bar.update(bar.task_ids[0], completed=self.confirmed)

    def close(self) -> None:
        """Ends the producer. Either all is confirmed, or what is not was told already: nothing is left to wait for."""
        with suppress(ZmqmqError):
            self._producer.close(timeout=CLOSE_SECONDS)

    def report(self) -> None:
        """Says what was sent."""
        last = self._last
        if self._link.json:
            where = {"partition": last.partition, "offset": last.offset, "timestamp": last.timestamp} if last and self.confirmed == 1 else {}
            emit({"topic": self._topic, "sent": self.confirmed, **where})
        elif last and self.confirmed == 1:
            say(f"sent to {self._topic}: partition {last.partition} offset {last.offset}")
        else:
            say(f"sent {self.confirmed} messages to {self._topic}")


def split(value: bytes, key: str | None, separator: str | None) -> Entry:
    """The entry of one value; with a separator, what stands before it is the key."""
    if separator:
        before, found, after = value.partition(separator.encode())
        return Entry(after, before) if found else Entry(value, None)
    return Entry(value, key.encode() if key is not None else None)


def lines() -> Iterator[bytes]:
    """The lines of standard input, without their ends."""
    if sys.stdin.isatty():
        complain("reading lines from the terminal; end with Ctrl-D")
    while line := sys.stdin.buffer.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            leave(exits.REFUSED, f"a line of standard input is longer than {MAX_LINE_BYTES} bytes")
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def headers(pairs: list[str] | None) -> dict[str, str] | None:
    """{"unit": "C"} of ["unit=C"]."""
    named: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            leave(exits.USAGE, f"--header {pair!r}: expected NAME=VALUE")
        named[name] = value
    return named or None


def progress(topic: str, few: bool) -> AbstractContextManager[Progress | None]:
    """A progress display on a terminal; none elsewhere, and none for values that are all there at once."""
    if few or not sys.stderr.isatty():
        return nullcontext()
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(SpinnerColumn(), TextColumn(f"{topic}: confirmed"), MofNCompleteColumn(), TimeElapsedColumn(), console=console(stderr=True), transient=True)
    bar.add_task(topic, total=None)
    return bar
