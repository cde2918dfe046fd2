"""What the types of commands cannot say: columns of one length, numbers that SQLite can store, times that are numbers.

Every check works per column and in C, never per message in Python, and raises BadFrame that names the field, what it holds
and what is allowed. -1 passes where a command documents it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from math import isfinite
from operator import attrgetter
from types import UnionType
from typing import Any, Union, get_origin

from msgspec.structs import fields

from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster
from zmqmq.core import commands as data
from zmqmq.core import peer_commands as peer
from zmqmq.core.commands import Command
from zmqmq.core.model import Kind
from zmqmq.core.peer_commands import MAX_INTEGER
from zmqmq.errors import BadFrame

MAX_CRC = 2**32 - 1
MAX_KIND = max(Kind)
MAX_QUOTED = 120
"""Characters of a foreign error text that are repeated in our own."""


def check_scalars(command: Command, path: str) -> None:
    """Every number directly in `command` is one that SQLite and a clock can take."""
    numbers, others = _scalars_of(type(command))
    if numbers is not None:
        values = numbers(command)
        if not (-1 <= min(values) and max(values) <= MAX_INTEGER and isfinite(sum(values))):  # all at once; only then is it looked for which one
            others = command.__struct_fields__
    for field in others:
        _check_scalar(getattr(command, field), path, field)


@cache
def _scalars_of(kind: type[Command]) -> tuple[Callable[[Command], tuple[float, ...]] | None, tuple[str, ...]]:
    """What reads all the fields of a command that are numbers without limits of their own, and the names of those that may be numbers."""
    types = {field.name: field.type for field in fields(kind)}
    numbers = [name for name, type_ in types.items() if type_ in (int, float)]
    others = tuple(name for name, type_ in types.items() if get_origin(type_) in (Union, UnionType) or type_ in (object, Any))
    return (attrgetter(numbers[0], *numbers) if numbers else None), others  # of one name alone it would give no tuple


def _check_scalar(value: object, path: str, field: str) -> None:
    if isinstance(value, int) and not -1 <= value <= MAX_INTEGER:
        raise BadFrame(f"{path}.{field} is {value}", hint=f"allowed is -1 to {MAX_INTEGER}")
    if isinstance(value, float) and not isfinite(value):
        raise BadFrame(f"{path}.{field} is {value}", hint="allowed is a finite number")


def _check_all(commands: Iterable[Command], path: str) -> None:
    for command in commands:
        check_scalars(command, path)


def _check_rows(rows: Iterable[tuple[object, ...]], path: str) -> None:
    for row in rows:
        for column, value in enumerate(row):
            _check_scalar(value, path, str(column))


def _check_integers(values: Sequence[int], path: str, highest: int = MAX_INTEGER) -> None:
    if values and not (min(values) >= 0 and max(values) <= highest):
        raise BadFrame(f"{path} holds {min(values) if min(values) < 0 else max(values)}", hint=f"allowed is 0 to {highest}")


def _check_columns(path: str, length: int, columns: Sequence[tuple[str, Sequence[Any] | None]]) -> None:
    for name, column in columns:
        if column is not None and len(column) != length:
            raise BadFrame(f"{path}.{name} has {len(column)} entries", hint=f"all columns of this batch have {length}")


def _check_produce(command: data.Produce) -> None:
    count = len(command.values)
    if not count:
        raise BadFrame("produce.values is empty", hint="a batch holds at least one message")
    columns = (("crcs", command.crcs), ("keys", command.keys), ("headers", command.headers), ("delays", command.delays))
    _check_columns("produce", count, columns)
    _check_integers(command.crcs, "produce.crcs", MAX_CRC)
    _check_integers((command.partition, command.epoch, command.producer, command.sequence, command.oldest), "produce")
    if not command.oldest <= command.sequence <= MAX_INTEGER - count:
        raise BadFrame(f"produce.sequence is {command.sequence}", hint=f"allowed is oldest ({command.oldest}) to {MAX_INTEGER - count}")
    for delay in command.delays or ():
        if delay is not None and not (isfinite(delay) and delay >= 0):
            raise BadFrame(f"produce.delays holds {delay}", hint="allowed is a number of seconds from 0 on")


def _check_subscribe(command: data.Subscribe) -> None:
    _check_integers(command.partitions or (), "subscribe.partitions")
    for held in command.held:
        check_scalars(held, "subscribe.held")
        _check_integers(held.offsets, "subscribe.held.offsets")
        _check_columns("subscribe.held", len(held.offsets), (("attempts", held.attempts),))
        _check_integers(held.attempts or (), "subscribe.held.attempts")


def _check_subscribed(command: data.Subscribed) -> None:
    _check_integers(command.partitions, "subscribed.partitions")
    _check_all(command.leases, "subscribed.leases")


def _check_settlements(command: data.Settle | data.Settled) -> None:
    settlements = command.settlements if isinstance(command, data.Settle) else command.lost
    if isinstance(command, data.Settled):
        _check_integers(command.elsewhere, "settled.elsewhere")
    for settlement in settlements:
        check_scalars(settlement, "settle.settlements")
        _check_integers(settlement.offsets or (), "settle.settlements.offsets")


def _check_delivery(command: data.Delivery) -> None:
    for lot in command.lots:
        check_scalars(lot, "delivery.lots")
        columns = (
            ("offsets", lot.offsets),
            ("times", lot.times),
            ("crcs", lot.crcs),
            ("keys", lot.keys),
            ("headers", lot.headers),
            ("attempts", lot.attempts),
        )
        _check_columns("delivery.lots", len(lot.values), columns)
        _check_integers(lot.offsets, "delivery.lots.offsets")


def _check_offsets(command: admin.Replay | admin.Purge | data.Recalled) -> None:
    _check_integers(command.offsets, f"{command.__struct_config__.tag}.offsets")


def _check_changes(command: admin.AlterTopic | admin.CreateTopic) -> None:
    changes = command.changes if isinstance(command, admin.AlterTopic) else command.settings
    for name, value in changes.items():
        if isinstance(value, float) and not isfinite(value):
            raise BadFrame(f"{command.__struct_config__.tag}: {name[:MAX_QUOTED]} is {value}", hint="allowed is a finite number")


def _check_welcome(command: data.Welcome) -> None:
    if not (command.session_timeout > 0 and command.beacon_interval > 0):
        raise BadFrame("welcome.session_timeout and welcome.beacon_interval are seconds", hint="allowed is more than 0")


def _check_report(command: cluster.ClusterReport) -> None:
    _check_all(command.members, "cluster_report.members")
    _check_all(command.places, "cluster_report.places")
    for place in command.places:
        _check_integers(list(place.lag.values()), "cluster_report.places.lag")


def _check_reassign(command: cluster.Reassign) -> None:
    _check_integers((command.partition,), "reassign.partition")
    if not command.replicas:
        raise BadFrame("reassign.replicas is empty", hint="name at least one broker")


# --- Between brokers -----------------------------------------------------------------------------------------------


def _check_fetch(command: peer.Fetch) -> None:
    if command.wait < 0:
        raise BadFrame(f"fetch.wait is {command.wait}", hint="allowed is a number of seconds from 0 on")


def _check_fetched(command: peer.Fetched) -> None:
    for part in command.parts:
        for block in part.blocks:
            _check_block(block)


def _check_block(block: peer.Block) -> None:
    path, count = "fetched.parts.blocks", len(block.values)
    check_scalars(block, path)
    _check_integers((block.kind,), f"{path}.kind", MAX_KIND)
    if not count or (count > 1 and block.kind == Kind.DELAYED):
        raise BadFrame(f"{path}.values has {count} entries", hint="allowed is at least one record, of delayed ones just one")
    if block.due is not None and block.kind != Kind.DELAYED:
        raise BadFrame(f"{path}.due is {block.due}", hint="only delayed messages have it")
    if block.first > MAX_INTEGER - count:
        raise BadFrame(f"{path}.first is {block.first}", hint=f"allowed is 0 to {MAX_INTEGER - count}")
    _check_columns(path, count, (("crcs", block.crcs), ("keys", block.keys), ("headers", block.headers)))
    _check_integers(block.crcs, f"{path}.crcs", MAX_CRC)


def _check_ask_snapshot(command: peer.AskSnapshot) -> None:
    _check_integers((command.id, command.be, command.topic_id, command.partition, command.epoch), "ask_snapshot")


def _check_snapshot(command: peer.Snapshot) -> None:
    head = (command.topic_id, command.partition, command.epoch, command.start, command.applied, command.messages, command.size, command.delayed)
    _check_integers((*head, command.trimmed), "snapshot")
    for name in ("epochs", "producers", "groups", "members", "dead"):
        _check_rows(getattr(command, name), f"snapshot.{name}")
    for epoch in command.epochs:
        _check_integers(epoch, "snapshot.epochs")
    _check_integers([offset for _, offset, *_ in command.dead], "snapshot.dead")


CHECKS: dict[type[Command], Callable[[Any], None]] = {
    data.Produce: _check_produce,
    data.Subscribe: _check_subscribe,
    data.Subscribed: _check_subscribed,
    data.Settle: _check_settlements,
    data.Settled: _check_settlements,
    data.Delivery: _check_delivery,
    data.Recalled: _check_offsets,
    data.Welcome: _check_welcome,
    admin.Replay: _check_offsets,
    admin.Purge: _check_offsets,
    admin.AlterTopic: _check_changes,
    admin.CreateTopic: _check_changes,
    cluster.ClusterReport: _check_report,
    cluster.Reassign: _check_reassign,
    peer.Fetch: _check_fetch,
    peer.Fetched: _check_fetched,
    peer.AskSnapshot: _check_ask_snapshot,
    peer.Snapshot: _check_snapshot,
}
"""What is checked beside the numbers directly in a command."""
