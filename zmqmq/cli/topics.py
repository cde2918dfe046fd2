"""`zmqmq topics` and `zmqmq topic create | describe | alter | add-partitions | delete`."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from zmqmq.cli import exits
from zmqmq.cli.cluster import demand_cluster
from zmqmq.cli.link import Link, command, confirm, leave
from zmqmq.cli.output import emit, facts, moment, plain, say, size, table
from zmqmq.client.admin_values import Topic as TopicWithPartitions
from zmqmq.config_wording import allowed, fields_of, suggestion
from zmqmq.core.model import TopicSettings

app = typer.Typer(help="Create, describe, alter, widen and delete topics.", no_args_is_help=True)

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="name of the topic")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=f"a setting: {', '.join(TopicSettings.__struct_fields__)}")]


def topics(link: Link) -> None:
    """Lists the topics."""
    with link.admin() as admin:
        found = list(admin.topics())
    if link.json:
        emit(found)
        return
    columns = ["topic", "partitions#", "replicas#", "messages#", "size#", "groups#", "delayed#"]
    table(columns, ([item.topic, item.partitions, item.replicas, item.messages, size(item.size), item.groups, item.delayed] for item in found), title="topics")


@command(app, "create")
def create(
    link: Link,
    topic: Topic,
    partitions: Annotated[
        int | None, typer.Option(min=1, max=1000, help="how many ordered logs it has; a cluster can add some later", show_default="the broker's")
    ] = None,
    replicas: Annotated[int | None, typer.Option(min=1, max=9, help="brokers that keep a copy", show_default="the broker's")] = None,
    set_: Set = None,
) -> None:
    """Creates a topic, e.g. `zmqmq topic create temp_1 --set max_attempts=3 --set max_age=86400`."""
    wanted = settings(set_)
    with link.admin() as admin:
        _show(link, admin.create_topic(topic, partitions, replicas, **wanted))


@command(app, "describe")
def describe(link: Link, topic: Topic) -> None:
    """Shows a topic's settings and partitions."""
    with link.admin() as admin:
        _show(link, admin.topic(topic))


@command(app, "alter")
def alter(link: Link, topic: Topic, set_: Set = None) -> None:
    """Changes settings of a topic, e.g. `zmqmq topic alter temp_1 --set max_attempts=10`; the others stay."""
    changes = settings(set_)
    if not changes:
        leave(exits.USAGE, "nothing to change: give --set NAME=VALUE")
    with link.admin() as admin:
        _show(link, admin.alter_topic(topic, **changes))


@command(app, "add-partitions")
def add_partitions(
    link: Link, topic: Topic, partitions: Annotated[int, typer.Argument(min=1, max=1000, metavar="PARTITIONS", help="how many there shall be in all")]
) -> None:
    """Gives a topic of a cluster more partitions; keys may get another one, so order per key holds from then on only."""
    with link.admin() as admin:
        demand_cluster(admin)
        _show(link, admin.add_partitions(topic, partitions))


@command(app, "delete")
def delete(link: Link, topic: Topic, yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Deletes a topic with its messages, groups and dead letters."""
    confirm(f"delete topic {topic} and everything in it?", yes)
    with link.admin() as admin:
        admin.delete_topic(topic)
    emit({"deleted": topic}) if link.json else say(f"deleted {topic}")


def settings(pairs: list[str] | None) -> dict[str, str | int | float | None]:
    """{"max_attempts": 3} of ["max_attempts=3"]; "null" is none. Ends the command for what is not allowed."""
    fields = fields_of(TopicSettings)
    given: dict[str, str | int | float | None] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals or name not in fields:
            leave(exits.USAGE, f"--set {pair!r}: expected NAME=VALUE; {suggestion(name, fields)}")
        try:
            given[name] = msgspec.convert(text, fields[name].type, strict=False)
        except msgspec.ValidationError:
            leave(exits.USAGE, f"--set {pair!r}: allowed: {allowed(fields[name].type)}")
    return given


def _show(link: Link, topic: TopicWithPartitions) -> None:
    if link.json:
        emit(topic)
        return
    settings = [(name, _none(getattr(topic.settings, name))) for name in TopicSettings.__struct_fields__]
    facts([("topic", topic.name), ("created", moment(topic.created)), *settings])
    columns = ["partition#", "leader", "epoch#", "in sync", "start#", "end#", "committed#", "messages#", "size#", "delayed#"]
    rows = (
        [item.partition, item.leader, item.epoch, " ".join(item.in_sync), item.start, item.end, item.committed, item.messages, size(item.size), item.delayed]
        for item in topic.partitions
    )
    table(columns, rows)


def _none(value: object) -> object:
    return "none" if value is None else plain(value)
