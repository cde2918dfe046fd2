"""A real broker for your own tests: on a free port, with a directory that goes away, in a thread of the test's process.

    from zmqmq import Consumer, Producer
    from zmqmq.testing import TestBroker

    with TestBroker() as broker:
        with Producer(broker.endpoint) as producer:
            producer.send("orders", b"one").result()
        with Consumer(broker.endpoint, "orders") as consumer:
            assert consumer.receive().value == b"one"

As a fixture of pytest, one broker for each test (or, with `scope="session"`, one for all, and a topic of its own for each test):

    import pytest
    from zmqmq.testing import TestBroker

    @pytest.fixture
    def broker():
        with TestBroker() as broker:
            yield broker

    def test_an_order_survives_a_crash_of_the_broker(broker):
        with Producer(broker.endpoint) as producer:
            producer.send("orders", b"one").result()
            broker.kill()
            broker.restart()
            producer.send("orders", b"two").result()

It is the same broker as in production, with SQLite, fsync and sockets; only its timeouts are shorter. It needs the libraries of a broker:
`pip install 'zmqmq[broker]'`.
"""

from __future__ import annotations

import queue
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

try:
    from zmqmq.broker import Broker
    from zmqmq.config import BrokerConfig, LogConfig
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"zmqmq.testing starts a real broker and needs its libraries ({missing.name} is missing): pip install 'zmqmq[broker]'", name=missing.name
    ) from missing
from zmqmq.errors import CallerError, ConfigError, DeadlineExceeded, InvalidValue

START_TIMEOUT = 10.0
"""Seconds that a broker may take to open its data."""
STOP_TIMEOUT = 10.0
"""Seconds that it may take to end."""
PORT_TRIES = 20
"""Ports that are tried until two neighbours are free."""
SESSION_TIMEOUT = 2.0
"""Seconds of silence after which a client is given up, unless told otherwise."""
BEACON_INTERVAL = 0.2
"""Seconds between two beacons, unless told otherwise."""


class TestBroker:
    """A broker that runs from construction to `stop`; or use it in a `with` block. Its methods are for one thread."""

    __test__ = False  # pytest need not look for tests in here

    def __init__(self, data: str | Path | None = None, **settings: Any) -> None:
        """Starts a broker and returns when it answers.

        data: its directory, which then stays; None makes one that goes away. settings: keys of the broker's configuration, for
        example `session_timeout_seconds=5`, `topics=TopicsConfig(auto_create=False)`. Raises InvalidValue for settings that do not
        exist, and what a broker raises that cannot start (StorageLocked …)."""
        unknown = sorted(settings.keys() - set(BrokerConfig.__struct_fields__))
        if unknown:
            raise InvalidValue(f"unknown settings: {', '.join(unknown)}", hint=f"known are {', '.join(BrokerConfig.__struct_fields__)}")
        self._temporary = tempfile.TemporaryDirectory(prefix="zmqmq-test-") if data is None else None
        self.data = Path(self._temporary.name if self._temporary else str(data))
        """The data directory."""
        quiet: dict[str, Any] = {"session_timeout_seconds": SESSION_TIMEOUT, "beacon_interval_seconds": BEACON_INTERVAL, "ballast_bytes": 0}
        self._settings = quiet | {"log": LogConfig(level="error")} | settings | {"data": str(self.data)}
        self._runner: _Runner | None = None
        try:
            self._runner = self._start_somewhere()
        except BaseException:
            self._clean()
            raise

    @property
    def endpoint(self) -> str:
        """What clients are given: "tcp://127.0.0.1:port". It stays the same over restarts."""
        return str(self._settings["bind"])

    @property
    def is_running(self) -> bool:
        """Whether it serves now."""
        return self._runner is not None and self._runner.is_alive

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Ends in good order, as by SIGTERM. A second time is fine. Raises what the broker itself failed with."""
        self._halt(timeout, crash=False)

    def kill(self, timeout: float = STOP_TIMEOUT) -> None:
        """Ends as by SIGKILL: nobody is told, nothing more is written, what is in memory (sessions, leases) is gone."""
        self._halt(timeout, crash=True)

    def restart(self, *, crash: bool = False) -> None:
        """Starts again on the same data and port; one that still runs is stopped before, or killed if `crash`."""
        if self._temporary is None and not self.data.is_dir():
            raise CallerError("the broker's data is gone", hint="start a new TestBroker")
        self._halt(STOP_TIMEOUT, crash)
        self._runner = _Runner(BrokerConfig(**self._settings))

    def close(self) -> None:
        """Stops, and removes the directory if it was made here."""
        try:
            self.stop()
        finally:
            self._clean()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # --- Details -------------------------------------------------------------------------------------------------

    def _start_somewhere(self) -> _Runner:
        if "bind" in self._settings:
            return _Runner(BrokerConfig(**self._settings))
        for attempt in range(PORT_TRIES):
            self._settings["bind"] = f"tcp://127.0.0.1:{free_port()}"
            try:
                return _Runner(BrokerConfig(**self._settings))
            except ConfigError:
                if attempt == PORT_TRIES - 1:
                    raise
        raise AssertionError("the loop above returns or raises")

    def _halt(self, timeout: float, crash: bool) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.end(timeout, crash)

    def _clean(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()


class _Runner:
    """One life of the broker: the thread that makes it, serves and ends it. SQLite wants all of that in one thread."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config
        self._crash = False
        self._started: queue.SimpleQueue[Broker | BaseException] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="zmqmq-test-broker", daemon=True)
        self._thread.start()
        try:
            broker = self._started.get(timeout=START_TIMEOUT)
        except queue.Empty:
            raise DeadlineExceeded("the broker did not start in time", seconds=START_TIMEOUT) from None
        if isinstance(broker, BaseException):
            self._thread.join(STOP_TIMEOUT)
            raise broker
        self._broker = broker

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def end(self, timeout: float, crash: bool) -> None:
        self._crash = crash
        if self._thread.is_alive():
            self._broker.stop()
            self._thread.join(timeout)
        if self._thread.is_alive():
            raise DeadlineExceeded("the broker did not end in time", seconds=timeout)
        if self._failure is not None:
            raise self._failure

    def _live(self) -> None:
        try:
            broker = Broker(self._config)
        except BaseException as error:
            self._started.put(error)
            return
        try:
            broker.open()
            self._started.put(broker)
            broker.run()
            if self._crash:
                broker.abandon()
            else:
                broker.close()
        except BaseException as error:
            self._failure = error
            self._started.put(error)
            broker.abandon()


def free_port() -> int:
    """A port that is free together with the one after it, for commands and wake-ups."""
    for _ in range(PORT_TRIES):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise ConfigError("no two neighbouring ports are free", hint="too many sockets are in use on this machine")
