"""The court and the history know which topics have been deleted: nobody counts on these any more, and nobody keeps them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.sim.copies import Key
from tests.sim.history import History, Violation
from tests.sim.stage import KEY, TOPIC, Stage, message, place
from zmqmq.core import writes as w


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.put("abc", message(0))
    stage.court.committed("a", KEY, 1)
    return stage


def test_copies_of_a_deleted_topic_may_go_before_its_places(stage: Stage) -> None:
    with pytest.raises(Violation, match="R12"):
        stage.put("c", w.DropTopic(7))
    stage.court.topic_deleted(7)
    stage.put("b", w.DropTopic(7))
    assert stage.court.truth(KEY).place is None and not stage.court.living()


def test_a_place_that_is_written_when_its_topic_is_deleted_is_nobodys_trouble(stage: Stage) -> None:
    stage.court.topic_deleted(7)
    stage.agree(place("a", "b"))
    assert stage.court.truth(KEY).place is None and not stage.court.unwell()


def test_a_leader_that_has_not_heard_of_the_deletion_may_confirm_what_goes_with_it(stage: Stage) -> None:
    heard: list[Key] = []
    stage.court.on_committed = lambda key, records: heard.append(key)
    stage.court.topic_deleted(7)
    stage.put("b", w.DropTopic(7))
    stage.put("a", message(1))
    stage.court.committed("a", KEY, 2)
    assert heard == [KEY]


def test_a_deleted_topic_that_is_still_on_a_disk_in_the_end_is_seen(stage: Stage) -> None:
    stage.court.agree()
    stage.court.topic_deleted(7)
    with pytest.raises(Violation, match="a topic that was deleted"):
        stage.court.agree()
    stage.put("abc", w.DropTopic(7))
    stage.court.agree()


def test_an_older_record_of_a_topic_on_some_disk_in_the_end_is_seen(stage: Stage) -> None:
    newer = replace(TOPIC, settings=replace(TOPIC.settings, min_in_sync=3))
    stage.court.topic_written(newer)
    stage.put("ab", w.PutTopic(newer))
    with pytest.raises(Violation, match="a broker's record of a topic"):
        stage.court.agree()
    stage.agree(replace(stage.place, replicas=["a", "b"], isr=stage.place.isr[:2]))
    stage.court.agree()


def test_what_is_where_tells_the_deleted_topic_from_the_one_that_has_its_name(stage: Stage) -> None:
    history = History()
    history.adopt((7, 0), "t", [message(0, value=b"v")])
    history.deleted.add(7)
    history.adopt((8, 0), "t", [message(0, value=b"v")])
    assert history.where("t", b"v") == [(0, 0), (0, 0)]
    assert [log.topic_id for log in history.living()] == [8]
