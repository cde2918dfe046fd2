"""The consumer's state: credit, sleep, settling, and what becomes of leases when sessions and messages come and go."""

from __future__ import annotations

from itertools import count
from typing import TypeVar

from zmqmq.core.buffer import FIRST_CREDIT
from zmqmq.core.checksum import checksums
from zmqmq.core.commands import (
    Beacon,
    Command,
    Delivery,
    Describe,
    Described,
    Empty,
    KeptLease,
    Lot,
    Pull,
    Recalled,
    Refused,
    Settle,
    Settled,
    Settlement,
    Subscribe,
    Subscribed,
    Welcome,
)
from zmqmq.core.consuming import Consuming
from zmqmq.core.held import LOST, SETTLED, SETTLING, Held
from zmqmq.core.model import Limits, Placement, TopicSettings
from zmqmq.errors import UnknownTopic

Kind = TypeVar("Kind", bound=Command)
QUEUE = 7
BROKER = "b"


class Script:
    """A consumer under test and the broker's side of the conversation."""

    def __init__(self, **options: object) -> None:
        self.now = 0.0
        self.consuming = Consuming(["t"], "g", count(1).__next__, lambda: 0.5, **options)  # type: ignore[arg-type]
        self.consuming.is_wanted = True
        self.open()

    def open(self) -> None:
        self.consuming.opened(BROKER, Welcome(1, "c", "b", 1, 1, Limits(), 9.0, 1.0, "tcp://127.0.0.1:7401", b"12345678", "test", 0.0))

    def step(self, kind: type[Kind]) -> list[Kind]:
        letters = self.consuming.step(self.now, [BROKER])
        asked = [command for _, command in letters if isinstance(command, Describe)]
        for describe in asked:
            placements = [Placement(0, 1, BROKER, "tcp://127.0.0.1:7400")]
            self.consuming.hear(BROKER, Described(describe.id, "t", 1, 1, placements, TopicSettings()), self.now)
        found = [command for _, command in letters if isinstance(command, kind)]
        return found + (self.step(kind) if asked else [])

    def subscribe(self, *leases: KeptLease) -> Subscribe:
        (subscribe,) = self.step(Subscribe)
        assert self.consuming.hear(BROKER, Subscribed(subscribe.id, QUEUE, "t", "g", list(leases)), self.now)
        return subscribe

    def pull(self) -> Pull:
        (pull,) = self.step(Pull)
        return pull

    def deliver(self, offsets: list[int], keys: list[bytes | None] | None = None, lease: int = 1, turn: int | None = None, epoch: int = 1) -> None:
        values = [b"v%d" % offset for offset in offsets]
        lot = Lot(QUEUE, 0, epoch, lease, offsets, [0.0] * len(offsets), values, checksums(values, keys), keys, None, None)
        self.consuming.hear(BROKER, Delivery(self.consuming._pullers[BROKER].turn if turn is None else turn, [lot]), self.now)

    def taken(self, limit: int = 100) -> list[int]:
        return [held.offsets[index] for held, index in self.consuming.take(limit)]

    def held(self, offset: int) -> tuple[Held, int]:
        for held in self.consuming.subscriptions["t"].held.values():
            index = held.index_of(offset)
            if index is not None:
                return held, index
        raise AssertionError(f"{offset} is not held")

    def ack(self, *offsets: int) -> None:
        for offset in offsets:
            held, index = self.held(offset)
            held.states[index] = SETTLING
            self.consuming.settling.ack(held, index)


def delivered(*offsets: int, keys: list[bytes | None] | None = None, **options: object) -> Script:
    script = Script(**options)
    script.subscribe()
    script.pull()
    script.deliver(list(offsets), keys)
    return script


def test_a_consumer_subscribes_and_then_pulls_with_a_small_credit() -> None:
    script = Script()
    assert script.subscribe().group == "g"
    assert script.pull().credit == FIRST_CREDIT


def test_nothing_is_fetched_before_the_application_asks() -> None:
    script = Script()
    script.consuming.is_wanted = False
    script.subscribe()
    assert script.step(Pull) == []
    script.consuming.take(1)
    assert script.step(Pull)


def test_credit_doubles_while_the_application_keeps_up_and_stops_at_prefetch() -> None:
    script = Script(prefetch=100)
    script.subscribe()
    credits = []
    for turn in range(4):
        credits.append(script.pull().credit)
        script.deliver([turn], lease=turn)
        script.taken()
    assert credits == [32, 64, 100, 100]


def test_credit_shrinks_when_messages_grow_old_in_the_buffer() -> None:
    script = delivered(*range(64))
    script.taken(60)
    script.now = 5.0
    script.pull()
    script.deliver([100], lease=2)
    assert script.consuming._buffer.credit == 32


def test_no_pull_goes_out_while_the_buffer_is_half_full() -> None:
    script = delivered(*range(32))
    assert script.step(Pull) == []
    script.taken(1)
    assert script.step(Pull)


def test_an_unanswered_pull_is_repeated_with_the_same_turn() -> None:
    script = Script()
    script.subscribe()
    first = script.pull()
    assert script.step(Pull) == []
    script.now = 3.0
    assert script.pull().turn == first.turn


def test_empty_puts_the_consumer_to_sleep_until_it_is_woken() -> None:
    script = Script()
    script.subscribe()
    script.consuming.hear(BROKER, Empty(script.pull().turn, 5), 0.0)
    assert script.step(Pull) == []
    script.consuming.woken(BROKER)
    assert script.step(Pull)


def test_a_beacon_wakes_only_those_whose_queue_has_news() -> None:
    for beacon, wakes in (
        (Beacon(1, 9, [(QUEUE, 6)]), True),
        (Beacon(1, 9, [(QUEUE, 5)]), False),
        (Beacon(1, 9, [(QUEUE + 1, 6)]), False),
        (Beacon(1, 9, [], True), True),
    ):
        script = Script()
        script.subscribe()
        script.consuming.hear(BROKER, Empty(script.pull().turn, 5), 0.0)
        script.consuming.beacon(BROKER, beacon, 0.5)
        assert bool(script.step(Pull)) is wakes


def test_without_beacons_a_sleeper_pulls_after_the_interval_and_with_them_it_sleeps_on() -> None:
    script = Script()
    script.subscribe()
    script.consuming.hear(BROKER, Empty(script.pull().turn, 5), 0.0)
    script.consuming.beacon(BROKER, Beacon(1, 5, []), 1.0)
    script.now = 2.1
    assert script.step(Pull) == []
    script.now = 2.2
    assert script.step(Pull)


def test_an_answer_to_an_old_pull_that_brings_nothing_new_is_ignored() -> None:
    script = delivered(1, 2)
    script.deliver([1, 2])
    assert script.taken() == [1, 2]
    assert script.consuming.buffered == 0


def test_a_whole_lease_is_acked_as_a_whole() -> None:
    script = delivered(1, 2)
    script.taken()
    script.ack(1, 2)
    (settle,) = script.step(Settle)
    assert settle.settlements == [Settlement(QUEUE, 0, 1, 1, "ack")]


def test_everything_acked_since_the_last_turn_goes_in_one_settle() -> None:
    script = delivered(1, 2, 3)
    script.deliver([5, 6], lease=2, turn=0)
    script.taken()
    script.ack(1, 3, 5)
    (settle,) = script.step(Settle)
    assert [(one.lease, one.offsets) for one in settle.settlements] == [(1, [1, 3]), (2, [5])]


def test_what_came_too_late_is_lost_and_the_rest_is_settled() -> None:
    script = delivered(1, 2)
    script.taken()
    held, _ = script.held(1)
    script.ack(1, 2)
    (settle,) = script.step(Settle)
    script.consuming.hear(BROKER, Settled(settle.id, [Settlement(QUEUE, 0, 1, 1, "ack", [2])]), 0.0)
    assert list(held.states) == [SETTLED, LOST]
    assert script.consuming.losses == [(held, [1])]
    assert script.consuming.is_quiet


def test_a_lease_that_came_too_late_as_a_whole_is_lost_as_a_whole() -> None:
    script = delivered(1, 2)
    script.taken()
    script.ack(1, 2)
    (settle,) = script.step(Settle)
    assert settle.settlements[0].offsets is None, "the broker is asked for all that is left of it"
    script.consuming.hear(BROKER, Settled(settle.id, [Settlement(QUEUE, 0, 1, 1, "ack")]), 0.0)
    assert [(list(held.states), indices) for held, indices in script.consuming.losses] == [([LOST, LOST], [0, 1])]


def test_recalled_messages_are_not_handed_out() -> None:
    script = delivered(1, 2, 3)
    assert script.taken(1) == [1]
    held, _ = script.held(1)
    script.consuming.hear(BROKER, Recalled(QUEUE, 0, 1, 1, [1, 2]), 0.0)
    assert script.taken() == [3]
    assert list(held.states)[:2] == [LOST, LOST]


def test_a_new_session_presents_what_is_held_and_acks_go_again_under_the_new_lease() -> None:
    script = delivered(1, 2, 3, 4)
    script.taken(3)
    held, _ = script.held(1)
    script.ack(1, 2)
    script.step(Settle)
    script.open()
    subscribe = script.subscribe(KeptLease(0, 1, 1, 2, 55, [2, 3], [1]))
    assert [(lease.epoch, lease.lease, lease.offsets) for lease in subscribe.held] == [(1, 1, [1, 2, 3, 4])]
    (settle,) = script.step(Settle)
    assert settle.settlements == [Settlement(QUEUE, 0, 2, 55, "ack", [2])]
    assert held.states[0] == SETTLED
    assert held.states[3] == LOST
    assert script.taken() == []


def test_what_the_broker_does_not_mention_on_a_new_session_is_lost() -> None:
    script = delivered(1, 2)
    script.taken()
    held, _ = script.held(1)
    script.ack(1)
    script.open()
    script.subscribe()
    assert script.step(Settle) == []
    assert list(held.states) == [LOST, LOST]
    assert script.consuming.is_quiet


def test_a_session_that_is_surely_over_loses_everything_held() -> None:
    script = delivered(1, 2)
    assert script.taken(1) == [1]
    script.consuming.down(BROKER, script.now + 9.0)
    script.now += 9.0
    script.step(Settle)
    assert script.taken() == []
    assert sum(len(indices) for _, indices in script.consuming.losses) == 2


def test_a_refused_settle_is_tried_again() -> None:
    script = delivered(1)
    script.taken()
    script.ack(1)
    (settle,) = script.step(Settle)
    script.consuming.hear(BROKER, Refused(settle.id, "StorageFull", "full"), 0.0)
    assert script.step(Settle) == []
    script.now = 5.0
    (again,) = script.step(Settle)
    assert again.settlements == settle.settlements


def test_a_subscription_that_is_refused_for_good_is_an_error() -> None:
    script = Script()
    (subscribe,) = script.step(Subscribe)
    script.consuming.hear(BROKER, Refused(subscribe.id, "UnknownTopic", "no such topic"), 0.0)
    assert isinstance(script.consuming.error, UnknownTopic)


def test_a_damaged_message_is_rejected_unseen() -> None:
    script = Script()
    script.subscribe()
    turn = script.pull().turn
    lot = Lot(QUEUE, 0, 1, 1, [1, 2], [0.0, 0.0], [b"good", b"bad"], [checksums([b"good"])[0], 1], None, None, None)
    script.consuming.hear(BROKER, Delivery(turn, [lot]), 0.0)
    assert script.taken() == [1]
    (settle,) = script.step(Settle)
    assert [(one.outcome, one.offsets) for one in settle.settlements] == [("reject", [2])]
    assert len(script.consuming.damaged) == 1


def test_draining_returns_what_is_not_started() -> None:
    script = delivered(1, 2, 3)
    script.taken(1)
    script.consuming.drain()
    (settle,) = script.step(Settle)
    assert [(one.outcome, one.offsets) for one in settle.settlements] == [("release", [2, 3])]
    script.deliver([9], lease=2, turn=0)
    (late,) = script.step(Settle)
    assert [(one.lease, one.outcome) for one in late.settlements] == [(2, "release")]


def test_nothing_to_do_means_no_deadline() -> None:
    script = delivered(*range(32))
    assert script.consuming.deadline() == float("inf")
