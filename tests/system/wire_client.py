"""A client of bare sockets, for what a well-behaved one never does: any bytes at all, and listening to everybody's wake-ups."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TypeVar

import zmq

from tests.system.processes import PATIENCE
from zmqmq.core.commands import BEACON, VERSIONS_SPOKEN, WAKE, Beacon, Command, Hello, Welcome
from zmqmq.wire import decode_answer, decode_beacon, encode

Answer = TypeVar("Answer", bound=Command)


class WireClient:
    """One DEALER connected to a broker. `say` sends bytes as they are."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)

    def greet(self, client_id: str = "raw", epoch: int = 1, timeout: float = PATIENCE) -> Welcome:
        """Opens a session."""
        self.say(encode(Hello(VERSIONS_SPOKEN, client_id, epoch, client_id, 5.0, "raw")))
        return self.hear(Welcome, timeout)

    def say(self, *frames: bytes) -> None:
        """Sends one message of some frames."""
        self._socket.send_multipart(list(frames))

    def hear(self, kind: type[Answer], timeout: float = PATIENCE) -> Answer:
        """The next answer of that kind; others are passed over."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000)):
                answer = decode_answer(self._socket.recv())
                if isinstance(answer, kind):
                    return answer
        raise AssertionError(f"no {kind.__name__} within {timeout:g} s")

    def next(self, timeout: float) -> Command | None:
        """The next answer of any kind; None if none comes within `timeout` seconds."""
        return decode_answer(self._socket.recv()) if self._socket.poll(int(timeout * 1000)) else None

    def ask(self, command: Command, kind: type[Answer], timeout: float = PATIENCE) -> Answer:
        """Says a command and gives the answer."""
        self.say(encode(command))
        return self.hear(kind, timeout)

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Eavesdropper:
    """Hears every wake-up and every beacon of a broker."""

    def __init__(self, endpoint: str) -> None:
        with WireClient(endpoint) as client:
            wake_endpoint = client.greet("eavesdropper").wake_endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(wake_endpoint)
        self.next_beacon()

    def wakes(self, beacons: int) -> list[bytes]:
        """The names in all wake-ups until so many beacons have passed."""
        names: list[bytes] = []
        while beacons:
            frame = self._receive()
            if frame.startswith(WAKE):
                names.append(frame[len(WAKE) :])
            elif frame.startswith(BEACON):
                beacons -= 1
        return names

    def next_beacon(self) -> Beacon:
        """The next beacon."""
        while not (frame := self._receive()).startswith(BEACON):
            continue
        return decode_beacon(frame)

    def _receive(self) -> bytes:
        assert self._socket.poll(int(PATIENCE * 1000)), "the broker publishes nothing"
        return self._socket.recv()

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
