"""The referee of several brokers: the rules of the queue hold whoever leads a partition, and those of replication are applied by the court.

The truth that is compared with is the history of committed records, which the court adopts when a leader first counts them as committed.
Before anything that a broker says is judged, its memory is read: what it counts as committed now, it may say now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tests.sim.consumer import SimConsumer, Task
from tests.sim.mesh import Mesh
from tests.sim.queue_verdicts import Hold
from tests.sim.referee import Referee, hold_of
from tests.sim.verdicts import Life, silent
from tests.sim.weather import SLOWEST
from zmqmq.core import writes as w
from zmqmq.core.client_session import PATIENCE_PART
from zmqmq.core.commands import Delivery, Lot, Produced, Settled
from zmqmq.core.replica import Role
from zmqmq.wire import decode_answer

if TYPE_CHECKING:
    from tests.sim.cluster_world import ClusterWorld
    from tests.sim.host import Host
    from zmqmq.broker import Broker
    from zmqmq.core.cluster import Cluster
    from zmqmq.core.partition import Partition
    from zmqmq.core.sessions import Session

SLACK = 0.1
"""Seconds that a consumer may take to give up what it should."""
Where = tuple[str, int, int]
"""(consumer, topic_id, partition)"""


class ClusterReferee(Referee):
    """Keeps its own books."""

    may_return_early = True

    def __init__(self, world: ClusterWorld, mesh: Mesh) -> None:
        super().__init__(world)
        self.history = mesh.history
        self.situations = mesh.court.situations
        self.kept: dict[Where, tuple[float, Life]] = {}
        """When the consumer sent the last frame that the partition's leader has counted as life, and which leader."""
        self._mesh = mesh

    def stored(self, host: Host, writes: Sequence[w.Write]) -> None:
        self._mesh.stored(host, writes)

    # --- brokers speak -----------------------------------------------------------------------------------------------

    def read(self, host: Host, address: bytes, sent: float) -> None:
        broker = host.broker
        session = broker.node.context.sessions.at(address) if broker is not None else None
        if broker is None or session is None:
            self.situations["stranger"] += 1
        elif session.queues:
            self._keeps(host, broker, session, sent)

    def _keeps(self, host: Host, broker: Broker, session: Session, sent: float) -> None:
        """The consumer keeps what it holds of the partitions that this broker leads."""
        context = broker.node.context
        life = self._mesh.clerk.life(host.name, _cluster(broker))
        for number in session.queues:
            hub = context.hub_numbers[number]
            for number, partition in hub.partitions.items():
                where = (session.client_id, partition.topic.topic_id, number)
                before, _ = self.kept.get(where, (0.0, life))
                self.kept[where] = (max(before, sent), life)

    def said(self, host: Host, client: str, frame: bytes) -> None:
        command = decode_answer(frame)
        broker = host.broker
        if broker is not None and isinstance(command, Delivery | Settled | Produced):
            cluster = _cluster(broker)
            self._mesh.clerk.look(host.name, cluster)
            self._mesh.clerk.effect(host.name, cluster, self._world.scheduler.now, f"{type(command).__name__} to {client}")
            if isinstance(command, Delivery):
                for lot in command.lots:
                    partition = broker.node.context.hub_numbers[lot.queue].partitions[lot.partition]
                    self._mesh.clerk.delivery(host.name, cluster, (partition.topic.topic_id, lot.partition), lot.epoch)
        silent(host.name, host.has_failed, client)
        super().said(host, client, frame)

    def _delivered(self, host: Host, client: str, lot: Lot) -> None:
        assert host.broker is not None
        node, cluster = host.broker.node, _cluster(host.broker)
        topic = node.context.hub_numbers[lot.queue].partitions[lot.partition].topic.topic_id
        if self._mesh.court.is_deposed(self._mesh.clerk.life(host.name, cluster), (topic, lot.partition), lot.epoch):
            self.situations["deposed delivers"] += 1
        else:
            super()._delivered(host, client, lot)

    # --- consumers ---------------------------------------------------------------------------------------------------

    def _held_by_others(self, consumer: SimConsumer, task: Task) -> Iterator[Hold]:
        if not self._keeps_still(consumer, *task.place):
            return
        longest = self._world.config.topics.defaults.max_processing_time - 2 * SLOWEST
        for other in self._world.consumers:
            if other is not consumer and other.is_alive and other.group == consumer.group:
                held = [one for one in self._valid(other) if one.place == task.place]
                keeps = self._keeps_still(other, *task.place)
                yield from (hold_of(other, one) for one in held if (keeps and other.now - one.held.arrived <= longest) or self._should_have_lost(other, one))

    def _keeps_still(self, consumer: SimConsumer, topic_id: int, partition: int) -> bool:
        """Whether no leader can have given up what the consumer holds of the partition."""
        sent, life = self.kept.get((consumer.name, topic_id, partition), (-1e9, ("", -1)))
        if consumer.is_stopping or life in self._mesh.court.buried:
            return False
        return self._world.scheduler.now < sent + self._world.session_timeout * 0.99

    def _should_have_lost(self, consumer: SimConsumer, task: Task) -> bool:
        """Whether the consumer has heard of a later leader in time to know that it may have been given up."""
        is_moving = not consumer.is_paused and not consumer.is_stopping
        return is_moving and consumer.knows_better(task) > self._world.session_timeout * PATIENCE_PART + SLACK

    # --- brokers' memory ---------------------------------------------------------------------------------------------

    def after_turn(self, host: Host, broker: Broker) -> None:
        """What brokers think they are, and what leaders count."""
        cluster = _cluster(broker)
        self._mesh.clerk.look(host.name, cluster)
        if broker.node.is_carrying:
            self.situations["turn carried"] += 1
            return
        for replica in cluster.roles:
            partition = replica.partition
            truth = self._mesh.court.truth(replica.key)
            waits = partition in broker.node._committing  # for the lease: nothing of it has taken effect yet
            if waits or replica.role is not Role.LEADER or partition.log.committed < truth.end or _is_between(partition):
                continue
            for name, queue in partition.queues.items():
                log = self.history.log(*replica.key)
                self._figures(partition, queue, log, log.groups[name])


def _is_between(partition: Partition) -> bool:
    """Whether a batch is committed in part: it counts when all of it is."""
    committed = partition.log.committed
    return any(batch.end - batch.messages < committed < batch.end for batch in partition.pending._batches)


def _cluster(broker: Broker) -> Cluster:
    cluster = broker.node.cluster
    assert cluster is not None, "a broker of a cluster"
    return cluster
