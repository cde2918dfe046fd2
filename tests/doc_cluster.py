"""The cluster against which the page about clusters is run: ZooKeeper and three brokers as processes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devices.demo_brokers import NAMES, Brokers
from devices.demo_children import Line, Lines
from devices.ensemble import Ensemble
from tests.doc_pages import Supply
from zmqmq import Admin

READY_SECONDS = 30.0
LOOK_SECONDS = 0.05


@contextmanager
def three_brokers(directory: Path) -> Iterator[Supply]:
    """A cluster that is there, until the end of the block; ended by process ids."""
    directory.mkdir()
    lines: Lines = queue.SimpleQueue()
    with Ensemble(directory / "zookeeper", servers=1) as ensemble:
        ensemble.wait_ready()
        brokers = Brokers(directory, ensemble.hosts, lines)
        try:
            for name in NAMES:
                brokers.start(name)
            _wait_ready(lines)
            with Admin(brokers.endpoints) as admin:
                _wait_registered(admin)
            own_cluster = {"ZMQMQ_ZOOKEEPER__HOSTS": ensemble.hosts, "ZMQMQ_ZOOKEEPER__CHROOT": "/zmqmq/terminals"}
            yield Supply(",".join(brokers.endpoints), directory / NAMES[0], own_cluster)
        finally:
            brokers.stop()


def _wait_ready(lines: Lines) -> None:
    waiting, deadline = set(NAMES), time.monotonic() + READY_SECONDS
    said: list[Line] = []
    while waiting:
        try:
            line = lines.get(timeout=max(0.001, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"not ready: {sorted(waiting)}; said was {said[-20:]}") from None
        said.append(line)
        assert line.text is not None, f"{line.child} has ended; said was {said[-20:]}"
        if " ready on " in (line.text or ""):
            waiting.discard(line.child)


def _wait_registered(admin: Admin) -> None:
    deadline, pause = time.monotonic() + READY_SECONDS, threading.Event()
    while len(admin.brokers()) < len(NAMES) or admin.leader() is None:
        assert time.monotonic() < deadline, "not all brokers are registered"
        pause.wait(LOOK_SECONDS)
