"""A member of a cluster that nobody can reach at the address that it gives to others stops and says so."""

from __future__ import annotations

from pathlib import Path

from tests.system.cluster import ClusterProcesses
from tests.system.ensemble import Ensemble, free_ports
from tests.system.processes import Programs


def test_an_address_where_nobody_listens(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with ClusterProcesses(programs, ensemble, tmp_path / "nobody", brokers=1, advertise=f"tcp://127.0.0.1:{port}") as cluster:
        cluster.start()
        program = cluster.program("b1")
        assert program.wait() == 1
        assert program.errors.splitlines()[-1].startswith(f"zmqmq broker: advertise: tcp://127.0.0.1:{port} does not lead to this broker: connection refused; ")
        cluster.check_no_traceback()


def test_an_address_where_another_member_listens(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> None:
    with ClusterProcesses(programs, ensemble, tmp_path / "another", brokers=1) as cluster:
        cluster.start()
        cluster.wait_members()
        cluster.add("b2", advertise=cluster.members["b1"].endpoint)
        cluster.start("b2")
        program = cluster.program("b2")
        assert program.wait() == 1
        assert "there answers broker b1" in program.errors.splitlines()[-1]
        assert cluster.program("b1").is_running
        cluster.check_no_traceback()
