"""The machine that runs a broker: starts the production loop on simulated shells and turns it when it wants to be turned.

Its process can die at any moment, be stopped and go on, or end in good order; its disk and its wall clock have moods, and the disk can
be replaced while no process uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

from tests.fakes.memory_tree import MemoryEnsemble, MemoryTree
from tests.sim.clocks import DRIFT_MAX, MachineTime, SimClock
from tests.sim.disk import BALLAST, FATES, ROOM, Image, ProcessDied, SimDisk, SimStorage
from tests.sim.network import Network
from tests.sim.scheduler import Alarm, Scheduler
from tests.sim.sockets import SimTransport
from tests.sim.weather import TREE
from zmqmq.broker import RETIRE_WAIT, Broker, Shells
from zmqmq.config import BrokerConfig
from zmqmq.core import writes as w
from zmqmq.errors import StorageFailed

TURNS_PER_SECOND = 2000
"""Turns of the broker in one virtual second; more is a busy loop."""
CLUSTER_ID = "cluster"
LOOK_AGAIN = 0.02
"""Seconds until it is asked again whether all is handed over."""
TREE_DELAY = 0.01
"""Seconds that a request to the tree, or an answer, takes at most."""
TREE_LAG = 0.3
"""Seconds by which a server of the tree may be behind."""


class SilentLog:
    """The broker's log; its lines go into the trace."""

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note

    def info(self, event: str, **facts: Any) -> None:
        self._note("log", event)

    error = critical = info


class Host:
    """One broker's machine. `name` is the broker's id and its name as a party of the network."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        network: Network,
        rng: Random,
        config: BrokerConfig,
        note: Callable[..., None],
        ensemble: MemoryEnsemble | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.disk = SimDisk(storage_id=f"storage-{name}", cluster_id=CLUSTER_ID, ballast=BALLAST, room=ROOM)
        self.machine = MachineTime(scheduler, rng.uniform(0, 1e6), rng.uniform(-DRIFT_MAX, DRIFT_MAX))
        self.broker: Broker | None = None
        self.transport: SimTransport | None = None
        self.tree: MemoryTree | None = None
        """The process's connection to the tree, if it is a member of a cluster."""
        self.paused_until = -1.0
        self.turns = 0
        self.after_turn: Callable[[Host, Broker], None] = lambda host, broker: None
        self.on_read: Callable[[Host, bytes, float], None] = lambda host, address, sent: None
        self.on_send: Callable[[Host, str, bytes], None] = lambda host, client, frame: None
        self.on_life: Callable[[Host, str], None] = lambda host, what: None
        """Hears "starts", "dies", "stops" and "replaced"."""
        self._scheduler = scheduler
        self._network = network
        self._rng = rng
        self._note = note
        self._alarm = Alarm(scheduler, self._turn)
        self._free_at = 0.0
        self._second = (-1, 0)
        self._retires_until: float | None = None
        """It was asked to stop, and hands over what it leads until then at the latest."""
        self.disk.on_replaced = lambda: self.on_life(self, "replaced")
        self._ensemble = ensemble
        self._reaches_tree = True
        network.weather.on_change.append(self._weather_changes)

    @property
    def is_up(self) -> bool:
        """A process runs, be it paused or not."""
        return self.broker is not None

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the broker if it does not run."""
        if self.broker is not None:
            return
        self._note(f"{self.name} starts")
        storage = SimStorage.open(self.disk)
        transport = SimTransport(self._network, self.name, self.config.endpoint, self.config.wake_endpoint, self.nudge)
        log = SilentLog(lambda *facts: self._note(self.name, *facts))
        self.tree = self._connect_tree()
        shells = Shells(cast(Any, storage), cast(Any, transport), SimClock(self.machine), self._rng.random, cast(Any, log), None, self.tree)
        self.broker, self.transport = Broker(self.config, shells), transport
        self._retires_until = None
        transport.on_read = lambda address, sent: self.on_read(self, address, sent)
        transport.on_send = lambda client, frame: self.on_send(self, client, frame)
        self._network.ring[self.name] = self.nudge
        self.on_life(self, "starts")
        self._do(self.broker.open)

    def _connect_tree(self) -> MemoryTree | None:
        if self._ensemble is None:
            return None
        timeout = self.config.zookeeper.session_timeout_seconds if self.config.zookeeper is not None else 4.0
        tree = MemoryTree(self._ensemble, timeout=timeout, delay=TREE_DELAY, lag=self._rng.choice([0.0, TREE_LAG]), rng=self._rng)
        if not self._reaches_tree:
            tree.cut()
        return tree

    def _weather_changes(self) -> None:
        """The way to the tree is cut or open again."""
        reaches = self._network.weather.connects(self.name, TREE)
        if reaches != self._reaches_tree:
            self._reaches_tree = reaches
            if self.tree is not None and reaches:
                self.tree.mend()
            elif self.tree is not None:
                self.tree.cut(self._rng.choice([0.0, 0.5, 3.0]))

    @property
    def has_failed(self) -> bool:
        """A commit of the running process has failed."""
        return self.broker is not None and cast(SimStorage, self.broker.storage).has_failed

    def _end(self, what: str) -> None:
        self.broker = self.transport = None
        self.paused_until = -1.0
        self._network.ring.pop(self.name, None)
        if self.tree is not None:
            self.tree.crash()
            self.tree = None
        self._alarm.cancel()
        self.on_life(self, what)

    def die(self, away: float | None = None) -> None:
        """The process is gone; nothing is written, nobody is told. It is started again after `away` seconds, or some."""
        if self.broker is None or self.transport is None:
            return
        self._note(f"{self.name} dies")
        cast(SimStorage, self.broker.storage).crash()
        self.disk.fate = None
        self.transport.close(0)
        self._end("dies")
        self._scheduler.after(self._rng.choice([0.05, 0.5, 2.0, 8.0]) if away is None else away, self.start)

    def stop(self) -> None:
        """SIGTERM: what it leads is handed over, then it stops in good order; a start after a moment."""
        if self.broker is None or self._retires_until is not None:
            return
        self._note(f"{self.name} retires")
        self._retires_until = self._scheduler.now + RETIRE_WAIT
        self.broker.node.retire()
        self._stop_when_retired()

    def _stop_when_retired(self) -> None:
        broker = self.broker
        if broker is None or self._retires_until is None:
            return
        if not broker.node.is_retired and self._scheduler.now < self._retires_until:
            self.nudge()
            self._scheduler.after(LOOK_AGAIN, self._stop_when_retired)
            return
        self._note(f"{self.name} stops")
        self.disk.fate = None
        self._do(broker.close, judged=False)
        if not self.is_up:
            return  # it died of it
        self._end("stops")
        self._scheduler.after(self._rng.choice([0.05, 1.0, 5.0]), self.start)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self._note(f"{self.name} pauses", seconds)
        self.paused_until = max(self.paused_until, self._scheduler.now + seconds)
        if self.tree is not None:
            self.tree.pause()
            self._scheduler.at(self.paused_until, self.go_on)

    def go_on(self) -> None:
        """SIGCONT, if it is time."""
        if self.tree is not None and self.tree.paused and self._scheduler.now >= self.paused_until:
            self.tree.resume()
        self.nudge()

    def doom(self) -> None:
        """Something happens at the next commit."""
        self.disk.fate = self._rng.choice(FATES)

    def replace_disk(self, image: Image | None = None) -> None:
        """The process dies, and when it comes back its disk is empty, or as it was when `image` was made."""
        if self.broker is not None:
            self.die()
        self._note(f"{self.name} gets another disk", "empty" if image is None else "old")
        if image is None:
            self.disk.wipe(f"storage-{self.name}-{self.disk.lives + 1}", f"{CLUSTER_ID}-{self.name}-{self.disk.lives + 1}")
        else:
            self.disk.restore(image)

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
        assert self._second[1] <= TURNS_PER_SECOND, f"{self.name} is busy without end"
        self.turns += 1
        self._do(self.broker.turn)

    def _do(self, act: Callable[[], None], judged: bool = True) -> None:
        broker = self.broker
        assert broker is not None
        try:
            act()
        except (ProcessDied, StorageFailed) as error:
            self._note(f"{self.name} storage", str(error))
            self.die()
            return
        self._free_at = self._scheduler.now + self._rng.uniform(0.0002, 0.004)
        if judged:
            self.after_turn(self, broker)
        wanted = self.machine.virtual(broker.node.deadline())
        self._alarm.set(max(wanted, self._free_at))
        if self.transport is not None and (self.transport.inbox or self.transport.peers.has_news):
            self._alarm.set(self._free_at)

    def watch(self, hear: Callable[[Host, Sequence[w.Write]], None]) -> None:
        """Who hears of every commit."""
        self.disk.on_commit = lambda writes: hear(self, writes)
