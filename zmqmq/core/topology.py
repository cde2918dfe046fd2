"""What a client knows of the topics that it uses: who leads which partition, and when to ask again.

Any broker can describe a topic, so the question goes over any open line. What is known is *in doubt* when a leader says that it is none, when its
line breaks, or when it is silent; then the topic is described again, over a line to somebody else if there is one, until another leader
is named or the old one shows that it lives. An answer never takes back a leadership that is known to be newer: epochs only grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf

from zmqmq.core.commands import Command, Describe, Described
from zmqmq.core.model import Placement
from zmqmq.errors import NotLeader, UnknownTopic, ZmqmqError

DESCRIBE_TIMEOUT = 1.0
"""Seconds after which an unanswered Describe goes over another line."""
FIRST_DOUBT_DELAY = 0.03
"""Seconds between the first questions about a leader in doubt."""
DOUBT_SHARE = 0.3
"""Share of the time in doubt, at most, that passes until the next question: so much later than possible a new leader is found."""
MAX_DOUBT_DELAY = 1.0
"""Seconds between two questions about a leader in doubt, at most."""
SUSPECT_AFTER = 1.0
"""Seconds without an answer after which a leader is in doubt."""
LOOK_INTERVAL = 5.0
"""Seconds between two looks at a topic that several brokers hold, if nothing gives a reason to: it may have more partitions."""
NOBODY_LEADS = "nobody leads the partition"
WAITS_FOR = "it waits for one of its brokers; zmqmq cluster status names them"
Letter = tuple[str, Command]
"""A command and the broker that it is for."""


def leaderless(topic: str, partition: int) -> NotLeader:
    """The error for a partition that nobody leads."""
    return NotLeader(NOBODY_LEADS, hint=WAITS_FOR, topic=topic, partition=partition)


class Whereabouts:
    """One topic: its placements as far as known, and the question about them."""

    def __init__(self, name: str, random: Callable[[], float]) -> None:
        self.name = name
        self.placements: list[Placement] = []
        """One per partition, ascending; empty while nothing is known."""
        self.obstacle: ZmqmqError | None = None
        """The last refusal to describe it, until it is described."""
        self.described_at = -inf
        self.is_gentle = False
        """The next question must not create the topic: it may have been deleted."""
        self.was_gentle = False
        """So was the last one that was refused."""
        self.topic_id = 0
        """Another one means that the topic was deleted and made again."""
        self.is_spread = False
        """Several brokers hold it: its leaders may change while everybody lives."""
        self._doubts: dict[int, tuple[str, int]] = {}
        self._unsure: set[str] = set()
        """Brokers that have said that they cannot tell."""
        self._tellers: dict[str, None] = {}
        """Brokers that have said that there is news, and have not been asked since: others may not have heard of it yet."""
        self.has_news = True
        """It is to be described before anything new is done."""
        self._is_complete = False
        self._id = 0
        self._asked_of = ""
        self._asked_at = -inf
        self._resume_at = -inf
        self._unclear_since: float | None = None
        self._random = random

    @property
    def is_known(self) -> bool:
        """It has been described."""
        return bool(self.placements)

    @property
    def is_current(self) -> bool:
        """Every leader is known, and none is in doubt."""
        return self._is_complete and not self.has_news and not self._doubts

    def leader(self, partition: int) -> str:
        """The broker that leads a partition, "" if that is not known."""
        return self.placements[partition].leader if partition < len(self.placements) else ""

    def led(self) -> dict[str, dict[int, int]]:
        """By leader: its partitions with their epochs."""
        found: dict[str, dict[int, int]] = {}
        for placement in self.placements:
            if placement.leader:
                found.setdefault(placement.leader, {})[placement.partition] = placement.epoch
        return found

    # --- doubt -------------------------------------------------------------------------------------------------------

    def doubt(self, partition: int) -> None:
        """The leader of a partition may be another one."""
        if partition < len(self.placements) and partition not in self._doubts:
            placement = self.placements[partition]
            if self.is_current:
                self._resume_at = -inf
            self._doubts[partition] = (placement.leader, placement.epoch)

    def doubt_broker(self, broker: str) -> None:
        """Whatever this broker leads may be led by others."""
        for placement in self.placements:
            if placement.leader == broker:
                self.doubt(placement.partition)

    def believe(self, partition: int) -> None:
        """The leader has shown that it leads."""
        if self._doubts.pop(partition, None) is not None and self.is_current:
            self._unclear_since = None

    def believe_broker(self, broker: str) -> None:
        """The broker has shown that it lives."""
        for partition in [partition for partition, (leader, _) in self._doubts.items() if leader == broker]:
            self.believe(partition)

    def is_doubted(self, partition: int) -> bool:
        """Whether the leader of a partition is in doubt, or not known at all."""
        return partition in self._doubts or partition >= len(self.placements)

    def hint(self, broker: str = "") -> None:
        """A broker says that there is news, and is asked itself if it is named."""
        if broker:
            self._tellers[broker] = None
        self._look_gently()

    def _look_gently(self) -> None:
        self.is_gentle = self.is_known
        self.look_again()

    def look_around(self, now: float) -> None:
        """From time to time there is news that nobody has told."""
        if now >= self.look_at():
            self._look_gently()

    def look_at(self) -> float:
        """When to look around; inf while the topic is asked about anyway."""
        return self.described_at + LOOK_INTERVAL if self.is_current and self.is_spread else inf

    def opened(self, broker: str) -> None:
        """A new session with a broker: it may answer what others did not, and what it leads is to be looked at again."""
        leads = any(placement.leader == broker for placement in self.placements)
        if leads:
            self._doubts = {partition: doubt for partition, doubt in self._doubts.items() if doubt[0] != broker}
        if leads or not self.is_current:
            self._id = 0
            self.look_again()

    def down(self, broker: str) -> None:
        """No session with a broker: what it was asked is not answered any more."""
        if self._asked_of == broker:
            self._id = 0
        self._unsure.discard(broker)
        self._tellers.pop(broker, None)
        if any(placement.leader == broker for placement in self.placements):
            self._resume_at, self._unclear_since = -inf, None
        self.doubt_broker(broker)

    def look_again(self) -> None:
        """What is known may be wrong."""
        self.has_news = True
        self._resume_at = -inf

    # --- the question ------------------------------------------------------------------------------------------------

    def ask(self, now: float, lines: Sequence[str], next_id: Callable[[], int], create: bool) -> Letter | None:
        """The question to send now, if it is time for one. `lines` are the open ones, the best first."""
        if not lines or now < self.due():
            return None
        self._tellers = {broker: None for broker in self._tellers if broker in lines}
        self._asked_of = next(iter(self._tellers), "") or self._choose(lines)
        self._tellers.pop(self._asked_of, None)
        self._id, self._asked_at = next_id(), now
        return self._asked_of, Describe(self._id, self.name, create and not self.is_gentle)

    def _choose(self, lines: Sequence[str]) -> str:
        avoided = self._avoided()
        silent = self._asked_of if self._id else ""
        return min(lines, key=lambda broker: (broker in avoided, broker == silent))

    def needs_another(self, lines: Iterable[str]) -> bool:
        """Whether only brokers in doubt, or ones that cannot tell, can be asked."""
        return bool(self._doubts or self._unsure) and self._avoided().issuperset(lines)

    def _avoided(self) -> set[str]:
        return self._unsure | {leader for leader, _ in self._doubts.values()}

    def due(self) -> float:
        """When to ask (again)."""
        if self.is_current:
            return inf
        return self._asked_at + DESCRIBE_TIMEOUT if self._id else self._resume_at

    def described(self, command: Described, now: float) -> bool:
        """Takes an answer; False if it answers something else."""
        if command.id != self._id or command.topic != self.name:
            return False
        self._id = 0
        self._unsure.clear()
        self.obstacle = None
        self.is_gentle = False
        self.described_at = now
        self._take(command)
        for partition, doubt in list(self._doubts.items()):
            placement = self.placements[partition]
            if placement.leader and (placement.leader, placement.epoch) != doubt:
                del self._doubts[partition]
        self.has_news = bool(self._tellers)
        if self.has_news:
            self._resume_at = -inf
        elif self.is_current:
            self._unclear_since = None
        else:
            self._resume_at = now + self._delay(now)
        return True

    def _delay(self, now: float) -> float:
        """Seconds until the next question: the longer the answer is unclear, the longer."""
        self._unclear_since = now if self._unclear_since is None else self._unclear_since
        longest = max(FIRST_DOUBT_DELAY, DOUBT_SHARE * (now - self._unclear_since))
        return min(MAX_DOUBT_DELAY, longest * (0.5 + self._random() / 2))

    def _take(self, command: Described) -> None:
        if command.topic_id != self.topic_id:
            self.placements, self.topic_id = [], command.topic_id
            self._doubts.clear()
        for number, placement in enumerate(sorted(command.placements, key=lambda placement: placement.partition)):
            if number == len(self.placements):
                self.placements.append(placement)
            elif placement.epoch >= self.placements[number].epoch:
                self.placements[number] = placement
        self.is_spread = self.is_spread or command.replicas > 1 or len({placement.leader for placement in self.placements}) > 1
        self._is_complete = bool(self.placements) and all(placement.leader for placement in self.placements)

    def refused(self, id: int, error: ZmqmqError, now: float) -> bool:
        """Takes a refusal; False if it refuses something else. It is asked again later."""
        if not id or id != self._id:
            return False
        self._id = 0
        if isinstance(error, NotLeader):
            self._unsure.add(self._asked_of)
        self.obstacle = error
        self._resume_at = now + self._delay(now)
        self.was_gentle = self.is_gentle
        if self.is_gentle and isinstance(error, UnknownTopic):
            self.placements, self.topic_id, self.is_gentle, self._is_complete = [], 0, False, False
            self._doubts.clear()
        return True


class Topology:
    """All topics of a client."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._topics: dict[str, Whereabouts] = {}
        self._wanted: dict[str, str] = {}

    def topic(self, name: str) -> Whereabouts:
        """What is known of a topic."""
        if name not in self._topics:
            self._topics[name] = Whereabouts(name, self._random)
        return self._topics[name]

    def wanted(self) -> Mapping[str, str]:
        """The brokers that lead something, with their endpoints."""
        return self._wanted

    def described(self, command: Described, now: float) -> Whereabouts | None:
        """Takes an answer; the topic that it answers for, if any."""
        topic = self._topics.get(command.topic)
        if topic is None or not topic.described(command, now):
            return None
        self._wanted = {placement.leader: placement.endpoint for known in self._topics.values() for placement in known.placements if placement.leader}
        return topic

    def refused(self, id: int, error: ZmqmqError, now: float) -> Whereabouts | None:
        """Takes a refusal; the topic that it answers for, if any."""
        return next((topic for topic in self._topics.values() if topic.refused(id, error, now)), None)

    def opened(self, broker: str) -> None:
        """A new session with a broker."""
        for topic in self._topics.values():
            topic.opened(broker)

    def down(self, broker: str) -> None:
        """The session with a broker is over, or broken."""
        for topic in self._topics.values():
            topic.down(broker)

    def hint(self, name: str, broker: str = "") -> None:
        """A broker says that there is news of a topic, and is asked itself if it is named: whoever holds something must hear of the new leadership before
        that gives it up."""
        if name in self._topics:
            self._topics[name].is_spread = True  # even with one replica: it moves, and whoever answers may not have seen it yet
            self._topics[name].hint(broker)

    def doubt_broker(self, broker: str) -> None:
        """Whatever this broker leads may be led by others."""
        for topic in self._topics.values():
            topic.doubt_broker(broker)

    def believe_broker(self, broker: str) -> None:
        """The broker has shown that it lives."""
        for topic in self._topics.values():
            topic.believe_broker(broker)

    def needs_another(self, lines: Sequence[str]) -> bool:
        """Whether only brokers in doubt can be asked about some topic."""
        return any(topic.needs_another(lines) for topic in self._topics.values())
