"""How a broker follows its cluster: its own registration, topics, and the places of partitions, turn by turn.

Level-triggered: what the view says now counts, however it came about. Data go only on a fresh view, and only for a tombstone or long after
a partition was moved away: that something is missing in the tree is never a reason, nor that its name is another one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from zmqmq.core.namesakes import held_up, over
from zmqmq.core.places import Member, Place
from zmqmq.core.replica import Key, Replica, Role
from zmqmq.core.writes import DropTopic, PutClusterId, PutSession, RenewStorageId

if TYPE_CHECKING:
    from zmqmq.core.cluster import Cluster

UNWANTED_INTERVAL = 10.0
"""Seconds between looks for replicas that were moved away, for topics that are held up, and for records that are older than what is here."""
DELETE_AFTER = 3600.0
"""Seconds that a replica which was moved away is kept."""


class Following:
    """Tells the roles what the cluster has agreed."""

    def __init__(self, cluster: Cluster) -> None:
        self.was: Member | None = None
        """The registration that was known in the last turn."""
        self._cluster = cluster
        self._trouble = ""
        """What the operator knows to be in the way of a registration."""
        self._unwanted: dict[Key, float] = {}
        self._held_up: Mapping[int, set[int]] = {}
        """Topics of the cluster that cannot come here while others of that name are here."""
        self._looks: dict[int, int] = {}
        """How often in a row a topic was found to be held up."""
        self._old: set[Key] = set()
        """Partitions with records from before what was promised here, as the operator knows."""
        self._next_unwanted = 0.0

    def registration(self) -> None:
        """The registration is new, or gone: roles come and go with it."""
        registrar = self._cluster.registrar
        if registrar.adopted_cluster_id and registrar.adopted_cluster_id != self._cluster.context.settings.cluster_id:
            self._cluster.context.settings = msgspec.structs.replace(self._cluster.context.settings, cluster_id=registrar.adopted_cluster_id)
            self._cluster.context.writes.append(PutClusterId(registrar.adopted_cluster_id))
        if registrar.needs_new_storage_id:
            self._renew_storage()
        if registrar.trouble != self._trouble:
            self._trouble = registrar.trouble
            if self._trouble:
                self._cluster.context.note("coordination", trouble=self._trouble)
        me = self._cluster.me()
        if me == self.was:
            return
        self.was = me
        self._cluster.agreements.forget()
        if me is None:
            self._cluster.roles.step_down()
            self._cluster.context.note("unregistered", reason=registrar.reason)
            return
        self._cluster.context.writes.append(PutSession(registrar.session))
        self._cluster.replication.registered()
        self._cluster.roles.step_down()
        self._held_up = held_up(self._cluster.roles, self._cluster.catalogue, self._cluster.view)
        for key, entry in self._cluster.view.places.items():
            self.learn(key, entry.place, entry.version)
        self._cluster.context.note("registered", epoch=me.be)

    def _renew_storage(self) -> None:
        """This directory is an old copy: what it had promised since then is lost, so nobody may rely on it under its old name."""
        random = self._cluster.context.random
        fresh = "".join(f"{int(random() * (1 << 32)):08x}" for _ in range(4))
        self._cluster.context.note("old copy", effect="this data directory was restored from an old copy; it is brought up to date before it is trusted")
        self._cluster.context.writes.append(RenewStorageId(fresh))
        self._cluster.registrar.renewing()
        self._cluster.when_written.append(lambda: self._cluster.registrar.renewed(fresh))

    # --- following the cluster -------------------------------------------------------------------------------------

    def changes(self) -> None:
        """What has changed in the cluster since the last turn."""
        for damaged in self._cluster.mirror.take_notes():
            self._cluster.context.note("damaged node", path=damaged.path, reason=damaged.reason)
        changes = self._cluster.mirror.take_changes()
        if not changes:
            return
        if changes & {"topics", "deleted", "fresh"}:
            self._topics()
        for key in sorted(change for change in changes if isinstance(change, tuple)):
            entry = self._cluster.view.places.get(key)
            if entry is not None:
                self.learn(key, entry.place, entry.version)
        if "brokers" in changes:
            for replica in self._cluster.roles:
                if replica.leads:
                    self._cluster.replication.examine[replica.key] = None

    def _topics(self) -> None:
        """Deleted ones first: another one of the same name may be there already."""
        if self._cluster.view.is_fresh:
            for topic_id in sorted(over(self._cluster.roles, self._cluster.catalogue, self._cluster.view)):
                self._topic_deleted(topic_id)
        self._held_up = held_up(self._cluster.roles, self._cluster.catalogue, self._cluster.view)
        altered = self._altered_topics()
        for topic_id, entry in self._cluster.view.topics_by_id.items():
            if topic_id not in self._held_up:
                self._cluster.catalogue.know(entry.record)
                if topic_id in altered:
                    self._cluster.roles.set_topic(entry.record)
        waiting = [key for key in self._cluster.view.places if (replica := self._cluster.roles.get(key)) is None or replica.version < 0]
        for key in waiting:
            entry_of = self._cluster.view.places[key]
            self.learn(key, entry_of.place, entry_of.version)

    def _altered_topics(self) -> set[int]:
        """Topics of replicas here whose record is another one by now; seen in one pass, for there may be many of both."""
        known = self._cluster.view.topics_by_id
        here = ((replica.key[0], replica.topic) for replica in self._cluster.roles)
        return {topic_id for topic_id, topic in here if (entry := known.get(topic_id)) is not None and entry.record is not topic and entry.record != topic}

    def _topic_deleted(self, topic_id: int) -> None:
        """The topic is gone for good: so are its data."""
        for replica in [replica for replica in self._cluster.roles if replica.key[0] == topic_id]:
            self._drop(replica)
        known = next((topic for topic in self._cluster.catalogue if topic.record.topic_id == topic_id), None)
        if known is not None:
            self._cluster.drop_topic(known.record.name)
        else:
            self._cluster.context.writes.append(DropTopic(topic_id))

    def learn(self, key: Key, place: Place, version: int) -> None:
        """Where a partition lives."""
        replica = self._cluster.roles.get(key)
        me = self._cluster.me()
        if replica is None:
            record = self._cluster.view.topics_by_id.get(key[0])
            if me is None or record is None or me.broker not in place.replicas or key[0] in self._held_up:
                return
            if key[1] >= record.record.partitions:
                return  # the topic does not count it yet, and what is there may be written over until then
            replica = self._cluster.roles.make(record.record, key[1])
        elif replica.version < 0 and key[0] not in self._cluster.view.topics_by_id:
            return  # no role begins in a topic that is not there
        self._cluster.roles.learn(replica, place, version)
        self._cluster.damages.learned()
        self._consider_handing_over(replica)

    def _consider_handing_over(self, replica: Replica) -> None:
        target, me = replica.place.target, self._cluster.context.settings.broker_id
        if replica.role is Role.LEADER and target not in ("", me) and self._cluster.agreements.successor(replica, self._cluster.view, (me,)):
            self._cluster.agreements.release(replica)

    def sweep(self) -> None:
        """What time alone may change. Of many partitions that are led here most are in order, which is seen at a glance."""
        cluster, now = self._cluster, self._cluster.context.now
        cluster.replication.absorb()
        lately = cluster.replication.heard_lately()
        for replica in cluster.roles:
            if replica.leader is not None and (cluster.retiring or not _is_in_order(replica, lately)):
                cluster.agreements.review(replica, cluster.view)
                cluster.agreements.watch_alone(replica, cluster.view)
                self._consider_handing_over(replica)
                if cluster.retiring:
                    cluster.agreements.release(replica)
        cluster.agreements.retry()
        if now >= self._next_unwanted:
            self._next_unwanted = now + UNWANTED_INTERVAL
            self._drop_unwanted()
            self._tell_held_up()
            self._find_old_records()

    def _tell_held_up(self) -> None:
        """Once for each, and not at the first look: a tombstone may be seen a moment later than the topic that was made after it."""
        view = self._cluster.view
        if not view.is_fresh:
            return
        self._looks = {topic_id: self._looks.get(topic_id, 0) + 1 for topic_id in self._held_up}
        for topic_id in [topic_id for topic_id, looks in self._looks.items() if looks == 2]:
            on_disk = ", ".join(map(str, sorted(self._held_up[topic_id])))
            effect = "this broker has data of another topic of that name, and no tombstone says that they may go: it keeps them, and holds nothing of this one"
            self._cluster.context.note("topic held up", topic=view.topics_by_id[topic_id].record.name, topic_id=topic_id, on_disk=on_disk, effect=effect)

    def _drop_unwanted(self) -> None:
        """Partitions that have been moved away for good: their records go after a while, and only by a fresh picture."""
        me = self._cluster.me()
        for replica in list(self._cluster.roles):
            place = replica.place
            names = {*place.replicas, *(member.broker for member in [*place.isr, *place.elr])}
            if me is None or not self._cluster.view.is_fresh or replica.version < 0 or me.broker in names:
                self._unwanted.pop(replica.key, None)
            elif self._cluster.context.now - self._unwanted.setdefault(replica.key, self._cluster.context.now) >= DELETE_AFTER:
                self._drop(replica)

    def _drop(self, replica: Replica) -> None:
        """The replica goes, and what was known of it."""
        self._unwanted.pop(replica.key, None)
        self._cluster.agreements.drop(replica.key)
        self._cluster.roles.drop(replica.key)

    def _find_old_records(self) -> None:
        """A record whose epoch is over was put back from a backup of the tree. It is not followed: who was in sync then may lack what was confirmed since,
        so to raise its epoch and elect would lose that. A person has to decide, and is told."""
        view = self._cluster.view
        for replica in self._cluster.roles if view.is_fresh else ():
            key, entry = replica.key, view.places.get(replica.key)
            if entry is None or entry.place.epoch >= replica.promised:
                self._old.discard(key)
            elif key not in self._old:
                self._old.add(key)
                effect = "ZooKeeper was restored from a backup: nobody leads the partition until somebody says which replica has everything"
                epochs = {"epoch": entry.place.epoch, "promised": replica.promised}
                self._cluster.context.note("old record", topic=replica.topic.name, partition=key[1], **epochs, effect=effect)


def _is_in_order(replica: Replica, lately: set[str]) -> bool:
    """Led here, all replicas in sync, everything committed, nobody silent, nothing asked for."""
    leader, log, place = replica.leader, replica.partition.log, replica.place
    is_whole = leader is not None and len(leader.isr) == len(place.replicas) and leader.isr.keys() <= lately
    return is_whole and log.committed == log.end and place.target == "" and replica.role is Role.LEADER
