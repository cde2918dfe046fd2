"""What time does to a node: retries and delays that become due, sessions that fall silent, leases that expire, retention,
snapshots, and the beacon.

Things that become due at an instant are in one heap of partitions; everything that tolerates half a second waits for the sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zmqmq.core.catalogue import Catalogue
from zmqmq.core.checksum import checksum
from zmqmq.core.commands import Beacon
from zmqmq.core.consumers import Consumers
from zmqmq.core.context import Context
from zmqmq.core.hub import Hub
from zmqmq.core.model import Row
from zmqmq.core.operations import Buried
from zmqmq.core.partition import Partition
from zmqmq.core.retention import is_behind, is_cut, plan_trim
from zmqmq.core.schedule import DueHeap

SWEEP_INTERVAL = 0.5
"""Seconds between sweeps."""
SNAPSHOT_INTERVAL = 2.0
"""Seconds after which a changed partition is written down."""
EXPIRY_INTERVAL = 60.0
"""Seconds between looks at idle producers."""
IDLE_AFTER = 1.0
"""Seconds without a record after which a partition counts as idle."""
MATURE_STEP = 1_000
"""Delayed messages of one partition that become due in one turn; the rest follows in the next."""
BEACON_QUEUES = 1_000
"""Queues listed in a beacon; beyond that everybody is told to pull."""
BEACON_GRACE = 0.02
"""Seconds that a message must have waited to be announced: within them those who were woken for it come, and the others may sleep on."""
TIGHT_SHARE = 4
"""Part of a turn's deletion that is done in one turn while the disk is full and only the ballast's room is left."""
REVIVE_STEP = 1_000
"""Replayed letters whose keys are read at a time."""


class Housekeeping:
    """Lets time pass for a node."""

    def __init__(self, context: Context, catalogue: Catalogue, consumers: Consumers) -> None:
        self.context = context
        self.catalogue = catalogue
        self.consumers = consumers
        self._due: DueHeap[Partition] = DueHeap()
        self._scheduled: dict[Partition, float] = {}
        self._dirty: dict[Partition, float] = {}  # since when (monotonic) there is something to write down or delete
        self._deleting: dict[Partition, bool] = {}  # to be looked at when the turn is committed; True: the partition is idle
        self._snapshots: dict[Partition, None] = {}
        self._next_sweep = 0.0
        self._next_beacon = 0.0
        self._next_expiry = 0.0

    def open(self) -> None:
        """Time begins, for all partitions that are led from the start."""
        self._next_expiry = self.context.now + EXPIRY_INTERVAL
        for topic in self.catalogue:
            for partition in topic.partitions.values():
                for group in partition.queues:
                    self.context.hub(topic.record.name, group, topic.partitions)
                partition.expect_members(self.context.now)
                self.begin_leading(partition)

    def begin_leading(self, partition: Partition) -> None:
        """Watches over the members that this partition expects to report, and over what is due on it."""
        if partition.is_reclaiming():
            self.catalogue.reclaiming[partition] = None
        self.context.touch(partition)

    # --- deadlines -------------------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """Monotonic time at which something is due."""
        due = self._due.next_due()
        instant = self.context.now + max(0.0, due - self.context.wall) if due is not None else self._next_beacon
        return min(instant, self._next_beacon, self._next_sweep)

    def reschedule(self, partitions: Iterable[Partition]) -> None:
        """Notes when these partitions need attention next."""
        for partition in partitions:
            if partition.next_due == float("-inf"):
                found = self._next_delayed(partition, float("inf"), 1)
                partition.next_due = found[0][1] if found else float("inf")
            if self.context.storage_full:  # nothing may be appended: look again later
                partition.next_due = max(partition.next_due, self.context.wall + SWEEP_INTERVAL)
            times = [due for queue in partition.queues.values() if (due := queue.next_due()) is not None]
            due = min([partition.next_due, *times])
            if due < self._scheduled.get(partition, float("inf")):
                self._scheduled[partition] = due
                self._due.push(due, partition)
            self._dirty.setdefault(partition, self.context.now)

    def settle_in(self, partition: Partition) -> None:
        """Replayed letters take their places: their keys are read from the log."""
        revived, partition.revived = partition.revived, []
        for group, offsets in revived:
            queue = partition.queues.get(group)
            for start in range(0, len(offsets) if queue else 0, REVIVE_STEP):
                rows = self.context.reader.read_offsets(partition.log.log_id, offsets[start : start + REVIVE_STEP])
                if queue is not None:  # a seek in the same turn has taken them back
                    queue.add_waiting([(row.offset, row.key) for row in rows if row.offset in queue.state.revived], self.context.wall)

    # --- a tick ----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        for partition in self._due.take_due(self.context.wall):
            self._scheduled.pop(partition, None)
            if not partition.closed:
                self._mature(partition)
        if self.context.now >= self._next_sweep:
            self._next_sweep = self.context.now + SWEEP_INTERVAL
            self._sweep()
        self._keep_up()
        if self.context.now >= self._next_beacon:
            self._next_beacon = self.context.now + self.context.settings.beacon_interval
            self._beacon()

    def _keep_up(self) -> None:
        """What must not wait for the sweep under load: snapshots, and one step of deletion per turn."""
        for partition in self.context.touched:
            if partition.is_snapshot_due():
                self._snapshots[partition] = None
        behind = next((partition for partition in self.context.touched if is_behind(partition)), None)
        if behind is not None:
            self._deleting.setdefault(behind, False)

    def _mature(self, partition: Partition) -> None:
        """Retries and delayed messages of one partition whose time has come."""
        context = self.context
        context.touch(partition)
        for queue in partition.queues.values():
            queue.mature(context.wall)
        if partition.next_due <= context.wall and not context.storage_full:
            due = [offset for offset, _ in self._next_delayed(partition, context.wall, MATURE_STEP)]
            rows = context.reader.read_offsets(partition.log.log_id, sorted(due)) if due else ()
            if due and not self._must_leave_alone(partition, rows):
                partition.mature(due, rows, context.wall)
                partition.next_due = float("inf")  # asked again when this is committed

    def _must_leave_alone(self, partition: Partition, rows: Sequence[Row]) -> bool:
        """Whether one of the messages is damaged here and sound elsewhere: it must not get its place in the log as it is."""
        bad = [row.offset for row in rows if checksum(row.value, row.key, row.headers) != row.crc]
        return bool(bad) and self.context.damaged(partition, f"the checksum of offset {bad[0]} does not match")

    def _next_delayed(self, partition: Partition, until: float, limit: int) -> list[tuple[int, float]]:
        """The next delayed messages, without those that have matured already."""
        found = self.context.reader.due(partition.log.log_id, until, limit + len(partition.maturing))
        return [entry for entry in found if entry[0] not in partition.maturing][:limit]

    def _sweep(self) -> None:
        self._sweep_sessions()
        self._sweep_reclaims()
        self._sweep_hubs()
        for partition, since in list(self._dirty.items()):
            self._tidy(partition, since)
        if self.context.now >= self._next_expiry:
            self._next_expiry = self.context.now + EXPIRY_INTERVAL
            self._expire_producers()

    def _sweep_sessions(self) -> None:
        for session in self.context.sessions.sweep(self.context.now):
            reason = f"the consumer {session.name!r} was silent for {session.timeout:g} s"
            self.consumers.leave_all(session, crashed=True, reason=reason)
            self.context.sessions.remove(session)
            self.context.note("session lost", client=session.client_id, name=session.name, silent=round(self.context.now - session.heard, 1))

    def _sweep_reclaims(self) -> None:
        """Members that did not report in time are gone; when all have, the group goes on."""
        pause = self.context.sessions.paused
        reclaiming = self.catalogue.reclaiming
        for partition in list(reclaiming):
            for group, queue in partition.queues.items():
                if pause:  # nobody could report while we slept
                    queue.reclaim = {member: until + pause for member, until in queue.reclaim.items()}
                for member in [member for member, until in queue.reclaim.items() if until <= self.context.now]:
                    reason = "did not report after the broker's restart"
                    self.consumers.dismiss_from(partition, group, member, crashed=True, reason=reason)
            if partition.closed or not partition.is_reclaiming():
                del reclaiming[partition]

    def _sweep_hubs(self) -> None:
        for hub in list(self.context.hubs.values()):
            if hub.subscribers:
                self._expire_leases(hub)
            elif not hub.is_used:
                self.context.drop_hub(hub)

    def _expire_leases(self, hub: Hub) -> None:
        for partition, queue in hub.queues():
            for lease in queue.book.expired(self.context.now):
                if not lease.open:
                    continue  # an earlier one of the same key has taken it along
                self.context.touch(partition)
                session = self.context.sessions.of(lease.holder.member)
                recalls = queue.expire(lease, self.context.wall)
                if session is not None:
                    self.consumers.recall(session, hub, partition, recalls)

    # --- writing down and deleting ---------------------------------------------------------------------------------

    def _tidy(self, partition: Partition, since: float) -> None:
        """Writes a partition's state down, and has it looked at for what may go."""
        context = self.context
        if partition.closed:
            self._dirty.pop(partition, None)
            return
        if partition.is_dirty() and context.now - since >= SNAPSHOT_INTERVAL:
            self._snapshots[partition] = None
            self._dirty[partition] = context.now
        idle = context.wall - partition.time >= IDLE_AFTER
        self._deleting[partition] = idle
        self._drop_old_letters(partition)

    def write_down(self) -> None:
        """Takes the snapshots that the last tick asked for. Called when everything is committed and applied: a snapshot must not know of
        messages that are accepted in this turn and may be refused yet, for want of space."""
        snapshots, self._snapshots = self._snapshots, {}
        for partition in snapshots:
            if not partition.closed:
                self.context.touch(partition).snapshot()

    def delete(self) -> None:
        """Deletes what may go of the partitions that the last tick looked at. Called when everything is committed and applied: what
        each group has not settled is counted here, and nothing of the turn may change it afterwards."""
        deleting, self._deleting = self._deleting, {}
        context = self.context
        budget = context.settings.delete_bytes // (TIGHT_SHARE if context.storage_full else 1)
        for partition, idle in deleting.items():
            if budget <= 0:
                self._deleting[partition] = idle  # in the next turn
                continue
            trim = None if partition.closed else plan_trim(partition, context.reader, context.wall, idle, budget)
            if trim is None:
                if idle and not partition.is_dirty() and partition.topic.settings.max_age is None:
                    self._dirty.pop(partition, None)  # nothing more to do: let it rest
            elif not partition.pending.disturbs(trim.start):  # else later: other replicas have not confirmed what it was counted by
                if is_cut(partition, trim, budget):
                    self._deleting[partition] = idle  # there is more
                budget -= trim.size
                context.touch(partition).append_operation(trim)
                self._dirty.setdefault(partition, context.now)

    def _drop_old_letters(self, partition: Partition) -> None:
        """Keeps the dead letters of each group within max_dead_letters."""
        for group, queue in partition.queues.items():
            excess = queue.state.dead - queue.settings.max_dead_letters
            if excess > 0:
                oldest = set(self.context.reader.dead_offsets(partition.log.log_id, group, min(excess, REVIVE_STEP))) - queue.moving_letters
                queue.moving_letters.update(oldest)
                if oldest:
                    self.context.touch(partition).append_operation(Buried(group, sorted(oldest)))

    def _expire_producers(self) -> None:
        settings = self.context.settings
        for topic in self.catalogue:
            for partition in topic.partitions.values():
                expired = partition.producers.expired(self.context.wall - settings.producer_idle_max, settings.max_producers)
                if expired:
                    self.context.touch(partition).expire_producers(expired[:REVIVE_STEP])

    def snapshot_all(self) -> None:
        """Writes everything down, for a clean stop."""
        for topic in self.catalogue:
            for partition in topic.partitions.values():
                if partition.is_dirty():
                    self.context.touch(partition).snapshot()

    # --- the beacon ------------------------------------------------------------------------------------------------

    def _beacon(self) -> None:
        """Says what still waits; who was woken and did not come is not counted on any more."""
        waiting: list[tuple[int, int]] = []
        for hub in self.context.hubs.values():
            if hub.waiting_since is not None and self.context.now - hub.waiting_since < BEACON_GRACE:
                continue  # who was woken is still on the way
            hub.woken.clear()
            if hub.subscribers and len(waiting) <= BEACON_QUEUES and hub.offer():
                waiting.append((hub.number, hub.version))
        crowded = len(waiting) > BEACON_QUEUES
        incarnation = self.context.settings.incarnation
        self.context.publishes.append(Beacon(incarnation, self.context.version, [] if crowded else waiting, crowded))
