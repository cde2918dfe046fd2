"""What people get wrong with a cluster, and what strangers leave in its tree: a clear error each, and the cluster goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.system.cluster import ClusterProcesses
from tests.system.cluster_load import read
from tests.system.ensemble import Ensemble, free_ports
from tests.system.processes import Programs
from zmqmq import Admin, Producer
from zmqmq.core.cluster_commands import Reassign
from zmqmq.core.commands import Refused
from zmqmq.errors import InvalidValue

TWO = {"session_timeout_seconds": 2.0}
NOISE = {
    "/strange": b"not zmqmq's",
    "/brokers/ids/no broker at all": b"\x00\xff",
    "/brokers/ids/ghost": b"{",
    "/brokers/wishes/ghost": b"[1, 2]",
    "/topics/a b c": b"{}",
    "/topics/broken": b"no JSON",
    "/parts/12345": b"",
    "/parts/12345/0": b'{"replicas": "nobody"}',
    "/parts/words": b"",
    "/deleted/words": b"\xfe",
}
"""Foreign and damaged nodes below the cluster's own."""


@pytest.fixture(scope="module")
def cluster(ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    """Three brokers that nobody's mistake disturbs."""
    directory: Path = tmp_path_factory.mktemp("mistakes")
    with Programs() as programs, ClusterProcesses(programs, ensemble, directory, zookeeper=TWO) as started:
        started.start()
        started.wait_whole()
        yield started
        started.wait_whole()
        started.check_no_traceback()


@pytest.fixture
def other(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> Iterator[ClusterProcesses]:
    """Another cluster on the same ensemble, not started."""
    with ClusterProcesses(programs, ensemble, tmp_path / "other", zookeeper=TWO) as made:
        yield made


def refuses(cluster: ClusterProcesses, broker_id: str, says: str) -> None:
    """The broker ends by itself, with one line that says why."""
    program = cluster.programs.start(broker_id, "run_broker.py", "--config", cluster.members[broker_id].file)
    assert program.wait() == 1, program.errors
    last = program.errors.splitlines()[-1]
    assert last.startswith("zmqmq broker: ") and says in last, program.errors
    assert "Traceback" not in program.errors


def test_a_member_of_another_cluster_is_sent_away_and_keeps_its_data(cluster: ClusterProcesses, other: ClusterProcesses) -> None:
    other.start("b1")
    with Producer(other.members["b1"].endpoint) as producer:
        producer.send("theirs", b"a message").result()
    other.stop("b1")
    other.write("b1", cluster=cluster.name)
    refuses(other, "b1", "the data directory belongs to cluster")
    other.write("b1")
    other.start("b1")
    assert read(other, "theirs", 1) == [b"a message"]


def test_a_member_that_was_started_alone_is_let_in_no_more_until_its_directory_is_emptied(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> None:
    with ClusterProcesses(programs, ensemble, tmp_path / "deserted", zookeeper=TWO) as deserted:
        deserted.start()
        deserted.wait_members()
        with Producer(deserted.brokers) as producer:
            producer.send("ours", b"a message").result(timeout=60)
        deserted.wait_whole()
        deserted.stop("b1")
        deserted.write("b1", zookeeper=None)
        deserted.start("b1")
        deserted.stop("b1")
        deserted.write("b1")
        refuses(deserted, "b1", "the data directory belongs to cluster")
        deserted.wipe("b1")
        deserted.start("b1")
        deserted.wait_whole()


def test_a_broker_id_that_is_taken_is_refused(cluster: ClusterProcesses, other: ClusterProcesses) -> None:
    other.write("b1", cluster=cluster.name)
    refuses(other, "b1", "broker id 'b1' belongs to another broker that is alive")


def test_an_advertised_address_that_leads_nowhere_is_refused(other: ClusterProcesses) -> None:
    other.write("b1", advertise=f"tcp://127.0.0.1:{free_ports(1)[0]}")
    refuses(other, "b1", "does not lead to this broker: connection refused")


def test_a_session_timeout_that_zookeeper_does_not_grant_is_refused(other: ClusterProcesses) -> None:
    other.write("b1", zookeeper={"session_timeout_seconds": 60.0})
    refuses(other, "b1", "ZooKeeper grants a session timeout of 10 s instead of the configured 60 s")


def test_a_broker_that_cannot_reach_zookeeper_says_so_and_joins_when_it_can(cluster: ClusterProcesses, other: ClusterProcesses) -> None:
    other.write("b1", zookeeper={"hosts": f"127.0.0.1:{free_ports(1)[0]}"})
    other.start("b1")
    other.program("b1").line("ZooKeeper cannot be reached, trying again", stderr=True)
    other.stop("b1")


def test_more_replicas_than_brokers_and_unknown_brokers_are_refused(cluster: ClusterProcesses) -> None:
    with Admin(cluster.brokers) as admin:
        with pytest.raises(InvalidValue, match="replicas is 5, but there are 3 brokers that may hold one"):
            admin.create_topic("wide", partitions=1, replicas=5)
        admin.create_topic("narrow", partitions=1, replicas=3)
    cluster.wait_whole()
    for replicas, says in ((["b1", "b9"], "there is no broker 'b9'"), (["b1", "b1"], "is named twice")):
        refused = cluster.command(Reassign(1, "narrow", 0, replicas), Refused)
        assert (refused.code, says in refused.message) == ("InvalidValue", True), refused
    assert sorted(cluster.place("narrow").replicas) == ["b1", "b2", "b3"]


def test_foreign_and_damaged_nodes_in_the_tree_disturb_nobody(cluster: ClusterProcesses, ensemble: Ensemble) -> None:
    keeper = KazooClient(ensemble.hosts)
    keeper.start(timeout=10)
    for path, data in NOISE.items():
        keeper.create(f"/zmqmq/{cluster.name}{path}", data, makepath=True)
    with Producer(cluster.brokers) as producer:
        for number in range(20):
            producer.send("amid-noise", b"%d" % number, key="k")
    victim = cluster.cluster_leader()
    cluster.kill(victim)
    assert cluster.cluster_leader(other_than=victim)
    cluster.start(victim)
    cluster.wait_whole()
    assert read(cluster, "amid-noise", 20) == [b"%d" % number for number in range(20)]
    keeper.stop()
    keeper.close()


def test_a_tree_that_is_not_one_of_zmqmq_is_left_alone(other: ClusterProcesses, ensemble: Ensemble) -> None:
    keeper = KazooClient(ensemble.hosts)
    keeper.start(timeout=10)
    keeper.create("/elsewhere/cluster", b"somebody else's", makepath=True)
    other.write("b1", zookeeper={"chroot": "/elsewhere"})
    refuses(other, "b1", "the tree is not one of zmqmq")
    assert keeper.get_children("/elsewhere") == ["cluster"]
    keeper.stop()
    keeper.close()
