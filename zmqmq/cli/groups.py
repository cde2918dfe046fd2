"""`zmqmq groups`, `zmqmq group delete`, `zmqmq lag`, `zmqmq seek`, `zmqmq explain`: what the groups of a topic do."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from zmqmq.cli import exits
from zmqmq.cli.link import Link, command, confirm, leave
from zmqmq.cli.output import emit, moment, say, short, table

app = typer.Typer(help="Manage consumer groups.", no_args_is_help=True)

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="name of the topic")]
Group = Annotated[str, typer.Argument(metavar="GROUP", help="name of the group")]


def groups(link: Link, topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="only this topic's", show_default=False)] = None) -> None:
    """Lists the consumer groups, of one topic or of all."""
    with link.admin() as admin:
        found = list(admin.groups(topic or ""))
    if link.json:
        emit(found)
        return
    columns = ["topic", "group", "members#", "lag#", "held#", "to retry#", "dead#"]
    table(columns, ([item.topic, item.group, item.members, item.lag, item.held, item.waiting_retry, item.dead] for item in found), title="groups")


@command(app, "delete")
def delete(link: Link, topic: Topic, group: Group, yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Forgets a group, its position and its dead letters; refused while consumers are in it."""
    confirm(f"delete group {group} of topic {topic}?", yes)
    with link.admin() as admin:
        admin.delete_group(topic, group)
    emit({"topic": topic, "deleted": group}) if link.json else say(f"deleted {group} of {topic}")


def lag(link: Link, topic: Topic, group: Group) -> None:
    """Shows how far a group is behind, per partition."""
    with link.admin() as admin:
        found = admin.lag(topic, group)
    if link.json:
        emit(found)
        return
    columns = ["partition#", "position#", "end#", "lag#", "held#", "to retry#", "dead#", "oldest waits since"]
    rows = ([item.partition, item.position, item.end, item.lag, item.held, item.waiting_retry, item.dead, moment(item.oldest)] for item in found.partitions)
    table(columns, rows, title=f"{topic} / {group}: {found.lag} behind")


def seek(
    link: Link,
    topic: Topic,
    group: Group,
    to: Annotated[str, typer.Argument(metavar="TO", help="earliest, latest, an offset, or a time like 2026-11-21T10:00 (UTC unless it says otherwise)")],
    partition: Annotated[int | None, typer.Option(min=0, help="only this partition", show_default=False)] = None,
) -> None:
    """Moves a group to another position: what lies before it counts as settled, what lies behind it is delivered (again)."""
    with link.admin() as admin:
        count = admin.seek(topic, group, position(to), partition=partition)
    emit({"topic": topic, "group": group, "lag": count}) if link.json else say(f"{group} of {topic} is at {to}: {count} messages to deliver")


def position(text: str) -> str | int | datetime:
    """What `TO` means."""
    if text in ("earliest", "latest"):
        return text
    if re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        leave(exits.USAGE, f"TO {text!r}: allowed are earliest, latest, an offset, or a time like 2026-11-21T10:00")
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def explain(link: Link, topic: Topic, group: Group) -> None:
    """Says why nothing is delivered to a group now."""
    with link.admin() as admin:
        found = admin.explain(topic, group)
    if link.json:
        emit(found)
        return
    say(found.verdict)
    columns = ["partition#", "why", "messages#", "key", "consumer", "since", "until", ""]
    rows = (
        [item.partition, item.code, item.messages, short(item.key), item.consumer or "-", moment(item.since), moment(item.until), item.text]
        for item in found.reasons
    )
    if found.reasons:
        table(columns, rows)
