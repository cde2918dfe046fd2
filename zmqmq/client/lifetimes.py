"""What ends a client from outside: a fork, which leaves sockets and threads behind, and the end of the process."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol

from zmqmq.errors import ForkedError, ZmqmqError

EXIT_TIMEOUT = 2.0
"""Seconds that a client which nobody closed gets when the process exits."""


class Mortal(Protocol):
    """A client's engine."""

    trouble: ZmqmqError | None

    def stop(self, timeout: float) -> None:
        """Ends it, within `timeout` seconds."""


_alive: weakref.WeakSet[Mortal] = weakref.WeakSet()


def watch(engine: Mortal) -> None:
    """Marks the engine in the child of a fork, and stops it when the process exits."""
    _alive.add(engine)


def forget(engine: Mortal) -> None:
    """The engine has ended."""
    _alive.discard(engine)


def _forked() -> None:
    for engine in list(_alive):
        engine.trouble = ForkedError("this client was made before a fork", hint="make a new one in the child process")


def _exiting() -> None:
    for engine in list(_alive):
        if engine.trouble is None:
            engine.stop(EXIT_TIMEOUT)


os.register_at_fork(after_in_child=_forked)
atexit.register(_exiting)
