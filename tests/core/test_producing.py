"""The producer's state: sequences, repeats, refusals, and what is given up."""

from __future__ import annotations

from itertools import count

import pytest

from zmqmq.core.commands import Command, Describe, Described, Produce, Produced, Refused
from zmqmq.core.lane import ANSWER_TIMEOUT, MAX_IN_FLIGHT
from zmqmq.core.model import Limits, Placement, TopicSettings
from zmqmq.core.parcel import Parcel, partition_of
from zmqmq.core.producing import QUESTIONS_MAX, Producing
from zmqmq.core.topology import Letter
from zmqmq.errors import MessageTooLarge, NotLeader, OutcomeUnknown, StorageFull, UnknownTopic, Unreachable

BROKER = "broker-1"


def commands_of(letters: list[Letter]) -> list[Command]:
    assert all(broker == BROKER for broker, _ in letters)
    return [command for _, command in letters]


class Script:
    """A producer under test and the broker's side of the conversation."""

    def __init__(self, partitions: int = 1, delivery_timeout: float = 60.0, limits: Limits | None = None) -> None:
        self.partitions = partitions
        self.now = 0.0
        self.producing = Producing(99, count(1).__next__, lambda: 0.5, delivery_timeout)
        self.producing.opened(BROKER, limits or Limits())

    def send(self, *values: bytes, keys: list[bytes | None] | None = None, topic: str = "t") -> Parcel:
        parcel = Parcel(topic, self.now)
        parcel.values = list(values)
        parcel.keys = keys
        parcel.size = sum(map(len, values)) + sum(len(key or b"") for key in keys or ())
        parcel.close()
        self.producing.add(parcel)
        return parcel

    def step(self) -> list[Command]:
        commands = commands_of(self.producing.step(self.now, [BROKER]))
        asked = [command for command in commands if isinstance(command, Describe)]
        for describe in asked:
            self.describe(describe)
        return [command for command in commands if not isinstance(command, Describe)] + (self.step() if asked else [])

    def describe(self, describe: Describe) -> None:
        placements = [Placement(partition, 1, BROKER, "tcp://127.0.0.1:7400") for partition in range(self.partitions)]
        assert self.producing.hear(Described(describe.id, describe.topic, 1, 1, placements, TopicSettings()), self.now)

    def produces(self) -> list[Produce]:
        commands = self.step()
        assert all(isinstance(command, Produce) for command in commands)
        return [command for command in commands if isinstance(command, Produce)]

    def accept(self, produce: Produce, offset: int) -> None:
        assert self.producing.hear(Produced(produce.id, offset, 1000.0), self.now)

    def refuse(self, produce: Command, code: str) -> None:
        assert self.producing.hear(Refused(produce.id, code, "no"), self.now)  # type: ignore[attr-defined]

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_a_topic_is_described_once_and_then_batches_go_out() -> None:
    script = Script()
    script.send(b"a")
    (describe,) = commands_of(script.producing.step(0.0, [BROKER]))
    assert isinstance(describe, Describe)
    assert describe.create
    assert script.producing.step(0.0, [BROKER]) == []
    script.describe(describe)
    assert [produce.values for produce in script.produces()] == [[b"a"]]
    script.send(b"b")
    assert [produce.values for produce in script.produces()] == [[b"b"]]


def test_sequences_are_dense_per_partition() -> None:
    script = Script()
    script.send(b"a", b"b")
    script.step()
    script.send(b"c")
    (second,) = script.produces()
    assert (second.sequence, second.oldest, second.producer) == (2, 0, 99)


def test_an_answer_gives_each_message_its_offset() -> None:
    script = Script(partitions=4)
    keys: list[bytes | None] = [b"k%d" % number for number in range(8)]
    parcel = script.send(*[b"v"] * 8, keys=keys)
    for produce in script.produces():
        script.accept(produce, 100 * produce.partition)
    assert script.producing.completed == [parcel]
    seen: dict[int, int] = {}
    for index, key in enumerate(keys):
        part = parcel.part_of(index)
        assert part is not None and key is not None
        assert part.partition == partition_of(key, 4)
        place = part.position(index)
        assert place == seen.get(part.partition, 0)
        seen[part.partition] = place + 1


def test_messages_without_a_key_stay_together_and_rotate() -> None:
    script = Script(partitions=3)
    chosen = []
    for _ in range(3):
        script.send(b"a", b"b")
        (produce,) = script.produces()
        chosen.append(produce.partition)
    assert sorted(chosen) == [0, 1, 2]


def test_the_next_batch_fills_while_the_window_is_full() -> None:
    script = Script()
    for _ in range(MAX_IN_FLIGHT):
        script.send(b"x")
        assert len(script.produces()) == 1
    script.send(b"a")
    script.send(b"b")
    assert script.produces() == []
    first = script.producing._topics["t"].lanes[0].flight[0]
    script.producing.hear(Produced(first.id, 0, 0.0), 0.0)
    assert [produce.values for produce in script.produces()] == [[b"a", b"b"]]


def test_a_new_session_sends_everything_unresolved_again_in_order_with_the_same_sequences() -> None:
    script = Script()
    for value in (b"a", b"b", b"c"):
        script.send(value)
        script.step()
    script.producing.opened(BROKER, Limits())
    again = script.produces()
    assert [(produce.sequence, produce.values, produce.oldest) for produce in again] == [(0, [b"a"], 0), (1, [b"b"], 0), (2, [b"c"], 0)]


@pytest.mark.parametrize("code", ["StorageFull", "TopicFull", "NotLeader", "NotEnoughReplicas", "Overloaded"])
def test_a_passing_refusal_is_waited_out_and_probed_with_one_batch(code: str) -> None:
    script = Script()
    script.send(b"a")
    (first,) = script.produces()
    script.send(b"b")
    (second,) = script.produces()
    script.refuse(first, code)
    script.refuse(second, "OutOfOrder")
    assert script.produces() == []
    script.wait(10.0)
    (probe,) = script.produces()
    assert (probe.sequence, probe.values) == (0, [b"a"])
    script.accept(probe, 0)
    (after,) = script.produces()
    assert (after.sequence, after.oldest) == (1, 1)


def test_a_final_refusal_fails_its_batch_only_and_the_gap_is_declared() -> None:
    script = Script()
    bad = script.send(b"a")
    (first,) = script.produces()
    good = script.send(b"b")
    (second,) = script.produces()
    script.refuse(first, "MessageTooLarge")
    script.refuse(second, "OutOfOrder")
    assert isinstance(bad.parts[0].error, MessageTooLarge)
    (again,) = script.produces()
    assert (again.sequence, again.oldest) == (1, 1)
    script.accept(again, 5)
    assert good.parts[0].offset == 5


def test_out_of_order_sends_again_from_the_oldest() -> None:
    script = Script()
    script.send(b"a")
    script.produces()
    script.send(b"b")
    (second,) = script.produces()
    script.refuse(second, "OutOfOrder")
    assert [produce.sequence for produce in script.produces()] == [0, 1]


def test_a_batch_without_an_answer_is_sent_again() -> None:
    script = Script()
    script.send(b"a")
    script.produces()
    script.wait(ANSWER_TIMEOUT)
    assert [produce.sequence for produce in script.produces()] == [0]


def test_an_answer_that_takes_longer_than_the_patience_counts_though_the_batch_was_repeated() -> None:
    script = Script()
    parcel = script.send(b"a")
    (first,) = script.produces()
    for _ in range(3):
        script.wait(ANSWER_TIMEOUT)
        (again,) = script.produces()
    script.accept(first, 5)
    assert parcel.parts[0].offset == 5
    assert not script.producing.hear(Produced(again.id, 5, 0.0), script.now), "nothing is remembered of what has its outcome"


def test_however_long_there_is_no_answer_only_so_many_repeats_are_remembered() -> None:
    script = Script(delivery_timeout=1e6)
    parcel = script.send(b"a")
    asked = script.produces()
    while len(asked) <= QUESTIONS_MAX:
        script.wait(ANSWER_TIMEOUT)
        asked += script.produces()
    assert not script.producing.hear(Produced(asked[0].id, 0, 0.0), script.now)
    script.accept(asked[1], 5)
    assert parcel.parts[0].offset == 5 and not remembered(script)


def remembered(script: Script) -> list[bytes]:
    """Messages that are kept for the sake of an answer."""
    return [value for _, _, batch in script.producing._sent.values() for value in batch.columns[0]]


@pytest.mark.parametrize("code", ["MessageTooLarge", "UnknownTopic"])
def test_of_a_batch_that_was_repeated_and_refused_for_good_nothing_is_kept(code: str) -> None:
    script = Script()
    script.send(b"a")
    script.produces()
    script.wait(ANSWER_TIMEOUT)
    (again,) = script.produces()
    script.refuse(again, code)
    assert not remembered(script)


def test_batches_that_were_given_up_are_not_kept_for_an_answer_that_never_comes() -> None:
    script = Script(delivery_timeout=ANSWER_TIMEOUT * 2)
    parcels = [script.send(b"a") for _ in range(3)]
    script.produces()
    script.wait(ANSWER_TIMEOUT)
    script.produces()
    script.wait(ANSWER_TIMEOUT)
    script.produces()
    assert all(isinstance(parcel.parts[0].error, OutcomeUnknown) for parcel in parcels)
    assert not remembered(script)


def test_what_was_sent_and_never_answered_ends_as_outcome_unknown() -> None:
    script = Script(delivery_timeout=5.0)
    parcel = script.send(b"a")
    script.produces()
    script.wait(5.0)
    script.producing.step(script.now, [])
    assert isinstance(parcel.parts[0].error, OutcomeUnknown)
    later = script.send(b"b")
    (produce,) = script.produces()
    assert (produce.sequence, produce.oldest) == (1, 1)
    script.accept(produce, 0)
    assert later.parts[0].error is None


def test_what_was_refused_until_the_end_fails_with_that_refusal() -> None:
    script = Script(delivery_timeout=5.0)
    parcel = script.send(b"a")
    (produce,) = script.produces()
    script.refuse(produce, "StorageFull")
    script.wait(5.0)
    script.producing.step(script.now, [])
    assert isinstance(parcel.parts[0].error, StorageFull)


def test_who_leads_no_more_cannot_tell_whether_a_batch_was_accepted() -> None:
    script = Script(delivery_timeout=5.0)
    parcel = script.send(b"a")
    (produce,) = script.produces()
    script.refuse(produce, NotLeader.__name__)
    script.wait(5.0)
    script.producing.step(script.now, [])
    assert isinstance(parcel.parts[0].error, OutcomeUnknown)


def test_what_never_found_a_broker_fails_with_the_reasons() -> None:
    script = Script(delivery_timeout=5.0)
    script.producing.obstacle = Unreachable("no broker answered")
    parcel = script.send(b"a")
    assert script.producing.step(4.9, []) == []
    assert script.producing.deadline() == 5.0
    script.producing.step(5.0, [])
    assert isinstance(parcel.error, Unreachable)


def test_an_unknown_topic_fails_what_waits_for_it() -> None:
    script = Script()
    parcel = script.send(b"a")
    (describe,) = commands_of(script.producing.step(0.0, [BROKER]))
    script.refuse(describe, "UnknownTopic")
    assert isinstance(parcel.error, UnknownTopic)
    assert not script.producing.unresolved


def test_a_new_leader_is_asked_for() -> None:
    script = Script()
    script.send(b"a")
    (produce,) = script.produces()
    script.refuse(produce, NotLeader.__name__)
    (describe,) = commands_of(script.producing.step(script.now, [BROKER]))
    assert isinstance(describe, Describe)


def test_a_parcel_over_the_limits_is_cut_and_what_is_too_large_fails_alone() -> None:
    script = Script(limits=Limits(max_message_bytes=1024, max_batch_bytes=4096, max_batch_messages=3))
    parcel = script.send(b"a", b"b", b"x" * 2000, b"c", b"d", b"e", b"f")
    produces = script.produces()
    assert [value for produce in produces for value in produce.values] == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert all(len(produce.values) <= 3 for produce in produces)
    part = parcel.part_of(2)
    assert part is not None and isinstance(part.error, MessageTooLarge)


def test_a_numbered_parcel_of_an_earlier_life_keeps_its_sequence() -> None:
    script = Script()
    script.producing.lane("t", 0, 12)
    parcel = Parcel("t", 0.0)
    parcel.values = [b"a", b"b"]
    parcel.close()
    script.producing.adopt(parcel, 0, 10)
    script.send(b"c")
    assert [(produce.sequence, produce.oldest) for produce in script.produces()] == [(10, 10), (12, 10)]
