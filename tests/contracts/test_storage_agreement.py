"""The real storage and the one in memory answer alike after any sequence of turns, restarts included."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.storage_contract import LOG, Stores, dead, delayed, everything, log, messages, operation, topic
from zmqmq.core import writes as w

MAX_TURNS = 25
GROUPS = st.sampled_from(["g", "h"])
NEAR = st.lists(st.integers(0, 60), min_size=1, max_size=8, unique=True)

STEPS = st.one_of(
    st.tuples(st.just("messages"), st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.booleans()),
    st.tuples(st.just("delayed"), st.floats(0, 100), st.none()),
    st.tuples(st.just("operation"), st.none(), st.none()),
    st.tuples(st.just("drop_delayed"), NEAR, st.none()),
    st.tuples(st.just("dead"), NEAR, GROUPS),
    st.tuples(st.just("revive"), NEAR, GROUPS),
    st.tuples(st.just("drop_dead"), NEAR, GROUPS),
    st.tuples(st.just("drop_group"), st.none(), GROUPS),
    st.tuples(st.just("trim"), st.integers(0, 60), st.none()),
    st.tuples(st.just("truncate"), st.integers(1, 8), st.none()),
    st.tuples(st.just("head"), st.integers(1, 4), st.integers(0, 3)),
    st.tuples(st.just("replica"), st.integers(0, 6), st.booleans()),
    st.tuples(st.just("matured"), st.none(), st.none()),
    st.tuples(st.just("skip"), st.integers(1, 5), st.none()),
    st.tuples(st.just("topic"), st.none(), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
)


class Script:
    """Turns drawn steps into writes, with offsets and times that grow as a broker's do."""

    def __init__(self) -> None:
        self.next = 0
        self.time = 0.0
        self.other = 2
        self.named_again = 0
        self.held = 0
        self.messages_at: set[int] = set()

    def writes(self, step: str, first: Any, second: Any) -> list[w.Write]:
        self.time += 0.5
        return list(getattr(self, step)(first, second))

    def _take(self, count: int) -> int:
        offset, self.next = self.next, self.next + count
        return offset

    def _deliverable(self, count: int) -> int:
        first = self._take(count)
        self.messages_at.update(range(first, first + count))
        return first

    def messages(self, values: list[bytes], keyed: bool) -> list[w.Write]:
        columns: dict[str, Any] = {"keys": [value[:3] or None for value in values], "headers": [value.hex() or None for value in values]} if keyed else {}
        return [messages(self._deliverable(len(values)), values, time=self.time, producer=5, sequence=self.next, **columns)]

    def delayed(self, due: float, _: None) -> list[w.Write]:
        return [delayed(self._deliverable(1), due, time=self.time)]

    def operation(self, _: None, __: None) -> list[w.Write]:
        return [operation(self._take(1), time=self.time), w.PutHead(LOG, 1, 0, self.next, self.next, 2, 3)]

    def drop_delayed(self, offsets: list[int], _: None) -> list[w.Write]:
        return [w.DropDelayed(LOG, offsets)]

    def dead(self, offsets: list[int], group: str) -> list[w.Write]:
        return [dead(*(offset for offset in offsets if offset in self.messages_at), group=group), w.PutGroup(LOG, group, 0, "[]", "{}", "[]", 1, 2)]

    def revive(self, offsets: list[int], group: str) -> list[w.Write]:
        return [w.ReviveDead(LOG, group, offsets)]

    def drop_dead(self, offsets: list[int], group: str) -> list[w.Write]:
        return [w.DropDead(LOG, group, offsets)]

    def drop_group(self, _: None, group: str) -> list[w.Write]:
        return [w.PutMember(LOG, group, "m", 1.0), w.DropGroup(LOG, group)]

    def trim(self, start: int, _: None) -> list[w.Write]:
        return [w.TrimLog(LOG, min(start, self.next))]

    def truncate(self, back: int, _: None) -> list[w.Write]:
        self.next = max(0, self.next - back)
        self.messages_at = {offset for offset in self.messages_at if offset < self.next}
        return [w.TruncateLog(LOG, self.next)]

    def head(self, epoch: int, ahead: int) -> list[w.Write]:
        return [w.PutEpoch(LOG, epoch, self.next), w.PutPromise(LOG, epoch), w.PutHead(LOG, epoch, 0, self.next + ahead, 0, 0, 0)]

    def replica(self, start: int, again: bool) -> list[w.Write]:
        """Another partition of the topic comes as a snapshot; the one before it goes."""
        self.other += 1
        self.held, before = self.other, self.held
        dead_letters = [("g", 1, 2, "why", "who", 3.0, 0), ("g", 3, 2, "why", "who", 3.0, 1)]
        groups = [("g", 3, "[]", "{}", "[]", 4, 2, "[2,7]")]
        tables = w.PutSnapshot(self.held, start, start, 1, 2, 0, [(1, 0), (3, 2)], [(4, 1, "[]", 2.5)], groups, [], dead_letters)
        drop = [w.DropLog(before)] if before else []
        return [*drop, w.CreateLog(self.held, 1, "temp_1", 1 + again * 2), tables, messages(1, [b"a"], log_id=self.held), messages(3, [b"b"], log_id=self.held)]

    def matured(self, _: None, __: None) -> list[w.Write]:
        return [delayed(self._deliverable(1), None, time=self.time)]

    def skip(self, count: int, _: None) -> list[w.Write]:
        self._take(count)
        return []

    def topic(self, _: None, __: None) -> list[w.Write]:
        self.other += 1
        drop = [w.DropTopic(self.named_again)] if self.named_again else []
        self.named_again = self.other
        return [*drop, topic(self.other, "again"), log(self.other, self.other, "again"), messages(0, [b"x"], log_id=self.other)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(turns=st.lists(st.lists(STEPS, min_size=1, max_size=4), max_size=MAX_TURNS))
def test_both_storages_agree_after_any_sequence_of_turns(turns: list[list[tuple[str, Any, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        shelves = [Stores(kind, Path(directory)) for kind in ("sqlite", "memory")]
        try:
            _agree(shelves, turns)
        finally:
            for shelf in shelves:
                shelf.close()


def _agree(shelves: list[Stores], turns: list[list[tuple[str, Any, Any]]]) -> None:
    opened = [shelf.open() for shelf in shelves]
    script = Script()
    for store in opened:
        store.commit([topic(), log()])
    for turn in turns:
        writes = [write for step in turn if step[0] != "restart" for write in script.writes(*step)]
        for index, store in enumerate(opened):
            store.commit(writes)
            if any(step[0] == "restart" for step in turn):
                opened[index] = shelves[index].reopen(store)
    real, fake = map(everything, opened)
    assert real == fake
    probes = [step / 2 for step in range(int(script.time * 2) + 2)]
    assert [opened[0].reader.offset_at(LOG, time) for time in probes] == [opened[1].reader.offset_at(LOG, time) for time in probes]
