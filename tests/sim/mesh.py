"""What a world of several brokers has besides: the tree, the court that knows what is true of it, and backups of disks.

Disks are lost or exchanged only one at a time and only while the cluster is whole: more than that no replication survives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from tests.sim.clerk import Clerk, SimEnsemble
from tests.sim.copies import Entry, Key, Shelf
from tests.sim.court import Court
from tests.sim.disk import Image
from tests.sim.history import History
from tests.sim.host import Host
from tests.sim.scheduler import Scheduler
from zmqmq.core import writes as w


class Mesh:
    """The common side of a cluster."""

    def __init__(self, scheduler: Scheduler, rng: Random, note: Callable[..., None], history: History) -> None:
        self.court = Court()
        self.clerk = Clerk(self.court)
        self.ensemble = SimEnsemble(lambda: scheduler.now, scheduler.after, rng, self.court, note)
        self.history = history
        self.court.deleted = history.deleted
        self._images: dict[str, tuple[Image, Shelf]] = {}
        self.court.on_committed = self._committed

    def join(self, host: Host) -> None:
        """A broker's machine belongs to the cluster."""
        self.court.shelf(host.name, host.disk.storage_id)
        before = host.on_life

        def lived(host: Host, what: str) -> None:
            before(host, what)
            if what == "replaced" and not host.disk.is_stale:
                self.court.shelves[host.name].wipe(host.disk.storage_id)

        host.on_life = lived

    def stored(self, host: Host, writes: Sequence[w.Write]) -> None:
        """A broker has committed a transaction to its disk."""
        self.court.stored(host.name, writes)

    def _committed(self, key: Key, records: Sequence[tuple[int, Entry]]) -> None:
        topic = self.court.topics[key[0]]
        self.history.adopt(key, topic.name, [entry.write for _, entry in records if entry.write is not None])

    # --- disks -------------------------------------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Every partition has all its replicas in sync, on the disks that are there now, and all of them hold the same."""
        return not self.court.unwell() and not self.court.lacking_disks() and self.court.is_level()

    def _is_alone(self, host: Host) -> bool:
        """Whether the broker holds something that nobody else holds."""
        places = [truth.place for truth in self.court.partitions.values() if truth.place is not None]
        return any(host.name in place.replicas and len(place.replicas) < 2 for place in places)

    def back_up(self, host: Host) -> None:
        """Makes a copy of the broker's disk."""
        self._images[host.name] = (host.disk.image(), self.court.shelves[host.name].image())

    def lose_disk(self, host: Host) -> bool:
        """The broker's disk is empty from now on; False if that would be too much at the moment."""
        if not self.is_whole or self._is_alone(host):
            return False
        host.replace_disk()
        return True

    def restore_disk(self, host: Host) -> bool:
        """The broker's disk is an older copy of itself from now on. It can be known for one only if the broker has begun another life since."""
        image, shelf = self._images.get(host.name, (None, None))
        if image is None or shelf is None or not self.is_whole or self._is_alone(host) or image["storage_id"] != host.disk.storage_id:
            return False
        if image["incarnation"] >= host.disk.incarnation:
            return False
        host.replace_disk(image)
        self.court.shelves[host.name].restore(shelf)
        return True
