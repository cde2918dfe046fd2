"""The machine that runs the broker: starts the production loop on simulated shells and turns it when it wants to be turned.

Its process can die at any moment, be stopped and go on, or end in good order; its disk and its wall clock have moods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

from tests.sim.clocks import DRIFT_MAX, MachineTime, SimClock
from tests.sim.disk import FATES, ProcessDied, SimDisk, SimStorage
from tests.sim.network import Network, SimTransport
from tests.sim.scheduler import Alarm, Scheduler
from zmqmq.broker import Broker, Shells
from zmqmq.config import BrokerConfig
from zmqmq.core import writes as w
from zmqmq.errors import StorageFailed
from zmqmq.shell.coordination import Standalone

TURNS_PER_SECOND = 2000
"""Turns of the broker in one virtual second; more is a busy loop."""
ROOM = float(1 << 40)
"""Bytes on an empty disk."""
BALLAST = 300
"""Bytes."""


class SilentLog:
    """The broker's log; its lines go into the trace."""

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note

    def info(self, event: str, **facts: Any) -> None:
        self._note("log", event)

    error = critical = info


class Host:
    """One broker's machine."""

    def __init__(self, scheduler: Scheduler, network: Network, rng: Random, config: BrokerConfig, note: Callable[..., None]) -> None:
        self.disk = SimDisk(storage_id="storage", cluster_id="cluster", ballast=BALLAST, room=ROOM)
        self.machine = MachineTime(scheduler, rng.uniform(0, 1e6), rng.uniform(-DRIFT_MAX, DRIFT_MAX))
        self.broker: Broker | None = None
        self.transport: SimTransport | None = None
        self.paused_until = -1.0
        self.turns = 0
        self.after_turn: Callable[[Broker], None] = lambda broker: None
        self.on_read: Callable[[bytes, float], None] = lambda address, sent: None
        self.on_send: Callable[[str, bytes], None] = lambda client, frame: None
        self._scheduler = scheduler
        self._network = network
        self._rng = rng
        self._config = config
        self._note = note
        self._alarm = Alarm(scheduler, self._turn)
        self._free_at = 0.0
        self._second = (-1, 0)
        network.on_arrival = self.nudge

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the broker if it does not run."""
        if self.broker is not None:
            return
        self._note("broker starts")
        storage = SimStorage.open(self.disk)
        transport = SimTransport(self._network)
        coordination = Standalone(storage.cluster_id, "broker-1", storage.incarnation)
        shells = Shells(cast(Any, storage), cast(Any, transport), SimClock(self.machine), coordination, self._rng.random, cast(Any, SilentLog(self._note)))
        self.broker, self.transport = Broker(self._config, shells), transport
        transport.on_read, transport.on_send = self.on_read, self.on_send
        self._network.listener = transport
        self._do(self.broker.open)

    def die(self) -> None:
        """The process is gone; nothing is written, nobody is told."""
        if self.broker is None or self.transport is None:
            return
        self._note("broker dies")
        cast(SimStorage, self.broker.storage).crash()
        self.disk.fate = None
        self.transport.close(0)
        self.broker = self.transport = None
        self._alarm.cancel()
        self._scheduler.after(self._rng.choice([0.05, 0.5, 2.0, 8.0]), self.start)

    def stop(self) -> None:
        """A clean stop, and a start after a moment."""
        if self.broker is None:
            return
        self._note("broker stops")
        broker = self.broker
        self.disk.fate = None
        self._do(broker.close)
        self.broker = self.transport = None
        self._alarm.cancel()
        self._scheduler.after(self._rng.choice([0.05, 1.0, 5.0]), self.start)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self._note("broker pauses", seconds)
        self.paused_until = max(self.paused_until, self._scheduler.now + seconds)

    def doom(self) -> None:
        """Something happens at the next commit."""
        self.disk.fate = self._rng.choice(FATES)

    # --- turns -------------------------------------------------------------------------------------------------------

    def nudge(self) -> None:
        """There is something to do: a turn, soon."""
        self._alarm.set(max(self._scheduler.now, self._free_at, self.paused_until))

    def _turn(self) -> None:
        if self.broker is None:
            return
        if self._scheduler.now < self.paused_until:
            self._alarm.set(self.paused_until)
            return
        second = int(self._scheduler.now)
        self._second = (second, self._second[1] + 1 if self._second[0] == second else 1)
        assert self._second[1] <= TURNS_PER_SECOND, "the broker is busy without end"
        self.turns += 1
        self._do(self.broker.turn)

    def _do(self, act: Callable[[], None]) -> None:
        broker = self.broker
        assert broker is not None
        try:
            act()
        except (ProcessDied, StorageFailed) as error:
            self._note("storage", str(error))
            self.die()
            return
        self._free_at = self._scheduler.now + self._rng.uniform(0.0002, 0.004)
        self.after_turn(broker)
        wanted = self.machine.virtual(broker.node.deadline())
        self._alarm.set(max(wanted, self._free_at))
        if self.transport is not None and self.transport.inbox:
            self._alarm.set(self._free_at)

    def watch(self, hear: Callable[[Sequence[w.Write]], None]) -> None:
        """Who hears of every commit."""
        self.disk.on_commit = hear
