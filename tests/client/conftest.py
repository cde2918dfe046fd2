"""A broker for the tests of the clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from zmqmq.testing import TestBroker


@pytest.fixture
def broker() -> Iterator[TestBroker]:
    with TestBroker() as running:
        yield running


def eventually(condition: Callable[[], bool], within: float = 10.0) -> None:
    """Waits for the thing, with a deadline."""
    deadline, pause = time.monotonic() + within, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)
