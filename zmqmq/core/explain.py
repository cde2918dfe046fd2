"""Why is nothing delivered now? An answer in the words of the queue, for one group on one partition.

Each reason is a fact about the present; the verdict is the first one that a person would want to hear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from zmqmq.core.admin_commands import Reason
from zmqmq.core.gates import Gate
from zmqmq.core.hub import Hub
from zmqmq.core.leases import Lease
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue

KEYS_MAX = 20
"""Keys that are listed one by one per partition."""
ORDER = ("offline", "storage_full", "seeking", "reclaiming", "no_consumer", "ready", "full_window", "held", "retry", "delayed", "settled")
"""Which reason makes the verdict, if there are several."""


def explain(hub: Hub, partition: Partition, queue: Queue, wall: float, now: float, names: dict[str, str]) -> list[Reason]:
    """All reasons of one partition. `names` tells people's names for client ids."""
    number = partition.number
    reasons: list[Reason] = []
    if queue.seeks:
        text = "the group is being moved by a seek; nothing is given out until that is confirmed"
        reasons.append(Reason(number, "seeking", text, queue.state.lag))
    if queue.reclaim:
        until = wall + max(queue.reclaim.values()) - now
        text = f"{len(queue.reclaim)} consumers known from before the restart have not reported; waiting until {clock(until)}"
        reasons.append(Reason(number, "reclaiming", text, queue.state.lag, until=until))
    if queue.state.lag and not hub.subscribers:
        reasons.append(Reason(number, "no_consumer", f"{queue.state.lag} messages wait and no consumer is connected", queue.state.lag))
    if queue.is_full():
        text = f"too many messages are unsettled behind offset {queue.state.settled.floor}; reading on waits until the oldest are settled"
        reasons.append(Reason(number, "full_window", text, queue.state.lag))
    reasons += _retries(number, queue, wall)
    reasons += _held(number, queue, wall, now, names)
    if (offer := queue.offer(partition.log.committed)) and hub.subscribers and not queue.reclaim:
        reasons.append(Reason(number, "ready", f"about {offer} messages are ready; they go out with the next pull of a consumer", offer))
    if partition.delayed:
        due = partition.next_due if wall < partition.next_due < float("inf") else None
        text = f"{partition.delayed} messages are delayed" + (f", the first until {clock(due)}" if due else "")
        reasons.append(Reason(number, "delayed", text, partition.delayed, until=due))
    if not queue.state.lag:
        reasons.append(Reason(number, "settled", "nothing is left: every message is settled", 0))
    return reasons


def _retries(number: int, queue: Queue, wall: float) -> list[Reason]:
    """Messages that failed and wait for their next attempt."""
    waiting = [(failure.due, offset, failure.attempts) for offset, failure in queue.state.failures.items() if failure.due > wall]
    reasons: list[Reason] = []
    blocked = {gate.behind[0]: gate for gate in queue.gates if gate.behind}
    for due, offset, attempts in sorted(waiting)[:KEYS_MAX]:
        gate = blocked.get(offset)
        behind = len(gate.behind) if gate else 1
        text = f"the message at offset {offset} has failed {attempts} times and waits for its next attempt until {clock(due)}"
        if gate and behind > 1:
            text += f"; {behind - 1} messages of the key {show(gate.key)} wait behind it"
        reasons.append(Reason(number, "retry", text, behind, key=gate.key if gate else None, until=due))
    return reasons


def _held(number: int, queue: Queue, wall: float, now: float, names: dict[str, str]) -> list[Reason]:
    """Leases, and keys with messages waiting behind them."""
    reasons: list[Reason] = []
    oldest = _oldest_leases(queue.book.leases.values())
    for gate in sorted((gate for gate in queue.gates if gate.owner and gate.behind), key=lambda gate: -len(gate.behind))[:KEYS_MAX]:
        reasons.append(_key_reason(number, gate, oldest, wall, now, names))
    for member, lease in oldest.items():
        count = queue.book.holders[member].held if member in queue.book.holders else len(lease.open)
        since = wall - (now - lease.granted)
        text = f"{count} messages are held by consumer {names.get(member, member)} since {clock(since)}"
        reasons.append(Reason(number, "held", text, count, consumer=member, since=since))
    return reasons


def _key_reason(number: int, gate: Gate, oldest: dict[str, Lease], wall: float, now: float, names: dict[str, str]) -> Reason:
    member = gate.owner.member if gate.owner else ""
    lease = oldest.get(member)
    since = wall - (now - lease.granted) if lease else None
    text = f"the key {show(gate.key)} is held by consumer {names.get(member, member)}" + (f" since {clock(since)}" if since else "")
    text += f"; {len(gate.behind)} messages wait behind it"
    return Reason(number, "held", text, len(gate.behind), key=gate.key, consumer=member, since=since)


def _oldest_leases(leases: Iterable[Lease]) -> dict[str, Lease]:
    oldest: dict[str, Lease] = {}
    for lease in leases:
        if lease.open:
            oldest.setdefault(lease.holder.member, lease)
    return oldest


def verdict(reasons: Sequence[Reason]) -> str:
    """The sentence to read first."""
    if not reasons:
        return "the topic has no partitions here"
    first = min(reasons, key=lambda reason: (ORDER.index(reason.code), reason.partition))
    if first.code == "settled":
        return "nothing is left: every message is settled"
    return f"partition {first.partition}: {first.text}"


def clock(wall: float) -> str:
    """A time for people, UTC, to the second."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def show(key: bytes) -> str:
    """A key for people."""
    return repr(key.decode("utf-8", "backslashreplace"))
