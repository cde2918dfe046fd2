"""The demonstration: a broker, three sensors and three controllers as processes, live, with a count at the end.

    make demo

Two sensors share the topic temp_1, and two controllers compete for it; a third pair has temp_2. When all sensors have sent their
readings and all of these are acted on (or time is over) everything is stopped in good order. Exit code 0 only if
nothing was lost or done twice and every process ended well.
"""

from __future__ import annotations

import queue
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devices.demo_children import Child, Line, free_ports
from devices.demo_tally import Tally

SENSORS = {"sensor 1": ("temp", "1", "0.4", "20"), "sensor 2": ("temp", "1", "0.3", "26"), "sensor 3": ("temp", "2", "0.5", "16")}
"""Kind, id, interval in seconds and number of readings of each."""
CONTROLLERS = {"controller 1": "temp_1", "controller 2": "temp_1", "controller 3": "temp_2"}
READY_SECONDS = 10.0
RUN_SECONDS = 25.0
"""Time in which everything must be sent and acted on."""
COLOURS = {"broker": "magenta", "sensor": "cyan", "controller": "green"}


class Demo:
    """One demonstration on one broker."""

    def __init__(self, data: Path, console: Console) -> None:
        self.tally = Tally()
        self.codes: dict[str, int] = {}
        self._data, self._console = data, console
        self._lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self._children: dict[str, Child] = {}
        self._silent: set[str] = set()
        self._port = free_ports()

    def run(self) -> None:
        """Starts everything, listens until all is done or time is over, stops everything."""
        with self._all_ended():
            self._start("broker", "run_broker.py", ["--port", str(self._port), "--data", str(self._data)])
            if not self._listen_until(lambda line: line.child == "broker" and " ready " in (line.text or ""), READY_SECONDS):
                return
            brokers = ["--brokers", f"127.0.0.1:{self._port}"]
            for name, topic in CONTROLLERS.items():
                self._start(name, "run_controller.py", [topic, *brokers])
            for name, (kind, identity, interval, count) in SENSORS.items():
                self._start(name, "run_sensor.py", [kind, identity, interval, "--count", count, *brokers])
            self._listen_until(lambda line: self._is_done(), RUN_SECONDS)

    def _start(self, name: str, program: str, arguments: list[str]) -> None:
        self._children[name] = Child(name, program, arguments, self._lines)

    def _is_done(self) -> bool:
        return self._silent >= SENSORS.keys() and not self.tally.lost

    def _listen_until(self, is_over: Callable[[Line], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            self._note(line)
            if is_over(line):
                return True
            if line.child == "broker" and line.text is None:
                return False
        return False

    def _note(self, line: Line) -> None:
        if line.text is None:
            self._silent.add(line.child)
            return
        role = line.child.split()[0]
        if role == "sensor":
            self.tally.sensor_said(line.child, line.text)
        elif role == "controller":
            self.tally.controller_said(line.child, line.text)
        if role != "broker" or not line.text.startswith("{"):
            self._console.print(f"[{COLOURS[role]}]{line.child:<13}[/]│ {escape(line.text)}")

    @contextmanager
    def _all_ended(self) -> Iterator[None]:
        """Ends devices first and the broker last, also after Ctrl-C, and hears them out."""
        try:
            yield
        finally:
            devices = [child for name, child in self._children.items() if name != "broker"]
            for group in (devices, [child for name, child in self._children.items() if name == "broker"]):
                for child in group:
                    child.ask_to_end()
                for child in group:
                    self.codes[child.name] = child.wait()
            while not self._lines.empty():
                self._note(self._lines.get())


def report(demo: Demo, console: Console) -> bool:
    """Prints what came of it; whether all is well."""
    tally = demo.tally
    table = Table(title="\nreadings", title_justify="left")
    table.add_column("")
    table.add_column("sent", justify="right")
    table.add_column("received", justify="right")
    for name, (kind, identity, _, _) in SENSORS.items():
        table.add_row(f"{name} ({kind}_{identity})", str(len(tally.sent.get(name, ()))), "")
    for name, topic in CONTROLLERS.items():
        acted = tally.acted.get(name)
        table.add_row(f"{name} ({topic})", "", str(acted.total() if acted else 0))
    table.add_section()
    table.add_row("all", str(len(tally.all_sent)), str(tally.all_acted.total()), style="bold")
    table.add_row("lost", "", str(tally.lost), style="bold red" if tally.lost else "bold green")
    table.add_row("duplicated", "", str(tally.duplicated), style="bold red" if tally.duplicated else "bold green")
    console.print(table)
    expected = sum(int(count) for _, _, _, count in SENSORS.values())
    failed = {name: code for name, code in demo.codes.items() if code}
    for name, code in failed.items():
        console.print(f"[red]{name} ended with exit code {code}[/]")
    if len(tally.all_sent) != expected:
        console.print(f"[red]{expected} readings were to be sent, {len(tally.all_sent)} were confirmed[/]")
    return not (tally.lost or tally.duplicated or failed) and len(tally.all_sent) == expected


def glance(data: Path, console: Console) -> None:
    """What the broker's database holds now, as anybody with SQLite sees it."""
    import sqlite_utils

    for path in sorted(data.glob("*.db")):
        database = sqlite_utils.Database(path)
        table = Table(title=f"\nsqlite-utils tables {path.name} --counts", title_justify="left")
        table.add_column("table")
        table.add_column("rows", justify="right")
        for name in database.table_names():
            table.add_row(name, str(database[name].count))
        console.print(table)
        database.close()


def main() -> int:
    """Runs the demonstration; gives the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="zmqmq-demo-") as directory:
        data = Path(directory) / "data"
        demo = Demo(data, console)
        try:
            demo.run()
        except KeyboardInterrupt:
            console.print("interrupted")
            return 130
        well = report(demo, console)
        glance(data, console)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
