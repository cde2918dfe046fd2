"""The brokers of a cluster as processes: those of configs/cluster/, on free ports and in a directory that goes away."""

from __future__ import annotations

import signal
from pathlib import Path

from devices.demo_children import Child, Lines, free_ports

CONFIGS = "configs/cluster"
NAMES = ("broker-1", "broker-2", "broker-3")


class Brokers:
    """Three brokers; each can be killed and started again over its own data."""

    def __init__(self, directory: Path, zookeeper: str, lines: Lines) -> None:
        """`zookeeper`: the servers, with commas between them. Nothing is started yet."""
        self._directory, self._zookeeper, self._lines = directory, zookeeper, lines
        self._ports = {name: free_ports() for name in NAMES}
        self.running: dict[str, Child] = {}

    @property
    def endpoints(self) -> list[str]:
        """Where clients find them."""
        return [f"tcp://127.0.0.1:{port}" for port in self._ports.values()]

    def start(self, name: str) -> None:
        """Starts one; it says when it is ready."""
        environ = {
            "ZMQMQ_BIND": f"tcp://127.0.0.1:{self._ports[name]}",
            "ZMQMQ_DATA": str(self._directory / name),
            "ZMQMQ_ZOOKEEPER__HOSTS": self._zookeeper,
        }
        self.running[name] = Child(name, "run_broker.py", ["--config", f"{CONFIGS}/{name}.yaml"], self._lines, environ)

    def kill(self, name: str) -> None:
        """As a crash: SIGKILL."""
        child = self.running.pop(name)
        child.process.send_signal(signal.SIGKILL)
        child.wait()

    def stop(self) -> dict[str, int]:
        """Ends all in good order; their exit codes."""
        for child in self.running.values():
            child.ask_to_end()
        return {name: child.wait() for name, child in self.running.items()}
