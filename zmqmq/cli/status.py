"""`zmqmq status` and `zmqmq brokers`: how the brokers are."""

from __future__ import annotations

from typing import Annotated

import typer

from zmqmq.cli.link import Link
from zmqmq.cli.output import duration, emit, facts, size, table
from zmqmq.core.admin_commands import BrokerStatus


def status(
    link: Link,
    sessions: Annotated[int, typer.Option(min=0, max=1000, help="sessions to list")] = 100,
    broker: Annotated[str, typer.Option(metavar="BROKER", help="which broker of a cluster: its broker_id", show_default="the one that answers")] = "",
) -> None:
    """Shows the broker: role, sessions, partitions, disk, traffic."""
    with link.admin() as admin:
        found = admin.status(sessions=sessions, broker=broker)
    if link.json:
        emit(found)
        return
    facts(_lines(found))
    columns = ["client", "name", "software", "connected#", "silent#", "held#", "subscriptions"]
    rows = (
        [item.client_id[:8], item.name or "-", item.software, duration(item.connected), duration(item.silent), item.held, " ".join(item.queues) or "-"]
        for item in found.session_list
    )
    table(columns, rows, title="\nsessions")


def brokers(link: Link) -> None:
    """Lists the brokers and who leads."""
    with link.admin() as admin:
        found = list(admin.brokers())
    if link.json:
        emit(found)
        return
    rows = ([item.broker_id, item.endpoint, item.role, item.partitions_led, item.software] for item in found)
    table(["broker", "address", "role", "leads#", "software"], rows)


def _lines(found: BrokerStatus) -> list[tuple[str, object]]:
    disk = f"{size(found.storage_bytes)} used, {size(found.disk_free)} free" + (" (FULL: new messages are refused)" if found.storage_full else "")
    return [
        ("broker", f"{found.broker_id} ({found.role}) at {found.endpoint}"),
        ("software", found.software),
        ("up", f"{duration(found.uptime)}, start number {found.incarnation}"),
        ("topics", f"{found.topics} with {found.partitions} partitions, {found.partitions_led} led here"),
        ("messages", f"{found.messages} kept, {size(found.size)}"),
        ("sessions", f"{found.sessions}, holding {found.held} messages"),
        ("traffic", f"{found.accepted} accepted, {found.delivered} delivered, {found.settled} settled since the start"),
        ("disk", disk),
        ("loop lag", duration(found.loop_lag)),
    ]
