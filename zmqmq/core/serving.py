"""The counter where consumers are served: pulls and their answers, and the waking of those who sleep."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from zmqmq.core.commands import WAKE, Delivery, Empty, Lot, Pull
from zmqmq.core.context import Context
from zmqmq.core.dispatch import Pull as QueuePull
from zmqmq.core.dispatch import grant
from zmqmq.core.hub import Hub
from zmqmq.core.lots import lot_of
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.sessions import Session
from zmqmq.errors import InvalidValue


class Serving:
    """Gives sessions what they ask for, by turn."""

    def __init__(self, context: Context) -> None:
        self.context = context

    # --- pulling ---------------------------------------------------------------------------------------------------

    def pull(self, session: Session, command: Pull) -> None:
        """Notes the request; it is answered at the end of the turn, when what arrived with it is committed."""
        if command.credit <= 0 or command.max_bytes <= 0:
            raise InvalidValue(f"credit {command.credit}, max_bytes {command.max_bytes}", hint="both are positive")
        session.pull = command
        self.context.pullers[session.client_id] = session
        for number in session.queues:
            self.context.hub_numbers[number].rouse(session)

    def serve(self) -> bool:
        """Answers the pulls of this turn; True if one of them has to go on in the next."""
        pullers, self.context.pullers = self.context.pullers, {}
        for client_id, session in pullers.items():
            if session.pull is not None and self._answer(session, session.pull):
                self.context.pullers[client_id] = session
        return bool(self.context.pullers)

    def _answer(self, session: Session, pull: Pull) -> bool:
        lots, unfinished = self._collect(session, pull)
        if not lots and unfinished:
            return True
        session.pull = None
        if lots:
            self.context.counters.delivered += sum(len(lot.offsets) for lot in lots)
            self.context.send(session, Delivery(pull.turn, lots))
            return False
        self.context.send(session, Empty(pull.turn, self.context.version))
        for number in session.queues:
            hub = self.context.hub_numbers[number]
            hub.sleep(session)
            hub.note_rest()
        return False

    def _collect(self, session: Session, pull: Pull) -> tuple[list[Lot], bool]:
        """Takes from every queue a fair share of the credit."""
        limits = self.context.settings.limits
        candidates = self._candidates(session)
        credit = min(pull.credit, limits.max_batch_messages, limits.max_in_flight - self.held(session))
        left = min(pull.max_bytes, limits.max_batch_bytes)
        lots: list[Lot] = []
        unfinished = False
        for index, (hub, partition, queue) in enumerate(candidates):
            if credit <= 0 or left <= 0:
                break
            share = -(-credit // (len(candidates) - index))
            holder = queue.book.holder(session.client_id)
            request = QueuePull(queue, holder, partition.log.log_id, self.context.reader, partition.log.committed, self.context.wall)
            request.leave_alone = partial(self.context.damaged, partition)
            rows = request.rows(share, left)
            unfinished = unfinished or request.unfinished
            self._after_reading(partition, queue, request)
            if rows:
                lease = grant(request, rows, self.context.now)
                lots.append(lot_of(hub.number, partition, queue, lease.number, rows))
                credit -= len(rows)
                left -= sum(len(row.value) for row in rows)
        return lots, unfinished

    def _candidates(self, session: Session) -> list[tuple[Hub, Partition, Queue]]:
        """The queues that may have something for the session, by turn."""
        candidates: list[tuple[Hub, Partition, Queue]] = []
        numbers = list(session.queues)
        for number in numbers[:1]:
            session.queues[number] = session.queues.pop(number)  # the next pull begins with the next hub
        for number in numbers:
            hub = self.context.hub_numbers[number]
            for partition, queue in hub.queues():
                if queue.reclaim or queue.consumers.get(session.client_id) != session.epoch:
                    continue  # over a new connection it gets nothing before it has subscribed anew, and so knows what a delivery is for
                holder = queue.book.holders.get(session.client_id)
                if queue.offer(partition.log.committed) or queue.retries or (holder and holder.more):
                    candidates.append((hub, partition, queue))
        return candidates

    def _after_reading(self, partition: Partition, queue: Queue, request: QueuePull) -> None:
        if request.has_revealed:
            self.context.touch(partition)  # others may sleep who could have it
        if queue.unread_damage:
            self.context.touch(partition)
            queue.bury_damaged()

    def held(self, session: Session) -> int:
        """Messages that the session holds."""
        total = 0
        for number in session.queues:
            hub = self.context.hub_numbers[number]
            for partition in hub.partitions.values():
                queue = partition.queues.get(hub.group)
                if queue is not None and (holder := queue.book.holders.get(session.client_id)):
                    total += holder.held
        return total

    # --- news ------------------------------------------------------------------------------------------------------

    def announce(self, partitions: Iterable[Partition]) -> None:
        """Wakes as many sleepers as there is something for, on every hub that these partitions feed."""
        for partition in partitions:
            for group, queue in partition.queues.items():
                hub = self.context.hubs.get((partition.topic.name, group))
                if hub is None or not hub.subscribers or queue.reclaim:
                    continue
                if count := queue.offer(partition.log.committed):
                    self._wake(hub, count)
                else:
                    hub.note_rest()

    def _wake(self, hub: Hub, count: int) -> None:
        self.context.version += 1
        hub.version = self.context.version
        if hub.waiting_since is None:
            hub.waiting_since = self.context.now
        self.context.publishes += [WAKE + session.wake_name for session in hub.wake(count)]
