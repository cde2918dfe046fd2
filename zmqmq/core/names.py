"""Names that users choose, and the rules they keep.

A topic's name becomes part of table names and of file and metric labels, so it is kept plain. Names that differ only in
case are one too many: SQLite's tables do not tell them apart (https://sqlite.org/lang_keywords.html, identifiers).
"""

from __future__ import annotations

import re

from zmqmq.errors import InvalidName

NAME_LENGTH_MAX = 200
"""Characters of a topic or group name."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def check_name(what: str, name: str) -> str:
    """The name itself; raises InvalidName saying what is wrong with it. `what` is the word for it: "topic", "group"."""
    if not name:
        raise InvalidName(f"the {what} name is empty", hint="give it at least one character")
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidName(f"the {what} name has {len(name)} characters", hint=f"at most {NAME_LENGTH_MAX} are allowed")
    if not _PLAIN.fullmatch(name):
        wrong = next((character for character in name if not re.match(r"[A-Za-z0-9._-]", character)), name[0])
        raise InvalidName(
            f"the {what} name {name[:40]!r} has the character {wrong!r}",
            hint="allowed are letters, digits, '_', '.' and '-'; the first one a letter, a digit or '_'",
        )
    return name


def folded(name: str) -> str:
    """The name as SQLite tells tables apart: those of two topics that are folded alike are one. Names are ASCII."""
    return name.lower()


def twin(name: str, other: str) -> InvalidName:
    """The error for a name that is folded like another topic's."""
    return InvalidName(f"the topic {name!r} differs from {other!r} only in case", hint="choose another name", topic=name)


def check_key(key: bytes, max_bytes: int) -> bytes:
    """The key itself; raises InvalidName when it is empty or longer than `max_bytes`."""
    if not key:
        raise InvalidName("the key is empty", hint="leave the key out to send a message without one")
    if len(key) > max_bytes:
        raise InvalidName(f"the key has {len(key)} bytes", hint=f"at most {max_bytes} are allowed")
    return key
