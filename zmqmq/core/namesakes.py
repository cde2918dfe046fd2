"""Topics that bear the name of another one: a topic was deleted and made again while this broker did not look, or the broker has a name of its own from
the time when it stood alone, or it looks at a tree that has forgotten its topics.

A name stands for one topic at a time, in the cluster and on the disk, in whatever case it is written. So the earlier one has to go before anything
is done for the later one, and data go for a tombstone only: that the cluster knows nothing of a topic and has given its name to another one looks the
same in a tree that was lost, is an old copy, or is another cluster's. Without a tombstone the cluster's topic finds no place on this broker
until the operator has decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zmqmq.core.catalogue import Topic
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.names import folded
from zmqmq.core.replica import Replica


def over(replicas: Iterable[Replica], topics: Iterable[Topic], view: ClusterView) -> set[int]:
    """Ids of topics that are known here and gone for good, and of those of which there is nothing here but a name that is another one's by now. Only for
    a view that is fresh."""
    here = {replica.key[0] for replica in replicas}
    names = {topic.record.topic_id: folded(topic.record.name) for topic in topics}
    given = {folded(name) for name in view.topics}
    bare = names.keys() - here - view.topics_by_id.keys()
    return ((names.keys() | here) & view.deleted) | {topic_id for topic_id in bare if names[topic_id] in given}


def held_up(replicas: Iterable[Replica], topics: Iterable[Topic], view: ClusterView) -> Mapping[int, set[int]]:
    """Ids of the cluster's topics whose names others still have here, and of these others."""
    here: dict[str, set[int]] = {}
    for topic in topics:
        here.setdefault(folded(topic.record.name), set()).add(topic.record.topic_id)
    for replica in replicas:
        here.setdefault(folded(replica.topic.name), set()).add(replica.key[0])
    named = ((entry.record.topic_id, here.get(folded(name), set())) for name, entry in view.topics.items())
    return {topic_id: others for topic_id, ids in named if (others := ids - {topic_id})}
