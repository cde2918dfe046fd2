"""The broker's own log: lines for people on a terminal, JSON for machines elsewhere; always to standard error.

The actor comes first: every line names the broker. There is a line per session or topic that comes or goes and per change of
role; there is none per message.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog
from structlog.typing import FilteringBoundLogger

from zmqmq.config import LogConfig


def open_log(config: LogConfig, broker_id: str) -> FilteringBoundLogger:
    """A logger that writes as configured. `auto` means lines for people on a terminal and JSON otherwise."""
    readable = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer(pad_event_to=24) if readable else structlog.processors.JSONRenderer()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks if not readable else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(config.level.upper())),
    )
    return cast(FilteringBoundLogger, logger.bind(broker=broker_id))
