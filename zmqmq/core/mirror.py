"""Keeps a view of the cluster up to date: reads the tree, watches it, reads again what was touched.

Level-triggered: a watch says only that something may have changed, and what counts is what is read afterwards. After every connection there is
a Sync, and then everything is read: what happened in between is not told by anybody. The view is *fresh* when that is done, and
stays so until the connection is lost; the last view stays readable. Every `REREAD_INTERVAL` all is read once more, against watches that got
lost. A path has one watch at a time, so that reading again does not pile them up; a change that no watch has told sets a new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf

from zmqmq.core import layout
from zmqmq.core.cluster_view import FOLDERS, SINGLE, ClusterView, Key, Picture, Subject, place_key
from zmqmq.core.layout import Damaged
from zmqmq.core.places import Place
from zmqmq.core.tree import Answer, Children, Connected, Event, List, Lost, Missing, Node, Outlet, Read, Refusal, Suspended, Sync, Synced, Touched

OUTSTANDING_MAX = 500
"""Reads that are asked for at a time."""
REREAD_INTERVAL = 30.0
"""Seconds between two complete readings."""
RETRY_INTERVAL = 0.2
"""Seconds until what could not be read is asked for again."""
REFUSED_INTERVAL = 5.0
"""The same for what this broker may not read."""


def _is_folder(path: str) -> bool:
    return path in FOLDERS or (path.startswith(layout.PARTS) and path.count("/") == 2)


class Mirror:
    """The tree as this broker knows it. Events other than answers are handed to `hear`, answers find their way through the outlet."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._picture = Picture()
        self._view = ClusterView()
        self._stale = False
        """The view has to be made anew."""
        self._fresh = False
        self._connected = False
        self._life = 0
        """Number of the connection: answers to what was asked in an earlier one do not count."""
        self._now = -inf
        self._next_round = inf
        self._retry_at = inf
        self._sync_failed = False
        self._failed: set[str] = set()
        self._queue: deque[str] = deque()
        self._asked: set[str] = set()
        """Paths that are queued or being read."""
        self._reading: set[str] = set()
        self._again: set[str] = set()
        """Touched while they were being read."""
        self._watched: set[str] = set()
        self._round: set[str] | None = None
        """What is still to be read of a complete reading."""
        self._unsynced: set[str] = set()
        """To be read after a Sync that is still to be asked for."""
        self._syncing: set[str] = set()
        """To be read after the Sync that is under way."""
        self._owed: set[str] = set()
        """Partitions that somebody has asked for, changed or not."""

    # --- what others see ---------------------------------------------------------------------------------------------

    @property
    def view(self) -> ClusterView:
        """The cluster as far as it is known."""
        if self._stale:
            self._stale = False
            self._view = self._picture.view(is_fresh=self._fresh)
        return self._view

    def take_changes(self) -> set[Key | Subject]:
        """What has changed since the last call: partitions by their key, everything else by its kind."""
        changes, self._picture.changes = self._picture.changes, set()
        return changes

    def take_notes(self) -> list[Damaged]:
        """Damaged and foreign nodes found since the last call, each once."""
        notes, self._picture.notes = self._picture.notes, []
        return notes

    def learn(self, key: Key, place: Place, version: int) -> None:
        """A write of this broker has succeeded: it is seen at once."""
        self._picture.learn(key, place, version)
        self._stale = True

    def reread(self, key: Key) -> None:
        """Reads one partition after a Sync; then the key is among the changes, whether it has changed or not. Without a connection: after the next one."""
        path = layout.place_path(*key)
        self._owed.add(path)
        if self._connected:
            self._unsynced.add(path)
            self._ask_sync()

    # --- what happens ------------------------------------------------------------------------------------------------

    def hear(self, event: Event, now: float) -> None:
        """The connection comes or goes, or a watched node was touched."""
        self._now = now
        if isinstance(event, Connected):
            self._forget()
            self._connected = True
            self._begin_round()
        elif isinstance(event, Suspended | Lost):
            self._forget()
        elif isinstance(event, Touched) and self._connected:
            self._watched.discard(event.path)
            self._want(event.path)

    def tick(self, now: float) -> None:
        """Time passes: asks again for what failed, and for everything when it is due."""
        self._now = now
        if not self._connected:
            return
        if now >= self._retry_at:
            self._retry_at = inf
            failed, self._failed = self._failed, set()
            self._want_all(sorted(failed))
            if self._sync_failed:
                self._sync_failed = False
                self._ask_sync()
        if now >= self._next_round:
            self._next_round = now + REREAD_INTERVAL
            if not self._is_reading_all:
                self._begin_round()

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(self._next_round, self._retry_at) if self._connected else inf

    def _forget(self) -> None:
        self._connected = False
        self._life += 1
        self._next_round = self._retry_at = inf
        self._sync_failed = False
        self._round = None
        self._queue.clear()
        for paths in (self._failed, self._asked, self._reading, self._again, self._watched, self._unsynced, self._syncing):
            paths.clear()
        self._set_fresh(fresh=False)

    def _set_fresh(self, *, fresh: bool) -> None:
        if fresh != self._fresh:
            self._fresh = fresh
            self._picture.changes.add("fresh")
        self._stale = True

    # --- complete readings and single ones after a Sync ----------------------------------------------------------------

    @property
    def _is_reading_all(self) -> bool:
        """A complete reading goes on, and waits for more than what may not be read. To begin another one before a slow one ends would be to end none."""
        return self._round is not None and not self._round <= self._failed

    def _begin_round(self) -> None:
        self._next_round = self._now + REREAD_INTERVAL
        self._round = {*FOLDERS, *SINGLE, *self._owed}
        self._unsynced |= self._round
        self._ask_sync()

    def _ask_sync(self) -> None:
        """What is asked for while a Sync is under way waits for the next one: that one may have been carried out already."""
        if self._syncing or not self._unsynced:
            return
        self._syncing, self._unsynced = self._unsynced, set()
        life = self._life
        self._outlet.ask(Sync(), lambda answer: self._synced(answer) if life == self._life else None)

    def _synced(self, answer: Answer) -> None:
        paths, self._syncing = self._syncing, set()
        if isinstance(answer, Synced):
            self._want_all(sorted(paths))
            self._ask_sync()
        else:
            self._unsynced |= paths
            self._sync_failed = True
            self._retry_at = min(self._retry_at, self._now + RETRY_INTERVAL)

    # --- reading -----------------------------------------------------------------------------------------------------

    def _want(self, path: str) -> None:
        self._want_all((path,))

    def _want_all(self, paths: Iterable[str]) -> None:
        for path in paths:
            if path in self._reading:
                self._again.add(path)
            elif path not in self._asked:
                self._asked.add(path)
                self._queue.append(path)
        self._pump()

    def _pump(self) -> None:
        while self._queue and len(self._reading) < OUTSTANDING_MAX:
            path = self._queue.popleft()
            self._reading.add(path)
            watch = path not in self._watched
            self._watched.add(path)
            self._ask(path, List(path, watch) if _is_folder(path) else Read(path, watch, if_there=path not in SINGLE))

    def _ask(self, path: str, request: List | Read) -> None:
        life = self._life
        self._outlet.ask(request, lambda answer: self._heard(path, answer, request.watch) if life == self._life else None)

    def _heard(self, path: str, answer: Answer, watch: bool) -> None:
        self._reading.discard(path)
        self._asked.discard(path)
        if isinstance(answer, Children | Node | Missing):
            news = self._listed(path, answer) if _is_folder(path) else self._read(path, answer)
            if isinstance(answer, Missing) and watch and path not in SINGLE:
                self._await(path)
            elif news and not watch and path in self._watched:
                # Its watch has not told: that one is lost.
                self._watched.discard(path)
                self._again.add(path)
            self._done(path)
        elif isinstance(answer, Refusal):
            self._refused(path, answer)
        else:
            self._fail(path)
        self._pump()

    def _refused(self, path: str, refusal: Refusal) -> None:
        """This broker may not read it. One node of many counts as damaged, or a stranger could stop the whole cluster with it; but without a folder, or without
        knowing who the cluster leader is, the view is not fresh."""
        self._watched.discard(path)
        damaged = Damaged(path, f"cannot be read: {refusal.text}")
        self._stale = True
        if path in FOLDERS:
            self._picture.note(damaged)
        else:
            self._picture.leave_out(damaged)
        if path in FOLDERS or path in SINGLE:
            self._round = {*(self._round or ()), path}
            self._set_fresh(fresh=False)
            self._failed.add(path)
            self._retry_at = min(self._retry_at, self._now + REFUSED_INTERVAL)
        else:
            self._done(path)

    def _read(self, path: str, answer: Children | Node | Missing) -> bool:
        news = self._picture.take(path, answer) if isinstance(answer, Node) else self._picture.drop(path)
        self._stale |= news
        return news

    def _listed(self, path: str, answer: Children | Node | Missing) -> bool:
        paths, news = self._picture.children(path, list(answer.names) if isinstance(answer, Children) else [])
        self._stale |= news
        if path == layout.DELETED:
            return news
        if self._round is not None and path in self._round:
            self._round.update(paths)
            self._want_all(paths)
        else:
            self._want_all(child for child in paths if child not in self._watched)
        return news

    def _await(self, path: str) -> None:
        """What is not there has no watch. When it comes is told by its folder, but for the folders: their creation is watched."""
        self._watched.discard(path)
        if path in FOLDERS:
            life = self._life
            self._outlet.ask(Read(path, watch=True), lambda answer: self._folder_there(path, answer) if life == self._life else None)

    def _folder_there(self, path: str, answer: Answer) -> None:
        if isinstance(answer, Missing):
            self._watched.add(path)
        elif isinstance(answer, Node):
            self._want(path)
        elif isinstance(answer, Refusal):
            self._refused(path, answer)
        else:
            self._fail(path)

    def _fail(self, path: str) -> None:
        self._watched.discard(path)
        self._failed.add(path)
        self._retry_at = min(self._retry_at, self._now + RETRY_INTERVAL)

    def _done(self, path: str) -> None:
        if path in self._again:
            self._again.discard(path)
            self._want(path)
            return
        if path in self._unsynced or path in self._syncing:
            return
        if path in self._owed:
            self._owed.discard(path)
            if key := place_key(path):
                self._picture.changes.add(key)
        if self._round is not None:
            self._round.discard(path)
            if not self._round:
                self._round = None
                self._set_fresh(fresh=True)
