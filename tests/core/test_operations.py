"""Operations as the log stores them: JSON that people can read, and that comes back as the same value."""

from __future__ import annotations

import json
from typing import get_args

import msgspec
import pytest

from zmqmq.core import operations as op

EXAMPLES: list[op.Operation] = [
    op.Opened(3, "broker-1"),
    op.GroupCreated("g", 5),
    op.GroupDeleted("g"),
    op.GroupMoved("g", 5, 2),
    op.MemberJoined("g", "c", 10.0),
    op.MemberLeft("g", "c"),
    op.Acked("g", [(1, 4), (6, 7)]),
    op.Failed("g", [1, 2], 12.5, "no", True),
    op.Died("g", [1], "no", "c", [5]),
    op.Revived("g", [1]),
    op.Buried("g", [1]),
    op.Matured([3, 4]),
    op.Trimmed(9, 4, 400, {"g": 1}),
    op.ProducersExpired([7, 8]),
]


def test_there_is_an_example_of_each_operation() -> None:
    assert {type(example) for example in EXAMPLES} == set(get_args(op.Operation))


@pytest.mark.parametrize("operation", EXAMPLES, ids=lambda operation: type(operation).__name__)
def test_an_operation_comes_back_as_it_was(operation: op.Operation) -> None:
    text = op.encode(operation)
    assert op.decode(text) == operation
    assert json.loads(text)["op"], "people can see which one it is"


@pytest.mark.parametrize("text", [b"", b"{}", b'{"op":"nothing"}', b'{"op":"acked","group":1,"ranges":[]}', b"\xff"])
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        op.decode(text)
