"""What each committed operation does to a partition: one function per operation, found by its type.

Table changes are idempotent: a restart applies the operations after the last snapshot again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zmqmq.core import operations as op
from zmqmq.core.group import GroupState
from zmqmq.core.queue import Queue
from zmqmq.core.writes import (
    DropDead,
    DropDelayed,
    DropGroup,
    DropMember,
    DropProducers,
    PutDead,
    PutMember,
    ReviveDead,
    TrimLog,
)

if TYPE_CHECKING:
    from zmqmq.core.partition import Partition


class Applier:
    """Carries committed operations out on one partition."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self._by_type: dict[type[Any], Callable[[Any], None]] = {
            op.Opened: self._opened,
            op.GroupCreated: self._group_created,
            op.GroupDeleted: self._group_deleted,
            op.GroupMoved: self._group_moved,
            op.MemberJoined: self._member_joined,
            op.MemberLeft: self._member_left,
            op.Acked: self._acked,
            op.Failed: self._failed,
            op.Died: self._died,
            op.Revived: self._revived,
            op.Buried: self._buried,
            op.Matured: self._matured,
            op.Trimmed: self._trimmed,
            op.ProducersExpired: self._producers_expired,
        }

    def apply(self, offset: int, operation: op.Operation) -> None:
        """The operation takes effect; groups that have read everything before it move past it."""
        self._by_type[type(operation)](operation)
        for queue in self.partition.queues.values():
            queue.state.changed = True
            if queue.cursor == offset:
                queue.cursor = offset + 1
                queue.state.settled.add(offset, offset + 1)

    def _queue(self, group: str) -> Queue | None:
        return self.partition.queues.get(group)

    def _opened(self, operation: op.Opened) -> None:
        pass  # it marks the beginning of an epoch in the log; the epoch table has it already

    def _group_created(self, operation: op.GroupCreated) -> None:
        if operation.group not in self.partition.queues:
            partition = self.partition
            position = max(operation.position, partition.log.start)
            lag = partition.messages if operation.position <= partition.log.start else 0
            partition.add_queue(GroupState(operation.group, position, lag))

    def _group_deleted(self, operation: op.GroupDeleted) -> None:
        self.partition.queues.pop(operation.group, None)
        self.partition.writes.append(DropGroup(self.partition.log.log_id, operation.group))

    def _group_moved(self, operation: op.GroupMoved) -> None:
        if queue := self._queue(operation.group):
            revived = sorted(queue.state.revived)
            queue.state.apply_moved(operation)
            if operation.position <= self.partition.log.start:  # all there is, whatever came or went since the request was counted
                queue.state.lag = self.partition.messages
            if revived:
                self.partition.writes.append(DropDead(self.partition.log.log_id, operation.group, revived))
            for holder, recall in queue.end_seek():
                self.partition.recalls.append((operation.group, holder.member, recall.lease, recall.offsets))

    def _member_joined(self, operation: op.MemberJoined) -> None:
        if queue := self._queue(operation.group):
            queue.state.apply_joined(operation)
            self.partition.writes.append(
                PutMember(self.partition.log.log_id, operation.group, operation.member, operation.session_timeout)
            )

    def _member_left(self, operation: op.MemberLeft) -> None:
        if queue := self._queue(operation.group):
            queue.state.apply_left(operation)
            queue.leaving.discard(operation.member)
            self.partition.writes.append(DropMember(self.partition.log.log_id, operation.group, operation.member))

    def _acked(self, operation: op.Acked) -> None:
        if (queue := self._queue(operation.group)) and (revived := queue.state.apply_acked(operation)):
            self.partition.writes.append(DropDead(self.partition.log.log_id, operation.group, revived))

    def _failed(self, operation: op.Failed) -> None:
        if queue := self._queue(operation.group):
            queue.state.apply_failed(operation)

    def _died(self, operation: op.Died) -> None:
        if queue := self._queue(operation.group):
            queue.state.apply_died(operation)
            queue.state.dead += len(operation.offsets)
            rows = list(zip(operation.offsets, operation.attempts, strict=True))
            self.partition.writes.append(
                PutDead(self.partition.log.log_id, operation.group, rows, operation.reason, operation.consumer, self.partition.time)
            )

    def _revived(self, operation: op.Revived) -> None:
        if queue := self._queue(operation.group):
            queue.moving_letters.update(operation.offsets)
            queue.moved_letters += operation.offsets
            queue.state.apply_revived(operation)
            queue.state.dead -= len(operation.offsets)
            self.partition.revived.append((operation.group, operation.offsets))
            self.partition.writes.append(ReviveDead(self.partition.log.log_id, operation.group, operation.offsets))

    def _buried(self, operation: op.Buried) -> None:
        if queue := self._queue(operation.group):
            queue.moving_letters.update(operation.offsets)
            queue.moved_letters += operation.offsets
            queue.state.apply_buried(operation)
            queue.state.dead -= len(operation.offsets)
            self.partition.writes.append(DropDead(self.partition.log.log_id, operation.group, operation.offsets))

    def _matured(self, operation: op.Matured) -> None:
        self.partition.delayed -= len(operation.offsets)
        self.partition.maturing.update(operation.offsets)
        self.partition.matured += operation.offsets
        self.partition.next_due = float("-inf") if self.partition.delayed > 0 else float("inf")
        self.partition.writes.append(DropDelayed(self.partition.log.log_id, operation.offsets))

    def _trimmed(self, operation: op.Trimmed) -> None:
        partition = self.partition
        partition.log.trim(operation.start)
        partition.messages -= operation.messages
        partition.size -= operation.size
        for queue in partition.queues.values():
            queue.state.apply_trimmed(operation)
            queue.cursor = max(queue.cursor, queue.state.settled.floor)
            queue.known = {offset for offset in queue.known if offset >= queue.cursor}  # what is gone is never met
        partition.writes.append(TrimLog(partition.log.log_id, operation.start))

    def _producers_expired(self, operation: op.ProducersExpired) -> None:
        self.partition.confirmed_producers.forget(operation.producers)
        self.partition.writes.append(DropProducers(self.partition.log.log_id, operation.producers))
