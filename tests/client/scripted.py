"""A broker over real sockets that says what a test tells it to."""

from __future__ import annotations

from typing import TypeVar

import zmq

from zmqmq import wire
from zmqmq.core.commands import Command, Describe, Described, Hello, Welcome
from zmqmq.core.model import Limits, Placement, TopicSettings

Kind = TypeVar("Kind", bound=Command)
TIMEOUT_MS = 10_000


class ScriptedBroker:
    """A ROUTER that says what the test tells it to."""

    def __init__(self, broker_id: str = "b") -> None:
        self.broker_id = broker_id
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self._router.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
        self.endpoint = f"tcp://127.0.0.1:{self._router.bind_to_random_port('tcp://127.0.0.1')}"
        self.sender = b""

    def expect(self, kind: type[Kind]) -> Kind:
        """The next command of that kind; pings and goodbyes in between are passed over."""
        while True:
            self.sender, frame = self._router.recv_multipart()
            command = wire.decode_request(frame)
            if isinstance(command, kind):
                return command

    def say(self, command: Command) -> None:
        self.say_frame(wire.encode(command))

    def say_frame(self, frame: bytes) -> None:
        self._router.send_multipart([self.sender, frame])

    def welcome(self, beacon_interval: float = 0.2) -> Hello:
        hello = self.expect(Hello)
        nobody = "tcp://127.0.0.1:1"
        self.say(Welcome(1, "c", self.broker_id, 1, hello.session_epoch, Limits(), 5.0, beacon_interval, nobody, b"12345678", "scripted", 0.0))
        return hello

    def describe(self, leader: ScriptedBroker | None = None, epoch: int = 1) -> None:
        """Answers the next question: `leader`, itself unless another one is named, leads the only partition."""
        asked, leader = self.expect(Describe), leader or self
        self.say(Described(asked.id, asked.topic, 1, 1, [Placement(0, epoch, leader.broker_id, leader.endpoint)], TopicSettings()))

    def close(self) -> None:
        self._router.close(0)
        self._context.term()
