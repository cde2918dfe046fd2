"""What a leader asks the cluster to agree on: who is in sync, and who leads after it.

Each request replaces exactly the record that was read. What became of it is told by its answer or, if that is lost, by reading the record
again; until then both the old and the new in-sync set count. At most one request per partition is out at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from zmqmq.core.catalogue import Catalogue
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.context import Context
from zmqmq.core.layout import broker_path, decode, encode, epoch_path, place_path
from zmqmq.core.mirror import Mirror
from zmqmq.core.places import Member, Place, elect, hand_over, leave, release, without
from zmqmq.core.replica import Key, Replica, Role
from zmqmq.core.tree import Answer, Change, Changed, Check, Missing, Node, Outlet, Put, Read, Refusal, Step, Sync

RELEASE_WAIT = 2.0
"""Seconds that a leader waits for everything to be committed before it hands over all the same."""
ALONE_MAX = 5.0
"""Seconds without enough in-sync replicas after which a leader lets another eligible replica try; doubled after each time."""
ALONE_LONGEST = 80.0
"""Seconds beyond which that does not grow."""


class Agreements:
    """Proposals of the partitions led here. `learned` is called with what was agreed."""

    def __init__(
        self,
        context: Context,
        catalogue: Catalogue,
        outlet: Outlet,
        mirror: Mirror,
        learned: Callable[[Key, Place, int], None],
        touch: Callable[[Replica], None],
        heard: Callable[[str], float],
        name: Callable[[], str],
    ) -> None:
        """`touch` lets a partition take part in the turn; `heard` tells when a broker's last fetch came; `name` names a write as no other."""
        self.context = context
        self.catalogue = catalogue
        self.outlet = outlet
        self.mirror = mirror
        self.learned = learned
        self.touch = touch
        self.heard = heard
        self.name = name
        self._releasing: dict[Key, float] = {}
        """Since when."""
        self._sent: dict[Key, int] = {}
        """Hand-overs that are out, and the epoch that they end."""
        self._alone: dict[Key, float] = {}
        self._patience: dict[Key, float] = {}
        self._unknown: dict[Key, list[Callable[[], None]]] = {}
        """What nobody could tell yet, with what to do then: a write of an earlier leadership may be among it."""

    # --- the in-sync set -------------------------------------------------------------------------------------------

    def review(self, replica: Replica, view: ClusterView) -> None:
        """Proposes another in-sync set if it is time for one."""
        leader, now = replica.leader, self.context.now
        if leader is None or replica.role is Role.RELEASING or self._is_out(replica) or not view.is_fresh:
            return
        behind = set(leader.behind(now, self.heard))
        lives = [life for broker in replica.place.replicas if (life := view.lives(broker)) is not None]
        ready = leader.ready(replica.partition.log.committed, replica.place, lives, now, self.heard)
        is_enough = leader.has_eligible and len(leader.isr) >= leader.needed  # fewer are asked for by now: nobody else may be elected any more
        if behind or ready or is_enough:
            members = [member for member in replica.place.isr if member.broker not in behind] + ready
            self._propose(replica, members, ready)

    def _propose(self, replica: Replica, members: list[Member], new: list[Member]) -> None:
        leader = replica.leader
        assert leader is not None, "only a leader proposes"
        nonce = self.name()
        place = replace(leader.propose(replica.place, replica.version, members, nonce), nonce=nonce)
        checks: list[Step] = [check for member in new for check in (Check(epoch_path(member.broker), member.be), Check(broker_path(member.broker)))]
        epoch = replica.epoch

        def answered(answer: Answer) -> None:
            if isinstance(answer, Changed):
                self._agreed(replica.key, place, answer.versions[-1])
            elif isinstance(answer, Refusal):
                self._void(replica, epoch, nonce)
                self.mirror.reread(replica.key)
            else:
                self._find_out(replica.key, [lambda: self._void(replica, epoch, nonce)])

        self.outlet.ask(Change([*checks, Put(place_path(*replica.key), encode(place), replica.version)]), answered)
        self.context.note("in sync", topic=replica.topic.name, partition=replica.key[1], members=",".join(member.broker for member in place.isr))

    def _void(self, replica: Replica, epoch: int, nonce: str) -> None:
        """The proposal was not carried out, and never will be."""
        if replica.epoch == epoch and replica.leader is not None:
            replica.leader.refused(nonce)
            self.touch(replica)

    def _find_out(self, key: Key, then: list[Callable[[], None]]) -> None:
        """The answer got lost: reads the record again, after a Sync in the same session, which comes after whatever became of the write. If it succeeded, a
        newer version is learned; all of `then` are called in either case."""

        def read(answer: Answer) -> None:
            place = decode(place_path(*key), answer.data, Place) if isinstance(answer, Node) else None
            if isinstance(answer, Node) and isinstance(place, Place):
                self._agreed(key, place, answer.version)
            elif not isinstance(answer, Missing):
                self._unknown.setdefault(key, []).extend(then)
                return
            for call in then:
                call()

        self.outlet.ask(Sync(), _nothing)
        self.outlet.ask(Read(place_path(*key)), read)

    def retry(self) -> None:
        """Asks again what could not be found out."""
        unknown, self._unknown = self._unknown, {}
        for key, then in unknown.items():
            self._find_out(key, then)

    def forget(self) -> None:
        """The registration is gone, and with it every leadership: nothing is waited for."""
        self._unknown.clear()
        self._sent.clear()
        self._releasing.clear()

    def drop(self, key: Key) -> None:
        """The partition is here no more."""
        for table in (self._releasing, self._sent, self._alone, self._patience, self._unknown):
            table.pop(key, None)

    def _agreed(self, key: Key, place: Place, version: int) -> None:
        self.mirror.learn(key, place, version)
        self.learned(key, place, version)

    # --- handing over ----------------------------------------------------------------------------------------------

    def successor(self, replica: Replica, view: ClusterView, avoid: Iterable[str] = ()) -> Member | None:
        """The in-sync replica that should lead instead: the one that was asked for, or the first of the others."""
        others = [member for member in replica.place.isr if view.lives(member.broker) == member and member.broker not in avoid]
        wanted = [member for member in others if member.broker == replica.place.target]
        place = replica.place
        ranked = sorted(others, key=lambda member: (member.broker == place.weary, view.is_draining(member.broker), place.replicas.index(member.broker)))
        return next(iter([*wanted, *ranked]), None)

    def release(self, replica: Replica) -> None:
        """Begins a hand-over: nothing more is accepted or delivered here."""
        if replica.role is Role.LEADER:
            replica.role = Role.RELEASING
            self._releasing[replica.key] = self.context.now
            self.catalogue.withdraw(replica.topic, replica.partition)
            self.context.touch(replica.partition)

    @property
    def releasing(self) -> list[Key]:
        """Partitions that are being handed over, or were until lately."""
        return list(self._releasing)

    def step(self, replicas: Iterable[Replica], view: ClusterView, me: str) -> None:
        """Carries hand-overs on."""
        for replica in replicas:
            key = replica.key
            if replica.role is not Role.RELEASING:
                self._releasing.pop(key, None)
                continue
            since = self._releasing.setdefault(key, self.context.now)
            log = replica.partition.log
            waited = self.context.now - since >= RELEASE_WAIT
            if self._sent.get(key) != replica.epoch and (log.committed >= log.end or waited):
                self._hand_over(replica, self.successor(replica, view, avoid=(me,)))

    def _hand_over(self, replica: Replica, successor: Member | None) -> None:
        if successor is None or replica.leader is None or replica.leader.pending is not None:
            if replica.leader is None or replica.leader.pending is None:
                self._resume(replica)
            return
        self.resign(replica, successor)

    def resign(self, replica: Replica, successor: Member) -> None:
        """Names the successor; a leader with damaged records leaves the in-sync set with the same write."""
        if self._is_out(replica):
            return
        place = hand_over(replica.place, successor)
        if replica.spoiled:
            place = without(place, self.context.settings.broker_id, replica.needed)
        self._write(replica, place, [Check(epoch_path(successor.broker), successor.be), Check(broker_path(successor.broker))])

    def give_up(self, replica: Replica, me: Member, view: ClusterView) -> None:
        """A broker whose replica has failed was named leader: it leaves the in-sync set and leads no more, if anybody else can be elected then."""
        place = without(release(replica.place), me.broker, replica.needed)
        if not self._is_out(replica) and elect(place, view.lives, replica.needed).leader:
            self._write(replica, place, [Check(epoch_path(me.broker), me.be)])

    def leave(self, replica: Replica, me: Member) -> None:
        """A follower whose records are damaged or contradict what is committed leaves the in-sync set."""
        if not self._is_out(replica):
            self._write(replica, leave(replica.place, me.broker, replica.needed), [Check(epoch_path(me.broker), me.be)])

    def _is_out(self, replica: Replica) -> bool:
        """Whether a write that ends this leadership, or a proposal, is not answered yet."""
        pending = replica.leader is not None and replica.leader.pending is not None
        return pending or self._sent.get(replica.key) == replica.epoch

    def _write(self, replica: Replica, place: Place, checks: list[Step]) -> None:
        """Ends this leadership by a write; whatever comes of it, this leader does nothing more until it knows."""
        key, epoch = replica.key, replica.epoch
        self._sent[key] = epoch
        place = replace(place, nonce=self.name())

        def answered(answer: Answer) -> None:
            if isinstance(answer, Changed):
                self._agreed(key, place, answer.versions[-1])
                return
            self._find_out(key, [lambda: self._failed(replica, epoch)])

        self.outlet.ask(Change([*checks, Put(place_path(*key), encode(place), replica.version)]), answered)

    def _failed(self, replica: Replica, epoch: int) -> None:
        """The record was read again: if the epoch is still the same, nobody took over."""
        if self._sent.get(replica.key) == epoch:
            del self._sent[replica.key]
        if replica.epoch == epoch and replica.role is Role.RELEASING:
            self._resume(replica)

    def _resume(self, replica: Replica) -> None:
        replica.role = Role.LEADER
        self._releasing.pop(replica.key, None)
        self.catalogue.adopt(replica.topic, replica.partition)

    # --- standing alone --------------------------------------------------------------------------------------------

    def watch_alone(self, replica: Replica, view: ClusterView) -> None:
        """A leader that stays without enough in-sync replicas although it is well connected may be cut off from them: another one shall try."""
        leader, key = replica.leader, replica.key
        if leader is None or len(leader.isr) >= leader.needed:
            self._alone.pop(key, None)
            if leader is not None:
                self._patience.pop(key, None)
            return
        since = self._alone.setdefault(key, self.context.now)
        eligible = [member for member in replica.place.elr if (life := view.lives(member.broker)) is not None and life.storage == member.storage]
        patience = self._patience.get(key, ALONE_MAX)
        if self.context.now - since < patience or not eligible or leader.pending is not None or self._sent.get(key) == replica.epoch:
            return
        self._alone[key] = self.context.now
        self._patience[key] = min(2 * patience, ALONE_LONGEST)
        self._write(replica, release(replica.place), [])


def _nothing(answer: Answer) -> None:
    """What follows in the same session tells."""
