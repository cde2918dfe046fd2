"""Reads settings from YAML files and variables, remembers where each came from, and merges them into one struct.

A `Layer` is what one source says: nested values, and for each key's path the place it was read from. Layers are laid over
each other, later ones on top; the winner's place is what an error names. YAML is loaded only when there is a file to
read: a sensor without a file does not pay for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import msgspec

from zmqmq.config_wording import allowed, fields_of, section_of, suggestion
from zmqmq.errors import ConfigError

if TYPE_CHECKING:
    import yaml

MAX_FILE_BYTES = 1 << 20
"""A configuration file beyond this is a mistake, not a configuration."""
MAX_SHOWN = 80
"""Characters of a refused value that an error repeats."""
SECRETS = frozenset({"password"})
"""Keys whose value no error repeats."""

Key = tuple[str, ...]
StructType = TypeVar("StructType", bound=msgspec.Struct)


class Layer(NamedTuple):
    """What one source says."""

    values: dict[str, Any]
    places: dict[Key, str]

    def put(self, key: Key, value: object, place: str) -> None:
        """Sets a nested value, making the sections on the way."""
        section = self.values
        for name in key[:-1]:
            section = section.setdefault(name, {})
        section[key[-1]] = value
        self.places[key] = place


def build(kind: type[StructType], layers: Sequence[Layer]) -> StructType:
    """Checks the layers and lays them over each other. Raises ConfigError with place, key, value and what is allowed.

    A section without any lines (all of them commented out) is an empty section.
    """
    values: dict[str, Any] = {}
    places: dict[Key, str] = {}
    for layer in layers:
        _check(kind, layer.values, (), layer.places)
        _overlay(values, layer.values)
        places.update(layer.places)
    return _construct(kind, values)


def read_file(path: Path) -> Layer:
    """A YAML file as a layer. Raises ConfigError: missing, unreadable, too large, no YAML, a key twice."""
    text = _read_text(path)
    try:
        import yaml
    except ImportError:
        raise ConfigError(f"{path}: reading YAML needs PyYAML", hint="pip install 'zmqmq[cli]'") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    layer = Layer({}, {})
    if root is not None:
        _read_section(root, (), layer, path)
    return layer


def read_environment(kind: type[msgspec.Struct], environ: Mapping[str, str], prefix: str) -> Layer:
    """The variables that begin with `prefix` as a layer; `__` goes one section deeper. Raises ConfigError for an unknown one."""
    known = _variables(kind, prefix)
    layer = Layer({}, {})
    for name, text in sorted(environ.items()):
        if name.startswith(prefix):
            if name not in known:
                raise ConfigError(f"variable {name}: unknown", hint=suggestion(name, known))
            key, leaf = known[name]
            layer.put(key, _from_text(leaf, text, key, name), f"variable {name}")
    return layer


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes", hint="is this the right file?")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", hint="configs/ has commented examples") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _read_section(node: yaml.Node, key: Key, layer: Layer, path: Path) -> None:
    """Walks a mapping, so that every key's line is known and a key given twice is seen (PyYAML keeps the last one silently)."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: expected 'key: value' lines")
    for name_node, value_node in node.value:
        place = f"{path}:{name_node.start_mark.line + 1}"
        name = name_node.value
        if not isinstance(name_node, yaml.ScalarNode) or name == "<<":
            raise ConfigError(f"{place}: {_dotted(key) or 'top level'}: a key must be a plain word")
        inner = (*key, name)
        if inner in layer.places:
            raise ConfigError(f"{place}: {_dotted(inner)}: given twice (first at {layer.places[inner]})")
        layer.places[inner] = place
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            _put_section(layer, inner)
            _read_section(value_node, inner, layer, path)
        else:
            value = _scalar(value_node, place, inner)
            layer.put(inner, value, place)


def _put_section(layer: Layer, key: Key) -> None:
    """Makes an empty section at `key`."""
    section = layer.values
    for name in key:
        section = section.setdefault(name, {})


def _scalar(node: yaml.Node, place: str, key: Key) -> object:
    import yaml

    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: {_dotted(key)}: cannot be read: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()


def _variables(kind: object, prefix: str, key: Key = ()) -> dict[str, tuple[Key, object]]:
    found: dict[str, tuple[Key, object]] = {}
    for name, field in fields_of(kind).items():
        inner = (*key, name)
        if fields_of(field.type):
            found.update(_variables(field.type, prefix, inner))
        else:
            found[prefix + "__".join(inner).upper()] = (inner, field.type)
    return found


def _from_text(kind: object, text: str, key: Key, name: str) -> object:
    """A variable's text as a value of `kind`; lists are separated by commas."""
    value: object = text
    if allowed(kind).startswith("a list"):
        value = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise ConfigError(f"variable {name}: {_shown(text, key)} is not allowed; allowed: {allowed(kind)}") from None


def _check(kind: object, values: dict[str, Any], key: Key, places: Mapping[Key, str]) -> None:
    fields = fields_of(kind)
    for name, value in values.items():
        inner = (*key, name)
        place = _place(places, inner)
        if name not in fields:
            raise ConfigError(f"{place}{_dotted(inner)}: unknown key", hint=suggestion(name, fields))
        leaf = fields[name].type
        if fields_of(leaf) and value is None:
            values[name] = {} if section_of(leaf) is leaf else None
        elif fields_of(leaf) and isinstance(value, dict):
            _check(leaf, value, inner, places)
        elif fields_of(leaf) or not _fits(leaf, value):
            raise ConfigError(f"{place}{_dotted(inner)}: {_shown(value, inner)} is not allowed; allowed: {allowed(leaf)}")


def _fits(kind: object, value: object) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _construct(kind: type[StructType], values: dict[str, Any]) -> StructType:
    """Builds the struct from checked values over its own defaults, so that a section given in part keeps the rest of its default."""
    return _over(kind(), values)


def _over(base: StructType, values: dict[str, Any]) -> StructType:
    changes: dict[str, Any] = {}
    fields = fields_of(type(base))
    for name, value in values.items():
        leaf = fields[name].type
        if fields_of(leaf) and value is not None:
            changes[name] = _over(_section(base, name, leaf), value)
        else:
            changes[name] = msgspec.convert(value, leaf)
    return msgspec.structs.replace(base, **changes)


def _section(base: msgspec.Struct, name: str, kind: object) -> msgspec.Struct:
    """What a section is laid over: its default, or, when that is to be missing, the defaults of its keys."""
    default: msgspec.Struct | None = getattr(base, name)
    return cast(type[msgspec.Struct], section_of(kind))() if default is None else default


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for name, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(name), dict):
            _overlay(below[name], value)
        else:
            below[name] = value


def _place(places: Mapping[Key, str], key: Key) -> str:
    return f"{places[key]}: " if key in places else ""


def _dotted(key: Key) -> str:
    return ".".join(key)


def _shown(value: object, key: Key) -> str:
    if key[-1] in SECRETS:
        return "the value"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
