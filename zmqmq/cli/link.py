"""What every command has: the options for reaching brokers, --json, and errors turned into a sentence and an exit code.

A command is a function whose first argument is a `Link`; `command` gives it the common options. So no command
repeats them, and none can let a traceback through for something that has a name in `zmqmq.errors`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from zmqmq import Admin
from zmqmq.cli import exits
from zmqmq.cli.output import complain, emit
from zmqmq.config import ClientConfig, load_client
from zmqmq.errors import Unreachable, ZmqmqError

Function = TypeVar("Function", bound=Callable[..., Any])

Brokers = Annotated[str | None, typer.Option("--brokers", metavar="ADDRESSES", help="brokers, separated by commas (or ZMQMQ_BROKERS)", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs")]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="how long an answer may take (default 10)", show_default=False)]
Config = Annotated[str | None, typer.Option("--config", metavar="FILE", help="settings, see configs/client.yaml", show_default=False)]

_COMMON = {
    "brokers": inspect.Parameter("brokers", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Brokers),
    "as_json": inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
    "timeout": inspect.Parameter("timeout", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Timeout),
    "config": inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config),
}


class Link:
    """How one command reaches its brokers and answers."""

    def __init__(self, config: ClientConfig, as_json: bool) -> None:
        self.config = config
        self.json = as_json

    @property
    def brokers(self) -> list[str]:
        """Addresses, as given."""
        return list(self.config.brokers)

    def admin(self) -> Admin:
        """An administrator's client; use it as a context manager."""
        return Admin(self.brokers, timeout=self.config.request_timeout_seconds)


def command(app: typer.Typer, name: str) -> Callable[[Function], Function]:
    """Registers a function as command `name` of `app`, with the common options after its own."""

    def register(function: Function) -> Function:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        taken = {parameter.name for parameter in own}
        wanted = [parameter for parameter in _COMMON.values() if parameter.name not in taken]

        def called(**given: Any) -> None:
            _guarded(function, taken, given)

        called.__doc__ = inspect.cleandoc(function.__doc__ or "")
        called.__signature__ = inspect.Signature([_keyword(parameter) for parameter in own] + wanted)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *wanted]}
        app.command(name)(called)
        return function

    return register


def leave(code: int, text: str) -> NoReturn:
    """Ends the command with a sentence and an exit code."""
    complain(f"error: {text}")
    raise typer.Exit(code)


def confirm(question: str, yes: bool) -> None:
    """Goes on after --yes, or when a person at a terminal agrees."""
    if yes:
        return
    if not sys.stdin.isatty():
        leave(exits.USAGE, f"{question} needs --yes when no terminal can be asked")
    if not typer.confirm(question, err=True):
        raise typer.Exit(exits.FAILED)


def _keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)


def _guarded(function: Callable[..., Any], taken: set[str], given: dict[str, Any]) -> None:
    common = {name: given.get(name) for name in _COMMON}
    own = {name: value for name, value in given.items() if name in taken}
    try:
        function(_link(common, "timeout" not in taken), **own)
    except ZmqmqError as error:
        _tell(error, bool(common["as_json"]))
        raise typer.Exit(exits.code_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone (`| head`): nothing more to say, not even at exit
        raise typer.Exit(exits.OK) from None


def _link(common: dict[str, Any], common_timeout: bool) -> Link:
    given = [part.strip() for part in common["brokers"].split(",") if part.strip()] if common["brokers"] else None
    flags = {"brokers": given, "request_timeout_seconds": common["timeout"] if common_timeout else None}
    return Link(load_client(common["config"], flags), bool(common["as_json"]))


def _tell(error: ZmqmqError, as_json: bool) -> None:
    if isinstance(error, Unreachable):
        error.hint = "start a broker, or name one with --brokers; zmqmq doctor looks closer"
    if as_json:
        emit({"error": error.code, "message": error.message, "hint": error.hint, "details": error.details, "retryable": error.retryable}, stream=True)
    complain(f"error: {error}")
