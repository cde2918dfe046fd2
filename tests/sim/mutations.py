"""The mutation gate: rules of the product are removed one at a time, and the simulation must notice each within some seeds.

It says whether the simulator can see. A mutation that survives means that a checker is blind, or that a rule is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.sim.run import Failed, run
from zmqmq.broker import Broker
from zmqmq.core import dispatch, housekeeping, operations, reclaim, retention
from zmqmq.core.consuming import Consuming
from zmqmq.core.dedup import FRESH, ProducerTable
from zmqmq.core.gates import Gate, Pair
from zmqmq.core.housekeeping import Housekeeping
from zmqmq.core.log import Log
from zmqmq.core.partition import Partition
from zmqmq.core.pulling import Puller
from zmqmq.core.queue import Queue
from zmqmq.core.returning import Returning
from zmqmq.core.sessions import SessionTable
from zmqmq.core.writes import AppendOperation, Write

SEEDS = 300
"""Seeds within which each mutation must be noticed."""
Patch = tuple[Any, str, Any]
Mutation = Callable[[], list[Patch]]


@contextmanager
def applied(patches: Sequence[Patch]) -> Iterator[None]:
    """The product with some of its functions replaced."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in patches]
    try:
        for owner, name, value in patches:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


# --- order and exclusivity -----------------------------------------------------------------------------------------------


def gates_let_everybody_in() -> list[Patch]:
    """A key that one consumer holds is given to another too."""
    admit = dispatch.Pull._admit

    def careless(self: dispatch.Pull, rows: list[Any], credit: int) -> list[Any]:
        for row in rows:
            if row.key is not None and (gate := self.queue.gates.get(row.key)) is not None and not gate.behind:
                gate.owner = self.holder
        return admit(self, rows, credit)

    return [(dispatch.Pull, "_admit", careless)]


def gates_open_before_the_settling_counts() -> list[Patch]:
    """A failed message does not keep the later ones of its key back while it waits for its retry."""

    def refile(self: Queue, gate: Gate, wall: float) -> bool:
        gate.due = 0.0
        return self.gates.review(gate, wall)

    def put_back(self: Gate, offsets: Any) -> int:
        returned = list(offsets)
        self.own_behind().extend(returned)
        return len(returned)

    return [(Queue, "refile", refile), (Gate, "put_back", put_back)]


def a_release_leaves_the_later_ones() -> list[Patch]:
    """What a consumer holds of the key behind a returned message is not taken back."""

    def nothing(self: Queue, holder: Any, pairs: Any) -> tuple[list[Any], list[Any]]:
        return [], []

    return [(Queue, "_take_followers", nothing)]


def a_client_keeps_what_follows_a_return() -> list[Patch]:
    """A consumer hands out later messages of a key that it has just nacked."""
    return [(Returning, "add", lambda self, verdict: None)]


def nobody_waits_for_reports() -> list[Patch]:
    """A restarted broker delivers at once what others still hold."""
    opened = Housekeeping.open

    def hasty(self: Housekeeping) -> None:
        opened(self)
        for partition in self.catalogue.reclaiming:
            for queue in partition.queues.values():
                queue.reclaim.clear()

    return [(Housekeeping, "open", hasty)]


def claims_are_not_checked() -> list[Patch]:
    """Whoever presents a lease gets it, whatever has become of its messages."""
    return [(reclaim, "_claim", lambda queue, holder, offset, key: True)]


def silence_lasts_no_time() -> list[Patch]:
    """Sessions are given up after a quarter of what was granted."""

    def impatient(self: SessionTable, now: float) -> list[Any]:
        self.paused = 0.0
        return [session for session in self._by_client.values() if now - session.heard > session.timeout / 4]

    return [(SessionTable, "sweep", impatient)]


# --- what is written ---------------------------------------------------------------------------------------------------


def attempts_are_not_written() -> list[Patch]:
    """A failure is not in the log."""

    def forgetful(self: Queue, pairs: Sequence[Pair], followers: Sequence[Pair], reason: str, wall: float, delay: float | None, crashed: bool) -> None:
        self.state.apply_failed(operations.Failed(self.state.name, [offset for offset, _ in pairs], wall, reason, crashed))
        self._return([*pairs, *followers], wall)

    return [(Queue, "_fail", forgetful)]


def a_restart_forgets_the_floor() -> list[Patch]:
    """Reading begins anew at the log's start, and what is settled counts as news."""

    def all_news(self: dispatch.Pull, row: Any) -> bool:
        return True

    return [(dispatch.Pull, "_is_news", all_news)]


def every_batch_is_new() -> list[Patch]:
    """A repeated batch is appended again."""
    return [(ProducerTable, "judge", lambda self, producer, sequence, count, oldest: FRESH)]


def gaps_are_welcome() -> list[Patch]:
    """A batch is accepted although an earlier one is missing."""
    judge = ProducerTable.judge
    return [(ProducerTable, "judge", lambda self, producer, sequence, count, oldest: judge(self, producer, sequence, count, sequence))]


def confirmed_without_a_commit() -> list[Patch]:
    """What the disk did not take is confirmed."""
    commit = Broker._commit

    def bold(self: Broker, writes: list[Write]) -> bool:
        commit(self, writes)
        return True

    return [(Broker, "_commit", bold)]


def operations_are_lost_on_a_full_disk() -> list[Patch]:
    """A turn that finds no room is forgotten instead of carried on."""
    persist = Broker._persist

    def forgetful(self: Broker) -> bool:
        done = persist(self)
        self.node.carry([])
        return done

    return [(Broker, "_persist", forgetful)]


def deleted_beyond_the_snapshot() -> list[Patch]:
    """Records that a restart needs are deleted."""
    plan = retention.plan_trim

    def eager(partition: Partition, *arguments: Any) -> Any:
        before, partition.applied = partition.applied, partition.log.committed
        try:
            return plan(partition, *arguments)
        finally:
            partition.applied = before

    return [(housekeeping, "plan_trim", eager)]


def delivered_before_it_is_committed() -> list[Patch]:
    """The end of the log is taken for committed as soon as it is given out, and a failed turn is delivered on."""
    give = Log.give

    def eager(self: Log, count: int) -> int:
        first = give(self, count)
        self.durable = self.committed = self.end
        return first

    return [(Log, "give", eager), (Broker, "_commit", lambda self, writes: _commit_late(self, writes))]


def _commit_late(broker: Broker, writes: list[Write]) -> bool:
    late = getattr(broker, "_late", [])
    broker._late = writes  # type: ignore[attr-defined]
    broker.storage.commit(late)
    return True


def operations_are_not_replayed() -> list[Patch]:
    """A restart ignores what was settled after the last snapshot."""
    replay = Partition.replay

    def partial(self: Partition, records: Sequence[Any]) -> None:
        replay(self, [record for record in records if b'"acked"' not in record.text])

    return [(Partition, "replay", partial)]


def writes_lose_their_acks() -> list[Patch]:
    """Acknowledgements are applied and confirmed, and never written."""
    take = Partition.take_writes

    def lossy(self: Partition) -> list[Write]:
        return [write for write in take(self) if not (isinstance(write, AppendOperation) and b'"acked"' in write.text)]

    return [(Partition, "take_writes", lossy)]


# --- waking ------------------------------------------------------------------------------------------------------------


def sleepers_hear_nothing() -> list[Patch]:
    """Wake-ups and beacons are ignored, and so is their absence."""
    return [
        (Consuming, "woken", lambda self, broker: None),
        (Consuming, "beacon", lambda self, broker, beacon, now: None),
        (Puller, "_patience", lambda self: 1e9),
    ]


def delayed_messages_mature_again() -> list[Patch]:
    """What has matured is still listed as due."""

    def forgetful(self: Housekeeping, partition: Partition, until: float, limit: int) -> Any:
        return list(self.context.reader.due(partition.log.log_id, until, limit))

    return [(Housekeeping, "_next_delayed", forgetful)]


MUTATIONS: list[Mutation] = [
    gates_let_everybody_in,
    gates_open_before_the_settling_counts,
    a_release_leaves_the_later_ones,
    a_client_keeps_what_follows_a_return,
    nobody_waits_for_reports,
    claims_are_not_checked,
    silence_lasts_no_time,
    attempts_are_not_written,
    a_restart_forgets_the_floor,
    every_batch_is_new,
    gaps_are_welcome,
    confirmed_without_a_commit,
    operations_are_lost_on_a_full_disk,
    deleted_beyond_the_snapshot,
    delivered_before_it_is_committed,
    operations_are_not_replayed,
    writes_lose_their_acks,
    sleepers_hear_nothing,
    delayed_messages_mature_again,
]


def notice(mutation: Mutation, seeds: int = SEEDS, cluster: bool = False) -> tuple[int, str] | None:
    """The first seed that notices the mutation, and what it says; None if none does."""
    with applied(mutation()):
        for seed in range(seeds):
            try:
                run(seed, cluster=cluster)
            except Failed as failure:
                return seed, str(failure).splitlines()[0]
    return None


def gate(mutations: Sequence[Mutation], seeds: int, cluster: bool = False) -> int:
    """Tries every mutation; the exit code is 1 if one survives."""
    survivors = 0
    for mutation in mutations:
        found = notice(mutation, seeds, cluster)
        survivors += found is None
        print(f"{mutation.__name__}: {found[1] if found else f'SURVIVES {seeds} seeds'}", flush=True)
    return 1 if survivors else 0
