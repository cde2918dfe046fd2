"""The queue against a dumb oracle: random consumers, faults and restarts; after every step the promises are checked, at the end everything is settled.

Checked: one holder at a time, order per key, nothing confirmed as done comes again, nothing that was not produced is delivered, and, after healing,
nothing is left and the lag is 0. A failure names the seed; `run(seed)` replays it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.core.world import World
from zmqmq.core.admin_commands import AskLag, DeadList, Done, LagReport, ListDead, Replay
from zmqmq.core.commands import Delivery, HeldLease, Hello, KeptLease, Lot, Pull, Recalled, Refused, Settle, Settled, Settlement, Subscribed, WhoAreYou
from zmqmq.core.model import GroupLimits, TopicSettings
from zmqmq.shell.storage import Storage

STEPS = 250
PARTITIONS = 2
Place = tuple[int, int]
"""(partition, offset)"""


class Client:
    """A consumer that keeps its leases across sessions, as the real one does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = 0
        self.address = b""
        self.silent = False
        self.held: dict[tuple[int, int, int], list[int]] = {}
        self.acking: dict[int, list[tuple[int, int, int, list[int], str]]] = {}
        self.attempts: dict[tuple[int, int], int] = {}
        """Of its last delivery of each message."""


class Oracle:
    """Knows what was produced and what each consumer may hold."""

    def __init__(self, seed: int, open_storage: Callable[[], Any] | None = None) -> None:
        self.rng = Random(seed)
        self.world = World(
            seed,
            open_storage=open_storage,
            default_partitions=PARTITIONS,
            defaults=TopicSettings(retry_delay=0.5, max_attempts=3, max_processing_time=60.0),
            group_limits=GroupLimits(max_holes=50, max_waiting=100),
        )
        self.produced: dict[Place, tuple[bytes, bytes | None]] = {}
        self.pending: list[tuple[int, int, list[bytes], list[bytes | None]]] = []
        self.done: set[Place] = set()
        self.maybe_done: set[Place] = set()
        self.dead: set[Place] = set()
        self.replayed: set[Place] = set()
        self.holder: dict[Place, str] = {}
        self.sequence = [0] * PARTITIONS
        self.count = 0
        self.producer = self.world.connect("producer", timeout=300.0)
        self.world.topic(self.producer)
        self.clients = [Client(f"c{index}") for index in range(3)]
        for client in self.clients:
            self.join(client)

    # --- actions ---------------------------------------------------------------------------------------------------

    def produce(self) -> None:
        self.world.ping(self.producer)
        partition = self.rng.randrange(PARTITIONS)
        size = self.rng.choice((1, 2, 5, 20))
        values = [f"{self.count + index}".encode() for index in range(size)]
        keys: list[bytes | None] = [self.rng.choice((None, b"a", b"b", b"c", f"k{self.rng.randrange(30)}".encode())) for _ in values]
        self.count += size
        batch = self.world.produce(values, keys=keys, partition=partition, sequence=self.sequence[partition])
        self.sequence[partition] += size
        for _ in range(self.rng.choice((1, 1, 1, 2))):  # sometimes the answer is lost and the batch comes again
            self.world.turn((self.producer, batch))
        answers = [answer for answer in self.world.take(self.producer) if hasattr(answer, "offset")]
        assert len({answer.offset for answer in answers}) == 1, "a repeated batch gets its first offset"
        for index, (value, key) in enumerate(zip(values, keys, strict=True)):
            self.produced[partition, answers[0].offset + index] = (value, key)

    def join(self, client: Client) -> None:
        """A new session (of the same member) that presents what it holds; the old one is not closed."""
        client.epoch += 1
        client.silent = False
        client.address = f"{client.name}#{client.epoch}".encode()
        hello = Hello((1, 1), client.name, client.epoch, client.name, 0.0, "test")
        held = [
            HeldLease(partition, epoch, lease, offsets, [client.attempts[partition, offset] for offset in offsets])
            for (partition, epoch, lease), offsets in client.held.items()
            if offsets
        ]
        self.world.turn((client.address, hello))
        answer = self.world.ask(client.address, self.world.subscribe(client.address, held=held), Subscribed)
        unconfirmed = [entry for entries in client.acking.values() for entry in entries]
        client.acking.clear()
        before, client.held = client.held, {}
        for kept in answer.leases:
            self._keep(client, kept, before.pop((kept.partition, kept.old_epoch, kept.old_lease), []), unconfirmed)

    def _keep(self, client: Client, kept: KeptLease, offsets: list[int], unconfirmed: list[tuple[int, int, int, list[int], str]]) -> None:
        if kept.kept:
            client.held[kept.partition, kept.epoch, kept.lease] = list(kept.kept)
        for offset in offsets:
            place = (kept.partition, offset)
            if offset in kept.settled:
                self.done.add(place)
            if offset not in kept.kept and self.holder.get(place) == client.name:
                del self.holder[place]

    def pull(self, client: Client) -> None:
        self.world.turn((client.address, Pull(self.world.next_id(), self.rng.choice((1, 3, 10, 50)), 1 << 20)))
        self.read(client)

    def read_recalls(self) -> None:
        """Everybody hears at once what was taken from them, before somebody else gets it."""
        for client in self.clients:
            mail = self.world.mail[client.address]
            for answer in mail:
                if isinstance(answer, Recalled):
                    self.lose(client, answer.partition, answer.epoch, answer.lease, answer.offsets)
            self.world.mail[client.address] = [answer for answer in mail if not isinstance(answer, Recalled)]

    def read(self, client: Client) -> None:
        self.read_recalls()
        for answer in self.world.take(client.address):
            if isinstance(answer, Delivery):
                for lot in answer.lots:
                    self.deliver(client, lot)
            elif isinstance(answer, Settled):
                self.settled(client, answer)
            elif isinstance(answer, WhoAreYou):
                self.join(client)
            else:
                assert not isinstance(answer, Refused), answer

    def deliver(self, client: Client, lot: Lot) -> None:
        client.held[lot.partition, lot.epoch, lot.lease] = list(lot.offsets)
        for index, offset in enumerate(lot.offsets):
            place = (lot.partition, offset)
            client.attempts[place] = lot.attempts[index] if lot.attempts else 1
            key = lot.keys[index] if lot.keys else None
            assert self.produced.get(place) == (lot.values[index], key), f"{place} was never produced like that"
            assert place not in self.done, f"{place} was confirmed as done and came again"
            assert place not in self.holder, f"{place} is held by {self.holder.get(place)} and was given to {client.name}"
            if key is not None and place not in self.replayed:  # a replayed letter has lost its place in the order
                self.check_order(client, lot.partition, offset, key)
            self.holder[place] = client.name

    def check_order(self, client: Client, partition: int, offset: int, key: bytes) -> None:
        for (other_partition, other), (_, other_key) in self.produced.items():
            place = (other_partition, other)
            if other_partition != partition or other_key != key or place in self.done | self.maybe_done | self.dead | self.replayed:
                continue
            if other < offset:
                assert self.holder.get(place) == client.name, f"{partition}/{offset} of key {key!r} overtook {other}"
            elif other > offset and place in self.holder:
                assert self.holder[place] == client.name, f"{partition}/{offset} of key {key!r} came back while {other} is with {self.holder[place]}"

    def settle(self, client: Client) -> None:
        choices = [entry for entry in client.held.items() if entry[1]]
        if not choices:
            return
        (partition, epoch, lease), offsets = self.rng.choice(choices)
        outcome = self.rng.choices(("ack", "nack", "release", "reject"), (12, 3, 2, 1))[0]
        count = self.rng.randint(1, len(offsets))
        chosen = offsets[:count]
        request = self.world.next_id()
        client.acking[request] = [(partition, epoch, lease, chosen, outcome)]
        client.held[partition, epoch, lease] = offsets[count:]
        for offset in chosen:  # what happens now may be known to the broker only
            if outcome in ("ack", "reject"):
                self.maybe_done.add((partition, offset))
        if outcome in ("nack", "release"):
            for offset in chosen:
                self.holder.pop((partition, offset), None)
        settlement = Settlement(1, partition, epoch, lease, outcome, chosen, None, "because")
        self.world.turn((client.address, Settle(request, [settlement])))
        self.read(client)

    def settled(self, client: Client, answer: Settled) -> None:
        lost = {(entry.partition, offset) for entry in answer.lost for offset in entry.offsets or ()}
        for partition, _, _, offsets, outcome in client.acking.pop(answer.id, []):
            for offset in offsets:
                place = (partition, offset)
                if place in lost:
                    self.maybe_done.discard(place)
                    continue
                if outcome in ("ack", "reject"):
                    self.done.add(place)
                if self.holder.get(place) == client.name:
                    del self.holder[place]

    def lose(self, client: Client, partition: int, epoch: int, lease: int, offsets: list[int]) -> None:
        gone = set(offsets)
        known = client.held.get((partition, epoch, lease), [])
        client.held[partition, epoch, lease] = [offset for offset in known if offset not in gone]
        for offset in gone:
            if self.holder.get((partition, offset)) == client.name:
                del self.holder[partition, offset]

    def expire(self) -> None:
        """What the broker has taken from those who fell silent."""
        for client in self.clients:
            if client.silent and self.world.node.context.sessions.of(client.name) is None:
                self.drop(client)

    def drop(self, client: Client) -> None:
        client.held.clear()
        client.acking.clear()
        for place in [place for place, name in self.holder.items() if name == client.name]:
            del self.holder[place]

    def note_dead(self) -> None:
        """Attempts run out inside the broker: its list of dead letters says which."""
        for partition in self.world.node.catalogue.get("t").partitions.values():
            for row in self.world.storage.reader.dead(partition.log.log_id, "g", -1, 10_000):
                self.dead.add((partition.number, row.offset))
                self.holder.pop((partition.number, row.offset), None)

    # --- the run ---------------------------------------------------------------------------------------------------

    def step(self) -> None:
        client = self.rng.choice(self.clients)
        action = self.rng.choices(("produce", "pull", "settle", "time", "silence", "rejoin", "crash", "replay"), (20, 30, 35, 10, 1, 2, 1, 1))[0]
        if action == "produce":
            self.produce()
        elif action == "time":
            self.pass_time(self.rng.choice((0.1, 0.6, 2.0)))
        elif action == "silence" and sum(other.silent for other in self.clients) < 2:
            client.silent = True
        elif action == "rejoin":
            self.rejoin(client)
        elif action == "crash":
            self.crash()
        elif action == "replay":
            self.replay()
        elif client.silent:
            self.pass_time(1.0)
        elif action == "pull":
            self.pull(client)
        elif action == "settle":
            self.settle(client)
        self.note_dead()

    def rejoin(self, client: Client) -> None:
        if client.silent:
            self.expire()
            if self.world.node.context.sessions.of(client.name) is None:
                self.drop(client)
        self.join(client)

    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)
        self.note_dead()
        self.expire()
        for client in self.clients:
            if not client.silent:
                self.world.turn((client.address, Pull(self.world.next_id(), 1, 1)))
                self.read(client)

    def crash(self) -> None:
        """The broker dies; its live consumers come back with what they hold. Silent ones are given up after their timeout."""
        self.world.crash()
        self.world.connect("producer", timeout=300.0)
        self.producer = b"producer#1"
        for client in self.clients:
            if not client.silent:
                self.join(client)

    def replay(self) -> None:
        self.note_dead()
        self.world.ping(self.producer)
        if not any(partition.queues for partition in self.world.node.catalogue.get("t").partitions.values()):
            return
        self.world.ask(self.producer, Replay(self.world.next_id(), "t", "g"), Done)
        self.done -= self.dead
        self.maybe_done -= self.dead
        self.replayed |= self.dead
        self.dead.clear()

    def heal(self) -> None:
        """Everybody is well and acknowledges: in the end nothing is left."""
        for client in self.clients:
            if client.silent:
                self.rejoin(client)
        for _ in range(400):
            for client in self.clients:
                self.pull(client)
                for (partition, epoch, lease), offsets in list(client.held.items()):
                    if offsets:
                        request = self.world.next_id()
                        client.acking[request] = [(partition, epoch, lease, offsets, "ack")]
                        self.maybe_done |= {(partition, offset) for offset in offsets}
                        client.held[partition, epoch, lease] = []
                        self.world.turn((client.address, Settle(request, [Settlement(1, partition, epoch, lease, "ack", offsets)])))
                        self.read(client)
            self.note_dead()
            self.world.ping(self.producer)
            report = self.world.ask(self.producer, AskLag(self.world.next_id(), "t", "g"), LagReport)
            if all(entry.lag == 0 and entry.held == 0 for entry in report.partitions):
                break
            self.pass_time(0.5)
        missing = set(self.produced) - self.done - self.dead - self.maybe_done
        assert not missing, f"never settled: {sorted(missing)[:5]}"
        assert all(entry.lag == 0 for entry in report.partitions), f"lag remains: {report}"


def run(seed: int, open_storage: Callable[[], Any] | None = None) -> None:
    oracle = Oracle(seed, open_storage)
    for _ in range(STEPS):
        oracle.step()
    oracle.heal()
    letters = oracle.world.ask(oracle.producer, ListDead(oracle.world.next_id(), "t", "g", limit=1000), DeadList)
    assert {(letter.partition, letter.offset) for letter in letters.letters} <= oracle.dead


@pytest.mark.parametrize("block", range(6))
def test_random_consumers_faults_and_restarts_keep_the_promises(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        try:
            run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_the_same_on_a_real_sqlite_store(seed: int, tmp_path: Path) -> None:
    run(seed, lambda: Storage.open(tmp_path / "data", ballast_bytes=1 << 20))
