"""Questions of an administrator: to any broker, to some at once, or to every broker that is registered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from math import inf
from typing import NamedTuple, TypeVar

from zmqmq.client.asking import Asking
from zmqmq.client.bell import Bell
from zmqmq.client.endpoints import parse_endpoints
from zmqmq.client.engine import Engine
from zmqmq.core import admin_commands as ask
from zmqmq.core import cluster_commands as cluster
from zmqmq.core.commands import Command
from zmqmq.core.requests import Request
from zmqmq.errors import DeadlineExceeded, NotLeader, OutcomeUnknown, ProtocolError, Unreachable, ZmqmqError

Answer = TypeVar("Answer", bound=Command)
Build = Callable[[int], Command]
ROUND_TIMEOUT = 2.0
"""Seconds after which those who have not answered are looked for again."""
PAUSE = 0.1
"""Seconds between two rounds."""
LAST_ROUND = 0.2
"""Seconds before the end at which no other round is begun: what was found out by then is the better answer."""
_CHANGING_TOPICS = (ask.CreateTopic, ask.AlterTopic, ask.DeleteTopic, ask.DeleteGroup, ask.Seek, ask.Replay, ask.Purge)
_CHANGING_CLUSTERS = (cluster.DrainBroker, cluster.RemoveBroker, cluster.Reassign, cluster.AddPartitions)


class Question(NamedTuple):
    """One of several questions that are asked at once."""

    build: Build
    broker: str
    """Who is to answer, "" for anybody."""
    endpoint: str


class Desk:
    """Asks, and waits. Thread-safe."""

    def __init__(self, brokers: str | Iterable[str], name: str, timeout: float) -> None:
        """Connects when first used; `timeout` is how long each question may take, in seconds. Raises InvalidValue."""
        self.timeout = timeout
        next_id = count(1).__next__
        self._bell = Bell()
        self._asking = Asking(next_id, self._bell)
        self._engine = Engine(parse_endpoints(brokers), self._asking, self._bell, next_id, name=name, session_timeout=0.0, wants_hints=False)

    def close(self, timeout: float) -> None:
        """Says goodbye and ends."""
        if self._engine.trouble is None:
            self._engine.stop(timeout)

    # --- one -----------------------------------------------------------------------------------------------------

    def ask(self, build: Build, kind: type[Answer], broker: str = "", endpoint: str = "", until: float = inf) -> Answer:
        """Asks any broker, or the one named, at most until that moment. Raises what it answers, or why it did not."""
        (request,) = self.ask_all([Question(build, broker, endpoint)], min(self.timeout, until - time.monotonic()))
        return self.answer(request, kind)

    def answer(self, request: Request, kind: type[Answer]) -> Answer:
        """What was answered; raises what it was refused with, or why it was not answered."""
        if not request.done:
            raise self.late(request)
        if request.error is not None:
            raise request.error
        if not isinstance(request.answer, kind):
            raise ProtocolError(f"the broker answered {type(request.command).__name__} with {type(request.answer).__name__}")
        return request.answer

    # --- some ----------------------------------------------------------------------------------------------------

    def ask_all(self, questions: Sequence[Question], timeout: float) -> list[Request]:
        """Asks several at once; gives the requests when all are answered, or the time (in seconds) is over."""
        requests = self.send(questions, timeout)
        self.wait(requests, timeout)
        self.forget(requests)
        return requests

    def send(self, questions: Sequence[Question], timeout: float) -> list[Request]:
        """Asks several at once, for so many seconds."""
        self._engine.check()
        with self._bell.lock:
            self._engine.start()
            requests = [self._asking.ask(question.build, timeout, question.broker, question.endpoint) for question in questions]
            self._engine.call()
        return requests

    def wait(self, requests: Sequence[Request], timeout: float) -> None:
        """Waits until all are answered, at most so many seconds."""
        with self._bell.lock:
            self._bell.wait_for(lambda: all(request.done for request in requests) or self._engine.trouble is not None, max(0.0, timeout))
        if not all(request.done for request in requests):
            self._engine.check()

    def forget(self, requests: Iterable[Request]) -> None:
        """Nobody waits for the answers of those that are not answered."""
        with self._bell.lock:
            for request in requests:
                if not request.done:
                    self._asking.forget(request)

    def pause(self) -> None:
        """Before the next round."""
        with self._bell.lock:
            self._bell.wait_for(lambda: self._engine.trouble is not None, PAUSE)
        self._engine.check()

    def late(self, request: Request) -> ZmqmqError:
        """Why there is no answer."""
        question = type(request.command).__name__
        if request.error is not None:
            return request.error
        if request.sent_ever and isinstance(request.command, _CHANGING_TOPICS + _CHANGING_CLUSTERS):
            return OutcomeUnknown(f"{question} was sent and not answered within {self.timeout:g} s", hint="it may have been done; repeating it is safe")
        if self._engine.is_open:
            return DeadlineExceeded(f"{question} was not answered within {self.timeout:g} s", broker=request.broker or None)
        return self._engine.unreachable()

    # --- every broker --------------------------------------------------------------------------------------------

    def everywhere(self, build: Build, kind: type[Answer], is_lenient: bool = False) -> list[Answer]:
        """Asks all brokers that are registered; none are to one that has just been started: it is asked again. `is_lenient`: those that do not answer
        in one round are left out, if anybody does; where none are registered, whoever can be reached tells what it knows."""
        until = time.monotonic() + self.timeout
        while True:
            brokers = self.ask(ask.ListBrokers, ask.BrokerList, until=until).brokers
            questions = [Question(build, broker.broker_id, broker.endpoint) for broker in brokers] or [Question(build, "", "")]
            requests = self.ask_all(questions, min(ROUND_TIMEOUT, until - time.monotonic()))
            silent = [request for request in requests if is_open(request)]
            if (brokers and not silent) or (is_lenient and len(silent) < len(requests)):
                return [self.answer(request, kind) for request in requests if request not in silent]
            if time.monotonic() >= until - LAST_ROUND:
                raise self.late(silent[0]) if silent else NotLeader("no broker is registered", hint="they wait for ZooKeeper: zmqmq cluster status")
            self.pause()


def is_open(request: Request) -> bool:
    """Whether it is to be asked again, of somebody else perhaps."""
    return not request.done or isinstance(request.error, NotLeader | Unreachable)
