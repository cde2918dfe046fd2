"""What every device program shares: saying lines, stopping on a signal, telling once that no broker answers.

Exit codes of the programs: 0 ended as asked (also by SIGINT or SIGTERM), 1 failed, 2 wrong arguments or settings.
"""

from __future__ import annotations

import select
import signal
import socket
import sys
from types import FrameType

from zmqmq.errors import ConfigError, InvalidName, InvalidValue, Unreachable, ZmqmqError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
PATIENCE_SECONDS = 2.0
"""Silence of all brokers after which a device says so."""
DRAIN_SECONDS = 5.0
"""How long a stopping device waits for what it has sent or done to be confirmed."""


def say(line: str) -> None:
    """Prints one line at once, so that a pipe's reader sees it; a reader that has gone is no reason to stop working."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        sys.stdout = None  # print() does nothing from here on


def complain(line: str) -> None:
    """Prints one line on standard error."""
    print(line, file=sys.stderr, flush=True)


class Stop:
    """Whether to stop, for one who waits for it. Signal handlers may set it: unlike `threading.Event.set` it takes no lock, which the
    very thread that the handler interrupts may be holding."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._is_set = False

    def set(self) -> None:
        """It is time to stop."""
        if not self._is_set:
            self._is_set = True
            self._writer.send(b"\0")

    def is_set(self) -> bool:
        """Whether it is."""
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it is set, at most so many seconds (None: for ever); whether it is."""
        if not self._is_set:
            select.select([self._reader], [], [], seconds)
        return self._is_set


def stop_on_signals() -> Stop:
    """What SIGINT and SIGTERM set; the second signal ends the process at once."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


def failure(error: ZmqmqError) -> int:
    """Says what went wrong, without a traceback, and gives the exit code."""
    complain(f"error: {error}")
    return EXIT_USAGE if isinstance(error, ConfigError | InvalidName | InvalidValue) else EXIT_FAILED


class Connection:
    """Tells once when the brokers fall silent, and once when they are back."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._down = False

    def lost(self, error: ZmqmqError) -> None:
        """No broker answers (`error` lists the endpoints and why each failed), or not the one that leads."""
        if not self._down:
            self._down = True
            what = "no broker answers, still trying" if isinstance(error, Unreachable) else "still trying"
            complain(f"{self._name}: {what}: {error}")

    def fine(self) -> None:
        """A broker answered."""
        if self._down:
            self._down = False
            complain(f"{self._name}: a broker answers again")
