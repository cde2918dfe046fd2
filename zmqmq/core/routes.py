"""Which desk handles which command of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster_admin
from zmqmq.core.commands import Describe, Goodbye, Ping, Produce, Pull, Settle, Subscribe
from zmqmq.core.context import Context
from zmqmq.core.sessions import Session
from zmqmq.errors import InvalidValue, NotLeader, UnknownTopic, ZmqmqError

if TYPE_CHECKING:
    from zmqmq.core.node import Node

Handler = Callable[[Session, Any], None]
Routes = dict[type[Any], Handler]
_ABOUT_CLUSTERS = (cluster_admin.AskCluster, cluster_admin.DrainBroker, cluster_admin.RemoveBroker, cluster_admin.Reassign, cluster_admin.AddPartitions)


def routes(node: Node) -> Routes:
    """All handlers. What only asks waits for the end of the turn."""
    asks = {kind: _later(node.context, handler) for kind, handler in _asks(node).items()}
    together = _changes(node) | asks
    if node.cluster is None:
        return together | dict.fromkeys(_ABOUT_CLUSTERS, _alone(node.context))
    elsewhere = {kind: _perhaps_elsewhere(together[kind]) for kind in (Produce, Subscribe)}
    return together | elsewhere | node.cluster.desk.handlers(lambda handler: _later(node.context, handler))


def _changes(node: Node) -> Routes:
    return {
        Ping: node.greeting.ping,
        Goodbye: node.greeting.goodbye,
        Describe: node.intake.describe,
        Produce: node.intake.produce,
        Subscribe: node.consumers.subscribe,
        Pull: node.serving.pull,
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


def _alone(context: Context) -> Handler:
    """The answer of a broker that is no member of a cluster to whoever takes it for one."""

    def refuse(session: Session, command: Any) -> None:
        broker = context.settings.broker_id
        raise InvalidValue(f"the broker {broker!r} stands alone, without a cluster", hint="give it a `zookeeper` section, or ask a member of the cluster")

    return refuse


def _perhaps_elsewhere(handler: Handler) -> Handler:
    """What is unknown on one broker may be known to its cluster: whoever was sent here asks again where it belongs."""

    def handle(session: Session, command: Any) -> None:
        try:
            handler(session, command)
        except UnknownTopic as error:
            raise NotLeader(error.message, hint="describe the topic again", topic=command.topic) from error

    return handle
