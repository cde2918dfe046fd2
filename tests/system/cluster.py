"""Brokers of a cluster as processes over a real ZooKeeper: found by role, killed, stopped, cut off, started again, emptied.

Each broker has a configuration file, a data directory and ports of its own. With `proxies` a broker reaches every ZooKeeper server through a proxy of
its own, and the other brokers reach it through one; clients of a test go straight to it, so that what it says to them is heard.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import yaml

from tests.system.ensemble import Ensemble, free_ports
from tests.system.processes import PATIENCE, Program, Programs, eventually
from tests.system.proxy import Proxy
from tests.system.wire_client import Answer, WireClient
from zmqmq.core.cluster_commands import AskCluster, ClusterReport, MemberSummary, PlaceSummary
from zmqmq.core.commands import Command

ANSWER = 2.0
"""Seconds that a broker has to answer a question of a test."""
SLOW = 60.0
"""Seconds for things that need several elections or a catch-up."""


class MemberProcess:
    """One broker of the cluster."""

    def __init__(self, broker_id: str, directory: Path, port: int, zookeeper: str) -> None:
        self.broker_id = broker_id
        self.port = port
        self.data = directory / broker_id
        self.file = directory / f"{broker_id}.yaml"
        self.zookeeper = zookeeper
        self.log = directory / f"{broker_id}.log"
        """What all its lives have said, when the cluster is closed."""
        self.lives: list[Program] = []
        self.is_paused = False
        self.front: Proxy | None = None
        """What the other brokers reach it through."""
        self.to_zookeeper: list[Proxy] = []

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def program(self) -> Program | None:
        """Its present process, or its last; None before the first start."""
        return self.lives[-1] if self.lives else None

    @property
    def is_running(self) -> bool:
        return self.program is not None and self.program.is_running


class ClusterProcesses:
    """Some brokers, b1, b2 …, over one ensemble. Use it in a `with` block of its `Programs`; `close` ends the proxies."""

    def __init__(self, programs: Programs, ensemble: Ensemble, directory: Path, brokers: int = 3, *, proxies: bool = False, **settings: Any) -> None:
        """Writes the files; `settings` are keys of the configuration, sections as dictionaries. `start` starts them."""
        self.programs, self.ensemble, self.directory = programs, ensemble, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.name = directory.name.replace("_", "-")[:60]
        self._settings = settings
        self._proxies = proxies
        self.members: dict[str, MemberProcess] = {}
        for number in range(brokers):
            self.add(f"b{number + 1}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kills all brokers and ends the proxies."""
        for member in self.members.values():
            if member.program is not None:
                member.program.kill()
                member.log.write_text("\n".join(line for life in member.lives for line in life.err.lines))
            for proxy in [*member.to_zookeeper, *([member.front] if member.front else [])]:
                proxy.close()

    # --- configuration ---------------------------------------------------------------------------------------------

    def add(self, broker_id: str, **settings: Any) -> MemberProcess:
        """One more broker, not started yet. `settings` are for it alone."""
        member = MemberProcess(broker_id, self.directory, free_ports(3)[0], self.ensemble.hosts)  # for commands, for wake-ups, and for a proxy
        self.members[broker_id] = member
        if self._proxies:
            self._lay_cables(member)
        self.write(broker_id, **settings)
        return member

    def write(self, broker_id: str, **settings: Any) -> None:
        """(Re)writes the configuration of one broker."""
        member = self.members[broker_id]
        found: dict[str, Any] = {
            "broker_id": broker_id,
            "cluster": self.name,
            "bind": member.endpoint,
            "data": str(member.data),
            "ballast_bytes": 0,
            "session_timeout_seconds": 3,
            "zookeeper": {"hosts": member.zookeeper, "session_timeout_seconds": 4.0},
        }
        if member.front is not None:
            found["advertise"] = f"tcp://127.0.0.1:{member.port + 2}"
        for key, value in (self._settings | settings).items():
            found[key] = found[key] | value if isinstance(found.get(key), dict) and isinstance(value, dict) else value
        member.file.write_text(yaml.safe_dump(found))

    def _lay_cables(self, member: MemberProcess) -> None:
        member.front = Proxy(member.port + 2, member.port)
        ports = free_ports(len(self.ensemble.servers))
        member.to_zookeeper = [Proxy(port, server.port) for port, server in zip(ports, self.ensemble.servers, strict=True)]
        member.zookeeper = ",".join(f"127.0.0.1:{port}" for port in ports)

    @property
    def brokers(self) -> str:
        """Where clients find them: all, with commas between them."""
        return ",".join(member.endpoint for member in self.members.values())

    # --- processes ---------------------------------------------------------------------------------------------------

    def start(self, *broker_ids: str) -> None:
        """Starts brokers (all that do not run, if none is named), and waits until they listen."""
        members = [self.members[name] for name in broker_ids] or [member for member in self.members.values() if not member.is_running]
        for member in members:
            member.lives.append(self.programs.start(member.broker_id, "run_broker.py", "--config", member.file))
        for member in members:
            member.lives[-1].line("ready on")

    def program(self, broker_id: str) -> Program:
        """The process of a broker."""
        program = self.members[broker_id].program
        assert program is not None, f"{broker_id} was never started"
        return program

    def kill(self, *broker_ids: str) -> None:
        """SIGKILL to all of them, then their ends."""
        for name in broker_ids:
            self.program(name).signal(signal.SIGKILL)
        for name in broker_ids:
            self.program(name).kill()
            self.members[name].is_paused = False

    def stop(self, broker_id: str) -> None:
        """SIGTERM, and its end in good order."""
        code = self.program(broker_id).stop()
        assert code == 0, f"{broker_id} ended with {code}: {self.program(broker_id).errors}"

    @contextlib.contextmanager
    def paused(self, broker_id: str) -> Iterator[None]:
        """The broker does not move inside of this block."""
        member, program = self.members[broker_id], self.program(broker_id)
        program.signal(signal.SIGSTOP)
        member.is_paused = True
        try:
            yield
        finally:
            program.signal(signal.SIGCONT)
            member.is_paused = False

    def cut_from_zookeeper(self, broker_id: str) -> None:
        """Nothing passes between it and any ZooKeeper server."""
        for proxy in self.members[broker_id].to_zookeeper:
            proxy.cut()

    def cut_from_brokers(self, *broker_ids: str) -> None:
        """No other broker reaches these: nobody follows them any more."""
        for name in broker_ids:
            self._front(name).cut()

    def mend_to_brokers(self, *broker_ids: str) -> None:
        """Other brokers reach these again."""
        for name in broker_ids:
            self._front(name).mend()

    def _front(self, broker_id: str) -> Proxy:
        front = self.members[broker_id].front
        assert front is not None, "this cluster has no proxies"
        return front

    def mend(self) -> None:
        """All that was cut passes again."""
        for member in self.members.values():
            for proxy in [*member.to_zookeeper, *([member.front] if member.front else [])]:
                proxy.mend()

    def wipe(self, broker_id: str) -> None:
        """Empties the data directory of a broker that has ended."""
        shutil.rmtree(self.members[broker_id].data)

    def copy_data(self, broker_id: str, to: Path) -> None:
        """Keeps a copy of the data directory of a broker that has ended."""
        shutil.copytree(self.members[broker_id].data, to)

    def restore_data(self, broker_id: str, copy: Path) -> None:
        """Puts a copy in the place of the data directory of a broker that has ended."""
        self.wipe(broker_id)
        shutil.copytree(copy, self.members[broker_id].data)

    # --- what they say ---------------------------------------------------------------------------------------------

    def report(self, asked: str | None = None) -> ClusterReport | None:
        """The cluster as one broker sees it: the one that is named, or the first that is connected to ZooKeeper."""
        if asked:
            return self.ask(asked, AskCluster(1), ClusterReport)
        names = [name for name, member in self.members.items() if member.is_running and not member.is_paused]
        return next((report for name in names if (report := self.report(name)) is not None and report.connected), None)

    def ask(self, broker_id: str, command: Command, kind: type[Answer]) -> Answer | None:
        """What that broker answers; None if it does not."""
        with contextlib.suppress(AssertionError), WireClient(self.members[broker_id].endpoint) as client:
            client.greet("observer", timeout=ANSWER)
            return client.ask(command, kind, timeout=ANSWER)
        return None

    def command(self, command: Command, kind: type[Answer]) -> Answer:
        """What the first broker that runs answers to a command of an administrator."""
        name = next(name for name, member in self.members.items() if member.is_running and not member.is_paused)
        with WireClient(self.members[name].endpoint) as client:
            client.greet("administrator")
            return client.ask(command, kind)

    def holds(self, broker_id: str) -> int:
        """Replicas of a broker; -1 while nobody says."""
        return self._summary(broker_id, lambda member: member.replicas)

    def leads(self, broker_id: str) -> int:
        """Partitions that a broker leads; -1 while nobody says."""
        return self._summary(broker_id, lambda member: member.leads)

    def _summary(self, broker_id: str, look: Callable[[MemberSummary], int]) -> int:
        report = self.report()
        return next((look(member) for member in report.members if member.broker_id == broker_id), -1) if report else -1

    def place(self, topic: str, partition: int = 0) -> PlaceSummary:
        """Where a partition is now, as soon as anybody says so."""

        def look() -> PlaceSummary | None:
            report = self.report()
            places = report.places if report else []
            return next((place for place in places if (place.topic, place.partition) == (topic, partition)), None)

        found = eventually(look, f"somebody knows {topic}/{partition}")
        assert found is not None
        return found

    def leader_of(self, topic: str, partition: int = 0, *, other_than: str = "") -> str:
        """Who leads the partition, as soon as somebody does (other than the one that is named)."""
        return eventually(lambda: name if (name := self.place(topic, partition).leader) != other_than else "", f"{topic}/{partition} has a leader", SLOW)

    def cluster_leader(self, *, other_than: str = "") -> str:
        """The cluster leader, as soon as there is one (other than the one that is named)."""

        def look() -> str:
            report = self.report()
            return report.leader if report is not None and report.leader != other_than else ""

        return eventually(look, "there is a cluster leader", SLOW)

    def wait_members(self, timeout: float = PATIENCE) -> None:
        """Every broker that runs is registered, as all of them see it."""
        running = {name for name, member in self.members.items() if member.is_running}
        for name in running:
            eventually(lambda name=name: self._live(name) == running, f"{name} sees {sorted(running)}", timeout)  # type: ignore[misc]

    def _live(self, asked: str) -> set[str]:
        report = self.report(asked)
        return {member.broker_id for member in report.members if member.live} if report else set()

    def wait_whole(self, timeout: float = SLOW) -> ClusterReport:
        """Every broker that runs is registered, and every partition has a leader and all its replicas in sync."""
        self.wait_members(timeout)
        found = eventually(self._whole, "all replicas are in sync", timeout)
        assert found is not None
        return found

    def _whole(self) -> ClusterReport | None:
        report = self.report()
        if report is None or not report.leader:
            return None
        whole = all(place.leader and sorted(place.in_sync) == sorted(place.replicas) and not (place.adding or place.removing) for place in report.places)
        return report if whole else None

    def check_no_traceback(self) -> None:
        """No broker has met anything that its authors did not think of."""
        for name, member in self.members.items():
            for life in member.lives:
                assert "Traceback" not in life.errors, f"{name}: {life.errors[-4000:]}"
