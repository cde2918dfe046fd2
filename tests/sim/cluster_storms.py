"""Storms that need more than one broker: cuts between them, a tree that is away, sessions that end, obituaries that are wrong, disks that are lost."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.host import Host
from tests.sim.mesh import Mesh
from tests.sim.weather import TREE
from tests.sim.world import World


class ClusterStorms:
    """Unleashes. What it begins ends by itself after some seconds, or with the calm."""

    def __init__(self, world: World, mesh: Mesh) -> None:
        self._world = world
        self._mesh = mesh
        self._rng = world.rng
        self.kinds: list[Callable[[], None]] = [
            self.leader_dies,
            self.two_are_cut_apart,
            self.one_direction_is_cut,
            self.one_is_cut_off,
            self.one_does_not_reach_a_consumer,
            self.one_loses_the_tree,
            self.one_meets_nobody_but_the_tree,
            self.peers_break,
            self.obituaries_are_wrong,
            self.session_ends,
            self.tree_is_away,
            self.disk_is_copied,
            self.disk_is_lost,
            self.old_disk_returns,
        ]

    def _host(self) -> Host:
        return self._rng.choice(self._world.hosts)

    def _two(self) -> tuple[str, str]:
        one, other = self._rng.sample(self._world.hosts, 2)
        return one.name, other.name

    def _for_a_while(self, *pairs: tuple[str, str]) -> None:
        weather = self._world.weather
        for pair in pairs:
            weather.cut(*pair)
        self._world.note("cut", *(f"{sender}-{receiver}" for sender, receiver in pairs))
        born = weather.calms

        def mend() -> None:
            if weather.calms == born:
                for pair in pairs:
                    weather.mend(*pair)
                self._world.note("mended", *(f"{sender}-{receiver}" for sender, receiver in pairs))

        self._world.scheduler.after(self._rng.choice([0.5, 3.0, 7.0]), mend)

    # --- network -----------------------------------------------------------------------------------------------------

    def two_are_cut_apart(self) -> None:
        """Two brokers do not reach each other."""
        one, other = self._two()
        self._for_a_while((one, other), (other, one))

    def one_direction_is_cut(self) -> None:
        """One broker is not heard by another, but hears it."""
        self._for_a_while(self._two())

    def one_is_cut_off(self) -> None:
        """A broker reaches nobody."""
        name = self._host().name
        self._world.note("cut off", name)
        weather = self._world.weather
        weather.cut_off(name)
        born = weather.calms
        self._world.scheduler.after(self._rng.choice([0.5, 3.0, 7.0]), lambda: weather.take_back(name) if weather.calms == born else None)

    def one_does_not_reach_a_consumer(self) -> None:
        """A consumer and a broker do not hear each other; others hear both."""
        broker = self._host().name
        if self._world.consumers:
            consumer = self._rng.choice(self._world.consumers).name
            self._for_a_while((broker, consumer), (consumer, broker))

    def one_loses_the_tree(self) -> None:
        """A broker does not reach the tree; brokers and clients reach it."""
        name = self._host().name
        self._for_a_while((name, TREE), (TREE, name))

    def one_meets_nobody_but_the_tree(self) -> None:
        """A broker keeps its session and is no use to other brokers."""
        name = self._host().name
        others = [host.name for host in self._world.hosts if host.name != name]
        self._for_a_while(*((name, other) for other in others), *((other, name) for other in others))

    def peers_break(self) -> None:
        """The connections between brokers break, with or without a notice."""
        self._world.network.break_link(self._host().name, self._rng.choice([0.0, 0.0, 0.3, None]))

    def obituaries_are_wrong(self) -> None:
        """Living brokers are taken for dead when a connection breaks."""
        weather = self._world.weather
        weather.wrong_obituaries = self._rng.choice([0.3, 1.0])
        self._world.network.break_link(self._host().name, 0.0)
        self._world.scheduler.after(self._rng.uniform(0.5, 5.0), self._obituaries_are_right)

    def _obituaries_are_right(self) -> None:
        self._world.weather.wrong_obituaries = 0.0

    # --- the tree ----------------------------------------------------------------------------------------------------

    def session_ends(self) -> None:
        """Somebody ends a broker's session at the servers of the tree, before its time: as with a wrong obituary, no lease holds that long."""
        host = self._host()
        if host.tree is not None and host.tree.session:
            cluster = host.broker.node.cluster if host.broker is not None else None
            if cluster is not None and cluster.registrar.me is not None:
                self._mesh.court.bury((host.name, cluster.registrar.me.be), self._world.scheduler.now)
            host.tree.expire()

    def tree_is_away(self) -> None:
        """The tree has no quorum for a while."""
        self._world.note("tree down")
        self._mesh.ensemble.down()
        self._world.scheduler.after(self._rng.choice([0.3, 2.0, 8.0]), self._tree_is_back)

    def _tree_is_back(self) -> None:
        self._world.note("tree up")
        self._mesh.ensemble.up()

    # --- processes and disks -----------------------------------------------------------------------------------------

    def leader_dies(self) -> None:
        """A broker that leads something is killed."""
        leaders = {truth.place.leader for truth in self._mesh.court.partitions.values() if truth.place is not None}
        chosen = [host for host in self._world.hosts if host.name in leaders and host.is_up]
        if chosen:
            self._rng.choice(chosen).die()

    def disk_is_copied(self) -> None:
        """Somebody makes a backup of a disk."""
        self._mesh.back_up(self._host())

    def disk_is_lost(self) -> None:
        """A broker comes back with an empty disk."""
        self._mesh.court.situations["disk lost"] += self._mesh.lose_disk(self._host())

    def old_disk_returns(self) -> None:
        """A broker comes back with an older copy of its disk."""
        self._mesh.court.situations["old disk"] += self._mesh.restore_disk(self._host())

    def calm(self) -> None:
        """The tree is there again; the weather is cleared by whoever calms the rest."""
        self._mesh.ensemble.up()
