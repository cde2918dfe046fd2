"""The cluster as one broker sees it, for administrators."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from zmqmq.core.admin_commands import BrokerList, BrokerSummary
from zmqmq.core.cluster_commands import AskCluster, ClusterReport, MemberSummary, PlaceSummary
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.model import TopicRecord
from zmqmq.core.places import Place, needed_of

if TYPE_CHECKING:
    from zmqmq.core.cluster import Cluster
    from zmqmq.core.replica import Replica

LEADER, MEMBER = "cluster leader", "member"


def role_of(view: ClusterView, broker: str) -> str:
    """A broker's office."""
    return LEADER if view.controller is not None and view.controller.broker == broker else MEMBER


def brokers_of(cluster: Cluster, request: int) -> BrokerList:
    """The brokers that are registered."""
    view = cluster.view
    leads = _leads(view)
    brokers = [
        BrokerSummary(info.broker_id, info.endpoint, role_of(view, info.broker_id), leads[info.broker_id], info.software)
        for info in sorted(view.brokers.values(), key=lambda info: info.broker_id)
    ]
    leader = view.controller.broker if view.controller is not None else ""
    return BrokerList(request, cluster.context.settings.cluster_id, leader, brokers)


def _leader(view: ClusterView, place: Place) -> str:
    """Who leads; "" for one that has died since it was appointed, also when it is back: nobody leads until somebody is appointed anew."""
    info = view.brokers.get(place.leader)
    return place.leader if info is not None and info.be == place.leader_be else ""


def _in_sync(view: ClusterView, place: Place) -> list[str]:
    """The in-sync set without those that are back in another life: they have to catch up first. Who has just died is named until it is taken out of
    the set, because until then nothing is confirmed without it."""
    lives = [(member, view.lives(member.broker)) for member in place.isr]
    return [member.broker for member, life in lives if life is None or life == member]


def _leads(view: ClusterView) -> Counter[str]:
    return Counter(_leader(view, entry.place) for key, entry in view.places.items() if view.counts(key))


def report_of(cluster: Cluster, command: AskCluster) -> ClusterReport:
    """Everything that is known here; the lag of followers only of partitions led here."""
    view, context = cluster.view, cluster.context
    places = [
        _place(cluster, entry.record, number, placed.place)
        for topic_id, entry in sorted(view.topics_by_id.items(), key=lambda item: item[1].record.name)
        if command.topic in ("", entry.record.name)
        for number, placed in view.places_of(topic_id).items()
    ]
    return ClusterReport(
        command.id,
        context.settings.cluster_id,
        context.settings.broker_id,
        view.controller.broker if view.controller is not None else "",
        view.controller_epoch.epoch if view.controller_epoch is not None else 0,
        cluster.may_serve(context.now),
        _members(view),
        places,
    )


def _members(view: ClusterView) -> list[MemberSummary]:
    """Those that are registered, and those that hold something."""
    held = [entry.place for key, entry in view.places.items() if view.counts(key)]
    holders = {broker for place in held for broker in place.replicas}
    leads = _leads(view)
    members = []
    for broker in sorted(holders | set(view.brokers)):
        info, wish = view.brokers.get(broker), view.wishes.get(broker)
        places = [place for place in held if broker in place.replicas]
        members.append(
            MemberSummary(
                broker,
                info is not None,
                info.endpoint if info else "",
                info.rack if info else "",
                info.software if info else "",
                info.incarnation if info else 0,
                bool(wish and wish.drain),
                bool(wish and wish.remove),
                leads[broker],
                len(places),
                sum(broker in _in_sync(view, place) for place in places),
            )
        )
    return members


class ReplicationFigures(NamedTuple):
    """What a dashboard should show of a broker's part in its cluster."""

    serves: int
    """1 while it is in touch with the cluster, and so may confirm and deliver."""
    is_leader: int
    """1 at the cluster leader."""
    led: int
    """Partitions that it leads."""
    under_replicated: int
    """Of these, with fewer replicas in sync than there should be."""
    refusing: int
    """Of these, with fewer than min_in_sync: their messages are refused."""
    lag: int
    """Records that the furthest of their followers is behind."""
    offline: int
    """Partitions of the whole cluster that nobody leads, as far as it knows."""


def figures_of(cluster: Cluster) -> ReplicationFigures:
    """The figures of this broker."""
    view, context = cluster.view, cluster.context
    me = context.settings.broker_id
    leading = [replica for replica in cluster.roles if replica.leader is not None and replica.leads]
    short = [replica for replica in leading if len(replica.place.isr) < len(replica.place.replicas)]
    refusing = sum(len(replica.place.isr) < replica.needed for replica in short)
    lags = [lag for replica in leading for lag in _lags(replica).values()]
    offline = _leads(view)[""]
    is_leader = int(role_of(view, me) == LEADER)
    return ReplicationFigures(int(cluster.may_serve(context.now)), is_leader, len(leading), len(short), refusing, max(lags, default=0), offline)


def _lags(replica: Replica) -> dict[str, int]:
    """Records that each follower is behind its leader."""
    assert replica.leader is not None, "followers do not know"
    offsets = {broker: progress.offset for broker, progress in replica.leader.followers.items()}
    return {broker: replica.partition.log.durable - offsets.get(broker, 0) for broker in replica.place.replicas if broker != replica.place.leader}


def _place(cluster: Cluster, topic: TopicRecord, number: int, place: Place) -> PlaceSummary:
    replica = cluster.roles.get((topic.topic_id, number))
    end = committed = -1
    lag: dict[str, int] = {}
    if replica is not None and replica.leader is not None and replica.epoch == place.epoch:
        log = replica.partition.log
        end, committed = log.end, log.committed
        lag = _lags(replica)
    leader, eligible = _leader(cluster.view, place), [member.broker for member in place.elr]
    sets = (place.replicas, _in_sync(cluster.view, place), eligible, place.adding, place.removing)
    needed = needed_of(place, topic.settings.min_in_sync)
    return PlaceSummary(topic.name, number, leader, place.epoch, *sets, needed, end, committed, lag, topic.replicas)
