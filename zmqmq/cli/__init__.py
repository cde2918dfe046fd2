"""The `zmqmq` command.

`main` looks at the first word only: the programs (broker, sensor, controller) go straight to their own small parsers, so that
a sensor does not pay for tables and colours; everything else is in `zmqmq.cli.app`, and so is what an administrator does to a broker
(`zmqmq broker drain`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

Program = Callable[[list[str] | None], int]
ADMINISTERED = ("drain", "remove")
"""What follows `zmqmq broker` when it does not run one."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit code (see `zmqmq.cli.exits`)."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and (program := _program(*given[:2])):
        return program(given[1:])
    try:
        from zmqmq.cli import app
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("typer", "rich", "click"):
            raise
        print("error: the zmqmq command needs typer and rich; pip install 'zmqmq[cli]'", file=sys.stderr)
        return 1
    return app.run(given)


def command_names() -> list[str]:
    """Every command with its subcommands: "topics", "topic create" … (what the documentation must speak of)."""
    from zmqmq.cli import app

    return app.names()


def _program(name: str, word: str = "") -> Program | None:
    if name == "broker" and word not in ADMINISTERED:
        from zmqmq.cli.broker import main as broker

        return broker
    if name == "sensor":
        from devices.sensor import main as sensor

        return sensor
    if name == "controller":
        from devices.controller import main as controller

        return controller
    return None
