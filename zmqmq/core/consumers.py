"""The desk of consumers: subscribe, settle, leave."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from zmqmq.core.catalogue import Catalogue, Topic
from zmqmq.core.commands import KeptLease, Recalled, Settle, Settled, Settlement, Subscribe, Subscribed
from zmqmq.core.context import Context
from zmqmq.core.hub import Hub
from zmqmq.core.leases import Lease, Recall
from zmqmq.core.lots import with_offsets
from zmqmq.core.names import check_name
from zmqmq.core.operations import GroupCreated, MemberJoined, MemberLeft
from zmqmq.core.partition import Partition
from zmqmq.core.queue import Queue
from zmqmq.core.reclaim import reclaim, release_absent
from zmqmq.core.sessions import Session
from zmqmq.errors import CallerError, InvalidValue, NotLeader, Overloaded, UnknownGroup, ZmqmqError

SUBSCRIPTIONS_MAX = 1_000
"""Topics that one session may subscribe to."""

REASON_LENGTH_MAX = 4_000
"""Characters of the reason of a nack or reject."""


class Consumers:
    """Handles what consumers say of what they want and hold; their pulls are served elsewhere (`zmqmq.core.serving`)."""

    def __init__(self, context: Context, catalogue: Catalogue) -> None:
        self.context = context
        self.catalogue = catalogue

    # --- joining and leaving ---------------------------------------------------------------------------------------

    def subscribe(self, session: Session, command: Subscribe) -> None:
        """Joins the group; the answer follows when the membership is committed on every partition."""
        check_name("group", command.group)
        topic = self.catalogue.get_or_create(command.topic, command.create)
        if command.topic_id not in (0, topic.record.topic_id):
            raise NotLeader("the topic was deleted and made again", hint="describe the topic again", topic=command.topic)
        partitions = self._named(topic, command)
        hub = self._hub(topic, command.group)
        if len(session.queues) >= SUBSCRIPTIONS_MAX and hub.number not in session.queues:
            raise Overloaded(f"the session has {len(session.queues)} subscriptions", hint="use another consumer for further topics")
        if any(queue.closing for partition in partitions if (queue := partition.queues.get(command.group))):
            raise Overloaded("the group is being deleted", hint="subscribe again in a moment", topic=command.topic, group=command.group)
        for partition in partitions:
            self._join(self.context.touch(partition), session, command)
        leases = self._reclaim(session, partitions, command)
        self._hold_back(hub.group, partitions, session)
        epoch = session.epoch
        hub.joining.append(session.client_id)

        def joined() -> None:
            hub.joining.remove(session.client_id)
            if self.context.hub_numbers.get(hub.number) is not hub:
                error = Overloaded("the topic was deleted meanwhile", hint="subscribe again", topic=command.topic, group=command.group)
                self.context.refuse(session.address, command.id, error)
                return
            if session.leaving:  # it left before its subscription was committed
                self._undo_join(hub, session)
                return
            self._joined(session, epoch, hub, partitions, command, leases)

        self.context.when_known(partitions, joined)

    def _joined(self, session: Session, epoch: int, hub: Hub, partitions: Iterable[Partition], command: Subscribe, leases: Iterable[KeptLease]) -> None:
        """The membership is committed; partitions that are not led here any more are left out of the answer. `epoch`: of the connection that asked; if
        another one has taken the session over since, it has to subscribe itself."""
        here = [partition for partition in partitions if hub.partitions.get(partition.number) is partition]
        if not here:
            error = NotLeader("the partitions are led elsewhere by now", hint="describe the topic again", topic=command.topic)
            self.context.refuse(session.address, command.id, error)
            return
        hub.subscribers[session.client_id] = session
        session.queues.setdefault(hub.number)
        for partition in here:
            queue = partition.queues[command.group]
            queue.consumers[session.client_id] = max(epoch, queue.consumers.get(session.client_id, epoch))
            if queue.reclaim.pop(session.client_id, None):  # a hand-over has failed since, and it has reported: others may sleep who waited for that
                self.context.touch(partition)
        numbers = [partition.number for partition in here]
        kept = [_as_of_now(lease, hub.partitions[lease.partition].queues[command.group]) for lease in leases if lease.partition in numbers]
        if session.epoch == epoch:
            self.context.send(session, Subscribed(command.id, hub.number, command.topic, command.group, kept, numbers))

    def _hold_back(self, group: str, partitions: Iterable[Partition], session: Session) -> None:
        """Until it is told what it holds, nothing is added to that."""
        for partition in partitions:
            if (queue := partition.queues.get(group)) is not None:
                queue.consumers.pop(session.client_id, None)

    def _named(self, topic: Topic, command: Subscribe) -> list[Partition]:
        """Those of the named partitions that are led here, under the leadership that the consumer knows: one that has just begun may have delivered to
        it before, in an earlier epoch, what it does not present. Raises InvalidValue, or NotLeader when there are none."""
        wanted = range(topic.count) if command.partitions is None else sorted(set(command.partitions))
        for number in [*wanted, *(held.partition for held in command.held)]:
            if not self.catalogue.may_exist(topic, number):
                raise InvalidValue(f"there is no partition {number}", hint=f"the topic has {topic.count}", topic=command.topic)
        epochs = dict(zip(command.partitions or (), command.epochs, strict=False))
        here = [partition for number in wanted if (partition := topic.partitions.get(number)) is not None]
        here = [partition for partition in here if epochs.get(partition.number, partition.log.epoch) == partition.log.epoch]
        if not here:
            raise NotLeader("this broker leads none of the partitions", hint="describe the topic again", topic=command.topic)
        return here

    def _undo_join(self, hub: Hub, session: Session) -> None:
        """Takes a membership back, unless a newer session of the same client has taken it over, or will when it has joined."""
        if session.client_id not in hub.subscribers and session.client_id not in hub.joining:
            self.dismiss(hub, session.client_id, crashed=False, reason="left")

    def _hub(self, topic: Topic, group: str) -> Hub:
        name = topic.record.name
        known = self.context.hubs.get((name, group))
        if known is None or not known.is_used:
            groups = sum(1 for (other, _), hub in self.context.hubs.items() if other == name and hub.is_used)
            if groups >= self.context.settings.max_groups:
                raise Overloaded(f"the topic has {groups} groups", hint="delete groups that nobody uses", topic=name)
        return self.context.hub(name, group, topic.partitions)

    def _join(self, partition: Partition, session: Session, command: Subscribe) -> None:
        queue = partition.queues.get(command.group)
        if queue is None:
            position = partition.log.start if command.start == "earliest" else partition.log.end
            partition.append_operation(GroupCreated(command.group, position))
        member = session.client_id
        if queue is None or not queue.is_member(member) or queue.state.members.get(member) != session.timeout:
            partition.append_operation(MemberJoined(command.group, member, session.timeout))
        if queue is not None:
            queue.leaving.discard(member)
            queue.reclaim.pop(member, None)  # it reports right now

    def _reclaim(self, session: Session, partitions: Iterable[Partition], command: Subscribe) -> list[KeptLease]:
        self._release_absent(session, partitions, command)
        answers: list[KeptLease] = []
        for partition in partitions:  # of others another broker knows
            here = [held for held in command.held if held.partition == partition.number]
            queue = partition.queues.get(command.group)
            if queue is None:
                answers += [KeptLease(held.partition, held.epoch, held.lease, partition.log.epoch, 0, [], []) for held in here]
            elif here:
                answers += reclaim(partition, queue, queue.book.holder(session.client_id), here, self.context.reader, self.context.now)
        return answers

    def _release_absent(self, session: Session, partitions: Iterable[Partition], command: Subscribe) -> None:
        for partition in partitions:
            queue = partition.queues.get(command.group)
            if queue is not None and (holder := queue.book.holders.get(session.client_id)):
                here = [held for held in command.held if held.partition == partition.number]
                release_absent(partition, queue, holder, here, self.context.wall)

    def leave_all(self, session: Session, crashed: bool, reason: str) -> list[Partition]:
        """Ends every subscription of the session; returns the partitions concerned."""
        concerned: list[Partition] = []
        session.leaving = True
        for number in list(session.queues):
            hub = self.context.hub_numbers.get(number)
            if hub is not None:
                self._leave(session, hub, crashed, reason)
                concerned += hub.partitions.values()
        self.context.pullers.pop(session.client_id, None)
        return concerned

    def _leave(self, session: Session, hub: Hub, crashed: bool, reason: str) -> None:
        hub.leave(session)
        session.queues.pop(hub.number, None)
        self.dismiss(hub, session.client_id, crashed, reason)
        for partition in self.catalogue.withdrawn if not crashed else ():  # if it is found here again nothing of this counts as failed
            if partition.topic.name == hub.topic and (queue := partition.queues.get(hub.group)) is not None:
                queue.leave(session.client_id, self.context.wall, crashed, reason)

    def dismiss(self, hub: Hub, member: str, crashed: bool, reason: str) -> None:
        """The member holds nothing any more, and the log says so."""
        for partition in hub.partitions.values():
            self.dismiss_from(partition, hub.group, member, crashed, reason)

    def dismiss_from(self, partition: Partition, group: str, member: str, crashed: bool, reason: str) -> None:
        """The member holds nothing of this partition any more."""
        queue = partition.queues.get(group)
        if queue is not None:
            self.context.touch(partition)
            queue.leave(member, self.context.wall, crashed, reason)
            if queue.is_member(member):
                partition.append_operation(MemberLeft(group, member))
                queue.leaving.add(member)

    def _subscribed(self, session: Session, number: int) -> Hub:
        hub = self.context.hub_numbers.get(number)
        if hub is None or number not in session.queues:
            raise UnknownGroup(f"this session has not subscribed to queue {number}", hint="subscribe first")
        return hub

    # --- settling --------------------------------------------------------------------------------------------------

    def settle(self, session: Session, command: Settle) -> None:
        """Ends leases, each settlement by itself; the answer follows when all that is decided here is committed, and names what was not carried out."""
        late: dict[Partition | None, list[Settlement]] = {}
        moved: list[Settlement] = []
        said: dict[Partition, list[Settlement]] = {}
        for settlement in command.settlements:
            try:
                hub, partition = self._place(session, settlement)
            except NotLeader:
                moved.append(settlement)
            except CallerError:
                late.setdefault(None, []).append(settlement)
            else:
                said.setdefault(self.context.touch(partition), []).append(settlement)
                missed = self._settle_one(session, hub, partition, settlement)
                if missed is None or missed:
                    late.setdefault(partition, []).append(with_offsets(settlement, missed))

        def not_here(partition: Partition, error: ZmqmqError) -> None:
            late.pop(partition, None)  # what made it late may be lost with the leadership, a seek for instance: that is not for this broker to say
            moved.extend(said[partition])

        def answer() -> None:
            lost = [settlement for some in late.values() for settlement in some]
            self.context.send(session, Settled(command.id, [*lost, *moved], list(range(len(lost), len(lost) + len(moved)))))

        self.context.when_known(said, answer, not_here)

    def _place(self, session: Session, settlement: Settlement) -> tuple[Hub, Partition]:
        """What the settlement is about; raises UnknownGroup, UnknownTopic, InvalidValue or NotLeader."""
        hub = self._subscribed(session, settlement.queue)
        partition = self.catalogue.led(self.catalogue.get(hub.topic), settlement.partition, is_placed=True)
        if (queue := partition.queues.get(hub.group)) and session.client_id in queue.reclaim and settlement.epoch < partition.log.epoch:  # it may bring it
            raise NotLeader("the lease is of an earlier leadership", hint="describe the topic and subscribe again", topic=hub.topic, partition=partition.number)
        return hub, partition

    def _settle_one(self, session: Session, hub: Hub, partition: Partition, settlement: Settlement) -> list[int] | None:
        """Settles what the session still holds of it; returns the offsets of which that cannot be said (None: the whole lease)."""
        queue = partition.queues.get(hub.group)
        lease = queue.book.leases.get(settlement.lease) if queue and settlement.epoch == partition.log.epoch else None
        if queue is None or lease is None or lease.holder.member != session.client_id:
            return settlement.offsets
        wanted = list(lease.open) if settlement.offsets is None else list(dict.fromkeys(settlement.offsets))
        valid = [offset for offset in wanted if offset in lease.open]
        if fault := self._fault(settlement):
            self.recall(session, hub, partition, queue.nack(lease, valid, fault, None, self.context.wall) if valid else ())
            return wanted
        if valid:
            self._carry_out(session, hub, partition, lease, valid, settlement)
        if len(valid) == len(wanted):
            return []
        held = set(valid)
        return [offset for offset in wanted if offset not in held]

    def _fault(self, settlement: Settlement) -> str:
        """What the settlement asks for and is not allowed, "" if nothing. Its messages fail with that: kept, they would be held until their
        consumer is gone, and returned uncounted they would come again at once, for ever."""
        longest = self.context.settings.limits.max_delay
        if settlement.delay is not None and not 0 <= settlement.delay <= longest:
            return f"the delay is {settlement.delay} s, allowed are 0 to {longest:g} s"
        if len(settlement.reason) > REASON_LENGTH_MAX:
            return f"the reason has {len(settlement.reason)} characters, at most {REASON_LENGTH_MAX} are allowed"
        return ""

    def _carry_out(self, session: Session, hub: Hub, partition: Partition, lease: Lease, offsets: list[int], settlement: Settlement) -> None:
        queue, outcome, reason, wall = partition.queues[hub.group], settlement.outcome, settlement.reason, self.context.wall
        self.context.counters.settled += len(offsets) if outcome in ("ack", "reject") else 0
        recalls: list[Recall] = []
        if outcome == "ack":
            queue.ack(lease, offsets)
        elif outcome == "reject":
            queue.reject(lease, offsets, reason or "rejected")
        elif outcome == "nack":
            recalls = queue.nack(lease, offsets, reason or "nacked", settlement.delay, wall)
        else:
            recalls = queue.release(lease, offsets, wall)
        self.recall(session, hub, partition, recalls)

    def recall(self, session: Session, hub: Hub, partition: Partition, recalls: Iterable[Recall]) -> None:
        """Tells the consumer what it does not hold any more, the last first: a later message of a key must not be started when an earlier one is gone."""
        for recall in sorted(recalls, reverse=True):
            self.context.send(session, Recalled(hub.number, partition.number, partition.log.epoch, recall.lease, recall.offsets))


def _as_of_now(answer: KeptLease, queue: Queue) -> KeptLease:
    """Without what was taken back since it was presented, by a seek for instance: told of that before it is told of the lease, the consumer has not
    understood."""
    lease = queue.book.leases.get(answer.lease)
    return replace(answer, kept=[offset for offset in answer.kept if lease is not None and offset in lease.open])
