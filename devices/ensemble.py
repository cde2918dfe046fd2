"""A real ZooKeeper ensemble on this machine: servers as processes, on free ports, small and quick, for tests and demonstrations.

Needs Java and ZooKeeper's jars (Debian: apt-get install zookeeper). Ticks are short (0.5 s), so that sessions may last from one to ten
seconds and a lost leader is replaced within about two. Everything lies in one directory, and each server is ended by its own process id.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

JARS = Path("/usr/share/java")
TICK_MILLISECONDS = 500
HEAP = "96m"
LOOK = 0.05
"""Seconds between two looks at a server that is starting."""
ANSWER = 1.0
"""Seconds that a server has to answer a question of four letters."""
_JARS = ("zookeeper.jar", "zookeeper-jute.jar")
_BESIDE = ("slf4j-api", "slf4j-nop", "netty-*", "snappy-java", "metrics-core", "commons-io", "commons-cli", "jackson-*")
PORTS = range(20_000, 32_000)
"""Below those that outgoing connections take by themselves: a server that is started again finds its own free."""
PORTS_APART = 997
"""Between the first ports of two processes that began one after the other. What is found is bound only later, and others look meanwhile."""
_places = itertools.count(os.getpid() * PORTS_APART)
_LETTERS = "conf,cons,envi,mntr,ruok,srvr,stat,wchs"


def missing_parts() -> str:
    """What this machine lacks to run a server, with what to do; "" if nothing."""
    if shutil.which("java") is None or not all((JARS / name).exists() for name in _JARS):
        return "Java or ZooKeeper's jars are missing; on Debian: apt-get install zookeeper"
    return ""


def classpath() -> str:
    """The jars that a server needs, as Debian lays them out."""
    beside = sorted({str(path) for pattern in _BESIDE for path in JARS.glob(f"{pattern}.jar") if not re.search(r"-[0-9]+\.", path.name)})
    return ":".join([*(str(JARS / name) for name in _JARS), *beside])


def free_ports(count: int) -> list[int]:
    """Neighbouring ports on which nobody listens; this process gives none of them again before all others."""
    while True:
        ports = [PORTS[place % len(PORTS)] for place in itertools.islice(_places, count)]
        if ports[-1] - ports[0] == count - 1 and _are_free(ports):
            return ports


def _are_free(ports: Sequence[int]) -> bool:
    with contextlib.ExitStack() as held:
        for port in ports:
            try:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


class Server:
    """One server process; it may be ended, started again over the same data, stopped and continued."""

    def __init__(self, number: int, directory: Path, port: int) -> None:
        self.number = number
        self.directory = directory
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process; it is ready some time later."""
        if self.process is not None and self.process.poll() is None:
            return
        java = ["java", f"-Xmx{HEAP}", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto"]
        options = ["-Dzookeeper.admin.enableServer=false", "-Dzookeeper.jmx.log4j.disable=true", "-Djava.net.preferIPv4Stack=true"]
        command = [*java, *options, "-cp", classpath(), "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.directory / "zoo.cfg")]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, start_new_session=True)

    def signal(self, number: signal.Signals) -> None:
        """Sends the process a signal; nothing if it is not running."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        """Ends the process at once, as a crash would, and waits for it."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def ask(self, letters: str) -> str:
        """What it answers to "srvr", "mntr" and their like; "" if it does not."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), ANSWER) as link:
            link.sendall(letters.encode())
            parts = []
            while part := link.recv(65536):
                parts.append(part)
            return b"".join(parts).decode(errors="replace")
        return ""

    def mode(self) -> str:
        """"leader", "follower" or "standalone"; "" while it serves nobody."""
        found = [line for line in self.ask("srvr").splitlines() if line.startswith("Mode: ")]
        return found[0].removeprefix("Mode: ") if found else ""


class Ensemble:
    """Several servers that agree. Servers are counted from 0. `hosts` is what a client is given."""

    def __init__(self, directory: Path, servers: int = 3, tick: int = TICK_MILLISECONDS, options: Sequence[str] = ()) -> None:
        """Starts them; `wait_ready` says when they serve. `options` are more lines of each server's configuration. Raises RuntimeError on a machine
        without ZooKeeper."""
        if missing := missing_parts():
            raise RuntimeError(missing)
        ports = free_ports(3 * servers)
        self.servers = [Server(number, directory / f"zk-{number + 1}", ports[3 * number]) for number in range(servers)]
        members = [f"server.{number + 1}=127.0.0.1:{ports[3 * number + 1]}:{ports[3 * number + 2]}" for number in range(servers)]
        for server in self.servers:
            self._prepare(server, [*(members if servers > 1 else []), *options], tick)
        for server in self.servers:
            server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def hosts(self) -> str:
        return ",".join(server.address for server in self.servers)

    def wait_ready(self, deadline: float = 30.0) -> float:
        """Waits until every running server serves; returns the seconds that took. Raises TimeoutError after `deadline` seconds."""
        pause, began = threading.Event(), time.monotonic()
        while not all(server.mode() for server in self.servers if server.process is not None and server.process.poll() is None):
            if time.monotonic() - began > deadline:
                raise TimeoutError(f"ZooKeeper is not ready after {deadline:g} s: {self.last_words()}")
            pause.wait(LOOK)
        if all(server.process is None or server.process.poll() is not None for server in self.servers):
            raise TimeoutError(f"no ZooKeeper server is running: {self.last_words()}")
        return time.monotonic() - began

    def leader(self) -> int | None:
        """Number of the server that leads the others (the only one leads itself); None while there is none."""
        return next((server.number for server in self.servers if server.mode() in ("leader", "standalone")), None)

    def stop_server(self, number: int) -> None:
        """Kills a server."""
        self.servers[number].stop()

    def start_server(self, number: int) -> None:
        """Starts a killed server over its own data."""
        self.servers[number].start()

    def pause(self, number: int) -> None:
        """Stops a server without ending it (SIGSTOP)."""
        self.servers[number].signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Lets a stopped server go on."""
        self.servers[number].signal(signal.SIGCONT)

    def close(self) -> None:
        """Kills all servers; their directories stay."""
        for server in self.servers:
            server.stop()

    def last_words(self) -> str:
        """The ends of the servers' logs."""
        logs = [server.directory / "server.log" for server in self.servers]
        return " | ".join(log.read_text(errors="replace")[-400:].strip() for log in logs if log.exists())

    @staticmethod
    def _prepare(server: Server, members: list[str], tick: int) -> None:
        data = server.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        (data / "myid").write_text(f"{server.number + 1}\n")
        lines = [
            f"tickTime={tick}", "initLimit=10", "syncLimit=4", f"dataDir={data}", f"clientPort={server.port}", "clientPortAddress=127.0.0.1",
            "admin.enableServer=false", f"4lw.commands.whitelist={_LETTERS}", "maxClientCnxns=0", "standaloneEnabled=true", *members,
        ]  # fmt: skip
        (server.directory / "zoo.cfg").write_text("\n".join(lines) + os.linesep)
