"""What is written to the modelled tree reaches the court, whoever writes it."""

from __future__ import annotations

from random import Random

import pytest

from tests.fakes.memory_ensemble import Timeline
from tests.sim.clerk import SimEnsemble, place_key
from tests.sim.court import Court
from tests.sim.history import Violation
from zmqmq.core import layout
from zmqmq.core.layout import BrokerInfo, encode
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.core.places import Member, Place, elect
from zmqmq.core.tree import Check, Create, Delete, Put

KEY = (7, 0)
PATH = layout.place_path(*KEY)
PLACE = Place(replicas=["a", "b", "c"], isr=[Member(broker, 1, broker) for broker in "abc"])


class Nobody:
    """A connection that does not listen."""

    seen = 0

    def learn(self, zxid: int) -> None: ...
    def session_ended(self) -> None: ...
    def ensemble_down(self) -> None: ...
    def ensemble_up(self) -> None: ...


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.fixture
def ensemble(court: Court) -> SimEnsemble:
    timeline = Timeline()
    ensemble = SimEnsemble(timeline.now, timeline.schedule, Random(1), court, lambda *facts: None)
    topic = TopicRecord(7, "t", 1, 3, TopicSettings(), 0.0)
    nodes = [Create(path) for path in (*layout.SKELETON, layout.parts_path(7))]
    ensemble.change(*nodes, Create(layout.topic_path("t"), encode(topic)), Create(PATH, encode(PLACE)))
    return ensemble


def led(place: Place) -> Place:
    return elect(place, lambda broker: Member(broker, 1, broker), 2)


def test_places_and_topics_are_heard_of(court: Court, ensemble: SimEnsemble) -> None:
    assert court.truth(KEY).place == PLACE and court.needed(KEY) == (2, 2)
    ensemble.change(Put(PATH, encode(led(PLACE)), 0))
    assert court.truth(KEY).version == 1 and court.unwell() == []
    ensemble.change(Delete(PATH))
    assert court.truth(KEY).place is None


def test_a_change_that_is_refused_is_not_heard_of(court: Court, ensemble: SimEnsemble) -> None:
    ensemble.change(Put(PATH, encode(led(PLACE)), 0), Check("/nowhere"))
    assert court.truth(KEY).version == 0 and court.situations["change refused"] == 1


def test_a_place_written_without_its_version_is_seen(ensemble: SimEnsemble) -> None:
    with pytest.raises(Violation, match="R2"):
        ensemble.change(Put(PATH, encode(led(PLACE))))


def test_the_end_of_a_session_and_a_burial_are_told_apart(court: Court, ensemble: SimEnsemble) -> None:
    silent, buried = ensemble.open(4.0, Nobody(), None), ensemble.open(4.0, Nobody(), None)
    info = BrokerInfo(broker_id="a", incarnation=1, be=3, endpoint="tcp://sim:1", storage_id="s")
    ensemble.commit(buried, [Create(layout.broker_path("a"), encode(info), True)])
    ensemble.expire(silent)
    ensemble.change(Delete(layout.broker_path("a")))
    assert list(court.expired) == [silent] and list(court.buried) == [("a", 3)]


def test_only_places_are_places() -> None:
    assert place_key(PATH) == KEY
    assert [place_key(path) for path in ("/parts/7", "/parts/x/0", "/topics/7/0", "/parts/7/0/1")] == [None] * 4
