"""Which desk handles which command of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import Describe, Goodbye, Ping, Produce, Pull, Settle, Subscribe
from zmqmq.core.context import Context
from zmqmq.core.sessions import Session
from zmqmq.errors import NotLeader, UnknownTopic, ZmqmqError

if TYPE_CHECKING:
    from zmqmq.core.node import Node

Handler = Callable[[Session, Any], None]
Routes = dict[type[Any], Handler]


def routes(node: Node) -> Routes:
    """All handlers. What only asks waits for the end of the turn."""
    asks = {kind: _later(node.context, handler) for kind, handler in _asks(node).items()}
    together = _changes(node) | asks
    if node.cluster is None:
        return together
    elsewhere = {kind: _perhaps_elsewhere(together[kind]) for kind in (Produce, Subscribe)}
    return together | elsewhere | node.cluster.desk.handlers(lambda handler: _later(node.context, handler))


def _changes(node: Node) -> Routes:
    return {
        Ping: node.greeting.ping,
        Goodbye: node.greeting.goodbye,
        Describe: node.intake.describe,
        Produce: node.intake.produce,
        Subscribe: node.consumers.subscribe,
        Pull: node.consumers.pull,
        Settle: node.consumers.settle,
        admin.CreateTopic: node.administration.create_topic,
        admin.AlterTopic: node.administration.alter_topic,
        admin.DeleteTopic: node.administration.delete_topic,
        admin.DeleteGroup: node.administration.delete_group,
        admin.Seek: node.administration.seek,
        admin.Replay: node.administration.replay,
        admin.Purge: node.administration.purge,
    }


def _asks(node: Node) -> Routes:
    return {
        admin.ListTopics: node.overview.list_topics,
        admin.DescribePartitions: node.overview.describe_partitions,
        admin.ListGroups: node.overview.list_groups,
        admin.AskLag: node.overview.lag,
        admin.ListDead: node.overview.list_dead,
        admin.AskExplain: node.overview.explain,
        admin.AskStatus: node.overview.status,
        admin.ListBrokers: node.overview.brokers,
    }


def _later(context: Context, handler: Handler) -> Handler:
    """Answers at the end of the turn, with what is on disk by then."""

    def wait(session: Session, command: Any) -> None:
        def answer() -> None:
            try:
                handler(session, command)
            except ZmqmqError as error:
                context.refuse(session.address, command.id, error)

        context.after_turn.append(answer)

    return wait


def _perhaps_elsewhere(handler: Handler) -> Handler:
    """What is unknown on one broker may be known to its cluster: whoever was sent here asks again where it belongs."""

    def handle(session: Session, command: Any) -> None:
        try:
            handler(session, command)
        except UnknownTopic as error:
            raise NotLeader(error.message, hint="describe the topic again", topic=command.topic) from error

    return handle
