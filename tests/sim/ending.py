"""The good end that every run must come to once the storms are over: everything settled or dead, every send with an outcome,
every sleeper asleep, nobody busy; and when all have gone, nothing left in memory.
"""

from __future__ import annotations

from tests.sim.consumer import SimConsumer
from tests.sim.history import demand
from tests.sim.storms import calm
from tests.sim.world import World
from zmqmq.broker import Broker
from zmqmq.core.hub import Hub
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue

GOOD_END_SECONDS = 240.0
"""Virtual seconds within which all must be well; the delivery timeout of producers is 120 s."""
IDLE_SECONDS = 5.0
WINDOWS = 5
"""Times that one looks again, at most, while leaders or replicas change."""
FORGETTING_SECONDS = 12.0
"""Seconds after which sessions of the dead, snapshots and deletions are over too."""


def end_well(world: World) -> None:
    """Calms the storms and demands the good end. Raises Violation."""
    calm(world)
    step = 0.5
    deadline = world.scheduler.now + GOOD_END_SECONDS
    while (trouble := what_is_missing(world)) and world.scheduler.now < deadline:
        world.scheduler.run(world.scheduler.now + step)
        world.listen()
    demand(not trouble, "no good end", *trouble)
    everything_accounted_for(world)
    nobody_is_busy(world)
    everybody_leaves(world)


def what_is_missing(world: World) -> list[str]:
    """Why it is not well yet."""
    missing = [f"{host.name} is down" for host in world.hosts if host.broker is None]
    missing += [f"{producer.name} waits for {len(producer.pending)} outcomes" for producer in world.producers if producer.is_alive and producer.pending]
    for log in world.referee.history.living():
        name = f"{world.referee.history.topics[log.topic_id]}/{log.partition}"
        missing += [f"{group} has {truth.unsettled} unsettled in {name}" for group, truth in log.groups.items() if truth.unsettled]
        if log.delayed:
            missing.append(f"{len(log.delayed)} are delayed in {name}")
    lost = world.lost_topics()
    waiting = [consumer for consumer in world.consumers if consumer.is_alive and lost.isdisjoint(consumer.topics)]
    missing += [trouble for consumer in waiting if (trouble := _awake(consumer))]
    for host in world.hosts:
        if host.broker is not None and len(host.broker.node.context.sessions) > len(world.alive()):
            missing.append(f"{host.name} has sessions of the dead")
    return missing + world.what_else_is_missing()


def _awake(consumer: SimConsumer) -> str:
    consuming = consumer.consuming
    if consumer.is_stopping:
        return f"{consumer.name} is still closing"
    if consuming.buffered or consumer.tasks or any(one.held for one in consuming.subscriptions.values()):
        return f"{consumer.name} holds messages"
    if not consuming.is_asleep and not consuming.is_asking:
        return f"{consumer.name} neither sleeps nor asks"
    return ""


def everything_accounted_for(world: World) -> None:
    """Whatever was confirmed is on disk, whatever was refused is not, and the order of sending is the order in the log."""
    referee = world.referee
    for value, outcome in referee.confirmed.items():
        demand(referee.history.where(outcome.sent.topic, value), "a confirmed message is lost", value)
    for value, outcome in referee.unaccepted.items():
        places = [(log.partition, log.offset_of[value]) for log in referee.history.living() if value in log.offset_of]
        demand(not places, "a refused message was accepted", value, places, str(outcome.error))
    for log in referee.history.logs.values():
        last: dict[tuple[bytes, bytes], int] = {}
        for offset in sorted(log.messages):
            key, value = log.messages[offset]
            if key is not None and value not in log.due:
                producer, number, _ = value.split(b":")
                before = last.get((producer, key), -1)
                demand(int(number) > before, "messages of a key are in another order than they were sent", value, before)
                last[producer, key] = int(number)
    for log in referee.history.logs.values():
        for name, group in log.groups.items():
            for offset, attempts in group.dead.items():
                least = world.config.topics.defaults.max_attempts
                rejected = attempts <= least
                demand(rejected, "a letter died of more attempts than allowed", name, offset, attempts)


def nobody_is_busy(world: World) -> None:
    """Sleeping is free, once leaders and replicas are where they stay: a window in which one changes says nothing."""
    situations = world.referee.situations
    for _ in range(WINDOWS):
        changes = situations["place changed"]
        trouble = _busy(world)
        if situations["place changed"] == changes:
            break
    demand(not trouble, "who is idle is busy", *trouble)


def _busy(world: World) -> list[object]:
    """Who took more turns within some seconds than sleepers need."""
    clients = world.alive()
    world.scheduler.run(world.scheduler.now + 1.0)
    before = {client.name: client.turns for client in clients}
    turns = {host.name: host.turns for host in world.hosts}
    world.scheduler.run(world.scheduler.now + IDLE_SECONDS)
    allowed = (world.idle_turns + 2 * len(clients)) * IDLE_SECONDS
    for host in world.hosts:
        if (taken := host.turns - turns[host.name]) > allowed:
            return ["broker", host.name, taken, allowed]
    for client in clients:
        if (taken := client.turns - before[client.name]) > world.client_idle_turns * IDLE_SECONDS:
            return ["client", client.name, taken]
    return []


def everybody_leaves(world: World) -> None:
    """When all have gone, nothing volatile is left."""
    for client in world.alive():
        client.close(5.0)
    _let_it_settle(world, world.session_timeout + FORGETTING_SECONDS)
    demand(not world.alive(), "somebody cannot leave", [client.name for client in world.alive()])
    for host in world.hosts:
        assert host.broker is not None
        _nothing_volatile(host.broker)


def _let_it_settle(world: World, seconds: float) -> None:
    """Lets the time pass, and again while leaders or replicas change: who leads has to write down and delete once more then."""
    for _ in range(WINDOWS):
        changes = world.referee.situations["place changed"]
        world.scheduler.run(world.scheduler.now + seconds)
        if world.referee.situations["place changed"] == changes:
            return


def _nothing_volatile(broker: Broker) -> None:
    context = broker.node.context
    leftovers: dict[str, object] = {
        "sessions": list(context.sessions),
        "addresses": context.sessions._by_address,
        "pullers": context.pullers,
        "after_turn": context.after_turn,
        "writes": context.writes,
        "touched": context.touched,
        "dirty": broker.node.housekeeping._dirty,
        "deleting": broker.node.housekeeping._deleting,
        "due": broker.node.housekeeping._scheduled,
        "committing": broker.node._committing,
    }
    _nothing_left("the node", leftovers)
    for hub in context.hubs.values():
        _hub_is_empty(hub)
    for topic in broker.node.catalogue:
        for partition in topic.partitions.values():
            _partition_is_empty(partition)


def _nothing_left(where: str, leftovers: dict[str, object]) -> None:
    for what, left in leftovers.items():
        demand(not left, f"{where} has {what} left", left)


def _hub_is_empty(hub: Hub) -> None:
    left = {"sleepers": hub.sleepers, "woken": hub.woken, "subscribers": hub.subscribers}
    _nothing_left(f"the hub {hub.topic}/{hub.group}", left)


def _partition_is_empty(partition: Partition) -> None:
    left = {
        "batches": partition.pending._batches,
        "operations": partition.pending._operations,
        "waiters": partition.pending._waiters,
        "recalls": partition.recalls,
        "revived": partition.revived,
        "maturing": partition.maturing,
        "matured": partition.matured,
        "pending bytes": partition.pending.size,
        "delayed": partition.delayed,
        "writes": partition.writes,
        "messages": partition.messages,
        "bytes": partition.size,
    }
    where = f"{partition.topic.name}/{partition.number}"
    is_read = all(queue.cursor >= partition.log.committed for queue in partition.queues.values())  # else what a new leader has is deleted with the next pull
    is_judged = partition.queues and is_read
    _nothing_left(where, left if is_judged else {key: value for key, value in left.items() if key not in ("messages", "bytes")})
    for name, queue in partition.queues.items():
        _queue_is_empty(f"{where} of {name}", queue)


def _queue_is_empty(where: str, queue: Queue) -> None:
    left = {
        "leases": queue.book.leases,
        "holders": queue.book.holders,
        "gates": list(queue.gates),
        "waiting": queue.gates.waiting,
        "ready": queue.gates.ready(),
        "loose": queue.loose,
        "known": queue.known,
        "limbo": queue.limbo,
        "retries": len(queue.retries),
        "moving letters": queue.moving_letters,
        "moved letters": queue.moved_letters,
        "damage": queue.unread_damage,
        "failures": queue.state.failures,
        "replayed letters": queue.state.revived,
        "members": queue.state.members,
        "lag": queue.state.lag,
    }
    _nothing_left(where, left)
