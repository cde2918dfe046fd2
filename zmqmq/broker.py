"""THE LOOP: receive, decide, persist, send, sleep until the next deadline.

    wait ──► receive what has arrived ──► node decides ──► one commit, one fsync ──► node confirms and delivers ──► send
      ▲                                                                                                             │
      └─────────────────────────────── until the node's next deadline ──────────────────────────────────────────────┘

Whatever arrived together shares one fsync. One thread does all of it; signals and other threads only wake it. An I/O error of the store
stops the broker before anything of that turn is sent. A full disk does not: the turn is committed with the help of the ballast, or its messages are
refused, and the broker goes on until there is room.
"""

from __future__ import annotations

import contextlib
import gc
import platform
import signal
import sys
from collections.abc import Callable, Iterator

import zmq

from zmqmq.config import BrokerConfig
from zmqmq.core.commands import Beacon
from zmqmq.core.context import NodeSettings
from zmqmq.core.node import Node, Output
from zmqmq.core.overview import Figures
from zmqmq.core.tree import Tree, Trouble
from zmqmq.core.writes import Write
from zmqmq.errors import BadFrame, ConfigError, StorageFull, ZmqmqError
from zmqmq.shell.metrics import picture
from zmqmq.shell.opening import Shells, membership, open_shells
from zmqmq.shell.peers import Peers, Refused
from zmqmq.shell.self_check import check_in_background
from zmqmq.shell.transport import LINGER_MS
from zmqmq.version import VERSION
from zmqmq.wire import decode_answer, decode_request, encode, encode_beacon

TURN_FRAMES = 256
"""Frames taken in one turn, so that no turn becomes endless."""
TURN_BYTES = 8 << 20
"""Bytes taken in one turn; less on a small disk, whose ballast must hold as much."""
PEER_BYTES = 32 << 20
"""Bytes of other brokers' answers taken in one turn."""
RETIRE_WAIT = 5.0
"""Seconds that a broker that is told to stop waits until its leaderships are handed over."""
DELETE_BYTES = 2 << 20
"""Bytes deleted in one turn; bounds its stall to some milliseconds."""
UPKEEP_INTERVAL = 0.01
"""Seconds between looks at the write-ahead log under load; it grows by a turn or two meanwhile."""
ROOM_INTERVAL = 1.0
"""Seconds between looks for room while the disk is full."""
COLLECT_AFTER = 100_000
"""Objects made and not freed after which Python looks for unreachable cycles."""
SOFTWARE = f"zmqmq {VERSION} (Python {platform.python_version()}, libzmq {zmq.zmq_version()})"


class Broker:
    """One broker. `open` takes over what is stored, `run` serves until `stop`, `close` gives everything back."""

    def __init__(self, config: BrokerConfig, shells: Shells | None = None) -> None:
        """Listens from now on, and answers from `open` on. Raises ConfigError, StorageError and its kinds."""
        self.config = config
        shells = shells or open_shells(config)
        self.storage, self.transport, self.clock = shells.storage, shells.transport, shells.clock
        self.log, self.metrics, self.tree = shells.log, shells.metrics, shells.tree
        self._turn_bytes = min(TURN_BYTES, self.storage.turn_bytes) if config.ballast_bytes else TURN_BYTES
        self.node = Node(self._settings(), self.storage.reader, shells.random, membership(config, self.storage) if self.tree is not None else None)
        self._peers: set[str] = set()
        self._stopping = self._full = False
        self._next_look = 0.0
        self._next_upkeep = 0.0
        self._next_figures = 0.0
        self._worst_turn = 0.0
        self._unreachable: str | None = None

    def _settings(self) -> NodeSettings:
        config = self.config
        return NodeSettings(
            broker_id=config.broker_id,
            cluster_id=self.storage.cluster_id,
            incarnation=self.storage.incarnation,
            endpoint=config.endpoint,
            wake_endpoint=config.wake_endpoint,
            software=SOFTWARE,
            auto_create=config.topics.auto_create,
            default_partitions=config.topics.default_partitions,
            defaults=config.topics.defaults,
            limits=config.limits,
            group_limits=config.group_limits,
            session_timeout=config.session_timeout_seconds,
            max_sessions=config.max_sessions,
            max_topics=config.topics.max_topics,
            beacon_interval=config.beacon_interval_seconds,
            delete_bytes=min(DELETE_BYTES, self._turn_bytes),
        )

    # --- life ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Takes over what is stored; when this returns, the first turn is on disk and clients are answered."""
        self._set_full(not self.storage.has_room())
        if self.tree is None and self.storage.identity.copied:
            self.log.warning("copy", effect="the data directory was copied while a broker used it; what was confirmed after that is not in it")
        self.clock.not_before(self.storage.reader.last_time())
        if self.tree is not None:
            self.tree.start(self.transport.wake)
        self.node.open(*self.clock.read())
        self._end_turn()
        self.log.info("opened", partitions=self.node.catalogue.partitions, topics=len(self.node.catalogue), endpoint=self.config.endpoint)

    def check_address(self) -> None:
        """A member of a cluster must be found where it says: looks in the background, and the broker stops if nobody or somebody else is found there."""
        if self.tree is not None:
            check_in_background(self.config.endpoint, self.config.broker_id, self.storage.incarnation, self._checked)

    def _checked(self, error: str | None) -> None:
        """Called by the thread that looks; the loop reads it in its next turn."""
        self._unreachable = error
        if error is not None:
            with contextlib.suppress(OSError):  # the broker has stopped meanwhile
                self.transport.wake()

    def run(self) -> None:
        """Turns until `stop`, and until what this broker leads is handed over. Raises StorageFailed or StorageDamaged when the store cannot be
        trusted any more, and ConfigError when the cluster does not take this broker, or cannot reach it."""
        while not self._stopping:
            self._wait_and_turn()
        until = self.clock.read().now + RETIRE_WAIT
        self.node.retire()
        while not self.node.is_retired and self.clock.read().now < until:
            self._wait_and_turn()

    def _wait_and_turn(self) -> None:
        self.transport.wait(self.node.deadline() - self.clock.read().now)
        self.turn()

    def turn(self) -> None:
        """One turn of the loop."""
        moment = self.clock.read()
        self.node.begin(*moment)
        arrived = self._hear(self.tree, self.transport.peers) if self.tree is not None else 0
        arrived += self._receive()
        self.node.tick()
        if self.node.fatal is not None:
            raise self.node.fatal
        if self._unreachable is not None:
            raise ConfigError(self._unreachable)
        self._end_turn()
        if not arrived or moment.now >= self._next_upkeep:
            self._next_upkeep = moment.now + UPKEEP_INTERVAL
            self.storage.maintain(idle=not arrived)
        self._watch(moment.now)

    def stop(self) -> None:
        """Ends `run` after the current turn. May be called from any thread and from signal handlers."""
        self._stopping = True
        self.transport.wake()

    def close(self) -> None:
        """Says farewell, writes everything down, releases the data directory."""
        self.node.begin(*self.clock.read())
        self.node.close()
        try:
            self._end_turn()
        finally:
            self._give_back()
        self.log.info("stopped")

    def abandon(self) -> None:
        """Gives sockets and lock back without writing anything: after a failure of the store."""
        self._give_back(linger=0)

    def _give_back(self, linger: int = LINGER_MS) -> None:
        if self.tree is not None:
            self.tree.stop()
        self.transport.close(linger)
        if self.metrics is not None:
            self.metrics.stop()
        self.storage.close()

    # --- the steps of a turn ---------------------------------------------------------------------------------------

    def _receive(self) -> int:
        """Hands every frame that has arrived to the node; returns how many."""
        count = 0
        for address, frame in self.transport.receive(TURN_FRAMES, self._turn_bytes):
            count += 1
            try:
                if frame is None:
                    raise BadFrame("a message must be one frame", hint="send a command as a single frame after the identity")
                command = decode_request(frame)
            except ZmqmqError as error:
                self.node.refuse_frame(address, error)
                continue
            self.node.receive(address, command)
        return count

    def _hear(self, tree: Tree, peers: Peers) -> int:
        """Hands over what has happened in the cluster; returns how many frames of other brokers there were."""
        count = 0
        for event in tree.take_events():
            if isinstance(event, Trouble):
                self.log.warning("coordination", trouble=event.text)
            self.node.hear(event)
        for broker, frame in peers.receive(TURN_FRAMES, PEER_BYTES):
            count += 1
            try:
                self.node.answered(broker, decode_answer(frame))
            except ZmqmqError as error:
                self.log.warning("a broker's answer was ignored", broker=broker, error=str(error))
        for peer_event in peers.take_events():
            if isinstance(peer_event, Refused):
                self.node.refused(peer_event.broker_id, peer_event.endpoint)
            else:
                self.node.connected(peer_event.broker_id)
        return count

    def _end_turn(self) -> None:
        """Persist, then send: nothing of a turn is said before it is on disk; only followers may write it at the same time."""
        if self._persist():
            self.node.persisted(self.clock.read().now)
        self.clock.not_before(self.node.context.latest)
        self._send(self.node.take_output())

    def _persist(self) -> bool:
        """Commits the turn; False if not even its operations fit on the disk: they are carried to the next turn."""
        writes = self.node.take_writes()
        for address, command in self.node.ahead() if self.storage.has_ballast else ():  # else a full disk may have to refuse it
            self.transport.send(address, encode(command))
        if self._commit(writes):
            return True
        self._meet_full_disk()
        if self._commit(writes):
            return True
        writes = self.node.drop_appends(writes)
        if self._commit(writes):
            return True
        self.node.carry(writes)
        return False

    def _commit(self, writes: list[Write]) -> bool:
        try:
            self.storage.commit(writes)
        except StorageFull:
            return False
        return True

    def _meet_full_disk(self) -> None:
        if not self._full:
            self.log.error("disk full", free=self.storage.disk_free(), effect="messages are refused until there is room")
        self._set_full(True)
        self.storage.free_ballast()

    def _set_full(self, full: bool) -> None:
        self._full = full
        self.node.set_storage_full(full)

    def _send(self, output: Output) -> None:
        for address, command in output.sends:
            self.transport.send(address, encode(command))
        for frame in output.publishes:
            self.transport.publish(encode_beacon(frame) if isinstance(frame, Beacon) else frame)
        for event, facts in output.events:
            self.log.info(event, **facts)
        self.transport.retry()
        if self.tree is not None:
            self._speak(output, self.tree, self.transport.peers)

    def _speak(self, output: Output, tree: Tree, peers: Peers) -> None:
        if output.peers is not None:
            for broker in self._peers - output.peers.keys():
                peers.forget(broker)
            for broker, endpoint in output.peers.items():
                peers.connect(broker, endpoint)
            self._peers = set(output.peers)
        for broker in output.silent:
            peers.renew(broker)
        for broker, command in output.questions:
            peers.send(broker, encode(command))
        if output.requests:
            tree.submit(output.requests)

    def _watch(self, began: float) -> None:
        """Measures the turn, looks for room while the disk is full, and refreshes the figures once per beacon."""
        now = self.clock.read().now
        self._worst_turn = max(self._worst_turn, now - began)
        if self._full and now >= self._next_look:
            self._next_look = now + ROOM_INTERVAL
            if self.storage.has_room():
                self._set_full(False)
                self.log.info("disk has room", free=self.storage.disk_free())
        if now >= self._next_figures:
            self._next_figures = now + self.config.beacon_interval_seconds
            self.node.set_figures(Figures(self.storage.storage_bytes(), self.storage.disk_free(), self._worst_turn))
            self._worst_turn = 0.0
            if self.metrics is not None:
                self.metrics.latest = picture(self.node)


@contextlib.contextmanager
def signals(stop: Callable[[], None], wake_descriptor: int) -> Iterator[None]:
    """SIGTERM and SIGINT stop the broker in good order; the second one at once."""
    seen = 0

    def on_signal(number: int, frame: object) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            raise SystemExit(128 + number)
        stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    descriptor = signal.set_wakeup_fd(wake_descriptor, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)


def _calm_collector() -> None:
    """Messages are no cycles and go by counting; looking for cycles every 700 of them was measured to take a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)


def run(config: BrokerConfig) -> int:
    """Runs a broker in the foreground until a signal stops it; returns the exit code. Mistakes become one line on standard error."""
    try:
        broker = Broker(config)
    except ZmqmqError as error:
        print(f"zmqmq broker: {error}", file=sys.stderr)
        return 1
    try:
        with signals(broker.stop, broker.transport.wake_descriptor):
            broker.open()
            broker.check_address()
            _calm_collector()
            print(f"zmqmq {VERSION} broker {config.broker_id} ready on {config.endpoint}, data in {config.data}", flush=True)
            broker.run()
            broker.close()
        return 0
    except ZmqmqError as error:
        broker.log.critical("stops", error=str(error))
        print(f"zmqmq broker: {error}", file=sys.stderr)
        broker.abandon()
        return 1
