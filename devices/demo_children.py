"""The processes of the demonstration: started, listened to, and ended whatever happens."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from devices import ensemble

ROOT = Path(__file__).resolve().parent.parent
END_SECONDS = 8.0
"""What a process gets to end in good order before it is killed."""


class Line(NamedTuple):
    """Something that a process said; text None: it has closed its output."""

    child: str
    text: str | None
    at: float = 0.0
    """When it was heard, by the monotonic clock."""


Lines = queue.SimpleQueue[Line]


def listen(name: str, source: IO[str], lines: Lines) -> threading.Thread:
    """A thread that puts what `source` says into the queue, until its end."""

    def run() -> None:
        for line in source:
            lines.put(Line(name, line.rstrip("\n"), time.monotonic()))
        lines.put(Line(name, None, time.monotonic()))
        source.close()

    thread = threading.Thread(target=run, name=f"listens to {name}", daemon=True)
    thread.start()
    return thread


class Choir:
    """One pipe into which several children speak, so that their lines come in the order in which they were said."""

    def __init__(self, name: str, lines: Lines) -> None:
        source, self.output = os.pipe()
        listen(name, os.fdopen(source, encoding="utf-8", errors="replace"), lines)

    def complete(self) -> None:
        """All who shall speak have been started: when they have ended, so has the pipe."""
        os.close(self.output)


class Child:
    """One process, known by a short name; what it prints goes to a queue."""

    def __init__(
        self, name: str, program: str, arguments: list[str], lines: Lines, environ: Mapping[str, str] | None = None, choir: Choir | None = None
    ) -> None:
        """`environ` are variables of its own; one that belongs to a choir speaks into its pipe."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("ZMQMQ_")} | dict(environ or {})
        self.name = name
        command = [sys.executable, str(ROOT / program), *arguments]
        output = subprocess.PIPE if choir is None else choir.output
        self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, errors="replace", env=own, cwd=ROOT)
        self._listener = listen(name, self.process.stdout, lines) if self.process.stdout is not None else None

    def ask_to_end(self) -> None:
        """Sends SIGTERM, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code; one that does not end in time is killed."""
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._listener is not None:
            self._listener.join(END_SECONDS)
        return self.process.returncode


def free_ports() -> int:
    """A port that is free together with the one after it, for commands and wake-ups."""
    return ensemble.free_ports(2)[0]
