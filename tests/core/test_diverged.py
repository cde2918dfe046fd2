"""A log that differs from its leader's: nothing of it counts as committed before it was compared."""

from __future__ import annotations

from tests.core.acts import Producer
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.test_full_disk_of_a_leader import CATCH_UP, led, records
from tests.fakes.memory_storage import MemoryDisk, MemoryStorage
from zmqmq.core import writes as w
from zmqmq.core.feeding import Feeder
from zmqmq.core.leader import Leader
from zmqmq.core.model import GroupLimits, TopicRecord, TopicSettings
from zmqmq.core.partition import Partition
from zmqmq.core.peer_commands import Fetch, FetchedPart, FetchPart
from zmqmq.core.replica import Replica, Role


class Led:
    """A partition of six records, led in epoch 3, of which nobody is in sync but the leader; and one follower broker."""

    def __init__(self, rate: float) -> None:
        storage = MemoryStorage.open(MemoryDisk())
        record = TopicRecord(1, "t", 1, 2, TopicSettings(), 0.0)
        epochs = [w.PutEpoch(1, 1, 0), w.PutEpoch(1, 3, 2)]
        records = [w.AppendOperation(1, offset, 1 if offset < 2 else 3, 0.0, b"{}") for offset in range(6)]
        storage.commit([w.PutTopic(record), w.CreateLog(1, 1, "t", 0), *epochs, *records])
        self.replica = Replica(Partition(record, 0, storage.reader.log(1), GroupLimits(), lambda: 0.5), 3)
        self.replica.role, self.replica.epoch, self.replica.leader = Role.LEADER, 3, Leader("a", 2, 0.0, 1, 4.0)
        self.feeder = Feeder(storage.reader, lambda key: self.replica, rate, lambda replica, text: None)

    def ask(self, number: int, offset: int, last_epoch: int) -> None:
        self.feeder.fetch(b"b", Fetch(number, "cluster", "b", 1, number, True, [FetchPart(1, 0, 3, offset, last_epoch)], 0.5, 1000), 0.0)
        self.feeder.news((1, 0))

    def answer(self, now: float) -> list[FetchedPart]:
        return [part for _, answer in self.feeder.answers(now) for part in answer.parts]


def test_who_has_to_wait_for_the_rate_is_not_told_either_what_is_committed() -> None:
    led = Led(rate=1.0)
    led.feeder.fetch(b"c", Fetch(1, "cluster", "c", 1, 1, True, [FetchPart(1, 0, 3, 2, 1)], 0.5, 1000), 0.0)
    assert [part.state for part in led.answer(0.0)] == ["data"], "that was all that the rate allows"
    led.ask(1, 4, 2)
    assert led.answer(1.0) == []
    led.ask(2, 4, 2)
    assert [(part.state, part.diverged_end) for part in led.answer(1000.0)] == [("diverged", 2)]


def test_what_is_committed_is_told_as_soon_as_the_log_was_compared() -> None:
    led = Led(rate=1.0)
    led.ask(1, 6, 3)
    assert [(part.state, part.committed, part.next) for part in led.answer(1.0)] == [("data", 6, 6)]


def with_a_tail_of_its_own() -> tuple[ClusterWorld, Machine, Producer]:
    """A leader that has written what reached nobody, and has died; and who produces to its successor."""
    cluster, leader = led()
    producer = Producer(leader)
    producer.send(b"before")
    leader.frames.append((producer.address, producer.batch(b"alone")))
    leader.one_turn(())
    for machine in cluster.living:
        machine.answers.clear()
    leader.die()
    cluster.pass_time(CATCH_UP)
    other = Producer(cluster.leader_of(), name="other", number=8)
    for number in range(5):
        other.send(b"m%d" % number)
    return cluster, leader, other


def test_a_former_leader_that_waits_for_the_rate_counts_nothing_of_its_own_tail_as_committed() -> None:
    cluster, former, producer = with_a_tail_of_its_own()
    allowance = cluster.leader_of().cluster.replication._feeder._allowance
    allowance.spend(int(5 * allowance.rate))
    former.start()
    for _ in range(6):
        cluster.pass_time(0.5)
        producer.send(b"m")
    (replica,) = former.cluster.roles
    assert allowance.left(former.now) <= 0 and b"alone" in [value for _, _, value, _ in records(former)], "it was not compared yet"
    cluster.pass_time(2 * CATCH_UP)
    assert not replica.damage
    assert records(cluster["a"]) == records(cluster["b"]) == records(cluster["c"])
    assert len(cluster.report("t").places[0].in_sync) == 3
