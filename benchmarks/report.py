"""What came of the rounds: medians, ratios to the bare limit, and whether these reach the targets; as a table or as JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from statistics import median

import msgspec
import zmq
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Plan, Round
from zmqmq import __version__

TARGETS = {100: (0.50, 0.20), 1024: (0.50, 0.25)}
"""By message size: the share of the bare limit that produce and end to end must reach."""


class Latency(msgspec.Struct, frozen=True):
    """Seconds."""

    p50: float
    p99: float


class Figures(msgspec.Struct, frozen=True):
    """Medians over rounds at one size. Rates are messages per second, times are seconds."""

    produce: float
    drain: float
    live: float
    single: Latency
    wake: Latency
    bare: float
    bare_single: Latency
    batch: float
    """Messages per commit in the produce run."""
    produce_ratio: float
    """produce / bare, the median over rounds."""
    live_ratio: float
    """live / bare, the median over rounds."""
    produce_target: float | None
    live_target: float | None
    reaches_targets: bool | None
    """None: there are no targets for this size."""


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cores: int
    python: str
    sqlite: str
    libzmq: str
    zmqmq: str
    system: str


class Report(msgspec.Struct, frozen=True):
    """All of it; `rounds` are the raw measurements by size."""

    machine: Machine
    plan: Plan
    figures: dict[str, Figures]
    rounds: dict[str, list[Round]]


def report(plan: Plan, rounds: dict[int, list[Round]]) -> Report:
    """Draws the conclusions."""
    machine = Machine(
        os.cpu_count() or 1, platform.python_version(), sqlite3.sqlite_version, zmq.zmq_version(), __version__, f"{platform.system()} {platform.release()}"
    )
    figures = {str(size): _figures(size, found) for size, found in rounds.items()}
    return Report(machine, plan, figures, {str(size): found for size, found in rounds.items()})


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def _figures(size: int, rounds: Sequence[Round]) -> Figures:
    def middle(of: Callable[[Round], float]) -> float:
        return median(map(of, rounds))

    def latency(of: Callable[[Round], list[float]]) -> Latency:
        return Latency(middle(lambda found: percentile(of(found), 0.50)), middle(lambda found: percentile(of(found), 0.99)))

    produce_ratio, live_ratio = middle(lambda found: found.produce / found.bare), middle(lambda found: found.live / found.bare)
    targets = TARGETS.get(size, (None, None))
    reaches = None if targets[0] is None or targets[1] is None else produce_ratio >= targets[0] and live_ratio >= targets[1]
    return Figures(
        produce=middle(lambda found: found.produce),
        drain=middle(lambda found: found.drain),
        live=middle(lambda found: found.live),
        single=latency(lambda found: found.single),
        wake=latency(lambda found: found.wake),
        bare=middle(lambda found: found.bare),
        bare_single=latency(lambda found: found.bare_single),
        batch=middle(lambda found: found.batch),
        produce_ratio=produce_ratio,
        live_ratio=live_ratio,
        produce_target=targets[0],
        live_target=targets[1],
        reaches_targets=reaches,
    )


def show(found: Report, console: Console) -> None:
    """Prints the table for people."""
    table = Table(title=f"messages per second, medians of {found.plan.rounds} rounds of {found.plan.count:,}", title_justify="left")
    table.add_column("")
    for size in found.figures:
        table.add_column(f"{size} B", justify="right")
    for name, cell in _ROWS:
        if not name:
            table.add_section()
            continue
        table.add_row(name, *(cell(figures) for figures in found.figures.values()))
    console.print(table)
    machine = found.machine
    console.print(f"{machine.cores} cores, Python {machine.python}, SQLite {machine.sqlite}, libzmq {machine.libzmq}, zmqmq {machine.zmqmq}, {machine.system}")


def _rate(rate: float) -> str:
    return f"{rate:,.0f}"


def _times(latency: Latency) -> str:
    return f"{latency.p50 * 1000:.2f} / {latency.p99 * 1000:.2f}"


def _share(ratio: float, target: float | None) -> str:
    if target is None:
        return f"{ratio:.0%}"
    return f"[{'green' if ratio >= target else 'red'}]{ratio:.0%}[/] (target {target:.0%})"


_ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("produce", lambda figures: _rate(figures.produce)),
    ("drain a backlog", lambda figures: _rate(figures.drain)),
    ("end to end, live", lambda figures: _rate(figures.live)),
    ("bare limit (SQLite, same batch)", lambda figures: _rate(figures.bare)),
    ("messages per commit", lambda figures: _rate(figures.batch)),
    ("", lambda figures: ""),
    ("produce / bare", lambda figures: _share(figures.produce_ratio, figures.produce_target)),
    ("end to end / bare", lambda figures: _share(figures.live_ratio, figures.live_target)),
    ("", lambda figures: ""),
    ("one at a time, ms p50 / p99", lambda figures: _times(figures.single)),
    ("bare commit of one row, ms", lambda figures: _times(figures.bare_single)),
    ("wake-up, ms p50 / p99", lambda figures: _times(figures.wake)),
)
