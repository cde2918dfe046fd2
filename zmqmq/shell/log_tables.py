"""The logs' own tables, and a readable view of each topic.

One partition is one table `log_<topic>_<partition>`: its rowid is the offset, so appending goes to the right edge of the B-tree
and reading from an offset on is one descent. The columns that are read without the value (for replay and counting) come
before it, so that a large value's overflow pages are not walked for them. Operations are JSON text in a column of their own.

For people there is a view `topic_<topic>` over all partitions: time as ISO text, key and value as text where they are valid UTF-8
(otherwise as the bytes they are). SQLite itself never checks UTF-8 and Python refuses to read text that is not, hence the care.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

LOG_COLUMNS = (
    "offset INTEGER PRIMARY KEY, kind INTEGER NOT NULL, epoch INTEGER NOT NULL, time REAL NOT NULL, producer INTEGER NOT NULL DEFAULT 0,"
    " sequence INTEGER NOT NULL DEFAULT 0, crc INTEGER NOT NULL DEFAULT 0, operation TEXT, key BLOB, headers TEXT, value BLOB"
)
ROW = "offset, time, key, headers, value, crc"
"""Columns of `model.Row`."""
SIZE = "coalesce(length(key), 0) + coalesce(length(CAST(headers AS BLOB)), 0) + coalesce(length(value), 0)"
"""Bytes of a message."""
MAX_CHECKED_TEXT = 4096
"""Bytes of a non-ASCII key or value up to which the view checks whether it is UTF-8; longer ones are shown as bytes."""
MAX_TERMS = 200
"""Tables in one UNION ALL; SQLite takes 500 terms, so more partitions are nested."""


def quoted(name: str) -> str:
    """An SQL identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def table_name(topic: str, partition: int) -> str:
    """The (unquoted) name of a partition's table. Unique: the partition is what follows the last underscore."""
    return f"log_{topic}_{partition}"


def create_log(connection: sqlite3.Connection, table: str) -> None:
    connection.execute(f"CREATE TABLE {quoted(table)} ({LOG_COLUMNS}) STRICT")


def drop_log(connection: sqlite3.Connection, table: str) -> None:
    connection.execute(f"DROP TABLE {quoted(table)}")


def drop_view(connection: sqlite3.Connection, topic: str) -> None:
    connection.execute(f"DROP VIEW IF EXISTS {quoted('topic_' + topic)}")


def create_view(connection: sqlite3.Connection, topic: str, partitions: Sequence[tuple[int, str]]) -> None:
    """Makes the topic's view over these (partition, table), in place of an older one."""
    drop_view(connection, topic)
    if partitions:
        connection.execute(f"CREATE VIEW {quoted('topic_' + topic)} AS {_view(partitions)}")


def _view(partitions: Sequence[tuple[int, str]]) -> str:
    return (
        "SELECT partition, offset, strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') AS time,"
        f" {_as_text('key')} AS key, headers, {_as_text('value')} AS value FROM ({_union(partitions)})"
    )


def _union(partitions: Sequence[tuple[int, str]]) -> str:
    if len(partitions) > MAX_TERMS:
        size = max(MAX_TERMS, -(-len(partitions) // MAX_TERMS))
        parts = [partitions[first : first + size] for first in range(0, len(partitions), size)]
        return " UNION ALL ".join(f"SELECT * FROM ({_union(part)})" for part in parts)
    select = "SELECT {} AS partition, offset, time, key, headers, value FROM {} WHERE kind = 0"
    return " UNION ALL ".join(select.format(partition, quoted(table)) for partition, table in partitions)


def _as_text(column: str) -> str:
    """SQL for the bytes as text if they are UTF-8: printable ASCII at a glance, the rest by decoding and encoding each character again."""
    text = f"CAST({column} AS TEXT)"
    character = f"substr({text}, i, 1)"
    survives = f"CAST(char(unicode({character})) AS BLOB) = CAST({character} AS BLOB)"
    return (
        f"CASE WHEN {column} IS NULL OR instr({column}, x'00') THEN {column}"
        f" WHEN {text} NOT GLOB '*[^ -~]*' THEN {text}"
        f" WHEN length({column}) <= {MAX_CHECKED_TEXT} AND (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < length({text}))"
        f" SELECT min({survives}) FROM n) THEN {text} ELSE {column} END"
    )
