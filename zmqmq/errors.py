"""Every error that zmqmq raises or answers with, sorted by whose fault it is and whether a retry helps.

    ZmqmqError
    ├── CallerError            your call cannot succeed as it stands; repeating it does not help
    │   ├── InvalidName            a topic, group or key that breaks the naming rules
    │   ├── InvalidValue           a number, delay or setting outside its limits (also a ValueError)
    │   │   └── ConfigError        the same, in a configuration file, flag or variable
    │   │       ├── ClusterMismatch    the broker belongs to another cluster, or to another version of one
    │   │       └── BrokerTaken        another live broker has the same broker id
    │   ├── MessageTooLarge        a value, key or header block over the broker's limit
    │   ├── UnknownTopic           no such topic, and automatic creation is off
    │   ├── TopicExists            the topic is there already, with other settings
    │   ├── UnknownGroup           no consumer has ever joined such a group
    │   ├── LeaseLost              the message is no longer held by this consumer
    │   │   └── AlreadySettled     because this very consumer settled it before
    │   ├── ClosedError            the client was closed
    │   └── ForkedError            the client was made in another process
    ├── BrokerError            the broker cannot do it now; a retry later may succeed
    │   ├── Unreachable            no broker answered; lists every endpoint with its own reason
    │   ├── NotLeader              another broker leads the partition
    │   ├── NotEnoughReplicas      fewer in-sync replicas than min_in_sync
    │   ├── StorageFull            the broker's disk is full
    │   ├── TopicFull              max_bytes is reached and nothing may be deleted
    │   └── Overloaded             a limit of the broker (sessions, groups, topics) is reached
    ├── OutcomeUnknown         the answer never came: done or not, nobody knows; a retry is safe
    ├── BufferFull             the client's own buffer or outbox is full and its policy is to raise
    ├── DeadlineExceeded       a wait ran out of time (also a TimeoutError); what was sent goes on
    ├── ProtocolError          the two sides do not speak the same language
    │   ├── BadFrame               bytes that are no command of this protocol
    │   ├── UnsupportedVersion     no common protocol version
    │   └── OutOfOrder             a producer's sequence has a gap
    └── StorageError           the broker's own store
        ├── StorageDamaged         the files are not what zmqmq wrote
        ├── StorageTooNew          written by a newer zmqmq
        ├── StorageLocked          another broker uses the data directory
        └── StorageFailed          an I/O error; the broker stops rather than guess

Errors travel as their class name (`code`), a sentence, a hint and details, and come back as the same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class ZmqmqError(Exception):
    """What went wrong (`str(error)`), what to do about it (`hint`), and where (`details`: topic, partition, broker …)."""

    retryable = False

    def __init__(self, message: str, *, hint: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, str] = {name: str(value) for name, value in details.items() if value is not None}

    @property
    def code(self) -> str:
        """The name by which this error travels: its class name."""
        return type(self).__name__

    def __str__(self) -> str:
        where = ", ".join(f"{name} {value}" for name, value in self.details.items())
        text = f"{self.message} ({where})" if where else self.message
        return f"{text}; {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.details)


def _rebuild(kind: type[ZmqmqError], message: str, hint: str, details: Mapping[str, str]) -> ZmqmqError:
    error = kind(message, hint=hint)
    error.details = dict(details)
    return error


class CallerError(ZmqmqError):
    """Your call cannot succeed as it stands."""


class InvalidName(CallerError):
    """A topic, group or key that breaks the naming rules."""


class InvalidValue(CallerError, ValueError):
    """A number, delay or setting outside its limits."""


class ConfigError(InvalidValue):
    """A configuration file, flag or variable that cannot be used."""


class ClusterMismatch(ConfigError):
    """The broker belongs to another cluster, or the cluster to another version of zmqmq."""


class BrokerTaken(ConfigError):
    """Another live broker has the same broker id."""


class MessageTooLarge(CallerError):
    """A value, key or header block over the broker's limit."""


class UnknownTopic(CallerError):
    """No such topic, and automatic creation is off."""


class TopicExists(CallerError):
    """The topic exists already."""


class UnknownGroup(CallerError):
    """No such group on this topic."""


class LeaseLost(CallerError):
    """The message is no longer held by this consumer: it may be with another one by now."""


class AlreadySettled(LeaseLost):
    """This consumer has settled the message before."""


class ClosedError(CallerError):
    """The client was closed."""


class ForkedError(CallerError):
    """The client was made before a fork, in the parent process."""


class BrokerError(ZmqmqError):
    """The broker cannot do it now."""

    retryable = True


class Unreachable(BrokerError):
    """No broker answered."""


class NotLeader(BrokerError):
    """Another broker leads the partition."""


class NotEnoughReplicas(BrokerError):
    """Fewer in-sync replicas than the topic asks for."""


class StorageFull(BrokerError):
    """The broker's disk is full."""


class TopicFull(BrokerError):
    """The topic has reached max_bytes and nothing of it may be deleted yet."""


class Overloaded(BrokerError):
    """A limit of the broker is reached."""


class OutcomeUnknown(ZmqmqError):
    """The answer never came; sending again is safe."""

    retryable = True


class BufferFull(ZmqmqError):
    """The client's own buffer is full."""

    retryable = True


class DeadlineExceeded(ZmqmqError, TimeoutError):
    """A wait ran out of time; what was waited for goes on."""

    retryable = True


class ProtocolError(ZmqmqError):
    """The two sides do not speak the same language."""


class BadFrame(ProtocolError):
    """Bytes that are no command of this protocol."""


class UnsupportedVersion(ProtocolError):
    """No protocol version in common."""


class OutOfOrder(ProtocolError):
    """A producer's sequence has a gap: a batch before this one is missing."""


class StorageError(ZmqmqError):
    """The broker's store cannot be used."""


class StorageDamaged(StorageError):
    """The files are not what zmqmq wrote."""


class StorageTooNew(StorageError):
    """Written by a newer version of zmqmq."""


class StorageLocked(StorageError):
    """Another broker uses the data directory."""


class StorageFailed(StorageError):
    """An I/O error: whether the last transaction is on disk is not known."""


def _tree(kind: type[ZmqmqError]) -> Iterator[type[ZmqmqError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


BY_CODE: dict[str, type[ZmqmqError]] = {kind.__name__: kind for kind in _tree(ZmqmqError)}


def from_code(code: str, message: str, hint: str, details: Mapping[str, str]) -> ZmqmqError:
    """The error that a peer's answer names; an unknown code (a newer broker) becomes a plain `ZmqmqError`."""
    return _rebuild(BY_CODE.get(code, ZmqmqError), message, hint, details)
