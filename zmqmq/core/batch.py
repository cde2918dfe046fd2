"""A batch: parts of parcels that travel to one partition as one Produce, under sequences that they keep for life."""

from __future__ import annotations

from typing import TypeVar

from zmqmq.core.checksum import checksums
from zmqmq.core.commands import Produce
from zmqmq.core.parcel import Part
from zmqmq.errors import ZmqmqError

Cell = TypeVar("Cell")
Columns = tuple[list[bytes], list[bytes | None] | None, list[str | None] | None, list[float | None] | None]
"""values, keys, headers, delays"""


class Batch:
    """Its columns and checksums are made once and sent as often as needed."""

    __slots__ = ("columns", "count", "crcs", "id", "ids", "maybe_accepted", "parts", "refusal", "sent_at", "sequence")

    def __init__(self, sequence: int, parts: list[Part]) -> None:
        self.sequence = sequence
        self.parts = parts
        self.columns = join(parts)
        values, keys, headers, _ = self.columns
        self.count = len(values)
        self.crcs = checksums(values, keys, headers)
        self.id = 0
        """Id of the Produce that is on its way; 0: to be sent."""
        self.ids: list[int] = []
        """Ids under which the present leader got it in this session: on a slow link the answer may come when the batch has been repeated already."""
        self.sent_at = 0.0
        self.maybe_accepted = False
        """Sent, and not refused since."""
        self.refusal: ZmqmqError | None = None

    @property
    def created(self) -> float:
        """When its youngest part was: the delivery timeout counts from there."""
        return self.parts[-1].parcel.created

    def command(self, id: int, partition: int, epoch: int, producer: int, oldest: int, now: float) -> Produce:
        """The Produce to send now; delays are shortened by the time that the batch has waited here."""
        values, keys, headers, delays = self.columns
        if delays is not None:
            waited = max(0.0, now - self.parts[0].parcel.created)
            delays = [None if delay is None else max(0.0, delay - waited) for delay in delays]
        self.id, self.sent_at, self.maybe_accepted = id, now, True
        self.ids.append(id)
        topic = self.parts[0].parcel.topic
        return Produce(id, topic, partition, epoch, producer, self.sequence, oldest, values, self.crcs, keys, headers, delays)


def join(parts: list[Part]) -> Columns:
    """The columns of the parts' messages, one after the other; the parcel's own lists when one part is all of it."""
    first = parts[0].parcel
    if len(parts) == 1 and len(parts[0].indices) == first.count:
        return first.values, first.keys, first.headers, first.delays
    values: list[bytes] = []
    keys: list[bytes | None] = []
    headers: list[str | None] = []
    delays: list[float | None] = []
    for part in parts:
        parcel, indices = part.parcel, part.indices
        values += map(parcel.values.__getitem__, indices)
        keys += _cells(parcel.keys, part)
        headers += _cells(parcel.headers, part)
        delays += _cells(parcel.delays, part)
    return values, _or_none(keys), _or_none(headers), delays if any(delay is not None for delay in delays) else None


def _cells(column: list[Cell | None] | None, part: Part) -> list[Cell | None]:
    if column is None:
        return [None] * len(part.indices)
    return list(map(column.__getitem__, part.indices))


def _or_none(column: list[Cell | None]) -> list[Cell | None] | None:
    return column if any(column) else None
