"""A small cluster as the court sees it, for hand-made histories: three brokers, one topic of one partition."""

from __future__ import annotations

from tests.sim.court import Court
from zmqmq.core import operations as op
from zmqmq.core import writes as w
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.core.places import Member, Place

KEY = (7, 0)
BROKERS = ["a", "b", "c"]
TOPIC = TopicRecord(7, "t", 1, 3, TopicSettings(min_in_sync=2), 0.0)


def member(broker: str, be: int = 1) -> Member:
    return Member(broker, be, f"disk-{broker}")


def place(*in_sync: str, epoch: int = 1, leader: str = "a") -> Place:
    return Place(replicas=BROKERS, leader=leader, leader_be=1 if leader else 0, epoch=epoch, isr=[member(broker) for broker in in_sync])


def operation(offset: int, what: op.Operation) -> w.AppendOperation:
    return w.AppendOperation(1, offset, 1, 0.0, op.encode(what))


def message(offset: int, epoch: int = 1, value: bytes = b"") -> w.AppendMessages:
    return w.AppendMessages(1, offset, epoch, 0.0, 5, offset, [value or b"v%d" % offset], [0], [b"k"], None)


class Stage:
    """Three brokers with one partition; `a` leads epoch 1 and all are in sync."""

    def __init__(self) -> None:
        self.court = Court()
        self.court.topic_written(TOPIC)
        for broker in BROKERS:
            self.court.shelf(broker, f"disk-{broker}")
            self.court.stored(broker, [w.PutTopic(TOPIC), w.CreateLog(1, 7, "t", 0), w.PutPromise(1, 1)])
        self.version = 0
        self.court.place_written(KEY, 0, 0, place(*BROKERS))

    def put(self, brokers: str, *writes: w.Write) -> None:
        for broker in brokers:
            self.court.stored(broker, writes)

    def agree(self, new: Place, expected: int | None = None) -> None:
        before, self.version = self.version, self.version + 1
        self.court.place_written(KEY, before if expected is None else expected, self.version, new)

    @property
    def place(self) -> Place:
        now = self.court.truth(KEY).place
        assert now is not None
        return now
