"""How the cluster leader keeps the cluster balanced: replicas and leaderships move when brokers come, go, are drained or return."""

from __future__ import annotations

from msgspec.structs import replace

from tests.core.small_cluster import SmallCluster, a_member
from zmqmq.core import layout
from zmqmq.core.controller import BALANCE_INTERVAL, LEAD_AT_LEAST, TARGETS_MAX
from zmqmq.core.layout import Wish
from zmqmq.core.placement import MOVES_MAX, REPLACE_AFTER
from zmqmq.core.places import begin_move, hand_over, with_in_sync


def catch_up(cluster: SmallCluster) -> None:
    """What leaders do: take followers into the in-sync set, and hand over when they are asked to."""
    for key, place in cluster.places().items():
        lives = {broker.name: broker.me for broker in cluster.live}
        isr = [life for broker in place.replicas if (life := lives.get(broker)) is not None]
        wanted = with_in_sync(place, isr, 1)
        if place.target and place.target in lives:
            successor = wanted.in_sync(place.target)
            assert successor is not None
            wanted = hand_over(wanted, successor)
        if wanted != place:
            cluster.write(wanted, key[1])
    cluster.settle()


def run_until_calm(cluster: SmallCluster) -> None:
    quiet = 0
    for _ in range(60):
        before = cluster.places()
        cluster.wait(BALANCE_INTERVAL)
        catch_up(cluster)
        quiet = quiet + 1 if cluster.places() == before else 0
        if quiet * BALANCE_INTERVAL > LEAD_AT_LEAST:
            return
    raise AssertionError("it never ends")


def test_a_broker_that_is_added_takes_over_replicas_and_leaderships() -> None:
    cluster = SmallCluster("ab", partitions=40, replicas=2)
    cluster.brokers["c"] = type(cluster["a"])(cluster, "c")
    cluster["c"].join()
    cluster.settle()
    cluster.wait(BALANCE_INTERVAL)
    assert 0 < sum(bool(place.adding) for place in cluster.places().values()) <= MOVES_MAX
    run_until_calm(cluster)
    places = cluster.places().values()
    assert sum("c" in place.replicas for place in places) in (26, 27)
    assert 12 <= sum(place.leader == "c" for place in places) <= 14
    assert all(not place.adding and not place.removing and len(place.isr) == 2 for place in places)


def test_a_broker_that_is_removed_ends_up_with_nothing() -> None:
    cluster = SmallCluster("abc", partitions=12, replicas=2)
    cluster.tree.put(layout.wish_path("a"), layout.encode(Wish(remove=True)))
    cluster.settle()
    run_until_calm(cluster)
    assert not [place for place in cluster.places().values() if "a" in place.replicas or place.leader == "a"]


def test_a_drained_broker_is_asked_to_hand_over_at_once_and_gets_its_leaderships_back_later() -> None:
    cluster = SmallCluster("abc", partitions=6)
    cluster.tree.put(layout.wish_path("a"), layout.encode(Wish(drain=True)))
    cluster.settle()
    led = [place for place in cluster.places().values() if place.leader == "a"]
    assert len(led) == 2 and all(place.target not in ("", "a") for place in led)
    run_until_calm(cluster)
    assert all(place.leader != "a" for place in cluster.places().values())
    cluster.tree.put(layout.wish_path("a"), layout.encode(Wish()))
    cluster.settle()
    run_until_calm(cluster)
    assert sum(place.leader == "a" for place in cluster.places().values()) == 2


def test_a_wish_to_hand_over_that_makes_no_sense_any_more_is_withdrawn() -> None:
    cluster = SmallCluster(partitions=1)
    place = cluster.place()
    cluster.write(replace(place, target=place.leader))
    cluster.settle()
    assert cluster.place().target == ""


def test_leaderships_go_back_to_a_broker_that_has_returned_a_few_at_a_time() -> None:
    cluster = SmallCluster("abc", partitions=200)
    back = next(broker for broker in cluster.live if broker is not cluster.leader)
    back.die()
    cluster.wait(0)
    back.join()
    cluster.settle()
    assert not any(place.target for place in cluster.places().values()), "it is not in sync yet"
    catch_up(cluster)
    cluster.wait(LEAD_AT_LEAST)
    assert 0 < sum(bool(place.target) for place in cluster.places().values()) <= TARGETS_MAX
    run_until_calm(cluster)
    assert all(place.leader == place.replicas[0] for place in cluster.places().values())


def test_a_leader_that_is_to_go_is_asked_only_when_those_that_come_are_in_sync() -> None:
    cluster = SmallCluster("abcd", partitions=1)
    place = cluster.place()
    (new,) = {"a", "b", "c", "d"} - set(place.replicas)
    cluster.write(begin_move(place, [new, *place.replicas[1:]]))
    cluster.settle()
    assert cluster.place().target == ""
    moving = cluster.place()
    cluster.write(with_in_sync(moving, [*moving.isr, a_member(new)], 2))
    cluster.settle()
    assert cluster.place().target == new
    run_until_calm(cluster)
    assert (cluster.place().leader, cluster.place().replicas) == (new, [new, *place.replicas[1:]])


def test_a_broker_that_is_gone_for_long_is_replaced_though_nothing_else_happens() -> None:
    cluster = SmallCluster("abcd", partitions=8)
    gone = next(broker for broker in cluster.live if broker is not cluster.leader)
    gone.die()
    cluster.wait(0)
    run_until_calm(cluster)
    held = [place for place in cluster.places().values() if gone.name in place.replicas]
    assert held
    assert cluster.leader.controller.deadline() <= cluster.now + REPLACE_AFTER
    cluster.wait(REPLACE_AFTER)
    run_until_calm(cluster)
    assert not [place for place in cluster.places().values() if gone.name in place.replicas]


def test_a_move_towards_a_broker_whose_death_was_seen_before_the_move_gets_another_goal() -> None:
    cluster = SmallCluster("abcde", partitions=1, replicas=2)
    run_until_calm(cluster)
    first, second = cluster.place().replicas
    spare = [broker for broker in cluster.live if broker.name not in (first, second) and broker is not cluster.leader]
    dead, late = spare[0], next(broker for broker in cluster.live if broker is not spare[0] and broker is not cluster.leader)
    old = late.mirror.view
    dead.die()
    cluster.leader.turn()
    late.jobs.reassign(old, "t", 0, [first, dead.name], cluster.now, late.errors.append)
    cluster.settle()
    assert cluster.place().adding == [dead.name]
    run_until_calm(cluster)
    cluster.wait(REPLACE_AFTER)
    run_until_calm(cluster)
    place = cluster.place()
    assert (place.adding, len(place.replicas)) == ([], 2) and dead.name not in place.replicas


def test_who_has_just_handed_over_does_not_get_its_leadership_back_at_once() -> None:
    cluster = SmallCluster(partitions=1)
    cluster.wait(LEAD_AT_LEAST)
    place = cluster.place()
    cluster.write(hand_over(place, a_member(place.replicas[1])))
    cluster.settle()
    cluster.wait(BALANCE_INTERVAL)
    assert cluster.place().target == ""
    cluster.wait(LEAD_AT_LEAST)
    assert cluster.place().target == place.replicas[0]
