"""Who sleeps, who is woken, whose turn it is."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, queue_of
from tests.core.world import World
from zmqmq.core.commands import Beacon, Hello
from zmqmq.core.hub import Hub
from zmqmq.core.sessions import Session


def session(name: str) -> Session:
    return Session(name.encode(), Hello((1, 1), name, 1, name, 0.0, "test"), 10.0, 0.0)


def sleeping(count: int) -> tuple[Hub, list[Session]]:
    hub, sessions = Hub(1, "t", "g"), [session(f"c{index}") for index in range(count)]
    for sleeper in sessions:
        hub.sleep(sleeper)
    return hub, sessions


def test_as_many_are_woken_as_are_needed_the_longest_asleep_first() -> None:
    hub, sessions = sleeping(5)
    assert hub.wake(2) == sessions[:2]
    assert hub.wake(2) == [], "two are on their way"
    assert hub.wake(3) == sessions[2:3]
    assert hub.wake(100) == sessions[3:]


def test_who_pulls_is_neither_asleep_nor_on_its_way() -> None:
    hub, sessions = sleeping(3)
    hub.wake(1)
    hub.rouse(sessions[0])
    assert hub.wake(1) == [sessions[1]]


def test_who_goes_to_sleep_again_is_the_last_to_be_woken() -> None:
    hub, sessions = sleeping(3)
    hub.sleep(sessions[0])
    assert hub.wake(3) == [sessions[1], sessions[2], sessions[0]]


def test_who_leaves_is_not_woken() -> None:
    hub, sessions = sleeping(2)
    hub.subscribers = {sleeper.client_id: sleeper for sleeper in sessions}
    hub.leave(sessions[0])
    assert hub.wake(5) == [sessions[1]] and list(hub.subscribers) == ["c1"]


def test_nothing_is_offered_while_consumers_are_awaited() -> None:
    world = World()
    producer, _ = Producer(world), Consumer(world, "c")
    producer.send(b"a")
    hub = world.node.context.hubs["t", "g"]
    assert hub.offer() > 0
    queue_of(world).reclaim["c"] = 5.0
    assert hub.offer() == 0


def beacons(world: World) -> list[Beacon]:
    found = [item for item in world.published if isinstance(item, Beacon)]
    world.published.clear()
    return found


def test_a_beacon_right_after_the_news_leaves_those_asleep_who_were_not_woken() -> None:
    world = World()
    producer, woken, other = Producer(world), Consumer(world, "woken"), Consumer(world, "other")
    assert woken.pull() == other.pull() == []
    beacons(world)
    while not beacons(world):
        world.pass_time(0.001)
    world.pass_time(0.985)
    producer.send(b"news")
    beacons(world)
    world.pass_time(0.018)
    assert [beacon.waiting for beacon in beacons(world)] == [[]]
    world.pass_time(1.0)
    assert [len(beacon.waiting) for beacon in beacons(world)] == [1], "nobody came for it within a second"


def test_a_hung_sleeper_does_not_keep_news_from_the_others_however_often_there_is_some() -> None:
    world = World()
    producer, hung, other = Producer(world), Consumer(world, "hung"), Consumer(world, "other")
    assert hung.pull() == other.pull() == []
    heard: list[Beacon] = []
    for _ in range(400):  # a message every 5 ms
        producer.send(b"news")
        world.now += 0.005
        world.turn()
        heard += [beacon for beacon in beacons(world) if beacon.waiting]
    assert heard, "no beacon ever said that something waits"
