"""The processes of the demonstration: started, listened to, and ended whatever happens."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
END_SECONDS = 8.0
"""What a process gets to end in good order before it is killed."""


class Line(NamedTuple):
    """Something that a process said; text None: it has closed its output."""

    child: str
    text: str | None


class Child:
    """One process, known by a short name; what it prints goes to a queue."""

    def __init__(self, name: str, program: str, arguments: list[str], lines: queue.SimpleQueue[Line]) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ZMQMQ_")}
        self.name = name
        command = [sys.executable, str(ROOT / program), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environ, cwd=ROOT)
        self._lines = lines
        self._listener = threading.Thread(target=self._listen, name=f"listens to {name}", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None, "a child's output is a pipe"
        for line in self.process.stdout:
            self._lines.put(Line(self.name, line.rstrip("\n")))
        self._lines.put(Line(self.name, None))

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
        self._listener.join(END_SECONDS)
        return self.process.returncode


def free_ports() -> int:
    """A port that is free together with the one after it, for commands and wake-ups."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
