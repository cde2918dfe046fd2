"""`zmqmq doctor`: looks for what usually goes wrong, also while no broker runs.

Each check has a verdict: ok, warning (works, but look at it), problem (does not work). Exit code 0 without problems, 3 when
no broker could be reached, 1 for any other problem.
"""

from __future__ import annotations

from typing import Annotated

import typer

from zmqmq.cli import exits
from zmqmq.cli.doctor_checks import Check, Verdict, check_broker, check_data, check_settings, check_software
from zmqmq.cli.link import Link
from zmqmq.cli.output import console, emit, table
from zmqmq.config import load_broker
from zmqmq.errors import ConfigError

COLOURS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "red"}


def doctor(
    link: Link,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="a broker's data directory on this machine", show_default=False)] = None,
    broker_config: Annotated[str | None, typer.Option(metavar="FILE", help="a broker's settings to check", show_default=False)] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="how long a broker may take to answer")] = 2.0,
) -> None:
    """Checks software, addresses, ports, protocol versions, clocks, the data directory and the disk."""
    reached = [check_broker(address, timeout) for address in link.brokers]
    checks = [*check_software(), *(check for answers in reached for check in answers)]
    checks += [*check_settings(broker_config, timeout), *check_data(_directory(data, broker_config))]
    if link.json:
        emit([{"check": check.name, "verdict": check.verdict.value, "found": check.found, "hint": check.hint} for check in checks])
    else:
        table(["", "check", "found", "what to do"], ([check.verdict.value, check.name, check.found, check.hint] for check in checks))
        worst = max((check.verdict for check in checks), key=list(Verdict).index)
        console().print(f"[{COLOURS[worst]}]{_summary(checks)}[/]")
    raise typer.Exit(_code(checks, reached))


def _directory(data: str | None, broker_config: str | None) -> tuple[str, bool]:
    """The data directory, and whether somebody asked for just this one."""
    if data is not None:
        return data, True
    try:
        return load_broker(broker_config).data, False
    except ConfigError:
        return "./data", False  # what is wrong with the settings is a check of its own


def _summary(checks: list[Check]) -> str:
    problems = sum(check.verdict is Verdict.PROBLEM for check in checks)
    warnings = sum(check.verdict is Verdict.WARNING for check in checks)
    return f"{len(checks)} checks, {problems} problems, {warnings} warnings"


def _code(checks: list[Check], reached: list[list[Check]]) -> int:
    if not any(check.name.startswith("protocol") and check.verdict is not Verdict.PROBLEM for answers in reached for check in answers):
        return exits.UNREACHABLE
    return exits.FAILED if any(check.verdict is Verdict.PROBLEM for check in checks) else exits.OK
