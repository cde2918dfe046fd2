"""Programs as processes: started on free ports, listened to with deadlines, stopped by their own process id, whatever happens to the test."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from devices.demo_children import free_ports

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 30.0
"""Seconds that a test waits for something before it fails: far more than it should take, for a busy machine."""
LOOK = 0.02
"""Seconds between two looks at something that cannot tell by itself."""
KEPT_LINES = 200
"""Lines of a program that a failed wait shows."""
Found = TypeVar("Found")


def eventually(look: Callable[[], Found], what: str, timeout: float = PATIENCE) -> Found:
    """What `look` gives as soon as that is true (or not empty); fails after `timeout` seconds."""
    pause = threading.Event()
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        pause.wait(LOOK)
    return found


class Stream:
    """The lines of one output of a program, gathered by a thread."""

    def __init__(self, source: IO[str]) -> None:
        self.lines: list[str] = []
        self.ended = False
        self._source = source
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._gather, daemon=True)
        self._thread.start()

    def _gather(self) -> None:
        for line in self._source:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.ended = True
            self._changed.notify_all()
        self._source.close()

    def wait(self, look: Callable[[list[str]], Found], timeout: float) -> Found | None:
        """What `look` finds in the lines so far, as soon as it finds something; None when it never does."""
        with self._changed:
            found = look(self.lines)
            deadline = time.monotonic() + timeout
            while not found and not self.ended and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
                found = look(self.lines)
            return found or None

    def finish(self, timeout: float) -> None:
        """Waits until everything was read."""
        self._thread.join(timeout)


class Program:
    """One process. `text` and `errors` are what it printed so far."""

    def __init__(self, name: str, arguments: list[str], environ: dict[str, str] | None = None, *, typed: bool = False) -> None:
        """`arguments` follow the interpreter; `typed` gives it a standard input to write to."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("ZMQMQ_")}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=own | {"PYTHONUNBUFFERED": "1"} | (environ or {}),
            cwd=ROOT,
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        self.out, self.err = Stream(self.process.stdout), Stream(self.process.stderr)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "\n".join(self.out.lines)

    @property
    def errors(self) -> str:
        return "\n".join(self.err.lines)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def line(self, pattern: str, timeout: float = PATIENCE, *, stderr: bool = False) -> re.Match[str]:
        """The first line that contains `pattern`, as soon as it is there."""
        return self.lines(pattern, 1, timeout, stderr=stderr)[0]

    def lines(self, pattern: str, count: int, timeout: float = PATIENCE, *, stderr: bool = False) -> list[re.Match[str]]:
        """The lines that contain `pattern`, as soon as there are `count` of them."""

        def look(lines: list[str]) -> list[re.Match[str]]:
            found = [match for line in lines if (match := re.search(pattern, line))]
            return found if len(found) >= count else []

        found = (self.err if stderr else self.out).wait(look, timeout)
        assert found, f"{self.name} did not say {pattern!r} {count} times; {self._last_words()}"
        return found

    def signal(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and its end."""
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit code, when all it printed was read."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout:g} s; {self._last_words()}") from None
        self.out.finish(timeout)
        self.err.finish(timeout)
        return code

    def _last_words(self) -> str:
        code = self.process.poll()
        state = "it runs" if code is None else f"it ended with {code}"
        said = "\n".join([*self.out.lines[-KEPT_LINES:], "--- standard error:", *self.err.lines[-KEPT_LINES:]])
        return f"{state} and said:\n{said}"


class Programs:
    """All processes of one test. Use it in a `with` block."""

    def __init__(self) -> None:
        self._all: list[Program] = []

    def start(self, name: str, *arguments: object, environ: dict[str, str] | None = None, typed: bool = False) -> Program:
        """Starts the interpreter with `arguments`."""
        program = Program(name, [str(argument) for argument in arguments], environ, typed=typed)
        self._all.append(program)
        return program

    def worker(self, name: str, *arguments: object) -> Program:
        """Starts one of the workers of these tests (`tests.system.workers`)."""
        return self.start(name, "-m", "tests.system.workers", *arguments)

    def command(self, broker: str, *arguments: object, expect: int = 0, timeout: float = PATIENCE) -> Program:
        """Runs `zmqmq` to its end and checks its exit code."""
        program = self.start(f"zmqmq {arguments[0]}", "-m", "zmqmq", *arguments, environ={"ZMQMQ_BROKERS": broker})
        code = program.wait(timeout)
        assert code == expect, f"zmqmq {' '.join(map(str, arguments))} ended with {code}: {program.errors}"
        return program

    def broker(self, data: Path, **settings: object) -> BrokerProcess:
        """Starts a broker on free ports and waits until it is ready. `settings` are its keys, with __ for sections; {next_port} is the one for wake-ups."""
        return BrokerProcess(self, data, settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for program in self._all:
            program.signal(signal.SIGKILL)
        for program in self._all:
            program.wait()


class BrokerProcess:
    """A broker as a process, which can be killed and started again at the same address."""

    def __init__(self, programs: Programs, data: Path, settings: dict[str, object]) -> None:
        self._programs = programs
        self.data = data
        self.port = free_ports()
        quick: dict[str, object] = {"session_timeout_seconds": 3, "ballast_bytes": 1 << 20}
        self._environ = {f"ZMQMQ_{key.upper()}": str(value).format(next_port=self.port + 1) for key, value in (quick | settings).items()}
        self.program = self._start()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def _start(self) -> Program:
        program = self._programs.start("broker", "run_broker.py", "--port", self.port, "--data", self.data, environ=self._environ)
        program.line("ready on")
        return program

    def kill(self) -> None:
        """SIGKILL."""
        self.program.kill()

    def restart(self) -> None:
        """Starts again on the same data and ports, after SIGKILL if it still runs."""
        self.program.kill()
        self.program = self._start()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    import psutil

    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def stopped(program: Program) -> Iterator[None]:
    """The program does not move inside of this block."""
    program.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.signal(signal.SIGCONT)


def json_lines(program: Program) -> list[dict[str, Any]]:
    """What a program printed with --json, a document per line."""
    import json

    return [json.loads(line) for line in program.out.lines if line.startswith("{")]
