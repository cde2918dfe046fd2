"""Members of a cluster whose disks lie: damaged records are neither delivered nor passed on, and had again from another replica."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.core.acts import Consumer, Producer, letters
from tests.core.cluster_world import ClusterWorld, Machine
from zmqmq.core.commands import Lot, Settle, Settled, Settlement
from zmqmq.core.damage import RENEW_INTERVAL, Damages
from zmqmq.core.model import Kind, TopicSettings
from zmqmq.core.places import Member, Place, leave, without
from zmqmq.core.tree import Change, Put, Request
from zmqmq.core.writes import Write

MESSAGES = [b"m%d" % number for number in range(10)]
CATCH_UP = 10.0
"""Seconds after which a copy that was begun anew is whole."""


@pytest.fixture
def cluster() -> ClusterWorld:
    """Three brokers with one topic that all of them hold."""
    cluster = ClusterWorld("abc")
    machine = cluster["a"]
    machine.topic(machine.connect("maker"))
    cluster.pass_time(CATCH_UP)
    assert len(place(cluster).isr) == 3
    return cluster


def place(cluster: ClusterWorld) -> Place:
    view = cluster.leader.cluster.view
    return view.places[view.topics["t"].record.topic_id, 0].place


def names(members: list[Member]) -> str:
    return "".join(member.broker for member in members)


def leader(cluster: ClusterWorld) -> Machine:
    return cluster[place(cluster).leader]


def produce(cluster: ClusterWorld, values: list[bytes], **options: Any) -> None:
    """Confirmed by all replicas."""
    Producer(leader(cluster)).send(*values, **options)
    cluster.pass_time(1.0)


def damage(machine: Machine, *, value: bytes | None = None, kind: Kind = Kind.MESSAGE) -> int:
    """A bit of a record is another one: of the message with that value, or the last of that kind. Returns its offset."""
    (log,) = machine.disk.logs.values()
    found = [offset for offset, record in log.records.items() if record.kind == kind and value in (None, record.value)]
    record = log.records[found[-1]]
    record.value, record.text = record.value + b"!", record.text + b" "
    return found[-1]


def contents(machine: Machine) -> list[tuple[int, bytes, bytes]]:
    (log,) = machine.disk.logs.values()
    return [(offset, record.value, record.text) for offset, record in sorted(log.records.items())]


def follow(cluster: ClusterWorld, consumer: Consumer, held: Lot) -> None:
    """The consumer goes where the partition is led now, with what it holds, and is done with it there."""
    cluster.pass_time(1.0)
    consumer.world = leader(cluster)
    (kept,) = consumer.join([consumer.holding(held)])
    settlement = Settlement(consumer.queue, kept.partition, kept.epoch, kept.lease, "ack", kept.kept)
    assert consumer.world.ask(consumer.address, Settle(consumer.world.next_id(), [settlement]), Settled).lost == []


# --- the leader ------------------------------------------------------------------------------------------------------


def test_a_leader_delivers_nothing_from_a_damaged_message_on_and_the_next_one_all_of_it(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES, key=b"k")
    first = leader(cluster)
    damage(first, value=b"m4")
    consumer = Consumer(first)
    held = consumer.take()
    assert held.values == MESSAGES[:4]
    follow(cluster, consumer, held)
    assert consumer.world is not first
    assert consumer.drain() == MESSAGES[4:]


def test_a_leader_with_damage_becomes_a_whole_replica_again(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first = leader(cluster)
    damage(first, value=b"m4")
    Consumer(first).take()
    cluster.pass_time(1.0)
    assert leader(cluster) is not first
    cluster.pass_time(CATCH_UP)
    assert names(place(cluster).isr) == "abc"
    assert contents(cluster["a"]) == contents(cluster["b"]) == contents(cluster["c"])


def test_a_leader_leaves_with_the_write_that_hands_over_and_is_not_eligible(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first = leader(cluster)
    damage(first, value=b"m0")
    before, written = place(cluster), list[Place]()
    submit = first.tree.submit

    def watch(requests: Sequence[tuple[int, Request]]) -> None:
        puts = [step for _, request in requests if isinstance(request, Change) for step in request.steps if isinstance(step, Put)]
        written.extend(msgspec.json.decode(put.data, type=Place) for put in puts if "/parts/" in put.path)
        submit(requests)

    first.tree.submit = watch  # type: ignore[method-assign]
    assert Consumer(first).values() == []
    (changed,) = written
    assert (changed.epoch, changed.elr) == (before.epoch + 1, [])
    assert names(changed.isr) == "abc".replace(first.name, "")
    assert changed.leader != first.name


def test_a_leader_that_reads_damage_for_a_new_follower_hands_over_and_the_follower_gets_all(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first = leader(cluster)
    wiped = next(machine for machine in cluster.living if machine is not first)
    wiped.die()
    cluster.pass_time(CATCH_UP)
    (log,) = wiped.disk.logs.values()
    wiped.disk.logs.clear()
    wiped.disk.topics.clear()
    wiped.disk.storage_id = "another"
    damage(first, value=b"m3")
    wiped.start()
    cluster.pass_time(4 * CATCH_UP)
    assert names(place(cluster).isr) == "abc"
    assert contents(cluster["a"]) == contents(cluster["b"]) == contents(cluster["c"])
    assert [value for _, value, _ in contents(wiped) if value] == MESSAGES


def test_the_only_replica_in_sync_drops_nothing_and_buries_what_it_cannot_read() -> None:
    cluster = ClusterWorld("abc", defaults=TopicSettings(min_in_sync=1))
    machine = cluster["a"]
    machine.topic(machine.connect("maker"))
    cluster.pass_time(CATCH_UP)
    produce(cluster, MESSAGES)
    last = leader(cluster)
    for machine in cluster.living:
        if machine is not last:
            machine.die()
            cluster.pass_time(0.1)
    cluster.pass_time(CATCH_UP)
    damage(last, value=b"m4")
    consumer = Consumer(last)
    assert consumer.drain() == MESSAGES[:4] + MESSAGES[5:]
    (letter,) = letters(last, consumer.address)
    assert "damaged on disk" in letter.reason
    assert place(cluster).leader == last.name
    (log,) = last.disk.logs.values()
    assert len(log.messages(0)) == len(MESSAGES)


def test_a_leader_that_meets_damage_before_it_opens_lets_another_one_lead(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first, *others = [cluster[name] for name in place(cluster).replicas]
    for machine in [*others, first]:
        machine.die()
    cluster.timeline.advance(CATCH_UP)
    damage(first)
    before = set(first.disk.logs)
    first.start()
    for machine in others:
        machine.start()
    cluster.pass_time(2 * CATCH_UP)
    assert not before & set(first.disk.logs), "the copy is another one"
    assert names(place(cluster).isr) == "abc"
    assert contents(cluster["a"]) == contents(cluster["b"]) == contents(cluster["c"])
    assert [value for _, value, _ in contents(first) if value] == MESSAGES


def test_a_damaged_delayed_message_gets_its_place_from_a_replica_that_has_it_undamaged(cluster: ClusterWorld) -> None:
    produce(cluster, [b"later"], delays=[5.0])
    first = leader(cluster)
    damage(first, kind=Kind.DELAYED)
    cluster.pass_time(2 * CATCH_UP)
    assert contents(cluster["a"]) == contents(cluster["b"]) == contents(cluster["c"])
    assert Consumer(leader(cluster)).values() == [b"later"]


# --- followers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.MESSAGE, Kind.OPERATION])
def test_a_follower_that_meets_damage_after_a_restart_begins_anew_and_is_whole_again(cluster: ClusterWorld, kind: Kind) -> None:
    produce(cluster, MESSAGES)
    consumer = Consumer(leader(cluster))
    consumer.ack(consumer.take(3))
    follower = next(machine for machine in cluster.living if machine is not leader(cluster))
    cluster.pass_time(0.2)
    follower.die()
    (log,) = follower.disk.logs.values()
    assert log.head.applied < log.end, "there is something to apply"
    damaged, before = damage(follower, kind=kind), set(follower.disk.logs)
    assert damaged >= log.head.applied
    follower.start()
    cluster.pass_time(CATCH_UP)
    assert not before & set(follower.disk.logs), "the copy is another one"
    assert names(place(cluster).isr) == "abc"
    assert contents(cluster["a"]) == contents(cluster["b"]) == contents(cluster["c"])


def test_a_follower_that_meets_damage_deletes_nothing_that_a_restart_would_need(cluster: ClusterWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Damages, "_renew", lambda damages, replica: None)  # as long as it had another copy lately
    first = leader(cluster)
    producer, consumer = Producer(first), Consumer(first)
    follower = next(machine for machine in cluster.living if machine is not first)
    producer.send(*MESSAGES)
    consumer.drain()
    while not any(b'"trimmed"' in text for _, _, text in contents(follower)):
        cluster.pass_time(0.01)
    producer.send(b"late")
    (log,) = follower.disk.logs.values()
    assert log.trimmed == 0, "the deletion is here and was not applied"
    follower.die()
    damage(follower, value=b"late")
    follower.start()
    commit, damaged = follower.storage.commit, log

    def watched(writes: Sequence[Write]) -> None:
        commit(writes)
        assert damaged.trimmed <= damaged.head.applied

    follower.storage.commit = watched  # type: ignore[method-assign]
    cluster.pass_time(CATCH_UP)
    assert damaged.trimmed > 0 and follower.name not in names(place(cluster).isr)


def test_a_follower_that_meets_damage_while_nobody_leads_waits_for_a_leader(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    consumer = Consumer(leader(cluster))
    follower = next(machine for machine in cluster.living if machine is not leader(cluster))
    (replica,) = follower.cluster.roles
    lot = consumer.take()
    consumer.ack(lot)
    damaged = damage(follower, kind=Kind.OPERATION)
    assert replica.absorbed <= damaged
    replica.unapplied.restart(replica.partition.log.end)  # as after a restart: what is here is on disk only
    nobody = msgspec.structs.replace(replica.place, leader="", epoch=replica.epoch + 1)
    follower.cluster.roles.learn(replica, nobody, replica.version + 1)
    replica.partition.log.committed = replica.partition.log.end
    follower.cluster.roles.absorb(replica)
    assert not replica.damage and replica.absorbed == damaged
    somebody = msgspec.structs.replace(nobody, leader=leader(cluster).name, epoch=nobody.epoch + 1)
    follower.cluster.roles.learn(replica, somebody, replica.version + 1)
    follower.cluster.roles.absorb(replica)
    assert replica.spoiled and not replica.damage


def test_a_follower_with_damage_is_not_in_sync_before_it_has_fetched_all_again(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first = leader(cluster)
    follower = next(machine for machine in cluster.living if machine is not first)
    replica = next(iter(follower.cluster.roles))
    before = place(cluster)
    assert follower.cluster.damages.found(replica.partition, "for a test")
    follower.turn()
    after = place(cluster)
    assert (after.leader, after.epoch) == (first.name, before.epoch + 1)
    cluster.pass_time(CATCH_UP)
    assert names(place(cluster).isr) == "abc"
    assert contents(follower) == contents(first)


def test_a_disk_that_damages_everything_is_given_no_new_copy_at_once(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    first = leader(cluster)
    follower = next(machine for machine in cluster.living if machine is not first)
    replica = next(iter(follower.cluster.roles))
    for _ in range(2):
        assert follower.cluster.damages.found(replica.partition, "for a test")
        cluster.pass_time(CATCH_UP)
    assert follower.name not in names(place(cluster).isr)
    produce(cluster, [b"more"], sequence=100)
    cluster.pass_time(RENEW_INTERVAL)
    assert names(place(cluster).isr) == "abc"
    assert contents(follower) == contents(first)


# --- the record of a partition -----------------------------------------------------------------------------------------


def test_a_replica_with_damage_is_neither_in_sync_nor_eligible() -> None:
    members = [Member(broker, 1, f"s-{broker}") for broker in "ab"]
    here = Place(replicas=["a", "b", "c"], leader="a", leader_be=1, epoch=4, isr=members)
    assert without(here, "b", 2) == Place(replicas=["a", "b", "c"], leader="a", leader_be=1, epoch=4, isr=members[:1])
    assert leave(here, "b", 2).epoch == 5


# --- copies of a store -------------------------------------------------------------------------------------------------


def test_a_member_whose_store_was_copied_in_use_is_a_stranger_until_it_has_caught_up(cluster: ClusterWorld) -> None:
    produce(cluster, MESSAGES)
    machine = next(machine for machine in cluster.living if machine is not leader(cluster))
    before = machine.disk.storage_id
    machine.die()
    cluster.pass_time(CATCH_UP)
    machine.disk.file += 1
    machine.start()
    cluster.pass_time(CATCH_UP)
    assert machine.disk.storage_id != before
    assert place(cluster).in_sync(machine.name) == machine.cluster.me()
    assert machine.cluster.me() is not None and machine.cluster.me().storage == machine.disk.storage_id  # type: ignore[union-attr]
    assert contents(machine) == contents(leader(cluster))
