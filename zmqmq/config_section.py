"""What the parts of a configuration are made of: the base of every section, and the kinds of value that several of them hold."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

DEFAULT_PORT = 7400
DEFAULT_BROKER = f"tcp://127.0.0.1:{DEFAULT_PORT}"

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
Endpoint = Annotated[str, Meta(pattern=r"^tcp://[^\s/:]+:[0-9]{1,5}$|^tcp://\[[0-9a-fA-F:]+\]:[0-9]{1,5}$", examples=[DEFAULT_BROKER])]
Address = Annotated[str, Meta(pattern=r"^(tcp://)?([^\s/:]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$", examples=[DEFAULT_BROKER])]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every part of a configuration."""


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """("127.0.0.1", 7400) of "tcp://127.0.0.1:7400"; an IPv6 host keeps its brackets. The scheme may be missing."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def join_endpoint(host: str, port: int) -> str:
    """"tcp://127.0.0.1:7400" of a host and a port; a bare IPv6 host is put in brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"tcp://{host}:{port}"
