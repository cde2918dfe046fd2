"""`zmqmq dead list | show | replay | purge`: messages that a group gave up on, and the way back."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from zmqmq.cli import exits
from zmqmq.cli.link import Link, command, confirm, leave
from zmqmq.cli.output import emit, facts, moment, plain, say, short, table
from zmqmq.client.admin_values import DeadLetter

app = typer.Typer(help="List, show, replay and purge dead letters.", no_args_is_help=True)

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="name of the topic")]
Group = Annotated[str, typer.Argument(metavar="GROUP", help="name of the group")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]
Partition = Annotated[int | None, typer.Option("--partition", min=0, help="only this partition's", show_default=False)]
Offsets = Annotated[list[int] | None, typer.Option("--offset", min=0, help="only this one; may be repeated; needs --partition", show_default=False)]


@command(app, "list")
def list_(link: Link, topic: Topic, group: Group, limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="at most so many")] = 100) -> None:
    """Lists dead letters, oldest first in each partition."""
    with link.admin() as admin:
        found = list(islice(admin.dead_letters(topic, group), limit))
    if link.json:
        emit(found)
        return
    columns = ["partition#", "offset#", "key", "value", "attempts#", "died", "reason", "last consumer"]
    rows = ([item.partition, item.offset, short(item.key), short(item.value), item.attempts, moment(item.died), item.reason, item.consumer] for item in found)
    table(columns, rows, title=f"dead letters of {topic} / {group}")


@command(app, "show")
def show(
    link: Link,
    topic: Topic,
    group: Group,
    partition: Annotated[int, typer.Argument(min=0, metavar="PARTITION", help="its partition")],
    offset: Annotated[int, typer.Argument(min=0, metavar="OFFSET", help="its offset")],
) -> None:
    """Shows one dead letter in full."""
    with link.admin() as admin:
        found = next((item for item in admin.dead_letters(topic, group) if (item.partition, item.offset) == (partition, offset)), None)
    if found is None:
        leave(exits.NOT_FOUND, f"no dead letter of {group} at partition {partition} offset {offset} of {topic}")
    emit(found) if link.json else facts(_lines(found))


@command(app, "replay")
def replay(link: Link, topic: Topic, group: Group, partition: Partition = None, offset: Offsets = None) -> None:
    """Puts dead letters back into delivery: all of the group, or those chosen."""
    _check(partition, offset)
    with link.admin() as admin:
        count = admin.replay(topic, group, partition=partition, offsets=offset or [])
    emit({"replayed": count}) if link.json else say(f"replayed {count}")


@command(app, "purge")
def purge(
    link: Link, topic: Topic, group: Group, partition: Partition = None, offset: Offsets = None, yes: Yes = False
) -> None:
    """Deletes dead letters for good: all of the group, or those chosen."""
    _check(partition, offset)
    confirm(f"delete {'the chosen' if offset or partition is not None else 'all'} dead letters of {topic} / {group} for good?", yes)
    with link.admin() as admin:
        count = admin.purge(topic, group, partition=partition, offsets=offset or [])
    emit({"purged": count}) if link.json else say(f"purged {count}")


def _check(partition: int | None, offsets: list[int] | None) -> None:
    if offsets and partition is None:
        leave(exits.USAGE, "--offset needs --partition: offsets count within a partition")


def _lines(found: DeadLetter) -> list[tuple[str, object]]:
    return [
        ("partition", found.partition),
        ("offset", found.offset),
        ("key", "-" if found.key is None else plain(found.key)),
        ("headers", ", ".join(f"{name}={value}" for name, value in found.headers.items()) or "-"),
        ("accepted", moment(found.accepted)),
        ("died", moment(found.died)),
        ("attempts", found.attempts),
        ("reason", found.reason or "-"),
        ("last consumer", found.consumer or "-"),
        ("value", plain(found.value)),
    ]
