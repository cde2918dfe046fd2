"""A page of documentation as a program: its blocks, and how each of them is run.

A page runs from top to bottom, in a directory and against a broker of its own. The first word after the fence says what a block is:

    python            executed; all blocks of a page share their names. One that defines tests is given to pytest
    console           lines that begin with "$ " are run by bash and must exit with 0, or with what "# exit 3" at their end says
    console terminals its commands run at the same time; each must print something, and end with 0 when asked to
    sql               run on the broker's database, which is opened read-only
    yaml NAME         must be accepted as the settings of NAME: broker, client or device
    text              not run; "text output" must be what the Python block before it printed

"tcp://127.0.0.1:7400" means the page's broker; on the page about clusters, three brokers and a real ZooKeeper. Programs that run until they are stopped are
stopped when they have printed a line; brokers that are started from configs/cluster/ form a cluster of their own.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from devices.demo_children import free_ports
from zmqmq.config import load_broker, load_client, load_device

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DEFAULT_BROKER = "tcp://127.0.0.1:7400"
COMMAND_SECONDS = 60.0
"""Time that one command may take."""
LOADERS: dict[str, Callable[[str], object]] = {"broker": load_broker, "client": load_client, "device": load_device}
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\s+#\s*exit (\d+)$")
_ENDLESS = re.compile(r"(python run_|zmqmq )(broker|sensor|controller)\b(?! (drain|remove))(?!.*--(count|help|version))")
_PORT = re.compile(r"--port \d+")


class Block(NamedTuple):
    """One fenced block."""

    page: Path
    line: int
    """Of its first line of text."""
    kind: str
    info: str
    """What stands after the kind."""
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        kind, _, info = match["info"].strip().partition(" ")
        found.append(Block(page, text.count("\n", 0, match.start("text")) + 1, kind, info, match["text"]))
    return found


class Supply(NamedTuple):
    """What a page is run against."""

    endpoint: str
    """Of its broker, or of several with commas between them."""
    data: Path
    """That broker's data directory."""
    environ: dict[str, str] = {}
    """Variables for the brokers that the page itself starts."""


class Workshop:
    """Where one page is run."""

    def __init__(self, place: Path, broker: Supply) -> None:
        self._place, self._broker = place, broker
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._printed = ""
        for name in ("configs", "docs", "devices", "run_broker.py", "run_sensor.py", "run_controller.py", "setup.py", "Makefile"):
            (place / name).symlink_to(ROOT / name)
        (place / "data").symlink_to(broker.data)
        shims = place / ".shims"
        shims.mkdir()
        for name, module in (("zmqmq", "zmqmq"), ("python", None)):
            shim = shims / name
            shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {f"-m {module} " if module else ""}"$@"\n')
            shim.chmod(0o755)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ZMQMQ_")}
        path = os.pathsep.join([str(shims), str(Path(sys.executable).parent), clean.get("PATH", "")])
        self._environment = clean | {"PATH": path, "PYTHONPATH": str(ROOT), "ZMQMQ_BROKERS": broker.endpoint}

    def run(self, block: Block) -> None:
        """Runs one block; raises AssertionError, or what the block raises."""
        if block.kind == "python":
            self._python(block)
        elif block.kind == "console":
            self._console(block)
        elif block.kind == "sql":
            self._sql(block)
        elif block.kind == "yaml":
            self._yaml(block)
        else:
            assert block.kind == "text", f"{block}: a block of the kind {block.kind!r} is run by nobody"
            if block.info == "output":
                assert block.text == self._printed, f"{block}: this is not what was printed:\n{self._printed}"

    def _python(self, block: Block) -> None:
        if re.search(r"^def test_", block.text, re.MULTILINE):
            file = self._place / "test_of_a_page.py"
            file.write_text(block.text, encoding="utf-8")
            self._finish([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file.name], 0, str(block))
            return
        source = "\n" * (block.line - 1) + block.text.replace(DEFAULT_BROKER, self._broker.endpoint)
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(source, str(block.page), "exec"), self._names)
        self._printed = printed.getvalue()

    def _sql(self, block: Block) -> None:
        database = sqlite3.connect(f"file:{self._broker.data / 'zmqmq.db'}?mode=ro", uri=True)
        try:
            for statement in filter(str.strip, block.text.split(";")):
                database.execute(statement).fetchall()
        finally:
            database.close()

    def _yaml(self, block: Block) -> None:
        file = self._place / "settings.yaml"
        file.write_text(block.text, encoding="utf-8")
        LOADERS[block.info](str(file))

    # --- Commands ------------------------------------------------------------------------------------------------

    def _console(self, block: Block) -> None:
        commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
        assert commands, f"{block}: no line begins with '$ '"
        if block.info == "terminals":
            self._together(commands)
            return
        for command in commands:
            self._command(command, str(block))

    def _command(self, command: str, where: str) -> None:
        expected = int(found[1]) if (found := _EXIT.search(command)) else 0
        command = _EXIT.sub("", command)
        if command.startswith("make "):
            target = command.split()[1]
            assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), f"{where}: there is no target {target}"
        elif command.startswith("pip install "):
            extras = re.findall(r"\[(\w+)\]", command)
            assert all(f'"{extra}":' in (ROOT / "setup.py").read_text(encoding="utf-8") for extra in extras), f"{where}: {command}"
        elif _ENDLESS.search(command):
            self._together([command])
        else:
            self._finish(["bash", "-o", "pipefail", "-c", command], expected, f"{where}: {command}")

    def _finish(self, command: list[str], expected: int, where: str) -> None:
        done = subprocess.run(
            command, cwd=self._place, env=self._environment, capture_output=True, text=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == expected, f"{where} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"

    def _together(self, commands: list[str]) -> None:
        with _ended() as running:
            for command in commands:
                running.append((command, self._start(command)))
            for command, process in running:
                assert process.stdout is not None
                said = process.stdout.readline()
                assert said, f"{command} printed nothing\n{process.communicate(timeout=COMMAND_SECONDS)[1][-4000:]}"
            for _, process in running:
                process.send_signal(signal.SIGTERM)
            for command, process in running:
                _, complaints = process.communicate(timeout=COMMAND_SECONDS)
                assert process.returncode == 0, f"{command} ended with {process.returncode}\n{complaints[-4000:]}"

    def _start(self, command: str) -> subprocess.Popen[str]:
        """A program that runs until it is stopped; a broker gets a port and a directory of its own."""
        port = free_ports()
        own = {"ZMQMQ_BIND": f"tcp://127.0.0.1:{port}", "ZMQMQ_DATA": str(self._place / f"data-{port}")} if "broker" in command else {}
        own |= self._broker.environ if own else {}
        words = shlex.split(_PORT.sub(f"--port {port}", command))
        return subprocess.Popen(words, cwd=self._place, env=self._environment | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def _ended() -> Iterator[list[tuple[str, subprocess.Popen[str]]]]:
    """Processes that are surely gone at the end."""
    running: list[tuple[str, subprocess.Popen[str]]] = []
    try:
        yield running
    finally:
        for _, process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()
