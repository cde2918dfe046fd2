"""Who sleeps, who is woken, whose turn it is."""

from __future__ import annotations

from tests.core.acts import Consumer, Producer, done, partition_of, queue_of, refused
from tests.core.cluster_world import ClusterWorld, Machine
from tests.core.world import World
from zmqmq.core.admin_commands import DeleteGroup
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


# --- What is left of groups ----------------------------------------------------------------------------------------


def handed_over(cluster: ClusterWorld) -> Machine:
    """Somebody else leads the only partition."""
    leader = cluster.leader_of()
    (replica,) = leader.cluster.roles
    leader.cluster.agreements.release(replica)
    leader.turn()
    cluster.pass_time(1.0)
    assert cluster.leader_of() is not leader
    return cluster.leader_of()


def with_groups(*groups: str) -> tuple[ClusterWorld, Machine]:
    """A leader with as many groups as are allowed, and nobody in them."""
    cluster = ClusterWorld("ab", max_groups=len(groups))
    cluster["a"].topic(cluster["a"].connect("maker"))
    cluster.pass_time(10.0)
    leader = cluster.leader_of()
    for group in groups:
        leader.goodbye(Consumer(leader, group, group=group).address)
    return cluster, leader


def test_groups_that_another_leader_has_deleted_do_not_count() -> None:
    cluster, first = with_groups("g1", "g2")
    second = handed_over(cluster)
    admin = second.connect("admin", timeout=300.0)
    for group in ("g1", "g2"):
        done(second, admin, DeleteGroup(second.next_id(), "t", group))
    assert handed_over(cluster) is first
    assert not first.node.context.hubs
    Consumer(first, "new", group="fresh")
    assert [hub.group for hub in first.node.context.hubs.values()] == ["fresh"]


def test_who_leads_a_partition_again_serves_its_groups_again() -> None:
    cluster, first = with_groups("g1", "g2")
    second = handed_over(cluster)
    assert not first.node.context.hubs and len(second.node.context.hubs) == 2
    Producer(second).send(b"x")
    assert handed_over(cluster) is first
    assert Consumer(first, group="g1").values() == [b"x"]
    address = first.connect("late")
    assert refused(first, address, first.subscribe(address, "g3")).code == "Overloaded"


def test_groups_that_are_not_committed_yet_count() -> None:
    world = World(max_groups=1)
    Producer(world)
    first, second = world.connect("c1"), world.connect("c2")
    world.turn((first, world.subscribe(first, "g1")), (second, world.subscribe(second, "g2")))
    assert [type(answer).__name__ for address in (first, second) for answer in world.take(address)] == ["Subscribed", "Refused"]


def test_a_hub_stays_while_a_subscription_waits_for_its_commit() -> None:
    world = World()
    Producer(world)
    address = world.connect("c", timeout=60.0)
    partition = partition_of(world)
    partition.log.agree = lambda durable: 0
    world.turn((address, world.subscribe(address)))
    world.pass_time(2.0)
    partition.log.agree = lambda durable: durable
    world.node.context.touch(partition)
    world.turn()
    assert [type(answer).__name__ for answer in world.take(address)] == ["Subscribed"]
