"""Addresses as people write them."""

from __future__ import annotations

import pytest

from zmqmq.client.endpoints import parse_endpoints, reachable_form, why_silent
from zmqmq.errors import InvalidValue


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tcp://127.0.0.1:7400", ("tcp://127.0.0.1:7400",)),
        ("localhost:7401", ("tcp://localhost:7401",)),
        ("broker-a", ("tcp://broker-a:7400",)),
        ("a:1, b:2", ("tcp://a:1", "tcp://b:2")),
        (["a:1", "a:1"], ("tcp://a:1",)),
        ("[::1]:7400", ("tcp://[::1]:7400",)),
    ],
)
def test_an_address_may_be_short(written: str | list[str], meant: tuple[str, ...]) -> None:
    assert parse_endpoints(written) == meant


@pytest.mark.parametrize("written", ["", "http://a:1", "a:0", "a:70000", "a b:1", "a:x", [], ["a:1", 7], "tcp://*:7400"])
def test_a_bad_address_is_named(written: object) -> None:
    with pytest.raises(InvalidValue):
        parse_endpoints(written)  # type: ignore[arg-type]


def test_a_broker_that_listens_everywhere_is_woken_from_where_it_was_reached() -> None:
    assert reachable_form("tcp://0.0.0.0:7401", "tcp://10.0.0.5:7400") == "tcp://10.0.0.5:7401"
    assert reachable_form("tcp://10.0.0.9:7401", "tcp://10.0.0.5:7400") == "tcp://10.0.0.9:7401"


def test_a_silent_endpoint_is_explained() -> None:
    assert why_silent("tcp://127.0.0.1:1") == "connection refused"
    assert "does not resolve" in why_silent("tcp://nosuch.invalid:7400")
