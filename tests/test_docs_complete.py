"""Nothing is left out: whatever a user can call, set, read, type or receive stands in the documentation."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

import zmqmq
from devices import controller, sensor
from tests.doc_pages import ROOT
from zmqmq import aio, testing
from zmqmq.cli import app, broker, exits
from zmqmq.core import admin_commands, cluster_commands, commands, operations, peer_commands
from zmqmq.core.commands import Command
from zmqmq.core.explain import ORDER
from zmqmq.core.model import Placement, TopicSettings
from zmqmq.errors import BY_CODE
from zmqmq.shell.schema import MIGRATIONS

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
INTERNAL = {"wait_settled", "settle_one"}
"""What `Message` and its consumer say to each other."""


def words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))


def public(kind: type) -> set[str]:
    """Names that a class offers."""
    return {name for name in vars(kind) if not name.startswith("_")} - INTERNAL


def cli_options() -> Iterator[tuple[str, str]]:
    """(command, option) of the whole command line."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, str]]:
        for parameter in command.params:
            yield from ((name, option) for option in parameter.opts if option.startswith("-"))
        for inner, below in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {inner}", below)

    yield from walk("zmqmq", typer.main.get_command(app.app))
    parsers: list[tuple[str, argparse.ArgumentParser]] = [("broker", broker.parser()), ("sensor", sensor.parser()), ("controller", controller.parser())]
    for name, parser in parsers:
        yield from ((f"zmqmq {name}", option) for action in parser._actions for option in action.option_strings)


def test_every_public_name_stands_in_the_guide() -> None:
    names = {name for name in [*zmqmq.__all__, *aio.__all__] if not name.startswith("__")}
    assert names - words(GUIDE) == set()


OFFERED = [zmqmq.Producer, zmqmq.Consumer, zmqmq.Admin, zmqmq.Message, zmqmq.PendingReceipt, zmqmq.PendingSettlement, testing.TestBroker]
OFFERED += [aio.Producer, aio.Consumer, aio.Admin, aio.AwaitableReceipt, aio.AwaitableSettlement]


@pytest.mark.parametrize("kind", OFFERED, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_method_of_a_public_class_stands_in_the_guide(kind: type) -> None:
    assert public(kind) - words(GUIDE) == set()


@pytest.mark.parametrize("kind", [zmqmq.Producer, zmqmq.Consumer])
def test_every_argument_of_a_client_stands_in_the_guide(kind: type) -> None:
    assert inspect.signature(kind).parameters.keys() - words(GUIDE) == set()


def test_every_field_of_a_receipt_and_a_token_stands_in_the_guide() -> None:
    assert {*zmqmq.Receipt._fields, *zmqmq.Token._fields} - words(GUIDE) == set()


def test_every_error_has_a_row_that_says_whether_a_retry_helps() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", GUIDE, re.MULTILINE))
    documented = {name: ("yes" if kind.retryable else "no") for name, kind in BY_CODE.items() if name != "ZmqmqError"}
    assert {name: rows.get(name) for name in documented} == documented


def test_every_setting_of_a_topic_has_a_row_in_the_guide() -> None:
    assert {f"| `{name}` |" for name in TopicSettings.__struct_fields__ if f"| `{name}` |" not in GUIDE} == set()


def test_every_command_and_option_stands_in_the_operations_manual() -> None:
    missing = {(name, option) for name, option in cli_options() if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", OPERATIONS)}
    assert missing == set()
    assert [name for name in app.names() if f"zmqmq {name}" not in OPERATIONS] == []


def test_every_exit_code_has_a_row() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {code for code in codes if f"\n| {code} | " not in OPERATIONS} == set()


def test_every_reason_of_explain_has_a_row() -> None:
    assert [code for code in ORDER if f"| `{code}` |" not in OPERATIONS] == []


def wire_types() -> list[type[Command]]:
    modules = (commands, admin_commands, cluster_commands, peer_commands)
    found = [kind for module in modules for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, Command)]
    return sorted(set(found) - {Command}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", wire_types(), ids=lambda kind: kind.__name__)
def test_every_command_has_a_row_with_its_fields_in_their_order(kind: type[Command]) -> None:
    name = kind.__struct_config__.tag or kind.__name__
    rows = [line.split(" | ") for line in PROTOCOL.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert re.findall(r"`(\w+)`", rows[0][1]) == list(kind.__struct_fields__)


def test_a_placement_is_described() -> None:
    assert ", ".join(f"`{field}`" for field in Placement.__struct_fields__) in PROTOCOL


def test_every_operation_of_the_log_stands_in_the_protocol() -> None:
    tags = {str(kind.__struct_config__.tag) for kind in operations.Operation.__args__}
    assert {tag for tag in tags if f"`{tag}`" not in PROTOCOL} == set()


def test_every_table_and_column_stands_in_the_protocol() -> None:
    import sqlite3

    database = sqlite3.connect(":memory:")
    for migration in MIGRATIONS:
        migration(database)
    section = PROTOCOL.partition("## The tables")[2]
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in tables:
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{table}` |")]
        columns = {column for _, column, *_ in database.execute(f"PRAGMA table_info({table})")}
        assert columns - words(row) == set(), f"table {table}"
    database.close()
