"""The processes of a benchmark: a broker on a port of its own, and workers that wait for the word and answer with one JSON line.

A worker prints `ready` when it is connected, begins at a line on its standard input, prints its result and ends. So starting
interpreters is never part of what is measured. Times are those of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from zmqmq.testing import free_port

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
"""In which a process must be ready."""
RESULT_SECONDS = 600.0
"""In which a worker must have its result."""
STOP_SECONDS = 20.0
QUIET_SECONDS = 15.0
"""How long to wait for a broker to have nothing left to do."""
QUIET_SLICE = 0.1
QUIET_SHARE = 0.03
"""Share of a core below which a broker counts as quiet."""


class BenchmarkFailed(Exception):
    """A process did not do its part."""


class Child:
    """A process whose lines can be waited for. Ended by `stop`, or at the end of a `with` block."""

    def __init__(self, arguments: list[str], what: str) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ZMQMQ_")}
        self.what = what
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=ROOT
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._said: list[str] = []
        for stream in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def _listen(self, stream: Any) -> None:
        is_answer = stream is self.process.stdout
        for line in stream:
            if is_answer:
                self._lines.put(line.rstrip("\n"))
            else:
                self._said = [*self._said[-50:], line.rstrip("\n")]
        if is_answer:
            self._lines.put(None)

    def line(self, timeout: float) -> str:
        """The next line of its standard output. Raises BenchmarkFailed when none comes."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise BenchmarkFailed(f"{self.what} said nothing for {timeout:g} s") from None
        if line is None:
            self.process.wait(STOP_SECONDS)
            raise BenchmarkFailed(f"{self.what} ended with exit code {self.process.returncode}: " + "\n".join(self._said[-5:]))
        return line

    @property
    def rss(self) -> int:
        """Resident memory, in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def cpu_seconds(self) -> float:
        """Processor time used so far, in seconds."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def wait_until_quiet(self) -> None:
        """Returns when the process has stopped tidying up, so that one measurement does not disturb the next."""
        deadline = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < deadline:
            before = self.cpu_seconds
            time.sleep(QUIET_SLICE)
            if self.cpu_seconds - before <= QUIET_SHARE * QUIET_SLICE:
                return

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not help in time."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class Broker(Child):
    """A broker that is ready to serve when this is made. `start_seconds` is what that took, the interpreter included."""

    def __init__(self, data: Path, port: int | None = None, runner: list[str] | None = None) -> None:
        """`runner`: what to run in place of plain Python, e.g. a profiler's arguments."""
        self.port = port or free_port()
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.data = data
        super().__init__([*(runner or []), str(ROOT / "run_broker.py"), "--port", str(self.port), "--data", str(data)], "the broker")
        try:
            while " ready " not in self.line(START_SECONDS):
                pass
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - self.began


class Worker(Child):
    """A process that plays a role of `benchmarks.roles`; ready to begin when this is made."""

    def __init__(self, role: str, **settings: object) -> None:
        super().__init__(["-m", "benchmarks.roles", role, json.dumps(settings)], f"worker {role}")
        try:
            if (line := self.line(START_SECONDS)) != "ready":
                raise BenchmarkFailed(f"worker {role} said {line!r}")
        except BaseException:
            self.stop()
            raise

    def go(self) -> None:
        """Lets it begin."""
        assert self.process.stdin is not None, "a child's input is a pipe"
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it has to say."""
        found: dict[str, Any] = json.loads(self.line(RESULT_SECONDS))
        return found
