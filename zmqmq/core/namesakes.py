"""Topics that bear the name of another one: a topic was deleted and made again while this broker did not look, or has a name of its own from the
time when it stood alone.

A name stands for one topic at a time, in the cluster and on the disk, in whatever case it is written. So the earlier one has to go before anything
is done for the later one, and it goes only for a reason: a tombstone, or that the cluster, to which it belonged, has given its name to another topic
and knows nothing of it any more. A topic that never belonged to the cluster stays, and the cluster's topic of that name finds no place on this broker.
"""

from __future__ import annotations

from collections.abc import Iterable

from zmqmq.core.catalogue import Topic
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.names import folded
from zmqmq.core.replica import Replica


def over(replicas: Iterable[Replica], topics: Iterable[Topic], view: ClusterView) -> set[int]:
    """Ids of topics that are known here and gone for good. Only for a view that is fresh."""
    names = {topic.record.topic_id: topic.record.name for topic in topics}
    own: set[int] = set()
    """Never a part of this cluster."""
    for replica in replicas:
        names[replica.key[0]] = replica.topic.name
        if replica.promised == 0:
            own.add(replica.key[0])
    unknown = names.keys() - view.topics_by_id.keys() - view.part_topics - own
    taken = {folded(name) for name in view.topics}
    return (names.keys() & view.deleted) | {topic_id for topic_id in unknown if folded(names[topic_id]) in taken}


def held_up(replicas: Iterable[Replica], topics: Iterable[Topic], view: ClusterView) -> set[int]:
    """Ids of the cluster's topics whose names others still have here."""
    here: dict[str, set[int]] = {}
    for topic in topics:
        here.setdefault(folded(topic.record.name), set()).add(topic.record.topic_id)
    for replica in replicas:
        here.setdefault(folded(replica.topic.name), set()).add(replica.key[0])
    return {entry.record.topic_id for name, entry in view.topics.items() if here.get(folded(name), set()) - {entry.record.topic_id}}
