"""How answers are shown: tables on a terminal, one JSON document (or JSON lines for streams) with --json.

Numbers for people are short (1.5 MiB, 3 min); JSON has plain numbers in bytes and seconds. Bytes that are UTF-8 become text in
JSON, others an object {"base64": "..."}.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zmqmq.core.commands import Command

PIPE_WIDTH = 240
"""Columns of a table that goes into a pipe or file, where no terminal says how wide it is."""
MAX_SHOWN = 60
"""Characters of a value that a table shows."""


def console(*, stderr: bool = False) -> Console:
    """Where people read."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=not stream.isatty())


def plain(value: object) -> object:
    """`value` as what JSON knows."""
    if isinstance(value, msgspec.Struct):
        names = [name for name in value.__struct_fields__ if not (name == "id" and isinstance(value, Command))]  # the request's number is nobody's business
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if hasattr(value, "_asdict"):
            return plain(value._asdict())
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return _bytes(value)
    return value


def emit(value: object, *, stream: bool = False) -> None:
    """Prints JSON: a document, or one line of a stream."""
    print(json.dumps(plain(value), ensure_ascii=False, indent=None if stream else 2), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Prints rows; numbers stand right. A column that ends in "#" holds numbers (the mark is not shown)."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    count = 0
    for row in rows:
        made.add_row(*(escape(str(cell)) for cell in row))
        count += 1
    if count:
        _print(made)
    else:
        say(f"{title.strip()}: none" if title else "none")


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Prints "name  value" lines."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(name, escape(str(value)))
    _print(made)


def say(text: str) -> None:
    """Prints a sentence for people, uncoloured."""
    console().print(escape(text))


def complain(text: str) -> None:
    """Prints a sentence on standard error."""
    console(stderr=True).print(escape(text))


def size(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """0.004 -> "4 ms", 90 -> "1.5 min"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in (("s", 60.0), ("min", 60.0), ("h", 24.0)):
        if seconds < length:
            return f"{seconds:.1f} {unit}"
        seconds /= length
    return f"{seconds:.1f} d"


def moment(seconds: float | None) -> str:
    """Seconds since 1970 as UTC text; "-" for none."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def short(value: bytes | str | None) -> str:
    """The beginning of a value, in one line; "-" for none."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else value.decode(errors="backslashreplace")
    text = "".join(character if character.isprintable() else "·" for character in text[: MAX_SHOWN + 1])
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _print(made: Table) -> None:
    out = console()
    if out.is_terminal:
        out.print(made)
        return
    with out.capture() as text:
        out.print(made)
    for line in text.get().splitlines():
        print(line.rstrip())


def _bytes(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
