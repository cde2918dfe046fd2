"""The rules of the house, checked by reading the source.

Decisions are pure, imports point downwards, files and functions stay small, importing the client is cheap, and what is public is documented.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60

PURE_MODULES = frozenset(
    "__future__ abc array bisect collections contextlib copy dataclasses datetime enum functools hashlib heapq itertools "
    "json math operator re string struct types typing zlib".split()
)
"""What of the standard library the core may use: nothing here touches the world."""

LAYERS: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "version": frozenset(),
    "core": frozenset({"errors"}),
    "wire": frozenset({"errors", "core"}),
    "config": frozenset({"errors", "core"}),
    "client": frozenset({"errors", "version", "core", "wire"}),
    "face": frozenset({"errors", "version", "core", "wire", "client"}),
    "aio": frozenset({"errors", "version", "core", "wire", "client", "face"}),
    "shell": frozenset({"errors", "version", "core", "wire", "config"}),
    "broker": frozenset({"errors", "version", "core", "wire", "config", "shell"}),
    "testing": frozenset({"errors", "version", "core", "wire", "config", "shell", "broker", "client", "face"}),
    "cli": frozenset({"errors", "version", "core", "wire", "config", "shell", "broker", "client", "face", "devices"}),
    "devices": frozenset({"errors", "version", "config", "face"}),
    "main": frozenset({"cli"}),
}
"""Who may import whom (besides itself). `face` is `import zmqmq`; `broker` is the loop with everything at its side."""

CLIENT_FREE_OF = ("kazoo", "sqlite_utils", "sqlite3", "typer", "click", "rich", "yaml", "structlog", "asyncio", "http", "prometheus_client", "pytest")


def sources(*folders: str) -> list[Path]:
    """The Python files of the folders, in order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


PACKAGE = sources("zmqmq")
PROGRAMS = [*PACKAGE, *sources("devices", "benchmarks"), *(ROOT / name for name in ("run_broker.py", "run_sensor.py", "run_controller.py", "setup.py"))]
EVERYTHING = [*PROGRAMS, *sources("tests")]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, at_load_time: bool = False) -> Iterator[tuple[str, int]]:
    """(module, line) of every import that is ever run (those for the type checker are not); with `at_load_time` only of those that importing the file runs."""
    body = _run(tree_of(path), inside_functions=not at_load_time)
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((_imported(node.module, alias.name), node.lineno) for alias in node.names)


def _run(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _run(child, inside_functions=inside_functions)


def _imported(module: str, name: str) -> str:
    """The submodule when `from package import name` names one, the module otherwise."""
    return f"{module}.{name}" if (ROOT / module.replace(".", "/") / f"{name}.py").exists() else module


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "devices":
        return "devices"
    if parts[0] != "zmqmq":
        return None
    if len(parts) == 1:
        return "face"
    name = "main" if parts[1] == "__main__" else parts[1]
    return name if name in LAYERS else name.split("_")[0]


# --- Decisions are pure --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in PACKAGE if "core" in path.parts], ids=label)
def test_the_core_touches_nothing_of_the_world(path: Path) -> None:
    for module, line in imports_of(path):
        pure = module.split(".")[0] in PURE_MODULES | {"msgspec"} or module.startswith("zmqmq.core") or module == "zmqmq.errors"
        assert pure, f"{label(path)}:{line} imports {module}"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input", "exec", "eval", "__import__"), f"{label(path)}:{node.lineno} calls {node.func.id}()"
        if isinstance(node, ast.Attribute):
            assert not re.fullmatch(r"(datetime|date)\.(now|utcnow|today)", ast.unparse(node)), f"{label(path)}:{node.lineno} reads a clock"


# --- Imports point downwards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PACKAGE, *sources("devices")], ids=label)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    own = layer_of(module_of(path))
    assert own in LAYERS, f"{label(path)} belongs to no layer: name it in LAYERS"
    for module, line in imports_of(path):
        other = layer_of(module)
        assert other is None or other == own or other in LAYERS[own], f"{label(path)}:{line}: {own} must not import {module}"


def test_the_layers_themselves_have_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(LAYERS):
        free = {name for name, below in LAYERS.items() if name not in done and below - {"devices"} <= done | {name}}
        assert free, f"a cycle among {sorted(set(LAYERS) - done)}"
        done |= free


def test_no_two_modules_import_each_other() -> None:
    edges = {module_of(path): {module for module, _ in imports_of(path, at_load_time=True) if module.startswith("zmqmq.")} for path in PACKAGE}
    done: set[str] = set()
    while len(done) < len(edges):
        free = {name for name, wanted in edges.items() if name not in done and not (wanted & edges.keys()) - done - {name}}
        assert free, f"a cycle among {sorted(edges.keys() - done)}"
        done |= free


def importers(library: str) -> set[str]:
    return {label(path) for path in PROGRAMS if any(module.split(".")[0] == library for module, _ in imports_of(path))}


def test_only_the_tree_over_zookeeper_knows_kazoo() -> None:
    assert all(path.startswith("zmqmq/shell/zookeeper") for path in importers("kazoo"))


def test_only_the_storage_shell_and_the_outbox_know_sqlite() -> None:
    allowed = ("zmqmq/shell/", "zmqmq/client/outbox", "zmqmq/cli/doctor", "devices/demo", "benchmarks/")
    assert all(path.startswith(allowed) for path in importers("sqlite3") | importers("sqlite_utils"))


def test_only_the_command_line_knows_its_libraries() -> None:
    assert all(path.startswith(("zmqmq/cli/", "devices/demo", "benchmarks/")) for library in ("typer", "click", "rich") for path in importers(library))


def test_only_transport_and_clients_know_zeromq() -> None:
    allowed = ("zmqmq/shell/", "zmqmq/client/", "zmqmq/broker", "zmqmq/cli/doctor", "benchmarks/")
    assert all(path.startswith(allowed) for path in importers("zmq"))


# --- Small and explained ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERYTHING, ids=label)
def test_a_file_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES, f"{label(path)} has {len(text.splitlines())} lines"
    assert ast.get_docstring(tree_of(path)) or not text.strip(), f"{label(path)} does not begin with a docstring"


@pytest.mark.parametrize("path", EVERYTHING, ids=label)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{label(path)}:{node.lineno} {node.name} has {lines} lines"


@pytest.mark.parametrize("path", EVERYTHING, ids=label)
def test_nothing_is_left_for_later_or_swallowed(path: Path) -> None:
    tree = tree_of(path)
    left = [f"{'TO'}{'DO'}", f"{'FIX'}ME", f"{'NotImplemented'}Error"]
    assert not [word for word in left if word in path.read_text(encoding="utf-8")], label(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and all(isinstance(part, ast.Pass) for part in node.body):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in ("everything", "Exception", "BaseException"), f"{label(path)}:{node.lineno} swallows {caught}"


@pytest.mark.parametrize("path", sources("tests"), ids=label)
def test_tests_wait_for_things_and_not_for_time(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("time.sleep", "sleep"), f"{label(path)}:{node.lineno} sleeps"
        if isinstance(node, ast.Attribute):
            assert not re.fullmatch(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)", ast.unparse(node)), f"{label(path)}:{node.lineno} is not run"


def test_what_is_public_is_documented() -> None:
    import zmqmq

    for name in zmqmq.__all__:
        thing = getattr(zmqmq, name)
        if isinstance(thing, type) or callable(thing):
            assert (thing.__doc__ or "").strip(), f"zmqmq.{name} has no docstring"
        if isinstance(thing, type) and thing.__module__.startswith("zmqmq."):
            for attribute, value in vars(thing).items():
                function = value.fget if isinstance(value, property) else value
                if not attribute.startswith("_") and callable(function):
                    assert (function.__doc__ or "").strip(), f"zmqmq.{name}.{attribute} has no docstring"


# --- Cheap to import, one version, documented commands -----------------------------------------------------------------


def test_importing_the_client_loads_little() -> None:
    code = "import sys, zmqmq; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT).stdout.split()
    assert [name for name in CLIENT_FREE_OF if name in loaded] == []


def test_the_changelog_begins_with_this_version() -> None:
    from zmqmq.version import VERSION

    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and newest[1] == VERSION


def test_every_command_stands_in_the_documentation() -> None:
    from zmqmq.cli import command_names

    text = "\n".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if path.exists())
    missing = [name for name in command_names() if f"zmqmq {name}" not in text]
    assert missing == []
