"""Connections to other brokers over real sockets: what gets through, and what is told about peers that die, stop, return or are slow."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devices.demo_children import free_ports
from zmqmq.shell import peers as shell
from zmqmq.shell.peers import Gone, PeerEvent, Refused, Up
from zmqmq.shell.transport import Transport

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 20.0
"""Seconds that a test waits for something before it fails."""
QUIET = 0.4
"""Seconds of silence that prove that nothing is reported."""
SPEED = 0.5
"""Seconds within which a killed process must have been noticed."""
ECHO = """
import sys
from zmqmq.shell.transport import Transport
transport = Transport(sys.argv[1], sys.argv[2], 1 << 20, 10)
print("ready", flush=True)
while True:
    transport.wait(60)
    for address, frame in transport.receive(100, 1 << 24):
        transport.send(address, frame * 1000 if frame.startswith(b"large") else frame)
"""


class Echo:
    """Another broker's sockets in a process of their own: every frame comes back."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"tcp://127.0.0.1:{port}"
        arguments = [sys.executable, "-c", ECHO, self.endpoint, f"tcp://127.0.0.1:{port + 1}"]
        self.process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def echoing(port: int) -> Iterator[Echo]:
    echo = Echo(port)
    try:
        yield echo
    finally:
        if echo.process.poll() is None:
            echo.kill()


@pytest.fixture
def port() -> int:
    return free_ports()


class Side:
    """One broker's transport and what it has seen of its peers."""

    def __init__(self, port: int) -> None:
        self.transport = Transport(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}", 1 << 20, 10)
        self.peers = self.transport.peers
        self.events: list[PeerEvent] = []
        self.frames: list[tuple[str, bytes]] = []

    def turn(self, timeout: float) -> None:
        self.transport.wait(timeout)
        self.events += self.peers.take_events()
        self.frames += self.peers.receive(100, 1 << 30)

    def until(self, done: Callable[[], bool], within: float = PATIENCE) -> float:
        """Turns until it is so; gives how long that took."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() < began + within, f"not within {within:g} s; seen {self.events}"
            self.turn(0.2)
        return time.monotonic() - began

    def for_a_while(self, seconds: float = QUIET) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(0.05)


@pytest.fixture
def side() -> Iterator[Side]:
    side = Side(free_ports())
    yield side
    side.transport.close(0)


def connected(side: Side, echo: Echo) -> None:
    assert side.peers.connect("b-2", echo.endpoint)
    side.until(lambda: Up("b-2") in side.events)
    side.events.clear()


def test_frames_go_both_ways_and_a_second_connect_changes_nothing(side: Side, port: int) -> None:
    with echoing(port) as echo:
        connected(side, echo)
        assert side.peers.connect("b-2", echo.endpoint)
        for number in range(10):
            side.peers.send("b-2", b"%d" % number)
        side.until(lambda: len(side.frames) == 10)
        assert side.frames == [("b-2", b"%d" % number) for number in range(10)]
        assert side.peers.is_up("b-2")
        assert side.events == []


def test_a_large_answer_comes_through_though_requests_must_be_small(side: Side, port: int) -> None:
    with echoing(port) as echo:
        connected(side, echo)
        side.peers.send("b-2", b"large" * 10_000)
        side.until(lambda: bool(side.frames))
        assert side.frames == [("b-2", b"large" * 10_000_000)]


def test_a_frame_to_a_peer_that_is_not_connected_is_dropped(side: Side, port: int) -> None:
    assert side.peers.connect("b-2", f"tcp://127.0.0.1:{port}")
    side.peers.send("b-2", b"early")
    side.peers.send("unheard of", b"lost")
    with echoing(port):
        side.until(lambda: Up("b-2") in side.events)
        side.peers.send("b-2", b"late")
        side.until(lambda: bool(side.frames))
        assert side.frames == [("b-2", b"late")]


def test_a_killed_peer_is_refused_at_once(side: Side, port: int) -> None:
    with echoing(port) as echo:
        connected(side, echo)
        echo.kill()
        assert side.until(lambda: len(side.events) == 2) < SPEED
        assert side.events == [Gone("b-2"), Refused("b-2", echo.endpoint)]
        assert not side.peers.is_up("b-2")
        side.for_a_while()
        assert len(side.events) == 2, "it is told once"


def test_a_killed_peer_known_by_name_is_refused_at_once(side: Side, port: int) -> None:
    with echoing(port) as echo:
        echo.endpoint = f"tcp://localhost:{port}"
        connected(side, echo)
        echo.kill()
        assert side.until(lambda: len(side.events) == 2) < SPEED
        assert side.events[1] == Refused("b-2", echo.endpoint)


def test_a_peer_that_was_dead_before_the_first_connection_is_refused_once(side: Side, port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{port}"
    assert side.peers.connect("b-2", endpoint)
    assert side.until(lambda: bool(side.events)) < SPEED
    assert side.peers.connect("b-2", endpoint)
    side.for_a_while()
    assert side.events == [Refused("b-2", endpoint)]


def test_a_stopped_peer_yields_nothing_and_a_fresh_connection_to_it_no_evidence(side: Side, port: int) -> None:
    with echoing(port) as echo:
        connected(side, echo)
        echo.process.send_signal(signal.SIGSTOP)
        side.peers.send("b-2", b"hello")
        side.for_a_while()
        assert (side.events, side.frames) == ([], [])
        side.peers.renew("b-2")
        side.for_a_while()
        assert side.events == [Gone("b-2")]
        echo.process.send_signal(signal.SIGCONT)
        side.until(lambda: Up("b-2") in side.events)
        side.peers.send("b-2", b"again")
        side.until(lambda: ("b-2", b"again") in side.frames)


def test_a_peer_that_returns_to_its_port_is_up_again_without_old_frames(side: Side, port: int) -> None:
    with echoing(port) as echo:
        connected(side, echo)
        echo.kill()
        side.until(lambda: Refused("b-2", echo.endpoint) in side.events)
        side.peers.send("b-2", b"to the dead")
    with echoing(port) as echo:
        side.until(lambda: Up("b-2") in side.events)
        side.peers.send("b-2", b"to the living")
        side.until(lambda: bool(side.frames))
        assert side.frames == [("b-2", b"to the living")]
        side.events.clear()
        echo.kill()
        assert side.until(lambda: Refused("b-2", echo.endpoint) in side.events) < SPEED


def test_another_endpoint_replaces_the_connection_and_a_forgotten_peer_is_silent(side: Side) -> None:
    first, second = free_ports(), free_ports()
    with echoing(first) as old, echoing(second) as new:
        connected(side, old)
        assert side.peers.connect("b-2", new.endpoint)
        old.kill()
        side.until(lambda: Up("b-2") in side.events)
        side.for_a_while()
        assert side.events == [Up("b-2")]
        side.peers.send("b-2", b"moved")
        side.until(lambda: bool(side.frames))
        side.peers.forget("b-2")
        new.kill()
        side.for_a_while()
        assert side.events == [Up("b-2")]


def test_what_waits_for_a_slow_peer_is_bounded(side: Side, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "UNSENT_BYTES", 1 << 20)
    with echoing(port) as echo:
        connected(side, echo)
        echo.process.send_signal(signal.SIGSTOP)
        waiting = 0
        for _ in range(5 * shell.PIPE_FRAMES):
            side.peers.send("b-2", bytes(10_000))
            waiting = max(waiting, side.peers._peers["b-2"].unsent_bytes)
        assert 0 < waiting <= 1 << 20


@pytest.mark.parametrize("endpoint", ["", "tcp://", "tcp://127.0.0.1:none", "tcp://127.0.0.1:99999", "http://x:1", "tcp://a b:7"])
def test_an_address_that_is_none_is_not_dialled(side: Side, endpoint: str) -> None:
    assert not side.peers.connect("b-2", endpoint)
    side.for_a_while(0.05)
    assert side.events == []


def test_there_is_a_bound_on_peers(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "MAX_PEERS", 2)
    assert [side.peers.connect(f"b-{number}", "tcp://127.0.0.1:1") for number in range(3)] == [True, True, False]


def test_a_name_that_does_not_resolve_is_no_evidence(side: Side) -> None:
    side.peers.connect("b-2", "tcp://no-such-host.invalid:7400")
    side.for_a_while()
    assert side.events == []
