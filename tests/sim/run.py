"""One run of the simulation, from its seed to its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tests.sim.cluster_ending import end_well_together
from tests.sim.cluster_storms import ClusterStorms
from tests.sim.cluster_world import ClusterWorld
from tests.sim.ending import end_well
from tests.sim.knobs import turned
from tests.sim.orders import Orders
from tests.sim.storms import Storms
from tests.sim.world import STORM_SECONDS, World

LISTEN_EVERY = 0.25
"""Virtual seconds between looks at what producers were told."""


class Result(NamedTuple):
    """What a run has seen."""

    digest: str
    situations: Counter[str]
    turns: int


class Failed(AssertionError):
    """A run that went wrong, with the command that repeats it."""


def run(seed: int, trace: bool = False, cluster: bool = False) -> Result:
    """Runs one world to its end, of one broker or of several. Raises Failed."""
    with turned(seed):
        if not cluster:
            world = World(seed, trace)
            return _run(world, Storms(world), lambda: end_well(world), "")
        together = ClusterWorld(seed, trace)
        storms = ClusterStorms(together, together.mesh)
        orders = Orders(together)
        orders.plan()
        everything = Storms(together, [*storms.kinds, *orders.kinds])
        return _run(together, everything, lambda: end_well_together(together, storms, orders), "--cluster ")


def _run(world: World, storms: Storms, end: Callable[[], None], option: str) -> Result:
    try:
        storms.plan()
        while world.scheduler.now < STORM_SECONDS:
            world.scheduler.run(world.scheduler.now + LISTEN_EVERY)
            world.listen()
        end()
    except Exception as error:
        lines = "\n".join(list(world.lines)[-12:])
        head = f"seed {world.seed} at {world.scheduler.now:.4f} s: {type(error).__name__}: {error}"
        text = f"{head}\n{lines}\nrepeat it: python -m tests.sim {option}--seed {world.seed} --trace"
        raise Failed(text) from error
    return Result(world.digest.hexdigest(), world.referee.situations, sum(host.turns for host in world.hosts))
