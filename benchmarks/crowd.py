"""Many clients in one process, cheap enough for a thousand of them, that behave as real ones do.

Each has its own connection and session and is driven by the same decisions as the real client (`zmqmq.core`): it greets, pings, pulls,
sleeps, listens to wake-ups and beacons, acknowledges. Only the engine's thread per client is missing: one loop serves all.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from itertools import count
from math import inf
from types import TracebackType
from typing import Protocol, Self

import zmq

from zmqmq.core.client_session import ClientSession, Heard
from zmqmq.core.commands import BEACON, WAKE, Command, Pull, Welcome
from zmqmq.core.consuming import Consuming
from zmqmq.core.parcel import Parcel
from zmqmq.core.producing import Producing
from zmqmq.wire import decode_answer, decode_beacon, encode

MAX_SOCKETS = 16384
LONGEST_NAP = 0.25
"""Seconds; the loop looks around at least that often."""


class Part(Protocol):
    """What a client is there for."""

    def opened(self, welcome: Welcome) -> None:
        """A new session."""

    def hear(self, command: Command, now: float) -> None:
        """A command for it."""

    def hint(self, frame: bytes, now: float) -> None:
        """A wake-up or beacon."""

    def step(self, now: float) -> list[Command]:
        """What to send now."""

    def deadline(self) -> float:
        """When to step again."""


class IdleConsumer:
    """Takes part in a group and acknowledges what it gets; counts what happens to it."""

    wants_hints = True

    def __init__(self, topic: str, group: str) -> None:
        self.wakes = self.pulls = self.messages = 0
        self._consuming = Consuming([topic], group, count(1).__next__, random.random)
        self._consuming.is_wanted = True
        self._broker = ""

    def opened(self, welcome: Welcome) -> None:
        self._broker = welcome.broker_id
        self._consuming.opened(self._broker, welcome)

    def hear(self, command: Command, now: float) -> None:
        consuming = self._consuming
        consuming.hear(self._broker, command, now)
        for held, index in consuming.take(1000):
            self.messages += 1
            consuming.settle(held, [index], "ack", None, "")

    def hint(self, frame: bytes, now: float) -> None:
        if frame.startswith(BEACON):
            self._consuming.beacon(self._broker, decode_beacon(frame), now)
        else:
            self.wakes += 1
            self._consuming.woken(self._broker)

    def step(self, now: float) -> list[Command]:
        commands = [command for _, command in self._consuming.step(now, [self._broker])]
        self.pulls += sum(isinstance(command, Pull) for command in commands)
        return commands

    def deadline(self) -> float:
        return self._consuming.deadline()


class IdleSensor:
    """Sends one reading when it starts, and stays connected."""

    wants_hints = False

    def __init__(self, topic: str) -> None:
        self._producing = Producing(random.getrandbits(63), count(1).__next__, random.random)
        self._broker = ""
        parcel = Parcel(topic, time.monotonic())
        parcel.values.append(b"21.5")
        parcel.close()
        self._producing.add(parcel)

    @property
    def is_confirmed(self) -> bool:
        """Its reading is safe."""
        return not self._producing.unresolved

    def opened(self, welcome: Welcome) -> None:
        self._broker = welcome.broker_id
        self._producing.opened(self._broker, welcome.limits)

    def hear(self, command: Command, now: float) -> None:
        self._producing.hear(command, now)

    def hint(self, frame: bytes, now: float) -> None:
        """Sensors do not listen."""

    def step(self, now: float) -> list[Command]:
        return [command for _, command in self._producing.step(now, [self._broker])]

    def deadline(self) -> float:
        return self._producing.deadline()


class Client:
    """One connection with its session."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, part: IdleConsumer | IdleSensor) -> None:
        self.part = part
        self.session = ClientSession(uuid.uuid4().hex, "", "crowd")
        self.dealer = context.socket(zmq.DEALER)
        self.hints: zmq.Socket[bytes] | None = None
        self._context = context
        self._next_id = count(1 << 40).__next__
        self._role: Part = part
        self.dealer.connect(endpoint)

    def receive(self, now: float) -> None:
        """Takes everything that has arrived."""
        while (frame := _take(self.dealer)) is not None:
            command = decode_answer(frame)
            meaning = self.session.hear(command, now)
            if meaning is Heard.CONTENT:
                self._role.hear(command, now)
            elif meaning is Heard.OPENED and isinstance(command, Welcome):
                self._listen(command)
                self._role.opened(command)
            elif meaning is not Heard.CONSUMED:
                self.dealer.send(encode(self.session.greet(now)))
        while self.hints is not None and (frame := _take(self.hints)) is not None:
            self._role.hint(frame, now)

    def _listen(self, welcome: Welcome) -> None:
        if not self.part.wants_hints:
            return
        if self.hints is not None:
            self.hints.close(0)
        self.hints = self._context.socket(zmq.SUB)
        self.hints.subscribe(WAKE + welcome.wake_name)
        self.hints.subscribe(BEACON)
        self.hints.connect(welcome.wake_endpoint)

    def step(self, now: float) -> float:
        """Says what is to be said; when to look again."""
        session = self.session
        if session.is_dead(now) or (not session.is_open and session.deadline() == inf):
            self.dealer.send(encode(session.greet(now)))
        if not session.is_open:
            return session.deadline()
        commands = self._role.step(now)
        ping = session.ping(now, self._next_id)
        commands += [ping] if ping is not None else []
        for command in commands:
            self.dealer.send(encode(command))
            session.said(now)
        return min(session.deadline(), self._role.deadline())


class Crowd:
    """Many clients and the loop that serves them."""

    def __init__(self, endpoint: str, parts: list[IdleConsumer] | list[IdleSensor]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self.clients = [Client(self._context, endpoint, part) for part in parts]
        self._due = dict.fromkeys(self.clients, -inf)

    @property
    def is_open(self) -> bool:
        """All have a session."""
        return all(client.session.is_open for client in self.clients)

    def serve(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Serves for `seconds`, or until the condition is true; whether it is."""
        poller, owners = zmq.Poller(), {}
        for client in self.clients:
            for sock in (client.dealer, client.hints):
                if sock is not None:
                    poller.register(sock, zmq.POLLIN)
                    owners[sock] = client
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end and not until():
            nap = min(min(self._due.values()) - now, end - now, LONGEST_NAP)
            active = {owners[sock] for sock, _ in poller.poll(int(max(0.0, nap) * 1000 + 0.999))}
            now = time.monotonic()
            for client in active | {client for client, due in self._due.items() if due <= now}:
                before = client.hints
                client.receive(now)
                self._due[client] = client.step(now)
                if client.hints is not before and client.hints is not None:
                    poller.register(client.hints, zmq.POLLIN)
                    owners[client.hints] = client
        return until()

    def close(self) -> None:
        """Hangs up."""
        self._context.destroy(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _take(sock: zmq.Socket[bytes]) -> bytes | None:
    try:
        return sock.recv(zmq.DONTWAIT)
    except zmq.Again:
        return None
