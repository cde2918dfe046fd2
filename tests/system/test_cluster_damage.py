"""Disks of members that lie: damaged records are delivered from a replica that has them undamaged, and a copy of a store in use is not trusted."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.cluster import SLOW, ClusterProcesses
from tests.system.ensemble import Ensemble
from tests.system.processes import Programs, eventually
from zmqmq import Admin, Consumer, Producer

COUNT = 300
DAMAGED = range(100, 200, 20)


@pytest.fixture
def cluster(programs: Programs, ensemble: Ensemble, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ClusterProcesses]:
    """Three brokers."""
    with ClusterProcesses(programs, ensemble, tmp_path / f"damage-{request.node.name[-12:]}") as started:
        started.start()
        started.wait_members()
        yield started
        started.check_no_traceback()


def value(number: int) -> bytes:
    return b"reading %05d of a sensor" % number


def produce(cluster: ClusterProcesses, numbers: range) -> None:
    """All confirmed."""
    with Producer(cluster.brokers) as producer:
        for receipt in [producer.send("readings", value(number), key=f"sensor-{number % 10}") for number in numbers]:
            receipt.result(SLOW)


def consume(cluster: ClusterProcesses, count: int) -> list[bytes]:
    """So many messages, acknowledged one by one."""
    with Consumer(cluster.brokers, "readings", "controllers") as consumer:
        got: list[bytes] = []
        while len(got) < count:
            message = consumer.receive(timeout=SLOW)
            assert message is not None, f"{len(got)} of {count} have come"
            got.append(message.value)
            message.ack()
    return got


def stored(data: Path) -> list[bytes]:
    """The messages in a store that nobody uses."""
    connection = sqlite3.connect(data / "zmqmq.db")
    try:
        tables = [table for (table,) in connection.execute("SELECT log_table FROM partitions")]
        return [row[0] for table in tables for row in connection.execute(f'SELECT value FROM "{table}" WHERE kind = 0 ORDER BY offset')]
    finally:
        connection.close()


def flip_bits(data: Path, numbers: range) -> None:
    """Some bits of each of these messages, in the file itself; also where SQLite has left an older place of it."""
    file = data / "zmqmq.db"
    content = file.read_bytes()
    for number in numbers:
        assert value(number) in content
        content = content.replace(value(number), value(number).replace(b"reading", b"reaping"))
    file.write_bytes(content)


def test_messages_that_are_damaged_at_their_leader_are_delivered_undamaged_and_its_copy_is_made_anew(cluster: ClusterProcesses) -> None:
    with Admin(cluster.brokers) as admin:
        admin.create_topic("readings", partitions=1)
    produce(cluster, range(COUNT))
    cluster.wait_whole()
    victim = cluster.place("readings").replicas[0]
    for name in cluster.members:
        cluster.stop(name)
    flip_bits(cluster.members[victim].data, DAMAGED)
    cluster.start()
    cluster.wait_whole()
    eventually(lambda: cluster.place("readings").leader == victim, f"{victim} leads", SLOW)
    got = consume(cluster, COUNT)
    for key in range(10):
        assert list(dict.fromkeys(text for text in got if int(text.split()[1]) % 10 == key)) == [value(number) for number in range(key, COUNT, 10)]
    assert "damaged replica" in cluster.program(victim).errors
    cluster.wait_whole()
    for name in cluster.members:
        cluster.stop(name)
    for member in cluster.members.values():
        assert stored(member.data) == [value(number) for number in range(COUNT)], member.broker_id


def test_a_copy_that_was_made_while_the_broker_ran_is_not_trusted_before_it_has_caught_up(cluster: ClusterProcesses) -> None:
    with Admin(cluster.brokers) as admin:
        admin.create_topic("readings", partitions=1)
    produce(cluster, range(50))
    cluster.wait_whole()
    victim = cluster.leader_of("readings")
    copy = cluster.directory / "copy"
    with cluster.paused(victim):
        shutil.copytree(cluster.members[victim].data, copy)
    cluster.wait_whole()
    produce(cluster, range(50, COUNT))
    cluster.kill(victim)
    cluster.restore_data(victim, copy)
    cluster.start(victim)
    cluster.wait_whole()
    assert "old copy" in cluster.program(victim).errors
    assert sorted(set(consume(cluster, COUNT))) == [value(number) for number in range(COUNT)]
    cluster.wait_whole()
    for name in cluster.members:
        cluster.stop(name)
    assert stored(cluster.members[victim].data) == [value(number) for number in range(COUNT)]
