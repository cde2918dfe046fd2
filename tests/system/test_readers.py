"""Other eyes: the data is read by ordinary tools while the broker runs, and the client's imports stay small."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.system.processes import ROOT, BrokerProcess, Programs, eventually
from zmqmq import Consumer, Producer

FORBIDDEN = {"kazoo", "sqlite_utils", "sqlite3", "typer", "rich", "asyncio", "yaml", "structlog", "click", "prometheus_client"}
IMPORT_SECONDS = 0.15
SENSOR_BYTES = 45 << 20


def sqlite_utils(*arguments: object) -> Any:
    """What the `sqlite-utils` command answers, as JSON."""
    command = [sys.executable, "-m", "sqlite_utils", *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)


def test_sqlite_utils_reads_tables_and_messages_while_the_broker_runs(programs: Programs, broker: BrokerProcess) -> None:
    database = broker.data / "zmqmq.db"
    with Producer(broker.endpoint) as producer, Consumer(broker.endpoint, "temp_1") as consumer:
        for number in range(20):
            producer.send("temp_1", f"2{number % 10}.5".encode(), key=f"sensor-{number % 3}", headers={"unit": "C"}).result()
        tables = {row["table"]: row["count"] for row in sqlite_utils("tables", database, "--counts")}
        assert tables["topics"] == 1
        rows = sqlite_utils("query", database, "select * from temp_1 order by time" if "temp_1" in _names(database) else _messages(database))
        assert len(rows) == 20
        messages = consumer.receive_many(20)
        consumer.ack(messages).result()
        assert producer.send("temp_1", b"22").result().offset >= 0, "a reader is in nobody's way"


def _names(database: Path) -> set[str]:
    return {row["name"] for row in sqlite_utils("query", database, "select name from sqlite_master")}


def _messages(database: Path) -> str:
    """A query of all partitions' messages."""
    logs = [name for name in _names(database) if name.startswith(("log_", "temp_1"))]
    return " union all ".join(f"select * from [{name}] where kind = 0" for name in logs)


def test_importing_the_client_is_cheap_and_loads_little() -> None:
    code = "import sys, time; began = time.process_time(); import zmqmq; print(time.process_time() - began, *{name.split('.')[0] for name in sys.modules})"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT).stdout.split() for _ in range(5)]
    assert min(float(run[0]) for run in runs) < IMPORT_SECONDS
    assert FORBIDDEN.isdisjoint(runs[0][1:])


def test_a_sensor_is_small(programs: Programs, broker: BrokerProcess) -> None:
    import psutil

    sensor = programs.start("sensor", "run_sensor.py", "temp", 1, 0.02, "--brokers", broker.endpoint)
    sensor.lines("confirmed", 50)
    assert psutil.Process(sensor.pid).memory_info().rss < SENSOR_BYTES
    assert sensor.stop() == 0


def test_a_broker_starts_fast_and_small_whatever_is_waiting(programs: Programs, broker: BrokerProcess) -> None:
    import psutil

    with Producer(broker.endpoint) as producer:
        for _ in range(100_000):
            producer.send("backlog", bytes(100))
    began = time.monotonic()
    broker.restart()
    assert time.monotonic() - began < 5.0, "the interpreter and a busy machine included"
    with Consumer(broker.endpoint, "backlog") as consumer:
        assert eventually(lambda: consumer.receive_many(1000, timeout=5.0), "messages come")
    assert psutil.Process(broker.program.pid).memory_info().rss < 150 << 20
