"""The lines of a client in made-up time: who is dialled and when, which of two lines counts, and when one is given up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count

import pytest

from zmqmq import Consumer
from zmqmq.client.endpoint_book import EndpointBook
from zmqmq.client.lines import FAREWELL_TIMEOUT, HURRY_AFTER, IDLE_TIMEOUT, LINES_MAX, Lines
from zmqmq.core.client_session import PATIENCE_PART, ClientSession
from zmqmq.core.commands import Beacon, Command, Farewell, Goodbye, Hello, Ping, Pong, SessionReplaced, Welcome, WhoAreYou
from zmqmq.core.model import Limits
from zmqmq.core.topology import SUSPECT_AFTER, Letter
from zmqmq.errors import Unreachable, ZmqmqError
from zmqmq.testing import TestBroker
from zmqmq.wire import decode_request, encode

SESSION_TIMEOUT = 9.0


class Wire:
    """The link of one attempt: what was said, and what the test lets be heard."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.said: list[Command] = []
        self.broken: str | None = None
        self.is_closed = False
        self._heard: deque[bytes] = deque()

    def answer(self, command: Command) -> None:
        self._heard.append(encode(command))

    def welcome(self, broker: str) -> None:
        hello = [command for command in self.said if isinstance(command, Hello)][-1]
        self.answer(Welcome(1, "c", broker, 1, hello.session_epoch, Limits(), SESSION_TIMEOUT, 1.0, "tcp://127.0.0.1:1", b"12345678", "test", 0.0))

    def send(self, frame: bytes) -> None:
        self.said.append(decode_request(frame))

    def receive(self) -> bytes | None:
        return self._heard.popleft() if self._heard else None

    def hint(self) -> bytes | None:
        return None

    def trouble(self) -> str | None:
        return self.broken

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.is_closed = True


class Wish:
    """A role that wants certain brokers and notes what it is told."""

    def __init__(self) -> None:
        self.brokers: dict[str, str] = {}
        self.notes: list[tuple[str, str]] = []
        self.given_up: dict[str, float] = {}
        """By broker: when it has surely given up the session that was."""

    def opened(self, broker: str, welcome: Welcome, now: float) -> None:
        self.notes.append(("opened", broker))

    def down(self, broker: str, reason: Unreachable, gives_up_at: float) -> None:
        self.notes.append(("down", broker))
        self.given_up[broker] = gives_up_at

    def hear(self, broker: str, command: Command, now: float) -> None:
        self.notes.append((type(command).__name__, broker))

    def woken(self, broker: str) -> None:
        self.notes.append(("woken", broker))

    def beacon(self, broker: str, beacon: Beacon, now: float) -> None:
        self.notes.append(("beacon", broker))

    def wanted(self) -> Mapping[str, str]:
        return self.brokers

    def needs_another(self, lines: Sequence[str]) -> bool:
        return False

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        return []

    def deadline(self, lines: Sequence[str]) -> float:
        return float("inf")

    def is_quiet(self) -> bool:
        return True

    def fail(self, error: ZmqmqError) -> None:
        self.notes.append(("fail", str(error)))


class Client:
    """Lines under test. `turn` is what an engine does."""

    def __init__(self, *given: str) -> None:
        self.now = 100.0
        self.wish = Wish()
        self.wires: list[Wire] = []
        self._epochs, self._ids = count(1), count(1)
        book = EndpointBook(given, lambda: 0.0)
        self.lines = Lines(self.wish, book, self._open, self._session, wants_hints=False)  # type: ignore[arg-type]

    def _open(self, endpoint: str) -> Wire:
        self.wires.append(Wire(endpoint))
        return self.wires[-1]

    def _session(self) -> ClientSession:
        return ClientSession("client", "client", "test", 0.0, self._epochs)

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.lines.check_sleep(self.now)
        self.lines.receive(self.now)
        self.lines.watch(self.now)
        self.lines.dial(self.now)
        self.lines.keep_alive(self.now, self._ids.__next__)

    def live(self, seconds: float, *mute: str) -> None:
        """Turns at every deadline; brokers answer pings, all but the mute ones."""
        end = self.now + seconds
        while self.now < end:
            self.turn(min(max(self.lines.deadline(self.now) - self.now, 0.001), end - self.now))
            for line in self.lines.all:
                said = self.at(line.link.endpoint).said
                if isinstance(said[-1], Ping) and line.broker not in mute:
                    self.at(line.link.endpoint).answer(Pong(said[-1].id, 0.0))
            self.turn()

    def at(self, endpoint: str) -> Wire:
        """The last attempt at an endpoint."""
        return [wire for wire in self.wires if wire.endpoint == endpoint][-1]

    def open_to(self, broker: str, endpoint: str) -> Wire:
        self.at(endpoint).welcome(broker)
        self.turn()
        return self.at(endpoint)


def test_one_broker_is_enough_while_nobody_else_is_wanted() -> None:
    client = Client("tcp://one:1", "tcp://two:1")
    client.turn()
    client.open_to("b1", "tcp://one:1")
    client.live(60)
    assert [wire.endpoint for wire in client.wires] == ["tcp://one:1"]
    assert client.lines.open(client.now) == ["b1"]


def test_a_wanted_broker_that_is_there_through_another_address_is_not_dialled() -> None:
    client = Client("tcp://proxy:1")
    client.turn()
    client.open_to("b1", "tcp://proxy:1")
    client.wish.brokers = {"b1": "tcp://behind:1"}
    client.live(60)
    assert [wire.endpoint for wire in client.wires] == ["tcp://proxy:1"]


def test_every_wanted_broker_gets_a_line_of_its_own() -> None:
    client = Client("tcp://one:1")
    client.turn()
    client.open_to("b1", "tcp://one:1")
    client.wish.brokers = {"b1": "tcp://one:1", "b2": "tcp://two:1", "b3": "tcp://three:1"}
    client.turn()
    client.open_to("b2", "tcp://two:1")
    client.open_to("b3", "tcp://three:1")
    assert sorted(client.lines.open(client.now)) == ["b1", "b2", "b3"]
    assert len(client.wires) == 3
    epochs = [command.session_epoch for wire in client.wires for command in wire.said if isinstance(command, Hello)]
    assert len(set(epochs)) == 3


def test_of_two_lines_to_one_broker_the_newer_one_counts_and_nobody_says_goodbye() -> None:
    client = Client("tcp://one:1")
    client.turn()
    old = client.open_to("b1", "tcp://one:1")
    client.wish.brokers = {"b2": "tcp://two:1"}
    client.turn()
    client.open_to("b1", "tcp://two:1")
    assert old.is_closed
    assert not any(isinstance(command, Goodbye) for command in old.said)
    assert client.lines.open(client.now) == ["b1"]
    assert client.wish.given_up == {}


def test_a_line_counts_for_who_answers_and_the_one_it_was_meant_for_is_tried_again() -> None:
    client = Client("tcp://one:1")
    client.turn()
    client.open_to("b1", "tcp://one:1")
    client.wish.brokers = {"b2": "tcp://two:1"}
    client.turn()
    client.open_to("b3", "tcp://two:1")
    assert sorted(client.lines.open(client.now)) == ["b1", "b3"]
    before = len(client.wires)
    client.turn()
    assert len(client.wires) == before  # not at once
    client.live(1)
    assert "tcp://two:1" in [wire.endpoint for wire in client.wires[before:]]
    client.open_to("b2", "tcp://two:1")
    assert "b2" in client.lines.open(client.now)


def test_without_a_welcome_another_broker_is_tried_beside_the_first() -> None:
    client = Client("tcp://one:1", "tcp://two:1")
    client.turn()
    client.turn(HURRY_AFTER / 2)
    assert [wire.endpoint for wire in client.wires] == ["tcp://one:1"]
    assert client.lines.deadline(client.now) <= client.now + HURRY_AFTER / 2
    client.turn(HURRY_AFTER / 2)
    assert [wire.endpoint for wire in client.wires] == ["tcp://one:1", "tcp://two:1"]


def test_a_silent_broker_comes_last_and_somebody_else_is_looked_for() -> None:
    client = Client("tcp://one:1", "tcp://two:1")
    client.turn()
    silent = client.open_to("b1", "tcp://one:1")
    client.live(SESSION_TIMEOUT / 3, "b1")
    assert isinstance(silent.said[-1], Ping)
    client.live(SUSPECT_AFTER, "b1")
    client.open_to("b2", "tcp://two:1")
    assert client.lines.open(client.now) == ["b2", "b1"]
    client.live(SESSION_TIMEOUT, "b1")
    assert client.wish.given_up["b1"] <= client.now
    assert client.lines.open(client.now) == ["b2"]


@pytest.mark.parametrize("end", ["broken", "replaced", "nonsense"])
def test_a_line_that_ends_is_dialled_again_at_once(end: str) -> None:
    client = Client("tcp://one:1")
    client.turn()
    wire = client.open_to("b1", "tcp://one:1")
    if end == "broken":
        wire.broken = "the connection was closed by the other side"
    elif end == "replaced":
        wire.answer(SessionReplaced())
    else:
        wire._heard.append(b"nonsense")
    client.turn()
    assert client.wish.notes[-1] == ("down", "b1")
    assert wire.is_closed
    client.live(0.05)
    assert len(client.wires) == 2


def test_what_is_held_over_a_broken_line_is_given_up_before_the_broker_ends_the_session() -> None:
    client = Client("tcp://one:1")
    client.turn()
    wire, heard_at = client.open_to("b1", "tcp://one:1"), client.now
    client.now += 1.0
    wire.broken = "the connection was closed by the other side"
    client.turn()
    assert client.wish.given_up == {"b1": heard_at + SESSION_TIMEOUT * PATIENCE_PART}


def test_a_broker_that_knows_us_again_in_time_has_not_given_us_up() -> None:
    client = Client("tcp://one:1")
    client.turn()
    wire = client.open_to("b1", "tcp://one:1")
    wire.answer(WhoAreYou())
    client.turn()
    assert isinstance(wire.said[-1], Hello)
    client.open_to("b1", "tcp://one:1")
    client.live(SESSION_TIMEOUT * 2)
    assert client.wish.notes == [("opened", "b1"), ("down", "b1"), ("opened", "b1")]


def test_a_process_that_stood_still_for_a_session_has_lost_it_whatever_has_arrived() -> None:
    client = Client("tcp://one:1")
    client.turn()
    wire = client.open_to("b1", "tcp://one:1")
    wire.answer(Pong(1, 0.0))
    client.turn(SESSION_TIMEOUT)
    assert client.wish.given_up == {"b1": client.now}
    assert wire.is_closed


def test_a_line_that_nobody_wants_any_more_ends_with_a_goodbye_after_a_while() -> None:
    client = Client("tcp://one:1")
    client.turn()
    client.open_to("b1", "tcp://one:1")
    client.wish.brokers = {"b2": "tcp://two:1"}
    client.turn()
    client.open_to("b2", "tcp://two:1")
    client.live(IDLE_TIMEOUT - 1)
    assert sorted(client.lines.open(client.now)) == ["b1", "b2"]
    client.live(2)
    idle = client.at("tcp://one:1")
    goodbye = next(command for command in idle.said if isinstance(command, Goodbye))
    assert client.lines.open(client.now) == ["b2"]
    idle.answer(Farewell(goodbye.id))
    client.live(2)
    assert idle.is_closed
    assert len(client.wires) == 2


def test_there_is_a_limit_to_the_lines() -> None:
    client = Client("tcp://one:1")
    client.turn()
    client.open_to("b0", "tcp://one:1")
    client.wish.brokers = {f"b{number}": f"tcp://n{number}:1" for number in range(2 * LINES_MAX)}
    client.live(1)
    assert len(client.lines.all) <= LINES_MAX


def test_closing_takes_no_longer_than_the_farewell() -> None:
    with TestBroker() as broker:
        consumer = Consumer(broker.endpoint, "t")
        assert consumer.receive(0.1) is None
        began = time.monotonic()
        consumer.close()
        assert time.monotonic() < began + FAREWELL_TIMEOUT / 2
