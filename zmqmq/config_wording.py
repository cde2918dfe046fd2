"""Says in words what a setting may be: "a whole number from 1 to 300", "one of: auto, console, json", "…, or null".

The words come from the type itself (`msgspec.inspect`), so they cannot disagree with the check.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import UnionType
from typing import get_args

import msgspec
from msgspec import inspect

MAX_LISTED = 20
"""Allowed names that stand beside a suggestion."""


def allowed(kind: object) -> str:
    """What a value of the annotated type `kind` may be."""
    return _words(inspect.type_info(kind))


def suggestion(name: str, known: Iterable[str]) -> str:
    """"did you mean data? allowed: …" for a name that nobody knows; a long list is left out when there is a near name."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = "allowed: " + ", ".join(names)
    if near and len(names) > MAX_LISTED:
        return f"did you mean {near[0]}?"
    return f"did you mean {near[0]}? {listed}" if near else listed


def fields_of(kind: object) -> dict[str, msgspec.structs.FieldInfo]:
    """The fields of a struct, or of a struct that may be missing (`Struct | None`), by name; empty for anything else."""
    kind = section_of(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {field.name: field for field in msgspec.structs.fields(kind)}
    return {}


def section_of(kind: object) -> object:
    """The struct of `Struct | None`; anything else as it is."""
    if isinstance(kind, UnionType):
        return next((part for part in get_args(kind) if isinstance(part, type) and issubclass(part, msgspec.Struct)), kind)
    return kind


def _words(info: inspect.Type) -> str:
    if isinstance(info, inspect.UnionType):
        parts = [_words(part) for part in info.types if not isinstance(part, inspect.NoneType)]
        return " or ".join(parts) + (", or null" if len(parts) < len(info.types) else "")
    if isinstance(info, inspect.Metadata):
        return _words(info.type)
    if isinstance(info, inspect.LiteralType):
        return "one of: " + ", ".join(str(value) for value in info.values)
    if isinstance(info, inspect.BoolType):
        return "true or false"
    if isinstance(info, inspect.IntType):
        return "a whole number" + _range(info)
    if isinstance(info, inspect.FloatType):
        return "a number" + _range(info)
    if isinstance(info, inspect.StrType):
        return _text(info)
    if isinstance(info, inspect.VarTupleType):
        return f"a list, each {_words(info.item_type)}"
    return "a section (key: value lines)"


def _range(info: inspect.IntType | inspect.FloatType) -> str:
    low = info.ge if info.ge is not None else info.gt
    high = info.le if info.le is not None else info.lt
    above = "above" if info.gt is not None else "from"
    if low is None:
        return "" if high is None else f" up to {_number(high)}"
    return f" {above} {_number(low)} to {_number(high)}" if high is not None else f" {above} {_number(low)}" + (" up" if above == "from" else "")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _text(info: inspect.StrType) -> str:
    if info.pattern and "tcp://" in info.pattern:
        return "an address like tcp://127.0.0.1:7400"
    if info.pattern and info.pattern.startswith("^(/"):
        return f"a path like /zmqmq/factory of up to {info.max_length} characters"
    if info.pattern:
        return f"a name of up to {info.max_length} letters, digits, '.', '_' and '-'"
    return f"a text of {info.min_length or 0} to {info.max_length} characters" if info.max_length else "a text"
