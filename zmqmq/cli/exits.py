"""Exit codes of the `zmqmq` command, for scripts.

    0    done
    1    failed: the broker could not do it, or not in time
    2    wrong arguments or settings
    3    no broker reachable
    4    no such topic, group or message
    5    refused: the request cannot succeed as it stands
    130  interrupted
"""

from __future__ import annotations

from zmqmq.errors import CallerError, ConfigError, UnknownGroup, UnknownTopic, Unreachable, ZmqmqError

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
REFUSED = 5
INTERRUPTED = 130


def code_of(error: ZmqmqError) -> int:
    """The exit code that tells a script what kind of error it was."""
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, UnknownTopic | UnknownGroup):
        return NOT_FOUND
    return REFUSED if isinstance(error, CallerError) else FAILED
