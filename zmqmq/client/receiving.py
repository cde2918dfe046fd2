"""The consumer's role on the engine: passes what comes to `Consuming`, rings when there is something, reports what was lost."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from zmqmq.client.bell import Bell
from zmqmq.core.commands import Beacon, Command, Outcome, Welcome
from zmqmq.core.consuming import Consuming
from zmqmq.core.held import HANDED, SETTLED, SETTLING, Held
from zmqmq.core.model import Limits
from zmqmq.core.topology import Letter
from zmqmq.errors import AlreadySettled, LeaseLost, Unreachable, ZmqmqError

log = logging.getLogger("zmqmq.consumer")


class Receiving:
    """One consumer's work, guarded by the bell's lock. Methods of the role run on the engine's thread, the others on any, with the lock held."""

    def __init__(self, consuming: Consuming, bell: Bell) -> None:
        self.consuming = consuming
        self.lost = 0
        """Messages that this consumer was handed and lost before they were settled."""
        self.is_stopping = False
        """No more messages are wanted: whoever waits for some is to look up."""
        self.max_delay = Limits().max_delay
        """The longest delay, in seconds, that every broker so far allows: who takes a settlement may not be who has delivered the message."""
        self._max_delays: dict[str, float] = {}
        self._bell = bell

    # --- For the consumer, lock held -----------------------------------------------------------------------------

    def claim(self, held: Held, index: int) -> None:
        """Checks that the message can be settled. Raises AlreadySettled or LeaseLost."""
        state = held.states[index]
        if state == HANDED:
            return
        if state in (SETTLING, SETTLED):
            topic, offset = held.subscription.topic, held.offsets[index]
            raise AlreadySettled("the message was settled by this consumer before", topic=topic, partition=held.partition, offset=offset)
        raise lease_lost(held, [index])

    def ack(self, held: Held, index: int) -> None:
        """Notes that a message is done, after `claim`."""
        held.states[index] = SETTLING
        self.consuming.settling.ack(held, index)

    def settle(self, held: Held, indices: list[int], outcome: Outcome, delay: float | None, reason: str) -> None:
        """Notes any outcome of messages of one lease, after `claim`."""
        self.consuming.settle(held, indices, outcome, delay, reason)

    # --- The role ------------------------------------------------------------------------------------------------

    def opened(self, broker: str, welcome: Welcome, now: float) -> None:
        with self._bell.lock:
            self._max_delays[broker] = welcome.limits.max_delay
            self.max_delay = min(self._max_delays.values())
            self.consuming.opened(broker, welcome)

    def down(self, broker: str, reason: Unreachable, gives_up_at: float) -> None:
        with self._bell.lock:
            self.consuming.down(broker, gives_up_at)

    def hear(self, broker: str, command: Command, now: float) -> None:
        with self._bell.lock:
            self.consuming.hear(broker, command, now)
            self._report()
            self._bell.ring()

    def woken(self, broker: str) -> None:
        with self._bell.lock:
            self.consuming.woken(broker)

    def beacon(self, broker: str, beacon: Beacon, now: float) -> None:
        with self._bell.lock:
            self.consuming.beacon(broker, beacon, now)

    def wanted(self) -> Mapping[str, str]:
        return self.consuming.topology.wanted()

    def needs_another(self, lines: Sequence[str]) -> bool:
        return self.consuming.topology.needs_another(lines)

    def step(self, now: float, lines: Sequence[str]) -> list[Letter]:
        with self._bell.lock:
            letters = self.consuming.step(now, lines)
            if self.is_stopping or self.consuming.losses:
                self._bell.ring()
            self._report()
            return letters

    def deadline(self, lines: Sequence[str]) -> float:
        with self._bell.lock:
            return self.consuming.deadline()

    def is_quiet(self) -> bool:
        return self.consuming.is_draining and self.consuming.is_quiet

    def fail(self, error: ZmqmqError) -> None:
        """Those who wait look at the engine's trouble."""

    # --- Details -------------------------------------------------------------------------------------------------

    def _report(self) -> None:
        losses, self.consuming.losses = self.consuming.losses, []
        for held, indices in losses:
            self.lost += len(indices)
            log.warning("%s", lease_lost(held, indices))
        damaged, self.consuming.damaged = self.consuming.damaged, []
        for held, index in damaged:
            log.error("%s/%d@%d is damaged: its checksum does not match; rejected", held.subscription.topic, held.partition, held.offsets[index])


def lease_lost(held: Held, indices: Sequence[int]) -> LeaseLost:
    """The error for messages of one lease that are not held any more."""
    offsets = [held.offsets[index] for index in indices]
    shown = ", ".join(map(str, offsets[:5])) + (f" and {len(offsets) - 5} more" if len(offsets) > 5 else "")
    return LeaseLost(
        "the lease is lost",
        hint="another consumer may have the message by now",
        topic=held.subscription.topic,
        partition=held.partition,
        offset=shown,
    )
