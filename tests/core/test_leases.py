"""Who holds what."""

from __future__ import annotations

import pytest

from zmqmq.core.leases import LeaseBook, LeaseNumbers


def test_lease_numbers_only_grow_even_over_a_new_book() -> None:
    book = LeaseBook(LeaseNumbers())
    holder = book.holder("c")
    first = book.grant(holder, [1, 2], [None, b"k"], 0.0, 10.0)
    second = book.grant(holder, [3], [None], 1.0, 11.0)
    assert second.number > first.number
    after = LeaseBook(book.numbers)
    assert after.grant(after.holder("c"), [1], [None], 2.0, 12.0).number > second.number
    assert (book.held, after.held, holder.held) == (3, 1, 3)


def test_a_consumer_has_one_page() -> None:
    book = LeaseBook(LeaseNumbers())
    assert book.holder("c") is book.holder("c")
    book.remove_holder(book.holder("c"))
    assert not book.holders


def test_only_an_empty_lease_is_closed() -> None:
    book = LeaseBook(LeaseNumbers())
    lease = book.grant(book.holder("c"), [1], [None], 0.0, 10.0)
    with pytest.raises(AssertionError, match="only an empty lease"):
        book.close(lease)
    lease.open.clear()
    book.close(lease)
    assert not book.leases and not lease.holder.leases


def test_leases_expire_at_their_time() -> None:
    book = LeaseBook(LeaseNumbers())
    lease = book.grant(book.holder("c"), [1], [None], 0.0, 10.0)
    assert book.expired(9.99) == []
    assert book.expired(10.0) == [lease]
