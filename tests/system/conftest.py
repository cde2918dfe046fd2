"""Fixtures: a test's processes, and a broker among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import BrokerProcess, Programs
from zmqmq.testing import TestBroker

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this directory starts real processes or a real broker."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture
def programs() -> Iterator[Programs]:
    with Programs() as started:
        yield started


@pytest.fixture
def broker(programs: Programs, tmp_path: Path) -> BrokerProcess:
    """A broker as a process of its own."""
    return programs.broker(tmp_path / "data")


@pytest.fixture
def inner() -> Iterator[TestBroker]:
    """A broker in a thread of the test."""
    with TestBroker() as started:
        yield started
