"""The good end of a cluster: besides what a single broker owes, everything is led, every replica is in sync, and all of them hold the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.cluster_storms import ClusterStorms
from tests.sim.ending import end_well
from tests.sim.orders import Orders

if TYPE_CHECKING:
    from tests.sim.cluster_world import ClusterWorld


def end_well_together(world: ClusterWorld, storms: ClusterStorms, orders: Orders) -> None:
    """Calms the storms and demands the good end. Raises Violation."""
    storms.calm()
    orders.calm()
    end_well(world)
    world.mesh.court.agree()
