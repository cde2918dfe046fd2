"""Picking messages for a consumer that pulls: the one matching function of a queue.

Order of service: keys the consumer holds already, then what became ready again (keys by turn, a share each), then what was not
read yet. While unread messages exist, at most half of a pull goes to what waited, so neither starves the other. A message
of a key that cannot be granted is passed over in the reading, never waited for.

A *suspect* is a message whose last consumer vanished while holding it. It is delivered alone, and a consumer holds one at a time: a
poison message then counts against itself and not against its neighbours.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from zmqmq.core.checksum import checksums
from zmqmq.core.gates import Gate
from zmqmq.core.leases import Holder, Lease
from zmqmq.core.model import Row
from zmqmq.core.queue import Queue
from zmqmq.core.writes import Reader

SCAN_MAX = 20_000
"""Records read on in one pull before the turn ends, however few could be granted."""
FETCH_STEP = 64
"""Messages that waited are read so many at a time until there are bytes enough."""
SHARE = 4
"""A ready key gets 1/SHARE of a pull, and more only when no other has anything to give."""


class Pull:
    """One consumer's request to one queue, while it is being answered."""

    def __init__(self, queue: Queue, holder: Holder, log_id: int, reader: Reader, committed: int, wall: float) -> None:
        self.queue = queue
        self.holder = holder
        self.log_id = log_id
        self.reader = reader
        self.committed = committed
        self.wall = wall
        self.unfinished = False
        """True when there may be more to give although nothing was found yet: ask again."""
        self.has_revealed = False
        """Messages that had failed were met on the way; they wait where anybody may find them now, and nobody has been woken for them."""
        self.leave_alone: Callable[[str], bool] = lambda reason: False
        """Told that a message is damaged; True: it will be delivered undamaged elsewhere, and so must all that comes after it."""
        self._is_over = False

    def rows(self, credit: int, max_bytes: int) -> list[Row]:
        """Up to `credit` messages by ascending offset, held by the consumer from now on; the caller grants the lease."""
        if self.queue.seeks:
            return []
        unread = self.queue.cursor < self.committed and not self.queue.is_full()
        picked = self._pick_waiting(max(1, credit // 2) if unread else credit)
        rows = self._fetch(picked, max_bytes) if picked else []
        if self.holder.suspects and rows and rows[0].offset in self.holder.suspects:
            return rows  # a suspect travels alone
        used = sum(len(row.value) for row in rows)
        if len(rows) < credit and unread and used < max_bytes and not self._is_over:
            fresh = self._read_on(credit - len(rows), max_bytes - used)
            self.unfinished = self.unfinished or self.has_revealed
            overlap = rows and fresh and rows[-1].offset > fresh[0].offset  # what came back with a consumer may lie ahead of the cursor
            rows = sorted(rows + fresh) if overlap else rows + fresh
        return rows

    # --- what waited -----------------------------------------------------------------------------------------------

    def _pick_waiting(self, credit: int) -> dict[int, Gate | None]:
        """Takes offsets from behind gates and from the loose ones; the gate is held by then."""
        self.queue.mature(self.wall)
        picked: dict[int, Gate | None] = {}
        if not self._take_from_keys(credit, picked):
            self._take_loose(credit, picked)
            while len(picked) < credit and self._own_gates():  # few keys: they may have more than a share each
                before = len(picked)
                if self._take_from_keys(credit, picked) or len(picked) == before:
                    break
        return picked

    def _take_from_keys(self, credit: int, picked: dict[int, Gate | None]) -> bool:
        """A share of each key that has something to give; True if a suspect ended the picking."""
        share = max(1, credit // SHARE)
        for gate in [*self._own_gates(), *self.queue.gates.ready()]:
            if len(picked) >= credit:
                break
            if self._take_from(gate, min(share, credit - len(picked)), picked):
                return True
        return False

    def _own_gates(self) -> list[Gate]:
        """Gates of keys that the consumer holds already and that have more for it."""
        own: list[Gate] = []
        for key in list(self.holder.more):
            gate = self.queue.gates.get(key)
            if gate is None or gate.owner is not self.holder or not gate.behind:
                del self.holder.more[key]
            elif gate.admits(self.holder, self.wall):
                own.append(gate)
        return own

    def _take_from(self, gate: Gate, count: int, picked: dict[int, Gate | None]) -> bool:
        """Takes the first messages of a key; True if that was a suspect, which ends the picking."""
        run = 0
        while run < min(count, len(gate.behind)) and not self._is_suspect(gate.behind[run]) and self._is_due(gate.behind[run]):
            run += 1
        suspect = run == 0 and self._is_suspect(gate.behind[0]) and not picked and not self.holder.suspects
        for offset in self.queue.gates.take(gate, 1 if suspect else run):
            picked[offset] = gate
            gate.hold(self.holder)
            if suspect:
                self.holder.suspects.add(offset)
        self.queue.refile(gate, self.wall)
        if gate.behind and gate.owner is self.holder:
            self.holder.more[gate.key] = None
        return suspect

    def _take_loose(self, credit: int, picked: dict[int, Gate | None]) -> None:
        loose = self.queue.loose
        skipped: list[int] = []
        while loose and len(picked) < credit:
            offset = heapq.heappop(loose)
            if not self._is_suspect(offset):
                picked[offset] = None
            elif not picked and not self.holder.suspects:
                picked[offset] = None
                self.holder.suspects.add(offset)
                break
            else:
                skipped.append(offset)
        for offset in skipped:
            heapq.heappush(loose, offset)

    def _is_suspect(self, offset: int) -> bool:
        failure = self.queue.state.failures.get(offset)
        return failure is not None and failure.crashed

    def _is_due(self, offset: int) -> bool:
        failure = self.queue.state.failures.get(offset)
        return failure is None or failure.due <= self.wall

    def _fetch(self, picked: dict[int, Gate | None], max_bytes: int) -> list[Row]:
        """Reads picked messages; those that are gone (deleted meanwhile) or damaged let their gates go, those beyond `max_bytes` wait on."""
        offsets = sorted(offset for offset in picked if not self.queue.state.is_settled(offset))
        rows: list[Row] = []
        used = reached = 0
        while reached < len(offsets) and used < max_bytes and not self._is_over:
            read = self._verified(list(self.reader.read_offsets(self.log_id, offsets[reached : reached + FETCH_STEP])))
            reached += FETCH_STEP
            rows += read
            used += sum(len(row.value) for row in read)
        later = set(offsets[reached:]) if not self._is_over else set(offsets) - {row.offset for row in rows}
        while len(rows) > 1 and used - len(rows[-1].value) >= max_bytes:
            row = rows.pop()
            used -= len(row.value)
            later.add(row.offset)
        self._let_go(picked, {row.offset for row in rows}, later)
        return rows

    def _let_go(self, picked: dict[int, Gate | None], granted: set[int], later: set[int]) -> None:
        """What was picked and is not granted leaves its gate; what comes later waits again."""
        for offset, gate in picked.items():
            if offset in granted:
                continue
            self.holder.suspects.discard(offset)
            if gate is not None:
                gate.let_go()
                if offset in later:
                    self.queue.gates.put_back(gate, [offset])
                self.queue.refile(gate, self.wall)
                if gate.behind and gate.owner is self.holder:
                    self.holder.more[gate.key] = None
            elif offset in later:
                heapq.heappush(self.queue.loose, offset)

    # --- what was not read yet -------------------------------------------------------------------------------------

    def _read_on(self, credit: int, max_bytes: int) -> list[Row]:
        """Reads from the cursor on, grants what is free and passes over what is not."""
        granted: list[Row] = []
        scanned = used = 0
        queue = self.queue
        while len(granted) < credit and queue.cursor < self.committed and used < max_bytes and not queue.is_full():
            if scanned >= SCAN_MAX:
                self.unfinished = True
                break
            read = self.reader.read(self.log_id, queue.cursor, credit - len(granted) if scanned == 0 else SCAN_MAX // 4, max_bytes)
            rows = [row for row in read if row[0] < self.committed] if read and read[-1][0] >= self.committed else list(read)
            scanned += len(rows) + 1
            start = queue.cursor
            queue.cursor = rows[-1].offset + 1 if rows else self.committed
            sound = self._verified(rows)
            if self._is_over:
                queue.cursor = rows[len(sound)].offset
            granted += self._admit(sound, credit - len(granted))
            self._settle_gaps(start, rows)
            used = sum(len(row.value) for row in granted)
            if self._is_over:
                break
        return granted

    def _settle_gaps(self, start: int, rows: list[Row]) -> None:
        """What lies between the rows is no message and so is settled for good. Only as far as the cursor has stayed: holes beyond it
        would count against `max_holes` with nobody at work on what lies before them, and the queue would stop for ever."""
        queue = self.queue
        stop = queue.cursor
        if stop - start == len(rows) and (not rows or rows[-1].offset < stop):
            return
        settled = queue.state.settled
        for row in rows:
            if row.offset >= stop:
                break
            if row.offset > start:
                settled.add(start, row.offset)
            start = row.offset + 1
        if start < stop:
            settled.add(start, stop)
        queue.state.changed = True

    def _admit(self, rows: list[Row], credit: int) -> list[Row]:
        """The rows that the consumer gets; the hot loop of delivery."""
        queue = self.queue
        settled = queue.state.settled
        special = bool(rows and (queue.known or queue.state.failures or settled.ranges or settled.floor > rows[0].offset))
        granted: list[Row] = []
        get, make, holder = queue.gates.get, queue.gates.make, self.holder
        for index, row in enumerate(rows):
            if len(granted) == credit:
                self._rewind(rows[index].offset)
                break
            if special and not self._is_news(row):
                continue
            key = row.key
            if key is None:
                granted.append(row)
                continue
            gate = get(key)
            if gate is None:
                gate = make(key)
            elif gate.behind or gate.returning or (gate.owner is not None and gate.owner is not holder):
                queue.gates.pass_over(gate, row.offset)
                continue
            gate.owner = holder
            gate.held += 1
            granted.append(row)
        return granted

    def _rewind(self, cursor: int) -> None:
        """The consumer has enough: the rest is read again by the next pull."""
        self.queue.cursor = cursor
        self.queue.unread_damage = [offset for offset in self.queue.unread_damage if offset < cursor]

    def _is_news(self, row: Row) -> bool:
        """False for what is settled or accounted for already; a message that failed before goes where failed ones wait."""
        queue = self.queue
        if row.offset in queue.known:
            queue.known.discard(row.offset)
            return False
        if row.offset in queue.state.settled:
            return False
        if row.offset in queue.state.failures:
            self.has_revealed = True
            if row.key is None:
                queue.put_loose(row.offset, self.wall)
            else:
                gate = queue.gates.make(row.key)
                queue.gates.pass_over(gate, row.offset)
                queue.refile(gate, self.wall)
            return False
        return True

    def _verified(self, rows: list[Row]) -> list[Row]:
        """The rows whose checksums match; the others are reported to the queue. If they are to be left alone, only the rows before the first of them."""
        if not rows:
            return rows
        _, _, keys, headers, values, crcs = zip(*rows, strict=True)
        computed = checksums(values, keys, headers)
        if computed == list(crcs):
            return rows
        bad = {row.offset for row, crc in zip(rows, computed, strict=True) if row.crc != crc}
        if self.leave_alone(f"the checksum of offset {min(bad)} does not match"):
            self._is_over = True
            return [row for row in rows if row.offset < min(bad)]
        self.queue.unread_damage += sorted(bad)
        return [row for row in rows if row.offset not in bad]


def grant(pull: Pull, rows: Sequence[Row], now: float) -> Lease:
    """Makes the lease for rows that `Pull.rows` gave."""
    queue = pull.queue
    return queue.book.grant(
        pull.holder, [row.offset for row in rows], [row.key for row in rows], now, now + queue.settings.max_processing_time
    )
