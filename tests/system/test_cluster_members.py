"""A cluster grows and shrinks under load: a broker that stood alone, a fourth broker, one that is removed, one that is drained."""

from __future__ import annotations

from pathlib import Path

from tests.system.cluster import SLOW, ClusterProcesses
from tests.system.cluster_load import Load, read
from tests.system.ensemble import Ensemble
from tests.system.processes import Programs, eventually
from zmqmq import Producer
from zmqmq.core.admin_commands import Done
from zmqmq.core.cluster_commands import DrainBroker, Reassign, RemoveBroker


def test_a_broker_that_stood_alone_becomes_the_first_member_with_all_it_has(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> None:
    with ClusterProcesses(programs, ensemble, tmp_path / "alone", brokers=1) as cluster:
        cluster.write("b1", zookeeper=None)
        cluster.start()
        with Producer(cluster.brokers) as producer:
            for number in range(200):
                producer.send("heritage", b"%d" % number, key="k")
        assert read(cluster, "heritage", 50) == [b"%d" % number for number in range(50)]
        cluster.stop("b1")
        cluster.write("b1")
        cluster.add("b2")
        cluster.add("b3")
        cluster.start("b1")
        assert cluster.leader_of("heritage") == "b1"
        cluster.start("b2", "b3")
        cluster.wait_members()
        assert read(cluster, "heritage", 150) == [b"%d" % number for number in range(50, 200)]
        cluster.check_no_traceback()


def test_a_fourth_broker_takes_its_share_under_load_and_another_one_is_removed(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> None:
    with ClusterProcesses(programs, ensemble, tmp_path / "fourth") as cluster:
        cluster.start()
        cluster.wait_whole()
        load = Load(cluster, "shared", partitions=8)
        cluster.add("b4")
        cluster.start("b4")
        eventually(lambda: cluster.holds("b4") >= 5, "b4 holds its share of 24 replicas", SLOW)
        load.flow()
        leader = cluster.leader_of("shared")
        cluster.command(RemoveBroker(1, leader), Done)
        eventually(lambda: cluster.holds(leader) == 0, f"nothing is left on {leader}", SLOW)
        cluster.stop(leader)
        load.flow()
        load.finish()
        cluster.check_no_traceback()


def test_partitions_move_under_load_to_other_brokers_and_back(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> None:
    with ClusterProcesses(programs, ensemble, tmp_path / "moving") as cluster:
        cluster.start()
        cluster.wait_whole()
        load = Load(cluster, "moving", partitions=4, replicas=2)
        for replicas in (["b1", "b2"], ["b2", "b3"], ["b3", "b1"]):
            for number in range(4):
                question = Reassign(1, "moving", number, replicas)
                eventually(lambda asked=question: cluster.ask("b1", asked, Done), f"{number} is let move to {replicas}", SLOW)  # type: ignore[misc]
            cluster.wait_whole()
            load.flow(50)
        load.finish()
        cluster.check_no_traceback()


def test_a_drained_broker_leads_nothing_until_it_is_undone(programs: Programs, ensemble: Ensemble, tmp_path: Path) -> None:
    with ClusterProcesses(programs, ensemble, tmp_path / "drained") as cluster:
        cluster.start()
        cluster.wait_whole()
        load = Load(cluster, "calm", partitions=4)
        cluster.wait_whole()
        victim = cluster.leader_of("calm")
        cluster.command(DrainBroker(1, victim), Done)
        eventually(lambda: cluster.leads(victim) == 0, f"{victim} leads nothing", SLOW)
        load.flow()
        cluster.command(DrainBroker(1, victim, False), Done)
        eventually(lambda: cluster.leads(victim) > 0, f"{victim} leads again", SLOW)
        load.flow()
        load.finish()
        cluster.check_no_traceback()
