"""What `send` gives back: a light claim on a receipt, and the receipt itself once the message is safe."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from zmqmq.core.parcel import Parcel
from zmqmq.errors import ZmqmqError

DEFAULT_TIMEOUT = 10.0
"""Seconds that a call waits unless told otherwise."""


class Receipt(NamedTuple):
    """The message is safe: on the disk of every in-sync replica."""

    topic: str
    partition: int
    offset: int
    """-1: accepted at an earlier sending, at an offset that the broker does not remember any more."""
    timestamp: float
    """When the broker accepted it: seconds since 1970 UTC."""


class PendingReceipt:
    """A message on its way. Keeping it costs nothing but memory; nobody has to ask it."""

    __slots__ = ("_index", "_parcel", "_post")

    def __init__(self, post: ReceiptPost, parcel: Parcel, index: int) -> None:
        self._post = post
        self._parcel = parcel
        self._index = index

    def done(self) -> bool:
        """Whether it is known what became of the message."""
        return self._parcel.is_resolved(self._index)

    def result(self, timeout: float | None = DEFAULT_TIMEOUT) -> Receipt:
        """Waits until the message is safe, at most `timeout` seconds (None: until its outcome is known).

        Raises DeadlineExceeded or Unreachable when the time is over (the message goes on), OutcomeUnknown when it may or may not have
        been accepted, or the error with which the broker refused it."""
        self._post.wait_resolved(self._parcel, self._index, timeout)
        return self.outcome()

    def outcome(self) -> Receipt:
        """The receipt of a message that is done; raises its error."""
        parcel, index = self._parcel, self._index
        part = parcel.part_of(index)
        error = parcel.error if part is None else part.error
        if error is not None:
            self._post.observed(parcel)
            raise _again(error)
        assert part is not None, "a parcel without an error was cut"
        place = part.position(index) or 0
        return Receipt(parcel.topic, part.partition, part.offset + place if part.offset >= 0 else -1, part.time)


class ReceiptPost(Protocol):
    """Where receipts come from: their producer."""

    def wait_resolved(self, parcel: Parcel, index: int, timeout: float | None) -> None:
        """Waits until the message has an outcome."""

    def observed(self, parcel: Parcel) -> None:
        """Somebody has seen the failure of this parcel."""


def _again(error: ZmqmqError) -> ZmqmqError:
    """A copy to raise: one exception object must not be raised by two threads."""
    copy = type(error)(error.message, hint=error.hint)
    copy.details = error.details
    copy.__cause__ = error.__cause__
    return copy
