"""What a member of a cluster wants on disk besides: cut logs, promises, snapshots of other replicas, and who it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class TruncateLog(NamedTuple):
    """Forget the records from `end` on, the epochs that begin beyond it, and the due times of delayed messages among them: another leader's log differs there.

    Never below what is committed, so no table says anything about them."""

    log_id: int
    end: int


class DropLog(NamedTuple):
    """One partition's records and tables go: this broker is no replica of it any more, or takes a snapshot instead."""

    log_id: int


class PutPromise(NamedTuple):
    """The highest epoch of the partition that this broker has ever heard of: it never answers in a lower one again."""

    log_id: int
    epoch: int


class PutSnapshot(NamedTuple):
    """The tables of an empty log, as another replica has them (`zmqmq.core.peer_commands.Snapshot`)."""

    log_id: int
    start: int
    applied: int
    messages: int
    size: int
    delayed: int
    epochs: Sequence[tuple[int, int]]
    producers: Sequence[tuple[int, int, str, float]]
    groups: Sequence[tuple[str, int, str, str, str, int, int, str]]
    members: Sequence[tuple[str, str, float]]
    dead: Sequence[tuple[str, int, int, str, str, float, int]]
    trimmed: int = 0
    """As in `LogState`, if it is beyond `start`."""


class PutMissing(NamedTuple):
    """Of a copy that is being taken over: records below `below` were gone where it comes from. What is here of them stays until the log itself says TrimLog:
    only then the tables know which of them are dead letters by now."""

    log_id: int
    below: int


class PutSession(NamedTuple):
    """The coordination session of this life, by which the next one knows what it may remove."""

    session: int


class RenewStorageId(NamedTuple):
    """This store turned out to be an old copy: whoever trusted it must not trust it any more."""

    storage_id: str


class PutClusterId(NamedTuple):
    """The store belongs to this cluster from now on."""

    cluster_id: str
