"""All commands put together."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Annotated, Any

import typer

from zmqmq.cli import cluster, dead, groups, topics
from zmqmq.cli.consume import consume
from zmqmq.cli.doctor import doctor
from zmqmq.cli.link import command
from zmqmq.cli.produce import produce
from zmqmq.cli.status import brokers, status
from zmqmq.version import VERSION

app = typer.Typer(
    name="zmqmq",
    help="A durable message queue. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no broker reachable, 4 not found, 5 refused, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
_COMMANDS: dict[str, Callable[..., Any]] = {
    "topics": topics.topics,
    "groups": groups.groups,
    "lag": groups.lag,
    "seek": groups.seek,
    "explain": groups.explain,
    "produce": produce,
    "consume": consume,
    "status": status,
    "brokers": brokers,
    "leader": cluster.leader,
    "doctor": doctor,
}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zmqmq {VERSION}")
        raise typer.Exit


@app.callback()
def main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")] = False) -> None:
    """Registers the options that stand before a command."""


main.__doc__ = None  # the app's own help is shown instead


@app.command("sensor", context_settings=_PASSED_ON)
def run_sensor(context: typer.Context) -> None:
    """Runs a sensor that sends readings (`zmqmq sensor --help`)."""
    from devices.sensor import main as sensor

    raise typer.Exit(sensor(context.args))


@app.command("controller", context_settings=_PASSED_ON)
def run_controller(context: typer.Context) -> None:
    """Runs a controller that acts on readings (`zmqmq controller --help`)."""
    from devices.controller import main as controller

    raise typer.Exit(controller(context.args))


for _name, _function in _COMMANDS.items():
    command(app, _name)(_function)
app.add_typer(topics.app, name="topic")
app.add_typer(groups.app, name="group")
app.add_typer(dead.app, name="dead")
app.add_typer(cluster.app, name="cluster")
app.add_typer(cluster.broker_app, name="broker")
app.add_typer(cluster.partitions_app, name="partitions")


def run(arguments: list[str]) -> int:
    """Runs one command; gives its exit code."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a command that is told to end gives back what it holds, as after Ctrl-C
    try:
        app(arguments, prog_name="zmqmq")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def names() -> list[str]:
    """Every command with its subcommands."""
    found: list[str] = []
    for name, group in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        found += [f"{name} {inner}" for inner in group.commands] if hasattr(group, "commands") else [name]
    return found
