"""Storms: what goes wrong in a run, and when; and the workload that goes on meanwhile. All of it drawn from the seed.

Each run has its own temper: some break connections all the time and never a disk, others the other way round. So rare things meet
often enough, and every fault also appears alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.sim.consumer import SimConsumer
from tests.sim.disk import ROOM, SimDisk
from tests.sim.host import Host
from tests.sim.world import STORM_SECONDS, World

KEYS = [b"a", b"b", b"c", b"d", None]
MESSAGES = (20, 60, 150, 300)
"""Sends of one producer, about: in small worlds rare orders of few events meet more often for the same effort."""
STORMS = (0, 3, 6, 12, 24)
"""What goes wrong in one run."""


class Storms:
    """Plans and unleashes."""

    def __init__(self, world: World, more: Sequence[Callable[[], None]] = ()) -> None:
        """`more`: kinds of storms of which each run meets some besides."""
        self._world = world
        self._more = more
        self._rng = world.rng
        self._kinds: list[Callable[[], None]] = [
            self._broker_dies,
            self._broker_dies_in_a_commit,
            self._broker_stops,
            self._broker_pauses,
            self._link_breaks,
            self._client_pauses,
            self._consumer_dies,
            self._consumer_closes,
            self._producer_dies,
            self._network_slows,
            self._hints_vanish,
            self._client_is_cut_off,
            self._disk_fills,
            self._disk_is_stuffed,
            self._clock_is_set,
            self._letters_are_replayed,
        ]

    def plan(self) -> None:
        """Everything until the calm."""
        world, rng = self._world, self._rng
        for host in world.hosts:
            world.scheduler.at(0.0, host.start)
        for _ in range(rng.randint(1, 3)):
            timeout = rng.choice([120.0, 120.0, 4.0])
            world.scheduler.at(rng.uniform(0, 2), lambda timeout=timeout: self._begin_producer(timeout))  # type: ignore[misc]
        for group in world.groups:
            for _ in range(rng.randint(1, 3)):
                world.scheduler.at(rng.uniform(0, 4), lambda group=group: world.add_consumer(group))  # type: ignore[misc]
        chosen = rng.sample(self._kinds, rng.randint(1, 6))
        if self._more:
            chosen = chosen[:3] + rng.sample(self._more, rng.randint(1, 6))
        for _ in range(rng.choice(STORMS)):
            world.scheduler.at(rng.uniform(0.5, STORM_SECONDS), rng.choice(chosen))

    def _begin_producer(self, delivery_timeout: float) -> None:
        world, rng = self._world, self._rng
        producer = world.add_producer(delivery_timeout)
        pace = rng.choice([0.003, 0.02, 0.1, 0.5])
        topic, left = rng.choice(world.topics), rng.choice(MESSAGES)

        def send() -> None:
            nonlocal left
            left -= 1
            if left < 0 or not producer.is_alive or world.scheduler.now > STORM_SECONDS:
                return
            for _ in range(rng.choice([1, 1, 1, 5])):
                delay = rng.uniform(0.05, 6.0) if rng.random() < 0.1 else None
                value = producer.send(topic if rng.random() < 0.8 else rng.choice(world.topics), rng.choice(KEYS), delay, rng.choice([0, 0, world.padding]))
                if rng.random() < 0.02:
                    world.poison.add(value)
                    world.habits.poison = frozenset(world.poison)
            silence = rng.uniform(1.0, 5.0) if rng.random() < 0.02 else 0.0  # partitions come to rest
            world.scheduler.after(silence + rng.expovariate(1 / pace), send)

        send()

    # --- processes ---------------------------------------------------------------------------------------------------

    def _host(self) -> Host:
        return self._rng.choice(self._world.hosts)

    def _broker_dies(self) -> None:
        self._host().die()

    def _broker_dies_in_a_commit(self) -> None:
        self._host().doom()

    def _broker_stops(self) -> None:
        self._host().stop()

    def _broker_pauses(self) -> None:
        self._host().pause(self._rng.choice([0.1, 1.0, 7.0]))

    def _client_pauses(self) -> None:
        if clients := self._world.alive():
            client, seconds = self._rng.choice(clients), self._rng.choice([0.5, 2.5, 8.0])
            self._world.note("pause", client.name, seconds)
            client.pause(seconds)

    def _consumer_dies(self) -> None:
        if consumers := [consumer for consumer in self._world.consumers if consumer.is_alive]:
            consumer = self._rng.choice(consumers)
            self._world.note("kill", consumer.name)
            consumer.kill()
            self._world.scheduler.after(self._rng.uniform(0.1, 3.0), lambda: self._replace(consumer))

    def _consumer_closes(self) -> None:
        if consumers := [consumer for consumer in self._world.consumers if consumer.is_alive and not consumer.is_stopping]:
            consumer = self._rng.choice(consumers)
            self._world.note("close", consumer.name)
            consumer.close(2.0)
            self._world.scheduler.after(self._rng.uniform(0.1, 3.0), lambda: self._replace(consumer))

    def _replace(self, consumer: SimConsumer) -> None:
        self._world.add_consumer(consumer.group, None if consumer.group in self._world.groups else consumer.topics)

    def _producer_dies(self) -> None:
        if producers := [producer for producer in self._world.producers if producer.is_alive]:
            producer = self._rng.choice(producers)
            self._world.note("kill", producer.name)
            producer.kill()
            self._world.scheduler.after(self._rng.uniform(0.1, 3.0), lambda: self._begin_producer(120.0))

    # --- network -----------------------------------------------------------------------------------------------------

    def _link_breaks(self) -> None:
        if clients := self._world.alive():
            self._world.network.break_link(self._rng.choice(clients).name, self._rng.choice([0.0, 0.0, 0.3, None]))

    def _network_slows(self) -> None:
        self._world.weather.slow = self._rng.choice([0.01, 0.1, 0.5])
        self._world.scheduler.after(self._rng.uniform(0.5, 4.0), self._network_recovers)

    def _network_recovers(self) -> None:
        self._world.weather.slow = 0.0

    def _hints_vanish(self) -> None:
        self._world.weather.hints_lost = self._rng.choice([0.3, 1.0])

    def _client_is_cut_off(self) -> None:
        if clients := self._world.alive():
            name = self._rng.choice(clients).name
            self._world.weather.cut_off(name)
            self._world.network.break_link(name, self._rng.choice([0.0, None]))
            self._world.scheduler.after(self._rng.choice([1.0, 6.0]), lambda: self._world.weather.take_back(name))

    # --- disk and clock ----------------------------------------------------------------------------------------------

    def _disk_fills(self) -> None:
        disk = self._host().disk
        self._world.note("disk fills")
        taken = disk.room - self._rng.choice([0, 20])
        disk.room -= taken
        self._world.scheduler.after(self._rng.uniform(0.5, 6.0), lambda: self._disk_has_room(disk, taken))

    def _disk_has_room(self, disk: SimDisk, taken: float) -> None:
        self._world.note("disk has room")
        disk.room += taken

    def _disk_is_stuffed(self) -> None:
        self._world.note("disk is stuffed")
        disk = self._host().disk
        disk.stuffed = True
        self._world.scheduler.after(self._rng.uniform(0.1, 3.0), lambda: self._disk_is_emptied(disk))

    def _disk_is_emptied(self, disk: SimDisk) -> None:
        self._world.note("disk is emptied")
        disk.stuffed = False

    def _letters_are_replayed(self) -> None:
        self._world.note("replay")
        self._world.ask_for_replay()

    def _clock_is_set(self) -> None:
        self._host().machine.set_by += self._rng.choice([-3600.0, 3600.0, -0.5, 5.0])


def calm(world: World) -> None:
    """Everything is repaired; nothing breaks any more."""
    world.note("calm")
    world.weather.clear()
    for host in world.hosts:
        host.disk.stuffed, host.disk.fate = False, None
        host.disk.room = ROOM
        host.paused_until = -1.0
        host.start()
        host.go_on()
    world.habits.nack = world.habits.release = world.habits.reject = world.habits.dawdle = 0.0
    world.habits.poison = frozenset()
    for group in world.groups:
        world.add_consumer(group, world.topics)
