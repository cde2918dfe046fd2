"""`make bench`: how fast messages go through the public API, beside the limit that SQLite sets on the same machine at the same time.

    python -m benchmarks.bench [--quick] [--json] [--count N] [--rounds N] [--sizes 100,1024] ...

Broker, producer and consumer are processes of their own. Every message is confirmed after an fsync. Exit code 0 whatever the
figures are: they are for people to judge; 1 if a process failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import msgspec
from rich.console import Console

from benchmarks.children import BenchmarkFailed
from benchmarks.measuring import Plan, Round, measure
from benchmarks.report import report, show

QUICK = Plan(count=20_000, rounds=1, singles=200, knocks=20)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="bench", description="Measures throughput and latency of one broker through the public API.")
    made.add_argument("--quick", action="store_true", help="one short round")
    made.add_argument("--json", action="store_true", help="one JSON document instead of the table: figures, targets, raw rounds")
    made.add_argument("--count", type=_positive, help=f"messages per run (default {Plan().count}, quick {QUICK.count})")
    made.add_argument("--rounds", type=_positive, help=f"rounds, of which medians are taken (default {Plan().rounds}, quick {QUICK.rounds})")
    made.add_argument("--sizes", type=_sizes, help="bytes of a message, one or several separated by commas (default 100,1024)")
    made.add_argument("--singles", type=_positive, help="messages sent one at a time")
    made.add_argument("--knocks", type=_positive, help="times that a sleeping consumer is woken")
    made.add_argument("--partitions", type=_positive, help=f"of each topic (default {Plan().partitions})")
    made.add_argument("--keys", type=int, help="different keys (default 0: messages without keys)")
    made.add_argument("--directory", help="where the databases are put: choose the disk to measure (default: the system's temporary directory)")
    return made


def plan_of(given: argparse.Namespace) -> Plan:
    """The plan that the arguments describe."""
    chosen = {field: value for field in Plan.__struct_fields__ if (value := getattr(given, field, None)) is not None}
    return msgspec.structs.replace(QUICK if given.quick else Plan(), **chosen)


def run(plan: Plan, tell: Callable[[str], None]) -> dict[int, list[Round]]:
    """All rounds, the sizes taking turns."""
    rounds: dict[int, list[Round]] = {size: [] for size in plan.sizes}
    for number in range(plan.rounds):
        for size in plan.sizes:
            tell(f"round {number + 1} of {plan.rounds}, {size} B")
            rounds[size].append(measure(plan, size))
    return rounds


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; gives the exit code."""
    given = parser().parse_args(arguments)
    plan = plan_of(given)
    progress = Console(stderr=True)
    try:
        found = report(plan, run(plan, lambda text: progress.print(text, style="dim")))
    except BenchmarkFailed as error:
        progress.print(f"error: {error}", markup=False)
        return 1
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        show(found, Console(highlight=False))
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
