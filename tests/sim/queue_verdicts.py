"""The rules of the queue, each as a function over plain data that raises Violation: one holder, order per key, nothing settled comes back.

They hold across brokers: whoever leads a partition, a group sees one queue. What the application of a consumer has in its hands
is the measure, not what some broker believes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from typing import Literal, NamedTuple

from tests.sim.history import demand

State = Literal["working", "concluding", "returning"]
"""What a consumer does with a message: works on it, has acknowledged or rejected it, or gives it back."""
Queue = tuple[str, int, int]
"""(group, topic_id, partition)"""


class Hold(NamedTuple):
    """A message in the hands of a consumer's application."""

    consumer: str
    queue: Queue
    offset: int
    key: bytes | None


class Expected(NamedTuple):
    """What the committed log says of a message and a group."""

    value: bytes
    concluded: bool
    failures: int
    members: Collection[str]


def deliverable(client: str, offset: int, value: bytes, attempt: int, expected: Expected | None) -> None:
    """Q3, Q5, Q7: what is delivered was committed, is not settled, goes to a member and counts its attempts right."""
    demand(expected is not None, "what is delivered is not committed", offset, value)
    assert expected is not None
    demand(expected.value == value, "another message is delivered than was accepted", offset, value)
    demand(not expected.concluded, "a settled message is delivered again", client, offset, value)
    demand(client in expected.members, "a message is delivered to somebody who has not joined", client, offset)
    demand(attempt == expected.failures + 1, "the attempts are not those in the log", offset, attempt, expected.failures)


Tokens = MutableMapping[tuple[Queue, bytes], tuple[tuple[int, int], str]]
"""(queue, key) -> (token, consumer)"""


def token_grows(tokens: Tokens, queue: Queue, key: bytes, token: tuple[int, int], client: str) -> None:
    """Q8: per key the pair (epoch, lease) grows, whoever leads; only the same lease of the same consumer is extended."""
    before = tokens.get((queue, key))
    grows = before is None or token > before[0] or (token == before[0] and client == before[1])
    demand(grows, "a fencing token does not grow", queue, key, token, before)
    tokens[queue, key] = (token, client)


def one_holder(mine: Hold, others: Iterable[Hold]) -> None:
    """Q2: nobody else holds the message, or another one of its key."""
    for other in others:
        if other.queue == mine.queue and other.consumer != mine.consumer:
            same = other.offset == mine.offset or (mine.key is not None and other.key == mine.key)
            demand(not same, "two consumers hold a message or a key", mine, other)


def in_key_order(mine: Hold, before: Iterable[int], states: Mapping[int, State]) -> None:
    """Q3: a message comes only when the earlier ones of its key are settled, or in the same hands and not on their way back.

    `before`: earlier messages of the key that the log does not know as settled; `states`: what this consumer does with its own."""
    for offset in before:
        demand(offset in states, "a message overtakes an earlier one of its key", mine, offset)
        demand(states[offset] != "returning", "a message overtakes one of its key that goes back", mine, offset)


def first_in_order(newest: MutableMapping[tuple[Queue, bytes], int], seen: MutableMapping[Queue, set[int]], mine: Hold) -> None:
    """Promise 3: for the first time messages of a key are handed out in the order in which they were accepted."""
    known = seen.setdefault(mine.queue, set())
    if mine.key is not None and mine.offset not in known:
        last = newest.get((mine.queue, mine.key), -1)
        demand(mine.offset > last, "messages of a key come in another order than they were accepted", mine, last)
        newest[mine.queue, mine.key] = mine.offset
    known.add(mine.offset)


def stays_settled(settled: Mapping[tuple[Queue, int], str], mine: Hold) -> None:
    """Q4: what a consumer was told to be settled is never handed out again (unless an administrator replays it)."""
    by = settled.get((mine.queue, mine.offset))
    demand(by is None, "a message comes again although its settling was confirmed", mine, by)
