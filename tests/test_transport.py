"""The broker's sockets: what has arrived together is received together, and nothing is tried in vain."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest
import zmq

from zmqmq.shell.peers import has_frames
from zmqmq.shell.transport import Transport
from zmqmq.testing import free_port

TRIES = 500
"""Looks of 10 ms at a socket that something is on the way to."""


class Inbox:
    """A ROUTER that holds messages and counts how often it was tried."""

    def __init__(self, *messages: list[bytes]) -> None:
        self.messages = deque(messages)
        self.tried = 0

    def get(self, option: int) -> int:
        assert option == zmq.EVENTS
        return int(zmq.POLLOUT | zmq.POLLIN) if self.messages else int(zmq.POLLOUT)

    def recv_multipart(self, flags: int) -> list[bytes]:
        self.tried += 1
        if not self.messages:
            raise zmq.Again
        return self.messages.popleft()

    def close(self, linger: int) -> None:
        """It has nothing to give back."""


@pytest.fixture
def transport() -> Iterator[Transport]:
    port = free_port()
    transport = Transport(f"tcp://127.0.0.1:{port}", "tcp://127.0.0.1:*", 1 << 20, 10)
    yield transport
    transport.close(0)


def received(transport: Transport, inbox: Inbox, readable: bool) -> list[tuple[bytes, bytes | None]]:
    router, transport._router = transport._router, inbox  # type: ignore[assignment]
    transport._readable = readable
    try:
        return list(transport.receive(3, 1 << 20))
    finally:
        transport._router = router


def test_everything_that_has_arrived_is_received_in_one_turn_without_a_try_in_vain(transport: Transport) -> None:
    inbox = Inbox([b"a", b"1"], [b"b", b"2", b"3"])
    assert received(transport, inbox, readable=True) == [(b"a", b"1"), (b"b", None)]
    assert inbox.tried == 2


def test_a_socket_that_the_poll_did_not_find_readable_is_left_alone(transport: Transport) -> None:
    inbox = Inbox([b"a", b"1"])
    assert received(transport, inbox, readable=False) == [] and inbox.tried == 0


def test_what_the_budget_left_is_found_by_the_next_poll(transport: Transport) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(transport._router.getsockopt_string(zmq.LAST_ENDPOINT))
        for number in range(3):
            dealer.send(b"%d" % number)
        found: list[bytes | None] = []
        for _ in range(TRIES):
            transport.wait(0.01)
            found += [frame for _, frame in transport.receive(1, 1 << 20)]
            if len(found) == 3:
                break
        dealer.close(0)
    assert found == [b"0", b"1", b"2"]


def test_a_socket_says_whether_it_has_frames() -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
        one.bind("inproc://frames")
        other.connect("inproc://frames")
        assert not has_frames(one)
        other.send(b"x")
        assert one.poll(5000) and has_frames(one)
        one.recv()
        assert not has_frames(one)
