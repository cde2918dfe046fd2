"""Storms over several brokers can be unleashed, one by one, and all of them end with the calm."""

from __future__ import annotations

import pytest

from tests.sim.cluster_storms import ClusterStorms
from tests.sim.history import History
from tests.sim.mesh import Mesh
from tests.sim.storms import calm
from tests.sim.world import World


def stage(seed: int) -> tuple[World, Mesh, ClusterStorms]:
    world = World(seed, brokers=3)
    world.groups = []
    mesh = Mesh(world.scheduler, world.rng, world.note, History())
    for host in world.hosts:
        mesh.join(host)
        host.watch(mesh.stored)
        host.after_turn = lambda host, broker: None  # each of them stands alone here, and knows nothing of the others
        host.start()
    world.scheduler.run(1.0)
    return world, mesh, ClusterStorms(world, mesh)


KINDS = len(stage(0)[2].kinds)


@pytest.mark.parametrize("kind", range(KINDS))
def test_a_storm_comes_and_goes(kind: int) -> None:
    world, mesh, storms = stage(kind)
    for _ in range(3):
        storms.kinds[kind]()
        world.scheduler.run(world.scheduler.now + 0.4)
    storms.calm()
    calm(world)
    world.scheduler.run(world.scheduler.now + 20.0)
    assert all(host.is_up for host in world.hosts) and mesh.ensemble.running
    names = [host.name for host in world.hosts]
    assert all(world.weather.passes(one, other) for one in names for other in names)


def test_a_lost_disk_and_an_old_one_are_in_the_books() -> None:
    world, mesh, _ = stage(1)
    host = world.hosts[0]
    mesh.back_up(host)
    assert not mesh.restore_disk(host), "the broker has not begun another life since the backup"
    host.die(away=0.1)
    world.scheduler.run(2.0)
    assert mesh.restore_disk(host) and mesh.court.shelves[host.name].is_stale and not mesh.is_whole
    assert not mesh.lose_disk(world.hosts[1]), "another disk is not to be trusted already"
    world.scheduler.run(20.0)
    mesh.court.shelves[host.name].is_stale = False
    assert mesh.lose_disk(host) and mesh.court.shelves[host.name].storage_id == host.disk.storage_id
