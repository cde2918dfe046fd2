"""The leader's side of fetching: follower brokers' questions, held until there is news, and answered in one frame for all partitions.

What a follower reports counts at once. A replica that is in sync and has all that came before gets the records of a turn while they are
written here (`ahead`), so that disks work side by side; whoever is behind gets what is on this broker's disk. Replicas that are in sync
are served first; those that catch up share a bounded rate, so that live traffic does not suffer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from zmqmq.core.follower import block_of
from zmqmq.core.peer_commands import Block, Fetch, Fetched, FetchedPart, FetchPart
from zmqmq.core.replica import Key, Replica
from zmqmq.core.writes import Reader, Write
from zmqmq.errors import StorageDamaged

TAIL_BYTES = 4 << 20
"""Bytes of recent records of one partition that are kept in memory for its followers; older ones are read from disk."""
PART_OVERHEAD = 64
"""Bytes that a record may need beside its value, about."""


class Tail:
    """The newest records of one partition, as they were written: what followers that keep up want next."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[Block, int]] = deque()
        self._size = 0

    def note(self, write: Write) -> None:
        """A write of this turn."""
        block = block_of(write)
        if block is None:
            return
        size = weight_of(block)
        self._blocks.append((block, size))
        self._size += size
        while self._size > TAIL_BYTES and self._blocks:
            self._size -= self._blocks.popleft()[1]

    def clear(self) -> None:
        self._blocks.clear()
        self._size = 0

    def forget(self, offset: int) -> None:
        """All followers have everything below `offset`."""
        while self._blocks and self._blocks[0][0].first + len(self._blocks[0][0].values) <= offset:
            self._size -= self._blocks.popleft()[1]

    def since(self, offset: int, stop: int, max_bytes: int) -> list[Block] | None:
        """Blocks from `offset` to `stop`, about `max_bytes` after the first; None if a block does not begin just there.

        They end where one does not follow the other: what was written in between was not noted, for there was no follower then."""
        found: list[Block] = []
        size = 0
        end = offset
        for block, weight in self._blocks:
            if block.first < offset:
                continue
            if block.first != end or block.first >= stop or (found and size + weight > max_bytes):
                break
            found.append(block)
            size += weight
            end = block.first + len(block.values)
        return found or None


class Peer:
    """One follower broker, as the leader sees it."""

    def __init__(self, be: int) -> None:
        self.be = be
        self.last = 0
        """Number of its latest fetch."""
        self.series = 0
        self.parts: dict[Key, FetchPart] = {}
        self.committed: dict[Key, int] = {}
        """What it was told last."""
        self.fresh: dict[Key, None] = {}
        """Partitions of which there may be records to send."""
        self.moved: dict[Key, None] = {}
        """Partitions of which more may be committed: no reason to answer, but told with the next answer."""
        self.address = b""
        self.fetch: Fetch | None = None
        """The question that is held."""
        self.until = 0.0
        self.heard = float("-inf")

    def take(self, address: bytes, fetch: Fetch, now: float) -> bool:
        """A question; False if it is late or doubled."""
        if (fetch.be, fetch.id) <= (self.be, self.last) and self.last:
            return False
        if fetch.first or fetch.be != self.be:
            self.parts.clear()
            self.committed.clear()
            self.fresh.clear()
            self.moved.clear()
            self.series = fetch.series if fetch.first else 0
        self.be, self.last, self.heard = fetch.be, fetch.id, now
        self.address, self.fetch, self.until = address, fetch, now + fetch.wait
        for part in fetch.parts if fetch.series == self.series else ():
            key = (part.topic_id, part.partition)
            if part.epoch < 0:
                self.forget(key)
            else:
                self.parts[key] = part
                self.fresh[key] = None
        return True

    def forget(self, key: Key) -> None:
        for table in (self.parts, self.committed, self.fresh, self.moved):
            table.pop(key, None)

    def is_known(self) -> bool:
        return self.fetch is not None and self.fetch.series == self.series


class Allowance:
    """A rate: so many bytes per second, at most one second's worth at once."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._left = rate
        self._at = 0.0

    def left(self, now: float) -> int:
        self._left = min(self.rate, self._left + self.rate * max(0.0, now - self._at))
        self._at = now
        return int(self._left)

    def spend(self, size: int) -> None:
        self._left -= size


class Feeder:
    """Answers fetches. `find` gives the replica of a partition that is here, `damaged` is told when records of one cannot be read."""

    def __init__(self, reader: Reader, find: Callable[[Key], Replica | None], catch_up_rate: float, damaged: Callable[[Replica, str], object]) -> None:
        self.peers: dict[str, Peer] = {}
        self.tails: dict[Key, Tail] = {}
        self._reader = reader
        self._find = find
        self._damaged = damaged
        self._allowance = Allowance(catch_up_rate)

    def fetch(self, address: bytes, fetch: Fetch, now: float) -> list[FetchPart]:
        """Takes a question; gives the parts whose progress is news."""
        peer = self.peers.setdefault(fetch.broker, Peer(fetch.be))
        if fetch.be < peer.be or not peer.take(address, fetch, now):
            return []
        return fetch.parts if peer.is_known() else []

    def news(self, key: Key, records: bool = True) -> None:
        """Something about the partition has changed: more on disk or another role, or else only more is committed."""
        for peer in self.peers.values():
            if key in peer.parts:
                peer.moved[key] = None
                if records:
                    peer.fresh[key] = None

    def has_all(self, broker: str, key: Key) -> None:
        """The follower broker has just reported all that there is of a partition: until there is news it is left alone."""
        self.peers[broker].fresh.pop(key, None)

    def answers(self, now: float) -> Iterator[tuple[bytes, Fetched]]:
        """Answers to those held questions that have one now."""
        for peer in self.peers.values():
            if peer.fetch is None:
                continue
            if not peer.is_known():
                yield self._close(peer, [], again=True)
                continue
            parts = self._records(peer, peer.fetch, now) if peer.fresh else []
            if parts or now >= peer.until:
                yield self._close(peer, parts + self._committed(peer))

    def ahead(self, replicas: Sequence[Replica]) -> Iterator[tuple[bytes, Fetched]]:
        """Answers to held questions with what this turn is about to write: as much as each may hold of the replicas, which are led here.

        Who waits for anything else is answered after the commit, with all of it: else partitions that are written now would be served before it, again and
        again."""
        for peer in self.peers.values():
            fetch = peer.fetch
            if fetch is None or peer.fresh or not peer.is_known():
                continue
            left = fetch.max_bytes
            parts: list[FetchedPart] = []
            for replica in replicas:
                part = self._unwritten(replica, peer, fetch, left) if left > 0 else None
                if part is not None:
                    left -= sum(map(weight_of, part.blocks))
                    peer.committed[replica.key] = part.committed
                    parts.append(part)
            if parts:
                yield self._close(peer, parts + self._committed(peer))

    def _unwritten(self, replica: Replica, peer: Peer, fetch: Fetch, max_bytes: int) -> FetchedPart | None:
        """The records of this turn, for a follower that is in sync and has everything before them."""
        log, part, tail = replica.partition.log, peer.parts.get(replica.key), self.tails.get(replica.key)
        if part is None or tail is None or part.offset != log.durable or replica.leader is None or part.epoch != replica.epoch:
            return None
        member = replica.leader.isr.get(fetch.broker)
        if member is None or member.be != fetch.be or (part.offset and log.end_of_epoch(part.last_epoch) != (part.last_epoch, log.end)):
            return None
        blocks = tail.since(part.offset, log.end, max_bytes)
        return self._data(replica, part, blocks, after(blocks)) if blocks else None

    def _close(self, peer: Peer, parts: list[FetchedPart], again: bool = False) -> tuple[bytes, Fetched]:
        assert peer.fetch is not None, "only a question that is held is answered"
        answer = Fetched(peer.fetch.id, peer.be, parts, again)
        peer.fetch = None
        return peer.address, answer

    def deadline(self) -> float:
        """When a held question has to be answered whether there is news or not."""
        return min((peer.until for peer in self.peers.values() if peer.fetch is not None), default=float("inf"))

    # --- one answer ------------------------------------------------------------------------------------------------

    def _records(self, peer: Peer, fetch: Fetch, now: float) -> list[FetchedPart]:
        """Records for the follower, within its bytes and the rate of those that catch up."""
        left = fetch.max_bytes
        slow = self._allowance.left(now)
        parts: list[FetchedPart] = []
        for key, in_sync in self._in_order(peer, fetch.broker):
            replica = self._led(peer, key)
            if left <= 0 or not (in_sync or slow > 0):
                break  # the rest in a later answer
            answer = self._one(replica, peer.parts[key], left if in_sync else min(left, slow)) if replica is not None else None
            if replica is None or answer is None or answer.next >= replica.partition.log.durable or answer.state != "data":
                del peer.fresh[key]  # there will be news when there is more, or when this broker leads in that epoch
            if answer is None:
                continue
            size = sum(map(weight_of, answer.blocks))
            left -= size
            if not in_sync:
                slow -= size
                self._allowance.spend(size)
            peer.committed[key] = answer.committed
            parts.append(answer)
        return parts

    def _in_order(self, peer: Peer, broker: str) -> list[tuple[Key, bool]]:
        """What there may be to send, with whether the follower is in sync: first of all where it is."""
        keys = [(key, self._is_in_sync(key, broker)) for key in peer.fresh]
        return keys if len(keys) < 2 else sorted(keys, key=lambda entry: not entry[1])

    def _led(self, peer: Peer, key: Key) -> Replica | None:
        """The replica, if it is led here in the epoch that the follower asks for."""
        replica = self._find(key)
        return replica if replica is not None and replica.leader is not None and replica.epoch == peer.parts[key].epoch else None

    def _committed(self, peer: Peer) -> list[FetchedPart]:
        """What is committed by now, of partitions about which there is nothing else to tell. Those that wait for their turn wait for this too: their logs
        were not compared yet, and what differs here would count as committed there."""
        parts: list[FetchedPart] = []
        compared = [key for key in peer.moved if key not in peer.fresh]
        for key in compared:
            del peer.moved[key]
            replica = self._led(peer, key)
            if replica is not None and (log := replica.partition.log).committed > peer.committed.get(key, -1):
                offset = peer.parts[key].offset
                peer.committed[key] = log.committed
                parts.append(FetchedPart(*key, replica.epoch, offset, "data", log.committed, log.trimmed, next=offset))
        return parts

    def _is_in_sync(self, key: Key, broker: str) -> bool:
        replica = self._find(key)
        return replica is not None and replica.leader is not None and broker in replica.leader.isr

    def _one(self, replica: Replica, part: FetchPart, max_bytes: int) -> FetchedPart | None:
        """What there is to say about one partition; None if there are no records to send."""
        log = replica.partition.log
        head = (*replica.key, replica.epoch, part.offset)
        epoch, end = log.end_of_epoch(part.last_epoch) if part.offset else (part.last_epoch, log.end)
        if epoch != part.last_epoch or end < part.offset:
            return FetchedPart(*head, "diverged", log.committed, log.trimmed, diverged_epoch=epoch, diverged_end=end)
        if part.offset < log.trimmed and not log.trimmed <= part.installing:  # what the snapshot does not tell must still be there
            return FetchedPart(*head, "trimmed", log.committed, log.trimmed)
        blocks, reached = self._read(replica, part.offset, max_bytes)
        return self._data(replica, part, blocks, reached) if reached > part.offset else None

    def _data(self, replica: Replica, part: FetchPart, blocks: list[Block], reached: int) -> FetchedPart:
        log = replica.partition.log
        return FetchedPart(*replica.key, replica.epoch, part.offset, "data", log.committed, log.trimmed, blocks, next=reached)

    def _read(self, replica: Replica, offset: int, max_bytes: int) -> tuple[list[Block], int]:
        """Records on disk from `offset` on, and how far the log is covered by them."""
        log = replica.partition.log
        if offset >= log.durable:
            return [], offset
        tail = self.tails.get(replica.key)
        blocks = tail.since(offset, log.durable, max_bytes) if tail is not None else None
        if blocks is None:
            try:
                blocks = list(self._reader.blocks(log.log_id, offset, log.durable, max_bytes))
            except StorageDamaged as error:
                self._damaged(replica, str(error))
                return [], offset
            if not blocks:
                return [], log.durable
        return blocks, after(blocks)


def weight_of(block: Block) -> int:
    """Bytes of a block in an answer, about."""
    return sum(map(len, block.values)) + PART_OVERHEAD * len(block.values)


def after(blocks: Sequence[Block]) -> int:
    """The offset after the last record."""
    return blocks[-1].first + len(blocks[-1].values)
