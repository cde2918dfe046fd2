"""A broker that cannot start says why in one line, with what to do, and ends with an exit code; no traceback."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from devices.demo_children import free_ports
from tests.system.processes import BrokerProcess, Program, Programs
from zmqmq import Producer

FAILED, USAGE = 1, 2
NOBODY = 65534
DATABASE = "zmqmq.db"


def fails(programs: Programs, *arguments: object, code: int = FAILED, says: str) -> Program:
    """Starts a broker that must not start, and checks what it says."""
    environ = {"ZMQMQ_BALLAST_BYTES": "0"}
    program = programs.start("a broker that cannot start", "run_broker.py", *arguments, environ=environ)
    assert program.wait() == code, program.errors
    assert says in program.errors
    assert len(program.errors.splitlines()) == 1, program.errors
    assert program.text == ""
    return program


def stopped_store(programs: Programs, data: Path) -> Path:
    """The data of a broker that held a few messages and ended in good order."""
    broker = programs.broker(data, ballast_bytes=0)
    with Producer(broker.endpoint) as producer:
        for number in range(100):
            producer.send("readings", b"%d" % number * 100)
    assert broker.program.stop() == 0
    return data


def test_a_port_in_use(programs: Programs, broker: BrokerProcess, tmp_path: Path) -> None:
    fails(programs, "--port", broker.port, "--data", tmp_path / "other", says=f"cannot listen on tcp://127.0.0.1:{broker.port}: the port is in use")
    fails(programs, "--port", broker.port - 1, "--data", tmp_path / "third", says="the port is in use")


def test_a_data_directory_that_another_broker_uses(programs: Programs, broker: BrokerProcess) -> None:
    fails(programs, "--port", free_ports(), "--data", broker.data, says=f"stop process {broker.program.pid} first")
    with Producer(broker.endpoint) as producer:
        assert producer.send("readings", b"still here").result().offset >= 0


def test_a_data_directory_that_is_a_file(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    fails(programs, "--port", free_ports(), "--data", tmp_path / "file", says="the data directory is a file")
    fails(programs, "--port", free_ports(), "--data", tmp_path / "file" / "below", says="part of the path is a file")


def test_a_data_directory_that_may_not_be_written(programs: Programs, tmp_path: Path) -> None:
    """Root may write everywhere, so the broker gives up its rights first where it has them."""
    (tmp_path / "data").mkdir(mode=0o500)
    drop = f"import os, sys; os.getuid() or os.setresuid({NOBODY}, {NOBODY}, {NOBODY})"
    start = "from zmqmq.cli.broker import main; sys.exit(main(sys.argv[1:]))"
    everybody = [tmp_path, *(path for path in tmp_path.parents if path.owner() == Path.home().owner() and path != Path("/"))]
    modes = {path: path.stat().st_mode for path in everybody}
    for path in everybody:
        path.chmod(modes[path] | 0o055)
    program = programs.start("broker", "-c", f"import zmqmq.broker, zmqmq.cli.broker; {drop}; {start}", "--port", free_ports(), "--data", tmp_path / "data")
    assert program.wait() == FAILED
    for path, mode in modes.items():
        path.chmod(mode)
    assert "the data directory cannot be used: Permission denied" in program.errors
    assert len(program.errors.splitlines()) == 1, program.errors


def test_a_store_of_a_newer_version(programs: Programs, tmp_path: Path) -> None:
    data = stopped_store(programs, tmp_path / "data")
    with sqlite3.connect(data / DATABASE) as database:
        database.execute("PRAGMA user_version=9999")
    database.close()
    fails(programs, "--port", free_ports(), "--data", data, says="newer")


@pytest.mark.parametrize("damage", ["header", "middle", "other program"])
def test_a_damaged_store(damage: str, programs: Programs, tmp_path: Path) -> None:
    data = stopped_store(programs, tmp_path / "data")
    path = data / DATABASE
    if damage == "other program":
        path.write_text("this is no database at all\n" * 1000)
    else:
        with path.open("r+b") as file:
            file.seek(0 if damage == "header" else 16384)
            file.write(os.urandom(16384 * (1 if damage == "header" else 4)))
    fails(programs, "--port", free_ports(), "--data", data, says="damaged" if damage == "middle" else "not a database")


def test_settings_that_cannot_be(programs: Programs, tmp_path: Path) -> None:
    config = tmp_path / "broker.yaml"
    for text, says in (
        ("colour: red\n", "colour"),
        ("session_timeout_seconds: soon\n", "session_timeout_seconds"),
        ("session_timeout_seconds: 0\n", "session_timeout_seconds"),
        ("topics:\n  defaults:\n    keep: forever\n", "topics.defaults.keep"),
        ("bind: [\n", "broker.yaml"),
    ):
        config.write_text(text)
        fails(programs, "--config", config, code=USAGE, says=says)
    fails(programs, "--config", tmp_path / "missing.yaml", code=USAGE, says="missing.yaml")
    fails(programs, "--port", 70000, code=USAGE, says="70000")
