"""The role of a producer with an outbox: feeds readings from the file to `Producing` while there is a session, and removes what is confirmed.

At most FEED readings are in memory, however many wait in the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import inf
from weakref import WeakValueDictionary

from zmqmq.client.bell import Bell
from zmqmq.client.gathering import Gathering
from zmqmq.client.outbox import Outbox, Reading
from zmqmq.client.posting import Posting
from zmqmq.client.receipt import DEFAULT_TIMEOUT, PendingReceipt, Receipt
from zmqmq.core.batch import Batch
from zmqmq.core.lane import Lane
from zmqmq.core.parcel import Parcel, Part
from zmqmq.core.topology import Letter
from zmqmq.errors import CallerError, ClosedError, ForkedError, ZmqmqError

FEED = 1000
"""Readings in memory, at most."""


class StoredReceipt(PendingReceipt):
    """A claim on the receipt of a reading that is in the outbox."""

    __slots__ = ("__weakref__", "_posting", "error", "receipt")

    def __init__(self, posting: StoredPosting) -> None:
        self._posting = posting
        self.receipt: Receipt | None = None
        self.error: ZmqmqError | None = None

    def done(self) -> bool:
        return self.receipt is not None or self.error is not None

    def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> Receipt:
        self._posting.wait_for(self.done, timeout)
        return self.outcome()

    def outcome(self) -> Receipt:
        if self.error is not None:
            raise self.error
        assert self.receipt is not None, "asked only when it is done"
        return self.receipt


class StoredPosting(Posting):
    """Posting, out of a file."""

    def __init__(self, outbox: Outbox, bell: Bell, create: bool, next_id: Callable[[], int]) -> None:
        super().__init__(Gathering(), bell, outbox.producer, inf, create, next_id)
        self.outbox = outbox
        self._receipts: WeakValueDictionary[int, StoredReceipt] = WeakValueDictionary()
        self._fed = 0
        self._producing.before_send = self._number
        for topic, partition, sequence in outbox.lanes():
            self._producing.lane(topic, partition, sequence)
        for batch in outbox.numbered():
            parcel = _parcel(batch.topic, batch.readings)
            self._fed += parcel.count
            self._inside[parcel] = None
            self._producing.adopt(parcel, batch.partition, batch.sequence)

    def store(self, topic: str, value: bytes, key: bytes | None, headers: str | None, delay: float | None) -> StoredReceipt:
        """Writes a reading to the file. Raises BufferFull, StorageFailed."""
        receipt = StoredReceipt(self)
        with self._bell.lock:
            self._receipts[self.outbox.put(topic, value, key, headers, delay)] = receipt
        return receipt

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None) -> None:
        """Waits until the predicate holds. Raises DeadlineExceeded or Unreachable."""
        engine = self._engine_now()
        with self._bell.lock:
            in_time = self._bell.wait_for(lambda: predicate() or engine.trouble is not None, timeout)
        if not predicate():
            engine.check()
        if not in_time:
            raise engine.explain("confirming the reading")

    def flushed(self) -> Callable[[], bool]:
        """Whether the outbox is empty."""
        engine = self._engine_now()
        engine.call()
        return lambda: engine.trouble is not None or not self.outbox.count

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        if lines and self._fed < FEED:
            self._feed()
        return super().step(now, lines)

    def is_quiet(self) -> bool:
        return True

    def fail(self, error: ZmqmqError) -> None:
        super().fail(error)
        for receipt in list(self._receipts.values()):
            if not receipt.done():
                receipt.error = error
        self.outbox.close()

    def _feed(self) -> None:
        by_topic: dict[str, list[Reading]] = {}
        for reading in self.outbox.take(FEED - self._fed):
            by_topic.setdefault(reading.topic, []).append(reading)
        with self._bell.lock:
            for topic, readings in by_topic.items():
                parcel = _parcel(topic, readings)
                self._fed += parcel.count
                self._add(parcel)

    def _number(self, topic: str, lane: Lane, batches: list[Batch]) -> None:
        numbers = [(batch.sequence, [id for part in batch.parts for id in _ids(part)]) for batch in batches]
        self.outbox.number(topic, lane.partition, numbers, lane.next_sequence)

    def _finish(self, remember: bool) -> None:
        for parcel in self._producing.completed:
            self._fed -= parcel.count
            if parcel.error is not None:
                self._end(list(parcel.note or ()), parcel.error)
            for part in parcel.parts:
                self._conclude_part(part)
        super()._finish(False)

    def _conclude_part(self, part: Part) -> None:
        ids = _ids(part)
        if part.error is not None:
            self._end(ids, part.error)
            return
        self.outbox.remove(ids)
        for place, id in enumerate(ids):
            receipt = self._receipts.pop(id, None)
            if receipt is not None:
                offset = part.offset + place if part.offset >= 0 else -1
                receipt.receipt = Receipt(part.parcel.topic, part.partition, offset, part.time)

    def _end(self, ids: list[int], error: ZmqmqError) -> None:
        """The broker will never take these readings; or this client is at its end, then they stay in the file."""
        if isinstance(error, CallerError) and not isinstance(error, ClosedError | ForkedError):
            self.outbox.remove(ids, str(error))
        for id in ids:
            receipt = self._receipts.pop(id, None)
            if receipt is not None:
                receipt.error = error


def _ids(part: Part) -> list[int]:
    note = part.parcel.note or ()
    return [note[index] for index in part.indices]


def _parcel(topic: str, readings: list[Reading]) -> Parcel:
    now = time.time()
    parcel = Parcel(topic, time.monotonic())
    parcel.values = [reading.value for reading in readings]
    parcel.keys = [reading.key for reading in readings]
    parcel.headers = [reading.headers for reading in readings]
    delays = [None if reading.due is None else max(0.0, reading.due - now) for reading in readings]
    parcel.delays = delays if any(delay is not None for delay in delays) else None
    if not any(parcel.headers):
        parcel.headers = None
    parcel.size = sum(reading.size for reading in readings)
    parcel.note = [reading.id for reading in readings]
    parcel.close()
    return parcel
