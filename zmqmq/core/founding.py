"""Which cluster a tree belongs to: a broker finds its own there, joins it, or founds it.

Only who has never been a member may found one. A member's partitions have promised to follow their places in the tree; before an empty tree, which
is what a typing error in the configuration shows, all that they hold would count for nothing, and another topic of the same name would take its place.
"""

from __future__ import annotations

from collections.abc import Callable

from zmqmq.core import layout
from zmqmq.core.commands import PROTOCOL_VERSION
from zmqmq.core.layout import ClusterIdentity, Damaged, decode, encode
from zmqmq.core.registration import Papers, Registration, mismatch, nothing_there
from zmqmq.core.tree import Answer, Change, Create, Node, Read, Refusal, Request, Then
from zmqmq.errors import ZmqmqError


class Founding:
    """The first part of a registrar's way in: the persistent nodes that everything else lies below."""

    def __init__(
        self,
        settings: Registration,
        papers: Papers,
        step: Callable[[Request, Then], None],
        retry: Callable[[], None],
        fail: Callable[[ZmqmqError], None],
        done: Callable[[], None],
    ) -> None:
        """`step` asks the tree; then it is `done`, or all begins again with `retry`, or it can never be."""
        self.adopted_cluster_id = ""
        """The cluster that a broker without data has joined."""
        self.incomplete = False
        """A node of the skeleton is missing."""
        self._settings, self._papers = settings, papers
        self._step, self._retry, self._fail, self._done = step, retry, fail, done

    def begin(self) -> None:
        """Reads which cluster this is."""
        self._step(Read(layout.CLUSTER), self._cluster_read)

    def make(self, path: str, data: bytes, then: Callable[[], None]) -> None:
        """Makes a persistent node, if nobody else does."""

        def made(answer: Answer) -> None:
            if isinstance(answer, Refusal) and answer.reason != "exists":
                self.incomplete = answer.reason == "missing"
                self._retry()
            else:
                then()

        self._step(Change([Create(path, data)]), made)

    def _cluster_read(self, answer: Answer) -> None:
        if isinstance(answer, Node):
            self._recognise(decode(layout.CLUSTER, answer.data, ClusterIdentity))
        elif self._papers.was_member:
            self._fail(nothing_there(self._ours))
        else:
            self.make(layout.CLUSTER, encode(ClusterIdentity(self._ours, layout.LAYOUT, PROTOCOL_VERSION)), self.begin)

    @property
    def _ours(self) -> str:
        return self.adopted_cluster_id or self._settings.cluster_id

    def _recognise(self, identity: ClusterIdentity | Damaged) -> None:
        error = mismatch(identity, self._ours, has_data=self._settings.has_data or self._papers.attempted)
        if error is not None:
            self._fail(error)
        elif isinstance(identity, ClusterIdentity):
            if identity.cluster_id != self._ours:
                self.adopted_cluster_id = identity.cluster_id
            self._step(Read(layout.SKELETON[-1]), self._skeleton_read)

    def _skeleton_read(self, answer: Answer) -> None:
        if isinstance(answer, Node) and not self.incomplete:
            self._done()
        else:
            self._make_skeleton(0)

    def _make_skeleton(self, index: int) -> None:
        if index == len(layout.SKELETON):
            self.incomplete = False
            self._done()
            return
        self.make(layout.SKELETON[index], b"", lambda: self._make_skeleton(index + 1))
