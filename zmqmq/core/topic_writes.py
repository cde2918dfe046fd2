"""What any broker may write into the tree for administrators: topics come, change and go, partitions move, brokers are drained.

Every job is a short run of conditional changes, written down as a generator: it yields what it asks of the tree, and gets the answer. A topic is
made from its partitions upwards and its name comes last, so that it exists only when it is whole; when two brokers make
a topic of the same name, one of them finds the name taken and removes its own partitions again. A topic that was deleted and made again begins with
version 0 again, so every change of a topic proves besides that there is no tombstone of its id. A new partition's replicas are all
in sync from the beginning: an empty log is complete. When the answer to a change is lost, the job reads, after a Sync, and compares what is there
with what it wrote; whoever cannot be told what came of it within `DEADLINE` hears OutcomeUnknown.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from math import inf

from msgspec.structs import replace

from zmqmq.core import layout, topic_steps
from zmqmq.core.cluster_view import ClusterView
from zmqmq.core.layout import Tombstone, Wish
from zmqmq.core.model import TopicRecord, TopicSettings
from zmqmq.core.names import twin
from zmqmq.core.places import Place, begin_move
from zmqmq.core.topic_steps import STEPS_MAX
from zmqmq.core.tree import (
    Answer,
    Change,
    Changed,
    Check,
    Children,
    Create,
    Delete,
    Event,
    List,
    Lost,
    Missing,
    Node,
    Outlet,
    Put,
    Read,
    Refusal,
    Request,
    Step,
    Sync,
    Synced,
    Unknown,
)
from zmqmq.errors import BrokerError, InvalidValue, OutcomeUnknown, Overloaded, TopicExists, UnknownTopic, ZmqmqError

JOBS_MAX = 100
"""Jobs under way at a time."""
DEADLINE = 10.0
"""Seconds for one job."""
RETRY_INTERVAL = 0.2
"""Seconds until a reading that was not answered is asked for again."""

Then = Callable[[ZmqmqError | None], None]
Run = Generator[Request, Answer, None]


class _Job:
    """One run, and what it waits for."""

    def __init__(self, run: Run, until: float, then: Then) -> None:
        self.run = run
        self.until = until
        self.then = then
        self.request: Request | None = None
        self.retry_at = inf
        self.asked = 0
        """Number of the question; only the answer to the last one counts."""


class TopicWrites:
    """The jobs of one broker. `then` hears None, or why the job could not be done, exactly once."""

    def __init__(self, outlet: Outlet, broker_id: str) -> None:
        self._outlet = outlet
        self._broker_id = broker_id
        self._names = 0
        self._be = 0
        self._now = 0.0
        self._jobs: dict[_Job, None] = {}

    # --- what can be asked for -------------------------------------------------------------------------------------------

    def create(self, view: ClusterView, record: TopicRecord, now: float, then: Then, *, few: bool = False) -> None:
        """A new topic; its id is the caller's choice. With `few` it begins with fewer replicas if there are too few brokers. Errors: InvalidValue (too
        few brokers), TopicExists, InvalidName (it differs from another one's only in case)."""
        self._start(view, lambda: self._create(record, topic_steps.new_places(view, record, range(record.partitions), self._nonce, few=few)), now, then)

    def alter(self, view: ClusterView, name: str, settings: TopicSettings, now: float, then: Then) -> None:
        """Other settings, if nobody else changes the topic meanwhile. Errors: UnknownTopic, Overloaded (changed meanwhile), InvalidValue."""

        def run() -> Run:
            entry = topic_steps.known_topic(view, name)
            if settings.min_in_sync > entry.record.replicas:
                held = f"there are {entry.record.replicas} replicas"
                raise InvalidValue(f"min_in_sync is {settings.min_in_sync}, but {held}", hint="lower min_in_sync", topic=name)
            return self._put_topic(replace(entry.record, settings=settings), entry.version)

        self._start(view, run, now, then)

    def delete(self, view: ClusterView, name: str, now: float, then: Then, *, wall: float = 0.0) -> None:
        """The topic goes for good, and a tombstone with the time `wall` (seconds since 1970 UTC; 0: it stays for ever) tells every broker. Errors:
        UnknownTopic, Overloaded (changed meanwhile)."""

        def run() -> Run:
            entry = topic_steps.known_topic(view, name)
            return self._delete(entry.record, entry.version, Tombstone(name, wall))

        self._start(view, run, now, then)

    def add_partitions(self, view: ClusterView, name: str, partitions: int, now: float, then: Then) -> None:
        """More partitions, `partitions` in all, with fewer replicas at first if there are too few brokers. Errors: UnknownTopic, InvalidValue (fewer
        partitions, or no broker for them), Overloaded (changed meanwhile)."""

        def run() -> Run:
            entry = topic_steps.known_topic(view, name)
            if partitions < entry.record.partitions:
                raise InvalidValue(f"partitions is {partitions}", hint=f"the topic has {entry.record.partitions}, and there are never fewer", topic=name)
            places = topic_steps.new_places(view, entry.record, range(entry.record.partitions, partitions), self._nonce, few=True)
            return self._add(replace(entry.record, partitions=partitions), entry.version, places)

        self._start(view, run, now, then)

    def wish(self, view: ClusterView, broker: str, now: float, then: Then, *, drain: bool | None = None, remove: bool | None = None) -> None:
        """A broker shall lead or hold nothing, or may again; None leaves it as it is. Errors: InvalidValue (unknown broker, too few others)."""

        def run() -> Run:
            known = view.wishes.get(broker)
            before = Wish(known.drain, known.remove) if known is not None else Wish()
            wish = Wish(before.drain if drain is None else drain, before.remove if remove is None else remove)
            topic_steps.check_wish(view, broker, drain=bool(drain), remove=bool(remove))
            return self._put_wish(broker, wish, known.version if known is not None else None)

        self._start(view, run, now, then)

    def reassign(self, view: ClusterView, topic: str, partition: int, replicas: Sequence[str], now: float, then: Then) -> None:
        """Moves one partition. Named more brokers than the topic's replicas, the topic has that many from now on: the other partitions grow as well.
        Named fewer than the partition has, that number is enough for the topic: other partitions keep what they have, and get no further ones.
        Errors: UnknownTopic, InvalidValue (partition, brokers, a move under way), Overloaded (changed meanwhile)."""

        def run() -> Run:
            key, entry = topic_steps.known_place(view, topic, partition)
            topic_steps.check_replicas(view, key, entry.place, replicas)
            record, version = view.topics[topic]
            count = topic_steps.replicas_after(record, entry.place, replicas)
            grown = Put(layout.topic_path(topic), layout.encode(replace(record, replicas=count)), version)
            others = [grown, *topic_steps.not_deleted(record.topic_id)] if count != record.replicas else []
            return self._put_place(layout.place_path(*key), begin_move(entry.place, list(replicas)), entry.version, others)

        self._start(view, run, now, then)

    # --- jobs as such --------------------------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """The session is over: what was asked in it will not be answered."""
        if isinstance(event, Lost):
            for job in list(self._jobs):
                if job.request is not None and job.retry_at == inf:
                    self._answered(job, job.asked, Unknown())

    def tick(self, now: float) -> None:
        """Asks again what was not answered; ends what has taken too long."""
        self._now = now
        for job in list(self._jobs):
            if now >= job.until:
                self._end(job, OutcomeUnknown("the coordination service has not answered in time", hint="look whether it was done, or ask again"))
            elif now >= job.retry_at:
                self._ask(job)

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min((min(job.until, job.retry_at) for job in self._jobs), default=inf)

    def _nonce(self) -> str:
        self._names += 1
        return f"{self._broker_id}/{self._be}/t{self._names}"

    def _start(self, view: ClusterView, begin: Callable[[], Run], now: float, then: Then) -> None:
        self._now = now
        life = view.lives(self._broker_id)
        self._be = life.be if life is not None else 0
        if len(self._jobs) >= JOBS_MAX:
            then(Overloaded(f"{JOBS_MAX} changes of the cluster are under way", hint="try again in a moment"))
            return
        try:
            job = _Job(begin(), now + DEADLINE, then)
        except ZmqmqError as error:
            then(error)
            return
        self._jobs[job] = None
        self._go_on(job, None)

    def _go_on(self, job: _Job, answer: Answer | None) -> None:
        try:
            job.request = next(job.run) if answer is None else job.run.send(answer)
        except StopIteration:
            self._end(job, None)
        except ZmqmqError as error:
            self._end(job, error)
        else:
            self._ask(job)

    def _ask(self, job: _Job) -> None:
        assert job.request is not None
        job.retry_at = inf
        job.asked += 1
        number = job.asked
        self._outlet.ask(job.request, lambda answer: self._answered(job, number, answer))

    def _answered(self, job: _Job, number: int, answer: Answer) -> None:
        if job not in self._jobs or number != job.asked:
            return
        if isinstance(answer, Unknown) and not isinstance(job.request, Change):
            job.asked += 1
            job.retry_at = self._now + RETRY_INTERVAL
        else:
            self._go_on(job, answer)

    def _end(self, job: _Job, error: ZmqmqError | None) -> None:
        del self._jobs[job]
        job.run.close()
        job.then(error)

    # --- the runs ------------------------------------------------------------------------------------------------------

    def _create(self, record: TopicRecord, places: list[Place]) -> Run:
        parent, path, data = layout.parts_path(record.topic_id), layout.topic_path(record.name), layout.encode(record)
        steps: list[Step] = [Create(parent)]
        steps += [Create(layout.place_path(record.topic_id, number), layout.encode(place)) for number, place in enumerate(places)]
        yield from self._make_all(steps)
        while not isinstance(answer := (yield Change([Check(parent), Create(path, data)])), Changed):
            there = yield from self._look(path)
            if isinstance(there, Node):
                known = layout.decode(path, there.data, TopicRecord)
                if isinstance(known, TopicRecord) and known.topic_id == record.topic_id:
                    return
                yield from self._remove_parts(record.topic_id)
                if isinstance(known, TopicRecord) and known.name != record.name:
                    raise twin(record.name, known.name)
                raise TopicExists(f"the topic {record.name!r} exists", hint="somebody else has created it at the same time", topic=record.name)
            if isinstance((yield from self._look(layout.deleted_path(record.topic_id))), Node):
                return  # It was made, and deleted again since.
            if isinstance(answer, Refusal) and answer.reason != "exists":
                yield from self._remove_parts(record.topic_id)
                raise BrokerError(f"the topic {record.name!r} was not created", hint="try again", topic=record.name, reason=answer.reason)

    def _make_all(self, steps: Sequence[Step]) -> Run:
        """Creates nodes that only this job makes. If an answer was lost, the last one's nonce tells whether they are there."""
        for start in range(0, len(steps), STEPS_MAX):
            batch = list(steps[start : start + STEPS_MAX])
            last = batch[-1]
            assert isinstance(last, Create)
            while not isinstance(answer := (yield Change(batch)), Changed):
                if isinstance(answer, Refusal):
                    raise BrokerError("the coordination service has refused new partitions", hint="try again", path=last.path, reason=answer.reason)
                there = yield from self._look(last.path)
                if isinstance(there, Node) and there.data == last.data:
                    break

    def _remove_parts(self, topic_id: int) -> Run:
        parent = layout.parts_path(topic_id)
        yield Sync()
        answer = yield List(parent)
        paths = [f"{parent}/{name}" for name in answer.names] if isinstance(answer, Children) else []
        for start in range(0, len(paths), STEPS_MAX):
            yield Change([Delete(path) for path in paths[start : start + STEPS_MAX]])
        yield Change([Delete(parent)])

    def _look(self, path: str) -> Generator[Request, Answer, Answer]:
        while not isinstance((yield Sync()), Synced):
            pass
        return (yield Read(path))

    def _put(self, path: str, data: bytes, version: int, others: Sequence[Step] = ()) -> Run:
        """One node by compare-and-set, with `others` or not at all. Whoever lost the answer looks whether its very content is there."""
        while not isinstance(answer := (yield Change([Put(path, data, version), *others])), Changed):
            there = yield from self._look(path)
            if isinstance(there, Node) and there.data == data:
                return
            if isinstance(answer, Unknown) and isinstance(there, Node) and there.version == version:
                continue
            if isinstance(there, Missing) or (isinstance(answer, Refusal) and answer.reason == "exists"):
                raise UnknownTopic("it was deleted in the meantime", path=path)
            if isinstance(answer, Unknown):
                raise OutcomeUnknown("somebody else has changed it in the meantime", hint="look whether it was done, or ask again", path=path)
            raise Overloaded("somebody else has changed it in the meantime", hint="try again", path=path)

    def _put_topic(self, record: TopicRecord, version: int) -> Run:
        yield from self._put(layout.topic_path(record.name), layout.encode(record), version, topic_steps.not_deleted(record.topic_id))

    def _put_place(self, path: str, place: Place, version: int, others: Sequence[Step]) -> Run:
        yield from self._put(path, layout.encode(replace(place, nonce=self._nonce())), version, others)

    def _put_wish(self, broker: str, wish: Wish, version: int | None) -> Run:
        path, data = layout.wish_path(broker), layout.encode(wish)
        if version is not None:
            yield from self._put(path, data, version)
            return
        while not isinstance(answer := (yield Change([Create(path, data)])), Changed):
            there = yield from self._look(path)
            if isinstance(there, Node):
                if there.data == data:
                    return
                yield from self._put(path, data, there.version)
                return
            if isinstance(answer, Refusal):
                raise BrokerError("the coordination service has refused", hint="try again", path=path, reason=answer.reason)

    def _delete(self, record: TopicRecord, version: int, tombstone: Tombstone) -> Run:
        path, grave = layout.topic_path(record.name), layout.deleted_path(record.topic_id)
        change = Change([Delete(path, version), Create(grave, layout.encode(tombstone))])
        while not isinstance(answer := (yield change), Changed):
            if isinstance((yield from self._look(grave)), Node):
                return
            if isinstance(answer, Refusal):
                raise Overloaded("somebody else has changed it in the meantime", hint="try again", topic=record.name)

    def _add(self, record: TopicRecord, version: int, places: list[Place]) -> Run:
        """What a failed attempt has left behind is written over: as long as the topic has that version, it does not count those partitions."""
        if not places:
            return
        proof = [Check(layout.topic_path(record.name), version), *topic_steps.not_deleted(record.topic_id)]
        named = [(layout.place_path(record.topic_id, number), place) for number, place in enumerate(places, record.partitions - len(places))]
        size = STEPS_MAX - len(proof)
        for start in range(0, len(named), size):
            batch = named[start : start + size]
            creates = [Create(path, layout.encode(place)) for path, place in batch]
            if not isinstance((yield Change([*proof, *creates])), Changed):
                for path, place in batch:
                    yield from self._make_or_replace(proof, path, place)
        yield from self._put_topic(record, version)

    def _make_or_replace(self, proof: Sequence[Step], path: str, place: Place) -> Run:
        """The epoch goes on from what is there: whoever may have heard of it knows that this is newer."""
        while True:
            there = yield from self._look(path)
            known = layout.decode(path, there.data, Place) if isinstance(there, Node) else None
            epoch = known.epoch + 1 if isinstance(known, Place) else place.epoch
            if isinstance(known, Place) and known.nonce == place.nonce:
                return
            data = layout.encode(replace(place, epoch=epoch))
            answer = yield Change([*proof, Put(path, data, there.version) if isinstance(there, Node) else Create(path, data)])
            if isinstance(answer, Changed):
                return
            if isinstance(answer, Refusal) and answer.step < len(proof):
                raise Overloaded("somebody else has changed the topic in the meantime", hint="try again", path=proof[0].path)
