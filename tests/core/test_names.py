"""Names that are allowed, and what is said about the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqmq.core.names import NAME_LENGTH_MAX, check_key, check_name
from zmqmq.errors import InvalidName


@pytest.mark.parametrize("name", ["temp_1", "a", "_", "A.b-c", "0", "x" * NAME_LENGTH_MAX])
def test_plain_names_are_allowed(name: str) -> None:
    assert check_name("topic", name) == name


@pytest.mark.parametrize(
    "name, wrong",
    [
        ("", "empty"),
        ("x" * (NAME_LENGTH_MAX + 1), "201 characters"),
        ("a/b", "'/'"),
        ("a b", "' '"),
        ("a\0b", "'\\x00'"),
        ("..", "'.'"),
        ("-a", "'-'"),
        ("a\n", "'\\n'"),
        ("grün", "'ü'"),
        ("a'; DROP TABLE", '"\'"'),
    ],
)
def test_other_names_are_refused_with_what_is_wrong_in_them(name: str, wrong: str) -> None:
    with pytest.raises(InvalidName) as caught:
        check_name("topic", name)
    assert wrong in caught.value.message
    assert caught.value.hint


@given(st.text(max_size=300))
def test_a_name_is_either_plain_or_refused(name: str) -> None:
    try:
        check_name("group", name)
    except InvalidName as error:
        assert "group" in error.message
    else:
        assert name.isascii() and 0 < len(name) <= NAME_LENGTH_MAX and all(c.isalnum() or c in "._-" for c in name)


def test_a_key_may_be_any_bytes_up_to_its_limit() -> None:
    assert check_key(b"\0\xff /", 4) == b"\0\xff /"


@pytest.mark.parametrize("key", [b"", b"12345"])
def test_an_empty_or_too_long_key_is_refused(key: bytes) -> None:
    with pytest.raises(InvalidName):
        check_key(key, 4)
