"""`run_broker.py` and `zmqmq broker`: settings from flags, variables and file, then the loop.

Without arguments: standalone on loopback, port 7400 (wake-ups on 7401), data in ./data. Exit codes: 0 stopped as asked,
1 failed (port in use, data locked, an I/O error), 2 wrong arguments or settings.
"""

from __future__ import annotations

import argparse
import sys

from zmqmq.config import BrokerConfig, join_endpoint, load_broker, split_endpoint
from zmqmq.errors import ConfigError, ZmqmqError
from zmqmq.version import VERSION

_EPILOG = "A broker of a cluster is administered by: zmqmq broker drain BROKER, zmqmq broker remove BROKER (both with --undo)."


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(prog="broker", description="Runs one broker until SIGINT or SIGTERM.", epilog=_EPILOG)
    made.add_argument("--config", metavar="FILE", help="settings, see configs/standalone.yaml (or ZMQMQ_CONFIG)")
    made.add_argument("--host", help="address to listen on (default 127.0.0.1; 0.0.0.0 for all interfaces)")
    made.add_argument("--port", type=int, help="port to listen on (default 7400); wake-ups take the one after it")
    made.add_argument("--data", metavar="DIR", help="directory of the database (default ./data)")
    made.add_argument("--version", action="version", version=f"zmqmq {VERSION}")
    return made


def settings(config: str | None, host: str | None, port: int | None, data: str | None) -> BrokerConfig:
    """What the flags leave of the file and the variables. Raises ConfigError."""
    below = load_broker(config)
    old_host, old_port = split_endpoint(below.bind)
    bind = join_endpoint(host or old_host, old_port if port is None else port) if host or port is not None else None
    return load_broker(config, {"bind": bind, "data": data})


def run(config: BrokerConfig) -> int:
    """Runs the broker until it is stopped; gives the exit code."""
    try:
        from zmqmq import broker
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("zmqmq"):
            raise
        print(f"error: a broker needs {error.name}; pip install 'zmqmq[broker]'", file=sys.stderr, flush=True)
        return 1
    return broker.run(config)


def main(arguments: list[str] | None = None) -> int:
    """Runs a broker from the command line; gives the exit code."""
    given = parser().parse_args(arguments)
    try:
        return run(settings(given.config, given.host, given.port, given.data))
    except ZmqmqError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2 if isinstance(error, ConfigError) else 1
