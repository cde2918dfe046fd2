"""One topic that a consumer takes part in: what its brokers know of that, and the leases held under it.

The desired state lives here: with each broker that leads partitions of the topic the consumer *joins* these, and presents what it holds of
them, whoever granted it. The answer says, lease by lease, what goes on under a new number, what was settled before, and (by silence) what is lost.
A partition is joined once in a session and leadership; a lot that arrives for one which is just being joined may have crossed the
question, and goes back at once. So does what was lost, or over, while the question about it was on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Literal

from zmqmq.core.commands import KeptLease, Lot, Settle, Settlement, Subscribe, Subscribed
from zmqmq.core.held import LOST, SETTLED, Held, Holder, LeaseKey
from zmqmq.core.join import Join
from zmqmq.core.topology import Letter, Whereabouts, leaderless
from zmqmq.errors import DeadlineExceeded, NotLeader, ZmqmqError

LEADER_RETRY_DELAY = 1.0
"""Seconds, at most, after which a broker that said it does not lead is asked again if nobody names another one."""
KEEPS_TRYING = "the consumer keeps trying"
Losses = list[tuple[Held, list[int]]]


class Subscription(Holder):
    """One (topic, group) of one consumer."""

    def __init__(self, where: Whereabouts, random: Callable[[], float], group: str, start: Literal["earliest", "latest"], create: bool) -> None:
        """`start` and `create` as in Subscribe."""
        super().__init__(where.name)
        self.where = where
        self.group = group
        self.error: ZmqmqError | None = None
        """Why the brokers will not have it; final."""
        self.obstacle: ZmqmqError | None = None
        """Why a broker does not have it yet."""
        self.joins: dict[str, Join] = {}
        """By broker."""
        self._disowned: list[tuple[str, Settlement]] = []
        """What brokers keep for us and we have not got any more, to be told to them."""
        self._random = random
        self._start, self._create = start, create
        self._is_settled = False
        """Every broker with a session has been asked for all that it leads, and has answered."""
        self._topic_id = 0
        self._known = 0
        """Partitions that the topic has as far as was heard of."""
        self._added: set[int] = set()
        """Partitions that the topic did not have when this consumer came, and that are not joined yet: all that is in them was sent since then."""
        self._epochs: dict[int, int] = {}
        """The highest epoch of each partition that was heard of: what comes from an older leader is void."""
        self._news_at: float | None = None
        """When a broker said that there is news which nobody has described since: what was a leader may be none from then on."""
        self._lapses_at = inf
        """When the first of what is held lapses."""
        self._looked_at = -inf

    def down(self, broker: str, gives_up_at: float = inf) -> None:
        """The session with a broker is over or a new one: the subscription is not known there, and what it kept for us it keeps until then at most."""
        for held in self.held.values():
            if held.broker == broker:
                self._doubt(held, gives_up_at)
        self._is_settled = False
        self.joins.pop(broker, None)
        self._disowned = [entry for entry in self._disowned if entry[0] != broker]
        self._close_routes(broker)

    def queue(self, broker: str) -> int | None:
        """The broker's number for the subscription, None if it has not got it."""
        join = self.joins.get(broker)
        return join.queue if join is not None else None

    @property
    def hindrance(self) -> ZmqmqError | None:
        """Why some of the topic is not consumed at this moment; None: all of it that is known is."""
        where = self.where
        waiting = [one for one in where.placements if not one.leader or one.partition not in self.routes or where.is_doubted(one.partition)]
        if where.is_known and not waiting and self.error is None:
            return None
        known = self.error or self.obstacle or where.obstacle
        if known is not None or not where.is_known:
            return known or DeadlineExceeded("no broker has described the topic yet", hint=KEEPS_TRYING, topic=self.topic)
        leader, partition = waiting[0].leader, waiting[0].partition
        if not leader:
            return leaderless(self.topic, partition)
        return DeadlineExceeded(f"{leader}, which leads the partition, has not answered yet", hint=KEEPS_TRYING, topic=self.topic, partition=partition)

    def hinted(self, now: float) -> None:
        """A broker says that there is news: some of our leaders may lead no more."""
        self._news_at = now if self._news_at is None else self._news_at

    def described(self, now: float, patience: float) -> Losses:
        """The topic has been described: partitions that others lead now are not consumed from the old leaders any more. Gives what is lost with a topic
        that was deleted. What is held waits for the new leader's word, `patience` seconds: a little less long than that waits for ours."""
        self._is_settled = False
        losses = self._begin_anew() if self.where.topic_id != self._topic_id else []
        self._added.update(range(self._known, len(self.where.placements)))
        self._known = max(self._known, len(self.where.placements))
        for placement in self.where.placements:
            self._heard_of(placement.partition, placement.epoch)
        self._doubt_all_that_moved((now if self._news_at is None else self._news_at) + patience)
        if not self.where.has_news:
            self._news_at = None
        led = self.where.led()
        for broker, join in self.joins.items():
            mine = led.get(broker, {})
            for partition in [partition for partition in join.joined if partition not in mine and self._is_led(partition)]:
                del join.joined[partition]
                self._close_routes(broker, partition)
        return losses

    def _begin_anew(self) -> Losses:
        """Another topic has the name now: nothing that was agreed with a broker is about it, and its messages have the same offsets as those held."""
        self._topic_id, self._known = self.where.topic_id, len(self.where.placements)
        self._epochs.clear()
        self._added.clear()
        self.joins.clear()
        self.routes.clear()
        self._disowned.clear()
        return self._lose_all()

    def _lose_all(self) -> Losses:
        losses = [(held, lost) for held in self.held.values() if (lost := held.end(range(len(held.offsets)), LOST))]
        self.held.clear()
        return losses

    def _is_led(self, partition: int) -> bool:
        return bool(self.where.leader(partition))

    # --- asking ------------------------------------------------------------------------------------------------------

    def ask(self, now: float, lines: Sequence[str], next_id: Callable[[], int]) -> list[Letter]:
        """The Subscribes to send now, and to whom, and what they brought to light."""
        letters: list[Letter] = [(broker, Settle(next_id(), [settlement])) for broker, settlement in self._disowned]
        self._disowned.clear()
        if self._is_settled or self.error is not None or self.where.has_news:
            return letters
        is_settled = True
        for broker, led in self.where.led().items():
            join = self.joins.get(broker)
            if broker not in lines:
                continue
            join = join or self.joins.setdefault(broker, Join(self._random))
            missing = join.missing(led)
            is_settled = is_settled and not missing
            if missing and now >= join.due():
                letters.append((broker, self._join(broker, join, missing, now, next_id)))
        self._is_settled = is_settled
        return letters

    def _join(self, broker: str, join: Join, missing: dict[int, int], now: float, next_id: Callable[[], int]) -> Subscribe:
        missing = {partition: epoch for partition, epoch in missing.items() if partition not in self._added} or missing  # the others are asked for next
        join.id, join.asked_at, join.asked = next_id(), now, missing
        join.presented = [held for held in self.held.values() if held.partition in missing]
        for partition in missing:
            self.routes.pop(partition, None)
        partitions, presented = sorted(missing), [held.presented() for held in join.presented]
        epochs = [missing[partition] for partition in partitions]
        start = "earliest" if self._added.issuperset(missing) else self._start
        return Subscribe(join.id, self.topic, self.group, start, self._create, presented, partitions, epochs, self._topic_id)

    def due(self, lines: Sequence[str]) -> float:
        """When to ask (again)."""
        if self._is_settled or self.error is not None or self.where.has_news:
            return inf
        waiting = [inf]
        for broker, led in self.where.led().items():
            join = self.joins.get(broker)
            if broker in lines and (join is None or join.missing(led)):
                waiting.append(-inf if join is None else join.due())
        return min(waiting)

    def subscribed(self, broker: str, command: Subscribed) -> tuple[Losses, list[Held]] | None:
        """Takes the answer; gives what was lost and which leases it was about, or None if it answers something else."""
        join = self.joins.get(broker)
        if join is None or command.id != join.id or command.topic != self.topic:
            return None
        joined = set(command.partitions) & join.asked.keys() if command.partitions else set(join.asked)
        join.id, join.queue = 0, command.queue
        self.obstacle = None
        for partition, epoch in join.asked.items():
            if partition in joined:
                join.joined[partition] = epoch
                self._added.discard(partition)
                self.routes[partition] = (broker, command.queue)
                self.where.believe(partition)
            else:
                self.where.doubt(partition)
        if joined == join.asked.keys():
            join.backoff.reset()
        else:
            join.resume_at = self._asked_at_again(join)
        presented = [held for held in join.presented if held.partition in joined]
        join.asked, join.presented = {}, []
        self._disown(broker, command, presented)
        return self._reconcile(broker, presented, command.leases), presented

    def _disown(self, broker: str, command: Subscribed, presented: list[Held]) -> None:
        """What was recalled, returned or given up after it had been presented is kept for nobody: it goes back."""
        by_key = {held.key: held for held in presented}
        for lease in command.leases:
            held = by_key.get((lease.partition, lease.old_epoch, lease.old_lease))
            over = _over(held, lease.kept) if held is not None else []
            if over:
                self._disowned.append((broker, Settlement(command.queue, lease.partition, lease.epoch, lease.lease, "release", over)))

    def _asked_at_again(self, join: Join) -> float:
        return join.asked_at + min(join.backoff.next(), LEADER_RETRY_DELAY)

    def refused(self, id: int, error: ZmqmqError, now: float) -> bool:
        """Takes a refusal; False if it is for something else. Without an id the broker says by itself that the topic is gone."""
        if not id:
            if error.details.get("topic", self.topic) != self.topic or error.retryable:
                return False
            self.error = error
            return True
        join = next((join for join in self.joins.values() if join.id == id), None)
        if join is None:
            return False
        if isinstance(error, NotLeader):
            for partition in join.asked:
                self.where.doubt(partition)
        join.id, join.asked, join.presented = 0, {}, []
        if error.retryable:
            self.obstacle = error
            delay = join.backoff.next()
            join.resume_at = now + (min(delay, LEADER_RETRY_DELAY) if isinstance(error, NotLeader) else delay)
        else:
            self.error = error
        return True

    # --- leases ------------------------------------------------------------------------------------------------------

    def take(self, broker: str, lot: Lot, now: float) -> Held | None:
        """A lot has arrived; None if it is void or here already."""
        if self.error is not None:
            self._disowned.append((broker, Settlement(lot.queue, lot.partition, lot.epoch, lot.lease, "release")))
            return None
        if not lot.offsets or lot.epoch < self._epochs.get(lot.partition, 0) or (lot.partition, lot.epoch, lot.lease) in self.held:
            return None
        self._heard_of(lot.partition, lot.epoch)
        join = self.joins.get(broker)
        if join is not None and join.joined.get(lot.partition, lot.epoch) < lot.epoch:
            join.joined[lot.partition] = lot.epoch
        held = Held(self, lot, now, broker)
        self.held[held.key] = held
        return held

    def lapse(self, now: float, lines: Sequence[str]) -> Losses:
        """What nobody has confirmed in time is lost: whoever leads now has given us up, and the messages to others."""
        self._looked_at = now
        if now < self._lapses_at:
            return []
        over = [held for held in self.held.values() if held.lapses_at <= now and not self._is_being_asked(held, lines)]
        losses = [(held, lost) for held in over if (lost := held.end(range(len(held.offsets)), LOST))]
        for held in over:
            del self.held[held.key]
        self._lapses_at = min((held.lapses_at for held in self.held.values()), default=inf)
        return losses

    def lapses_at(self) -> float:
        """When to look next; what is due already waits for a broker's word."""
        if self._lapses_at > self._looked_at:
            return self._lapses_at
        return min((held.lapses_at for held in self.held.values() if held.lapses_at > self._looked_at), default=inf)

    def _is_being_asked(self, held: Held, lines: Sequence[str]) -> bool:
        """Whether who granted it still leads, has taken our session over, and is just slow to say what it keeps."""
        where, partition = self.where, held.partition
        if held.broker not in lines or where.leader(partition) != held.broker or where.placements[partition].epoch != held.epoch:
            return False
        return where.has_news or (not where.is_doubted(partition) and self.is_joining(held.broker, partition))

    def _doubt_all_that_moved(self, lapses_at: float) -> None:
        for held in self.held.values():
            if held.partition < len(self.where.placements):
                placement = self.where.placements[held.partition]
                if placement.epoch > held.epoch or (placement.epoch == held.epoch and placement.leader != held.broker):
                    self._doubt(held, lapses_at)

    def _doubt(self, held: Held, lapses_at: float) -> None:
        held.lapses_at = min(held.lapses_at, lapses_at)
        self._lapses_at = min(self._lapses_at, lapses_at)

    def end(self) -> Losses:
        """The brokers will not have it any more: nothing can be settled under it, and what one of them may still keep for us goes back."""
        for held in self.held.values():
            broker, queue = self.routes.get(held.partition, ("", 0))
            if broker:
                self._disowned.append((broker, Settlement(queue, held.partition, held.epoch, held.lease, "release")))
        self.routes.clear()
        self._is_settled = False
        for join in self.joins.values():
            join.joined.clear()
        return self._lose_all()

    def is_joining(self, broker: str, partition: int) -> bool:
        """Whether the broker is about to say what is held of the partition."""
        join = self.joins.get(broker)
        return join is not None and partition in join.asked

    def _heard_of(self, partition: int, epoch: int) -> None:
        if epoch > self._epochs.get(partition, -1):
            self._epochs[partition] = epoch

    def _close_routes(self, broker: str, partition: int | None = None) -> None:
        for number in list(self.routes) if partition is None else [partition]:
            if self.routes.get(number, ("", 0))[0] == broker:
                del self.routes[number]

    def _reconcile(self, broker: str, presented: list[Held], leases: list[KeptLease]) -> Losses:
        kept = {(lease.partition, lease.old_epoch, lease.old_lease): lease for lease in leases}
        losses: Losses = []
        survivors: dict[LeaseKey, Held] = {}
        for held in presented:
            if self.held.get(held.key) is held:
                del self.held[held.key]
            lease = kept.get(held.key)
            if lease is not None and lease.kept:
                self._heard_of(lease.partition, lease.epoch)
            lost = _apply(held, lease)
            if lost:
                losses.append((held, lost))
            if held.open:
                held.broker, held.lapses_at = broker, inf
                survivors[held.key] = held
        self.held.update(survivors)
        return losses


def _over(held: Held, offsets: list[int]) -> list[int]:
    """Those of the offsets that are settled or lost."""
    return [offset for offset in offsets if (index := held.index_of(offset)) is not None and held.states[index] >= SETTLED]


def _apply(held: Held, lease: KeptLease | None) -> list[int]:
    """Brings one lease in line with what the broker says of it; gives the indices that were lost."""
    everything = range(len(held.offsets))
    if lease is None:
        return held.end(everything, LOST)
    kept = set(lease.kept)
    held.epoch, held.lease = lease.epoch, lease.lease
    done = [index for offset in lease.settled if (index := held.index_of(offset)) is not None]
    failed = [index for offset in lease.failed if (index := held.index_of(offset)) is not None]
    held.end([*done, *(index for index in failed if index in held.nacked)], SETTLED)
    held.whole = False
    return held.end([index for index in everything if held.offsets[index] not in kept], LOST)
