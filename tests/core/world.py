"""A broker's node on a disk in memory, driven turn by turn: time is a number, the network a list. Every command goes through the codec."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core.checksum import checksums
from zmqmq.core.commands import (
    Command,
    Delivery,
    Describe,
    Described,
    Empty,
    Goodbye,
    HeldLease,
    Hello,
    Lot,
    Ping,
    Produce,
    Pull,
    Settle,
    Settlement,
    Subscribe,
    Welcome,
)
from zmqmq.core.context import NodeSettings
from zmqmq.core.model import TopicSettings
from zmqmq.core.node import Node, Output
from zmqmq.core.writes import Write
from zmqmq.errors import StorageFull
from zmqmq.wire import decode_answer, decode_request, encode

C = TypeVar("C", bound=Command)
WALL = 1_700_000_000.0


class World:
    """One broker, its disk, its clock, and what it has sent to whom."""

    def __init__(self, seed: int = 0, disk: MemoryDisk | None = None, open_storage: Callable[[], Any] | None = None, **settings: Any) -> None:
        """`open_storage` gives another store than the one in memory, the same content each time."""
        self.rng = Random(seed)
        self.disk = disk or MemoryDisk()
        self._open_storage = open_storage or (lambda: MemoryStorage.open(self.disk))
        self.now = 100.0
        self.settings: dict[str, Any] = {
            "default_partitions": 1,
            "session_timeout": 10.0,
            "defaults": TopicSettings(retry_delay=1.0),
            **settings,
        }
        self.mail: dict[bytes, list[Command]] = defaultdict(list)
        self.published: list[Any] = []
        self._ids = 0
        self.start()

    # --- the broker ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.storage = self._open_storage()
        settings = NodeSettings(
            broker_id="broker-1",
            cluster_id=self.storage.cluster_id,
            incarnation=self.storage.incarnation,
            endpoint="tcp://127.0.0.1:7400",
            wake_endpoint="tcp://127.0.0.1:7401",
            software="test",
            **self.settings,
        )
        self.node = Node(settings, self.storage.reader, self.rng.random)
        self.node.open(self.now, self.wall)
        self.finish()

    def crash(self) -> None:
        """The process dies; what was committed stays. Nobody is told."""
        getattr(self.storage, "crash", self.storage.close)()
        self.mail.clear()
        self.start()

    def stop(self) -> None:
        """A clean stop."""
        self.node.begin(self.now, self.wall)
        self.node.close()
        self.finish()
        self.storage.close()

    @property
    def wall(self) -> float:
        return WALL + self.now

    def finish(self) -> None:
        """The second half of a turn: persist, then send; on a full disk as the loop does it."""
        if self._persist():
            self.node.persisted(self.now)
        self._post(self.node.take_output())

    def _persist(self) -> bool:
        writes = self.node.take_writes()
        self._go_ahead()
        if self._commit(writes):
            return True
        self.node.set_storage_full(True)
        self.storage.free_ballast()
        if self._commit(writes):
            return True
        writes = self.node.drop_appends(writes)
        if not self._commit(writes):
            self.node.carry(writes)
            return False
        return True

    def _go_ahead(self) -> None:
        """What other brokers may have before the turn is on disk; there are none."""

    def _commit(self, writes: list[Write]) -> bool:
        try:
            self.storage.commit(writes)
        except StorageFull:
            return False
        return True

    def _post(self, output: Output) -> None:
        for address, command in output.sends:
            self.mail[address].append(decode_answer(encode(command)))
        self.published += output.publishes

    def turn(self, *frames: tuple[bytes, Command]) -> None:
        """One turn in which these frames have arrived; further ones for as long as the node wants them at once."""
        self.node.begin(self.now, self.wall)
        for address, command in frames:
            self.node.receive(address, decode_request(encode(command)))
        self.node.tick()
        self.finish()
        for _ in range(50):
            if self.node.deadline() > self.now:
                return
            self.node.begin(self.now, self.wall)
            self.node.tick()
            self.finish()
        raise AssertionError("the node never comes to rest")

    def pass_time(self, seconds: float) -> None:
        """Turns at every deadline until the time is over."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, max(self.node.deadline(), self.now + 0.001))
            self.turn()

    # --- clients ---------------------------------------------------------------------------------------------------

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def take(self, address: bytes) -> list[Command]:
        """What was sent to this address since the last look."""
        mail, self.mail[address] = self.mail[address], []
        return mail

    def ask(self, address: bytes, command: Command, kind: type[C]) -> C:
        """Sends, and expects exactly one answer of this kind; what else has come stays in the mail."""
        self.turn((address, command))
        answers = self.take(address)
        found = [answer for answer in answers if isinstance(answer, kind)]
        self.mail[address] = [answer for answer in answers if not isinstance(answer, kind)]
        assert len(found) == 1, f"expected one {kind.__name__}, got {answers}"
        return found[0]

    def connect(self, name: str, epoch: int = 1, timeout: float = 0.0) -> bytes:
        """A session of its own; returns the address."""
        address = f"{name}#{epoch}".encode()
        self.ask(address, Hello((1, 1), name, epoch, name, timeout, "test"), Welcome)
        return address

    def topic(self, address: bytes, name: str = "t") -> Described:
        return self.ask(address, Describe(self.next_id(), name, True), Described)

    def produce(self, values: list[bytes], *, key: bytes | None = None, keys: list[bytes | None] | None = None, **options: Any) -> Produce:
        """A batch with correct checksums; `sequence`, `producer`, `partition`, `delays` … as options."""
        keys = keys or ([key] * len(values) if key is not None else None)
        sequence = options.get("sequence", 0)
        return Produce(
            self.next_id(),
            options.get("topic", "t"),
            options.get("partition", 0),
            options.get("epoch", 1),
            options.get("producer", 7),
            sequence,
            options.get("oldest", sequence),
            values,
            checksums(values, keys, options.get("headers")),
            keys,
            options.get("headers"),
            options.get("delays"),
        )

    def subscribe(self, address: bytes, group: str = "g", topic: str = "t", held: list[HeldLease] | None = None, **options: Any) -> Subscribe:
        return Subscribe(self.next_id(), topic, group, options.get("start", "earliest"), True, held or [])

    def pull(self, address: bytes, credit: int = 100) -> list[Lot]:
        """Pulls once; [] if there was nothing."""
        self.turn((address, Pull(self.next_id(), credit, 1 << 20)))
        for answer in self.take(address):
            if isinstance(answer, Delivery):
                return answer.lots
            assert isinstance(answer, Empty), answer
        return []

    def settle(self, lot: Lot, outcome: Any, offsets: list[int] | None = None, **options: Any) -> Settle:
        settlement = Settlement(lot.queue, lot.partition, lot.epoch, lot.lease, outcome, offsets, options.get("delay"), options.get("reason", ""))
        return Settle(self.next_id(), [settlement])

    def ping(self, address: bytes) -> None:
        self.turn((address, Ping(self.next_id())))
        self.take(address)

    def goodbye(self, address: bytes) -> None:
        self.turn((address, Goodbye(self.next_id())))
        self.take(address)
