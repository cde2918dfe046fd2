"""What the command line says of a cluster, and asks of it; a fake administrator stands in for the cluster."""

from __future__ import annotations

from typing import Any, Self

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Command
from zmqmq.cli import exits
from zmqmq.cli.cluster_health import Level, concerns_of, verdict, worst_first
from zmqmq.cli.link import Link
from zmqmq.core.admin_commands import BrokerSummary, PartitionSummary
from zmqmq.core.cluster_commands import ClusterReport, MemberSummary, PlaceSummary

THREE = ["broker-1", "broker-2", "broker-3"]


def member(name: str, **changes: Any) -> MemberSummary:
    return replace(MemberSummary(name, True, f"tcp://127.0.0.1:74{name[-1]}0", "", "zmqmq 1", 1, False, False, 1, 2, 2), **changes)


def place(topic: str = "temp_1", partition: int = 0, **changes: Any) -> PlaceSummary:
    whole = PlaceSummary(topic, partition, "broker-1", 3, THREE, THREE, [], [], [], 2, 12, 12, {"broker-2": 0, "broker-3": 0})
    return replace(whole, **changes)


def report(*places: PlaceSummary, members: list[MemberSummary] | None = None, **changes: Any) -> ClusterReport:
    known = [member(name) for name in THREE] if members is None else members
    return replace(ClusterReport(1, "factory", "broker-1", "broker-2", 4, True, known, list(places)), **changes)


class FakeAdmin:
    """Answers as it was told, and remembers what it was asked."""

    def __init__(self, shown: ClusterReport) -> None:
        self.shown = shown
        self.chief: BrokerSummary | None = BrokerSummary("broker-2", "tcp://127.0.0.1:7420", "cluster leader", 1, "zmqmq 1")
        self.asked: list[tuple[object, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.asked.append(("closed",))

    def cluster(self, topic: str = "") -> ClusterReport:
        return replace(self.shown, places=[place for place in self.shown.places if topic in ("", place.topic)])

    def leader(self) -> BrokerSummary | None:
        return self.chief

    def brokers(self) -> list[BrokerSummary]:
        return [] if self.chief is None else [self.chief]

    def topic(self, name: str) -> FakeAdmin:
        return self

    @property
    def partitions(self) -> list[PartitionSummary]:
        shown = self.shown.places
        return [PartitionSummary(part.partition, part.leader, part.epoch, part.replicas, part.in_sync, 0, part.end, part.committed, 0, 0, 0) for part in shown]

    def drain_broker(self, broker: str, undo: bool = False) -> int:
        self.asked.append(("drain", broker, undo))
        return 2

    def remove_broker(self, broker: str, undo: bool = False) -> int:
        self.asked.append(("remove", broker, undo))
        return 5

    def reassign(self, topic: str, partition: int, replicas: list[str]) -> None:
        self.asked.append(("reassign", topic, partition, replicas))


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> FakeAdmin:
    fake = FakeAdmin(report(place()))
    monkeypatch.setattr(Link, "admin", lambda link: fake)
    return fake


@pytest.fixture
def command(admin: FakeAdmin, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_a_whole_cluster_is_healthy() -> None:
    whole = report(place(), place(partition=1))
    assert concerns_of(whole) == []
    assert verdict(whole, []) == "healthy: 3 brokers, 2 partitions, every replica in sync"


def test_what_is_worst_comes_first() -> None:
    lacking = place("a", in_sync=["broker-1", "broker-2"])
    refusing = place("b", in_sync=["broker-1"], eligible=["broker-3"])
    offline = place("c", leader="", in_sync=["broker-3"], eligible=["broker-2"])
    shown = report(lacking, refusing, offline, place("d"), members=[member("broker-1"), member("broker-2"), member("broker-3", live=False)], leader="")
    concerns = concerns_of(shown)
    assert [(concern.level, concern.what) for concern in concerns] == [
        (Level.NO_CLUSTER, ""),
        (Level.OFFLINE, "c/0"),
        (Level.REFUSING, "b/0"),
        (Level.UNDER_REPLICATED, "a/0"),
        (Level.AWAY, "broker-3"),
    ]
    assert [place.topic for place in worst_first(shown.places)] == ["c", "b", "a", "d"]
    said = verdict(shown, concerns)
    assert said.startswith("not healthy: there is no cluster leader")
    assert "1 offline (c/0); 1 refusing messages (b/0); 1 under-replicated (a/0); 1 away (broker-3)" in said


def test_a_partition_that_moves_and_a_broker_that_is_drained_are_no_concern() -> None:
    moving = place(replicas=[*THREE, "broker-4"], adding=["broker-4"], removing=["broker-1"])
    assert concerns_of(report(moving, members=[member("broker-1", draining=True)])) == []


def test_fewer_replicas_than_a_topic_shall_have_are_a_concern() -> None:
    few = place(replicas=THREE[:2], in_sync=THREE[:2], wanted=3)
    (concern,) = concerns_of(report(few, place(partition=1, wanted=3)))
    assert (concern.level, concern.text) == (Level.UNDER_REPLICATED, "temp_1/0 has 2 of 3 replicas: there are too few brokers")


def test_a_broker_that_lost_touch_does_not_call_the_cluster_healthy() -> None:
    stale = report(place(), connected=False)
    assert "lost touch" in verdict(stale, concerns_of(stale))


def test_a_verdict_about_many_partitions_names_a_few() -> None:
    many = report(*(place(partition=number, leader="") for number in range(20)))
    said = verdict(many, concerns_of(many))
    assert "20 offline (temp_1/0, temp_1/1, " in said and " …)" in said and len(said) < 200


def test_the_status_of_a_healthy_cluster_ends_with_0(command: Command) -> None:
    shown = command("cluster", "status")
    assert shown.code == exits.OK
    assert shown.out.splitlines()[-1] == "healthy: 3 brokers, 1 partition, every replica in sync"
    assert "cluster leader" in shown.out and "broker-1 broker-2 broker-3" in shown.out


def test_the_status_of_an_ailing_cluster_ends_with_1_and_names_it_first(command: Command, admin: FakeAdmin) -> None:
    admin.shown = report(place("fine"), place("ill", in_sync=["broker-1", "broker-2"], lag={"broker-2": 0, "broker-3": 17}))
    shown = command("cluster", "status", "--limit", "1")
    assert shown.code == exits.FAILED
    assert "under-replicated" in shown.out and "broker-3:17" in shown.out and "fine" not in shown.out and "1 more" in shown.out
    assert command("cluster", "status", "fine").code == exits.OK


def test_the_status_as_json_has_the_report_and_the_verdict(command: Command, admin: FakeAdmin) -> None:
    admin.shown = report(place(leader=""))
    shown = command("cluster", "status", "--json")
    document = shown.document
    assert (shown.code, document["healthy"], document["concerns"][0]["level"]) == (exits.FAILED, False, "offline")
    assert document["members"][1]["broker_id"] == "broker-2" and document["places"][0]["needed"] == 2 and document["verdict"].startswith("not healthy")


def test_the_leader_is_named_and_its_absence_is_an_exit_code(command: Command, admin: FakeAdmin) -> None:
    assert command("leader").out == "broker-2 at tcp://127.0.0.1:7420\n"
    assert command("leader", "temp_1", "--json").document == [{"topic": "temp_1", "partition": 0, "leader": "broker-1", "epoch": 3, "in_sync": THREE}]
    admin.shown = report(place(leader=""))
    assert command("leader", "temp_1").code == exits.FAILED
    admin.chief = None
    absent = command("leader")
    assert absent.code == exits.FAILED and "no cluster leader" in absent.err


def test_brokers_are_drained_and_removed_and_both_can_be_undone(command: Command, admin: FakeAdmin) -> None:
    assert "hands over 2 partitions" in command("broker", "drain", "broker-1").out
    assert command("broker", "drain", "broker-1", "--undo").out == "broker-1 may lead again\n"
    assert command("broker", "remove", "broker-1", "--json").document == {"broker": "broker-1", "removing": True, "replicas": 5}
    assert command("broker", "remove", "broker-1", "--undo").code == exits.OK
    asked = [question for question in admin.asked if question != ("closed",)]
    assert asked == [("drain", "broker-1", False), ("drain", "broker-1", True), ("remove", "broker-1", False), ("remove", "broker-1", True)]


def test_a_partition_is_reassigned_to_the_brokers_named(command: Command, admin: FakeAdmin) -> None:
    assert command("partitions", "reassign", "temp_1", "0", "--replicas", "broker-2, broker-3").code == exits.OK
    assert ("reassign", "temp_1", 0, ["broker-2", "broker-3"]) in admin.asked
    assert command("partitions", "reassign", "temp_1", "0", "--replicas", " , ").code == exits.USAGE
    assert command("partitions", "reassign", "temp_1", "0").code == exits.USAGE


def test_a_topic_or_controller_named_like_a_subcommand_is_not_mistaken_for_one() -> None:
    from zmqmq.cli import _program

    assert _program("broker", "drain") is None and _program("broker", "--port") is not None
    assert _program("controller", "drain") is not None and _program("broker") is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ["cluster", "status"],
        ["broker", "drain", "broker-1"],
        ["broker", "remove", "broker-1", "--undo"],
        ["partitions", "reassign", "temp_1", "0", "--replicas", "broker-2"],
        ["topic", "add-partitions", "temp_1", "4"],
    ],
)
def test_a_broker_that_stands_alone_is_no_cluster(zmqmq: Command, arguments: list[str]) -> None:
    refused = zmqmq(*arguments)
    assert refused.code == exits.REFUSED and "stands alone" in refused.err
    assert zmqmq("leader").code == exits.OK
