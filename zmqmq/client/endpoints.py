"""Addresses of brokers as people write them, and a plain look at why one of them does not answer."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable

from zmqmq.errors import InvalidValue

DEFAULT_PORT = 7400
MAX_ENDPOINTS = 64
"""Addresses that one client may be given."""
PROBE_TIMEOUT = 0.2
"""Seconds that a look at a silent endpoint may take."""
_ADDRESS = re.compile(r"(?:tcp://)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>\d{1,5}))?")
_ANY_HOST = ("*", "0.0.0.0", "[::]")


def parse_endpoints(brokers: str | Iterable[str]) -> tuple[str, ...]:
    """The endpoints "tcp://host:port" of one address, several with commas between them, or a list.

    Raises InvalidValue that names the address and what is allowed."""
    texts = brokers.split(",") if isinstance(brokers, str) else list(brokers)
    endpoints = tuple(dict.fromkeys(parse_endpoint(text) for text in texts))
    if not 1 <= len(endpoints) <= MAX_ENDPOINTS:
        raise InvalidValue(f"{len(endpoints)} broker addresses were given", hint=f"allowed are 1 to {MAX_ENDPOINTS}")
    return endpoints


def parse_endpoint(text: object) -> str:
    """One address; the port may be left out. Raises InvalidValue."""
    match = _ADDRESS.fullmatch(text.strip()) if isinstance(text, str) else None
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise InvalidValue(f"{text!r} is no broker address", hint='write "tcp://host:port" or "host:port", the port from 1 to 65535')
    return f"tcp://{match['host']}:{port}"


def host_and_port(endpoint: str) -> tuple[str, int]:
    """The two halves of an endpoint."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


def reachable_form(wake_endpoint: str, endpoint: str) -> str:
    """The wake-up endpoint with a host that can be connected to: that of `endpoint` where the broker binds all addresses."""
    host, _, port = wake_endpoint.removeprefix("tcp://").rpartition(":")
    if host not in _ANY_HOST:
        return wake_endpoint
    return f"{endpoint.rpartition(':')[0]}:{port}"


def why_silent(endpoint: str) -> str:
    """A few words on why nobody answers at `endpoint`; looks at it once, for PROBE_TIMEOUT seconds at most (names may take longer)."""
    host, port = host_and_port(endpoint)
    try:
        socket.create_connection((host, port), timeout=PROBE_TIMEOUT).close()
    except socket.gaierror as error:
        return f"the host name {host!r} does not resolve: {error.strerror}"
    except TimeoutError:
        return "no answer to the connection attempt"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "something listens there, but no broker has answered yet"
