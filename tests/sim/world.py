"""Brokers with their clients, from one seed: everything that happens, happens because of it, and happens again with the same seed.

    workload ──► producers ──► network ──► brokers (the production loop) ──► network ──► consumers
                                  ▲            │
                    storms ───────┴────────────┴──► disk, clocks, processes

First the storms: for some time anything breaks (`tests.sim.storms`), and the referee looks for anything wrong. Then calm: everything is
repaired, and all must come to a good end (`tests.sim.ending`). What is built of product code: the broker's loop and all below it, the codec,
the clients' engine, roles and cores. What is simulated: sockets, disk, clocks, processes, randomness.
"""

from __future__ import annotations

import hashlib
from collections import deque
from random import Random

import msgspec

from tests.sim.administrator import SimAdmin
from tests.sim.consumer import Ears, Habits, SimConsumer
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.producer import SimProducer
from tests.sim.referee import Referee
from tests.sim.scheduler import MAX_EVENTS, Scheduler
from tests.sim.weather import Weather
from zmqmq.config import BrokerConfig, TopicsConfig
from zmqmq.core.model import GroupLimits, Limits, TopicSettings

STORM_SECONDS = 20.0
FIRST_PORT = 7400
PORTS_APART = 10
TRACE_LINES = 200
"""Last lines of the trace that a failure shows."""


class World:
    """Everything of one run."""

    max_events = MAX_EVENTS
    idle_turns = 15
    """Turns per second of a broker with nothing to do: beacons, sweeps, pings."""
    client_idle_turns = 6
    """Turns per second of a client with nothing to do: beacons and their absence, pings."""

    def __init__(self, seed: int, trace: bool = False, brokers: int = 1) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.scheduler = Scheduler(self.max_events)
        self.lines: deque[str] = deque(maxlen=TRACE_LINES)
        self.digest = hashlib.blake2b(digest_size=8)
        self.weather = Weather(self.rng)
        self.network = Network(self.scheduler, self.rng, self.weather, self.note)
        self.session_timeout = self.rng.choice([2.0, 3.0, 5.0])
        self.config = self._configure()
        """What all brokers have in common."""
        self.hosts = self._machines(brokers)
        self.referee = self._judge()
        self.habits = Habits()
        self.padding = self.rng.choice([0, 0, 700, 1500])
        """Bytes that some messages have more than others."""
        self.topics = ["t0", "t1"][: self.rng.randint(1, 2)]
        self.groups = ["g0", "g1"][: self.rng.randint(1, 2)]
        self.admin: SimAdmin | None = None
        self.producers: list[SimProducer] = []
        self.consumers: list[SimConsumer] = []
        """All there ever were."""
        self.poison: set[bytes] = set()
        self._trace = trace
        self._born = 0
        for host in self.hosts:
            host.on_read, host.on_send, host.after_turn = self.referee.read, self.referee.said, self.referee.after_turn

    def _machines(self, count: int) -> list[Host]:
        return [Host(f"broker-{number + 1}", self.scheduler, self.network, self.rng, self._config_of(number), self.note) for number in range(count)]

    def _judge(self) -> Referee:
        referee = Referee(self)
        for host in self.hosts:
            host.watch(referee.stored)
        return referee

    def _configure(self) -> BrokerConfig:
        rng = self.rng
        settings = TopicSettings(
            retry_delay=rng.choice([0.1, 0.5]),
            max_retry_delay=2.0,
            max_attempts=rng.choice([2, 3, 5]),
            max_bytes=rng.choice([None, None, None, 4096]),
            max_processing_time=rng.choice([1800.0, 1800.0, 6.0]),
        )
        return BrokerConfig(
            session_timeout_seconds=self.session_timeout,
            ballast_bytes=0,
            topics=TopicsConfig(default_partitions=rng.choice([1, 1, 2, 3]), defaults=settings),
            limits=Limits(max_in_flight=rng.choice([5, 20, 10_000])),
            group_limits=GroupLimits(max_holes=rng.choice([2, 5, 100_000]), max_waiting=rng.choice([3, 10, 200_000])),
        )

    def _config_of(self, number: int) -> BrokerConfig:
        endpoint = f"tcp://sim:{FIRST_PORT + number * PORTS_APART}"
        return msgspec.structs.replace(self.config, broker_id=f"broker-{number + 1}", bind=endpoint)

    # --- people ------------------------------------------------------------------------------------------------------

    def add_producer(self, delivery_timeout: float = 120.0) -> SimProducer:
        """Starts a process that produces."""
        self._born += 1
        producer = SimProducer(f"p{self._born}", self.scheduler, self.network, self.rng, self.session_timeout, delivery_timeout)
        self.producers.append(producer)
        return producer

    def add_consumer(self, group: str, topics: list[str] | None = None) -> SimConsumer:
        """Starts a process that consumes; without `topics` it chooses some."""
        self._born += 1
        topics = topics or (self.topics if self.rng.random() < 0.6 else [self.rng.choice(self.topics)])
        ears = Ears(self.referee.handed, self.referee.confirmed_settled, self.referee.lost)
        name = f"c{self._born}"
        consumer = SimConsumer(name, self.scheduler, self.network, self.rng, self.session_timeout, topics, group, self.habits, ears)
        self.consumers.append(consumer)
        return consumer

    def administrator(self) -> SimAdmin:
        """The process that administers."""
        if self.admin is None:
            self.admin = SimAdmin("admin", self.scheduler, self.network, self.rng, self.session_timeout)
        return self.admin

    def ask_for_replay(self) -> None:
        """The administrator brings the dead letters of some group back."""
        self.administrator().replay(self.rng.choice(self.topics), self.rng.choice(self.groups))

    def lost_topics(self) -> set[str]:
        """Topics of which something has gone with its only disk."""
        return set()

    def what_else_is_missing(self) -> list[str]:
        """Why the brokers themselves are not well yet."""
        return []

    def alive(self) -> list[SimProducer | SimConsumer | SimAdmin]:
        """All processes that run."""
        everybody: list[SimProducer | SimConsumer | SimAdmin] = [*self.producers, *self.consumers]
        if self.admin is not None:
            everybody.append(self.admin)
        return [client for client in everybody if client.is_alive]

    # --- the trace ---------------------------------------------------------------------------------------------------

    def note(self, what: str, *facts: object) -> None:
        """Something has happened: part of the run's digest, and of the trace."""
        line = f"{self.scheduler.now:10.4f} {what} {' '.join(map(_shown, facts))}"
        self.digest.update(line.encode())
        self.lines.append(line)
        if self._trace:
            print(line)

    def listen(self) -> None:
        """Hears what producers were told since the last time."""
        for producer in self.producers:
            outcomes, producer.outcomes = producer.outcomes, []
            for outcome in outcomes:
                self.note("resolved", producer.name, outcome.sent.value, outcome.partition, outcome.offset, type(outcome.error).__name__)
                self.referee.resolved(outcome)


def _shown(fact: object) -> str:
    return fact.decode("latin-1").translate(_PRINTABLE) if isinstance(fact, bytes) else str(fact)


_PRINTABLE = dict.fromkeys([*range(32), *range(127, 256)], ".")
