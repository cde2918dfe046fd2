"""Tests of many foreign nodes in the tree: they hide nothing that matters, and are forgotten when they are gone."""

from __future__ import annotations

from tests.core.mirroring import Room
from tests.core.small_cluster import SmallCluster
from zmqmq.core import layout
from zmqmq.core.cluster_view import DAMAGED_MAX


def test_a_damaged_cluster_leader_is_found_among_any_number_of_foreign_names() -> None:
    cluster = SmallCluster("ab")
    for number in range(DAMAGED_MAX + 1):
        cluster.tree.put(f"{layout.TOPICS}/bad name {number}", b"")
    cluster.settle()
    for broker in cluster.live:
        broker.die()
    cluster.tree.put(layout.CONTROLLER, b"foreign")
    for broker in cluster.brokers.values():
        broker.join()
    for _ in range(20):
        cluster.wait(1.0)
    assert cluster.leader.name in "ab"


def test_foreign_names_that_are_gone_are_not_remembered() -> None:
    room = Room()
    room.furnish()
    strangers = [f"{layout.TOPICS}/bad name {number}" for number in range(DAMAGED_MAX + 1)]
    for path in [*strangers, f"{layout.PARTS}/8/x"]:
        room.tree.put(path, b"")
    room.connect()
    assert len(room.mirror.view.damaged) == DAMAGED_MAX
    for path in [*strangers[1:], f"{layout.PARTS}/8/x", f"{layout.PARTS}/8"]:
        room.tree.remove(path)
    room.seat.run()
    assert set(room.mirror.view.damaged) == {strangers[0]}
    room.tree.put(strangers[1], b"")
    room.seat.run()
    assert set(room.mirror.view.damaged) == set(strangers[:2])
