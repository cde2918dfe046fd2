"""Checksums of batches are those of their messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zmqmq.core.checksum import checksum, checksums

MESSAGES = st.lists(st.tuples(st.binary(max_size=20), st.none() | st.binary(max_size=5), st.none() | st.text(max_size=5)), min_size=1, max_size=10)


@given(MESSAGES)
def test_a_batch_has_the_checksums_of_its_messages(messages: list[tuple[bytes, bytes | None, str | None]]) -> None:
    values, keys, headers = (list(column) for column in zip(*messages, strict=True))
    assert checksums(values, keys, headers) == [checksum(*message) for message in messages]


@given(st.lists(st.binary(max_size=20), min_size=1))
def test_columns_without_content_may_be_left_out(values: list[bytes]) -> None:
    nothing = [None] * len(values)
    assert checksums(values) == checksums(values, nothing, None) == checksums(values, None, nothing) == checksums(values, nothing, nothing)


@given(st.binary(min_size=1, max_size=50), st.integers(0, 399))
def test_one_flipped_bit_changes_it(value: bytes, bit: int) -> None:
    bit %= 8 * len(value)
    damaged = bytearray(value)
    damaged[bit // 8] ^= 1 << bit % 8
    assert checksum(bytes(damaged), b"key") != checksum(value, b"key")


def test_key_headers_and_value_all_count() -> None:
    assert len({checksum(b"a"), checksum(b"a", b"k"), checksum(b"a", None, "{}"), checksum(b"a", b"k", "{}")}) == 4
