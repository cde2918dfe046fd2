"""The stage on which golden conversations are played: people by name, one block of lines per turn, answers in short.

    > c1 subscribe                  who says what; consecutive lines are one turn
    * time 5                        what the world does: time SECONDS · restart · disk full · disk free
    < c1 subscribed g               what comes back, by address in the order of sending
    ~ wake c1                       what is published (beacons only when somebody has reason to pull)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.core.acts import settings
from tests.core.world import WALL, World
from zmqmq.core import admin_commands as admin
from zmqmq.core.commands import (
    WAKE,
    Command,
    Delivery,
    Empty,
    Goodbye,
    HeldLease,
    Hello,
    KeptLease,
    Lot,
    Ping,
    Produced,
    Pull,
    Recalled,
    Refused,
    Settle,
    Settled,
    Settlement,
    Subscribed,
    Welcome,
)


class Person:
    """A client in a script: what it is called, and what it holds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = 0
        self.address = b""
        self.queue = 0
        self.sequence = 0
        self.held: dict[int, HeldLease] = {}


class Stage:
    """A world in which people act by the word."""

    def __init__(self, **settings: Any) -> None:
        self.world = World(**settings)
        self.people: dict[str, Person] = {}
        self.by_address: dict[bytes, Person] = {}
        self.frames: list[tuple[bytes, Command]] = []
        self.verbs: dict[str, Callable[..., Command]] = {
            "hello": self._hello,
            "produce": self._produce,
            "again": self._again,
            "subscribe": self._subscribe,
            "pull": lambda person, credit="10": Pull(self.world.next_id(), int(credit), 1 << 20),
            "ping": lambda person: Ping(self.world.next_id()),
            "goodbye": lambda person: Goodbye(self.world.next_id()),
            "lag": lambda person: admin.AskLag(self.world.next_id(), "t", "g"),
            "dead": lambda person: admin.ListDead(self.world.next_id(), "t", "g"),
            "replay": lambda person: admin.Replay(self.world.next_id(), "t", "g"),
            "explain": lambda person: admin.AskExplain(self.world.next_id(), "t", "g"),
            "seek": lambda person, to, value="0": admin.Seek(self.world.next_id(), "t", "g", to, float(value)),
            **{outcome: self._settling(outcome) for outcome in ("ack", "nack", "release", "reject")},
        }

    # --- one block -------------------------------------------------------------------------------------------------

    def play(self, lines: list[str]) -> list[str]:
        """Does what one block says and tells what came of it."""
        for line in lines:
            kind, words = line[0], line[2:].split()
            if kind == "*":
                self._happen(*words)
            else:
                self._speak(*words)
        if self.frames:
            frames, self.frames = self.frames, []
            self.world.turn(*frames)
        return self._outcome()

    def _speak(self, name: str, verb: str, *words: str) -> None:
        person = self.people.setdefault(name, Person(name))
        options = dict(word.split("=", 1) for word in words if "=" in word)
        command = self.verbs[verb](person, *(word for word in words if "=" not in word), **options)
        self.frames.append((person.address, command))
        self.by_address[person.address] = person

    def _happen(self, what: str, detail: str = "") -> None:
        if what == "time":
            self.world.pass_time(float(detail))
        elif what == "restart":
            self.world.crash()
        elif (what, detail) == ("disk", "full"):
            self.world.disk.room = self.world.disk.ballast = 0
        elif (what, detail) == ("disk", "free"):
            self.world.disk.room = float("inf")
            self.world.node.set_storage_full(False)
        else:
            raise ValueError(f"nothing is known that happens like {what} {detail}")

    def _outcome(self) -> list[str]:
        mail = [(address, command) for address in list(self.world.mail) for command in self.world.take(address)]
        told = [f"< {self._who(address)} {self._tell(self.by_address[address], command)}" for address, command in mail]
        published, self.world.published[:] = list(self.world.published), []
        names = {session.wake_name: session.client_id for session in self.world.node.context.sessions}
        for frame in published:
            if isinstance(frame, bytes):
                told.append(f"~ wake {names[frame[len(WAKE) :]]}")
            elif frame.waiting:
                told.append(f"~ beacon: {len(frame.waiting)} waiting")
        return [line for index, line in enumerate(told) if index == 0 or line != told[index - 1] or "beacon" not in line]

    def _who(self, address: bytes) -> str:
        person = self.by_address[address]
        return person.name if person.address == address else f"{person.name} (before)"

    # --- what people say -------------------------------------------------------------------------------------------

    def _hello(self, person: Person, timeout: str = "300") -> Hello:
        person.epoch += 1
        person.address = f"{person.name}#{person.epoch}".encode()
        return Hello((1, 1), person.name, person.epoch, person.name, float(timeout), "script")

    def _produce(self, person: Person, *values: str, key: str = "", delay: str = "", seq: str = "", oldest: str = "") -> Command:
        first = int(seq) if seq else person.sequence
        person.sequence = max(person.sequence, first + len(values))
        delays = [float(delay)] * len(values) if delay else None
        options: dict[str, Any] = {"sequence": first, "oldest": int(oldest or first), "delays": delays}
        return self.world.produce([value.encode() for value in values], key=key.encode() or None, **options)

    def _again(self, person: Person, *values: str, **options: str) -> Command:
        """The last batch once more."""
        return self._produce(person, *values, seq=str(person.sequence - len(values)), **options)

    def _subscribe(self, person: Person, *, held: str = "all") -> Command:
        """Presents what the person holds; `held=nothing` for one that has never got it."""
        presented = [lease for lease in person.held.values() if held == "all" and lease.offsets]
        person.held = {}
        return self.world.subscribe(person.address, held=presented)

    def _settling(self, outcome: Any) -> Callable[..., Command]:
        def settle(person: Person, lease: str, *offsets: str, delay: str | None = None, reason: str = "") -> Command:
            held = person.held.get(int(lease)) or HeldLease(0, 1, int(lease), [])
            chosen = [int(offset) for offset in offsets] or None
            left = [offset for offset in held.offsets if chosen and offset not in chosen]
            person.held[int(lease)] = HeldLease(0, held.epoch, held.lease, left)
            return Settle(self.world.next_id(), [Settlement(person.queue, 0, held.epoch, held.lease, outcome, chosen, float(delay) if delay else None, reason)])

        return settle

    # --- what they hear --------------------------------------------------------------------------------------------

    def _tell(self, person: Person, command: Command) -> str:
        match command:
            case Welcome():
                return f"welcome to incarnation {command.incarnation}"
            case Produced():
                return f"produced at {command.offset}"
            case Refused():
                return f"refused {command.code}: {command.message}"
            case Subscribed():
                person.queue = command.queue
                return " ".join([f"subscribed to {command.group}", *(self._keep(person, kept) for kept in command.leases)])
            case Delivery():
                return "delivery " + "; ".join(self._hold(person, lot) for lot in command.lots)
            case Empty():
                return "empty"
            case Settled():
                return "settled" + "".join(f", lost {entry.outcome} of {entry.lease}: {entry.offsets or 'all'}" for entry in command.lost)
            case Recalled():
                return f"recalled from {command.lease}: {command.offsets}"
            case _:
                return self._tell_admin(command)

    def _tell_admin(self, command: Command) -> str:
        match command:
            case admin.LagReport():
                part = command.partitions[0]
                return f"lag {part.lag}, held {part.held}, retry {part.waiting_retry}, dead {part.dead}"
            case admin.DeadList():
                letters = [f"{entry.offset}:{entry.value.decode()} after {entry.attempts} ({entry.reason})" for entry in command.letters]
                return "dead " + ("; ".join(letters) or "none")
            case admin.Done():
                return f"done {command.count}"
            case admin.Explanation():
                return f"because {self._without_times(command)}"
            case _:
                return type(command).__name__.lower()

    def _without_times(self, explanation: admin.Explanation) -> str:
        reason = next((reason for reason in explanation.reasons if reason.text in explanation.verdict), None)
        text = explanation.verdict.split(" until ")[0].split(" since ")[0]
        return text + (f" until +{reason.until - WALL - self.world.now:.1f} s" if reason and reason.until else "")

    def _keep(self, person: Person, kept: KeptLease) -> str:
        if kept.kept:
            person.held[kept.lease] = HeldLease(0, kept.epoch, kept.lease, kept.kept)
        return f"| lease {kept.old_lease} is {kept.lease or 'gone'}: kept {kept.kept}, settled {kept.settled}"

    def _hold(self, person: Person, lot: Lot) -> str:
        person.held[lot.lease] = HeldLease(lot.partition, lot.epoch, lot.lease, lot.offsets)
        attempts = lot.attempts or [1] * len(lot.offsets)
        words = [
            f"{offset}:{value.decode()}" + (f"(attempt {attempt})" if attempt > 1 else "")
            for offset, value, attempt in zip(lot.offsets, lot.values, attempts, strict=True)
        ]
        return f"lease {lot.lease}: " + " ".join(words)


def stage_for(title: str) -> Stage:
    """The stage with the settings that a script's first line asks for: `# settings: max_attempts=2 retry_delay=1`."""
    changes: dict[str, Any] = {}
    if title.startswith("# settings:"):
        changes = {name: _number(value) for name, value in (word.split("=") for word in title[11:].split())}
    return Stage(defaults=settings(**changes))


def _number(text: str) -> str | int | float:
    return float(text) if "." in text else int(text) if text.isdigit() else text
