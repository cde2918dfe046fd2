"""What `zmqmq doctor` looks at. Every check answers; none raises, whatever state the machine is in."""

from __future__ import annotations

import enum
import os
import platform
import socket
import sqlite3
import stat
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import zmq

from zmqmq.cli.output import duration, size
from zmqmq.config import join_endpoint, load_broker, split_endpoint
from zmqmq.core.commands import VERSIONS_SPOKEN, Goodbye, Hello, Refused, Welcome
from zmqmq.errors import ConfigError, ZmqmqError
from zmqmq.version import VERSION
from zmqmq.wire import decode_answer, encode

MAX_CLOCK_DIFFERENCE = 5.0
"""Seconds between this machine's clock and a broker's beyond which delays and timestamps look odd."""
MIN_DISK_FREE = 1 << 30
"""Bytes below which the disk counts as nearly full."""
SQLITE_REPAIRED = (3, 51, 3)
"""From this SQLite on, two connections that write to one file cannot damage it; before, nobody but the broker may write."""


class Verdict(enum.Enum):
    """How bad it is, in rising order."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    verdict: Verdict
    found: str
    hint: str = ""


def check_software() -> list[Check]:
    """Versions of what zmqmq stands on."""
    versions = f"zmqmq {VERSION}, Python {platform.python_version()}, libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}, msgspec {msgspec.__version__}"
    old = sqlite3.sqlite_version_info < SQLITE_REPAIRED
    hint = "fine as long as only the broker writes to its database: open it read-only with other tools" if old else ""
    return [Check("software", Verdict.OK, versions), Check("sqlite", Verdict.OK, f"SQLite {sqlite3.sqlite_version}", hint)]


def check_broker(address: str, timeout: float) -> list[Check]:
    """From the name to the session: where does it end?"""
    host, port = split_endpoint(address)
    resolved = _resolve(host, port, address)
    if resolved.verdict is Verdict.PROBLEM:
        return [resolved]
    reachable = _connect(f"port {address}", host, port, timeout)
    if reachable.verdict is Verdict.PROBLEM:
        return [resolved, reachable]
    return [resolved, reachable, *_greet(address, join_endpoint(host, port), timeout)]


def _resolve(host: str, port: int, address: str) -> Check:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        return Check(f"name {address}", Verdict.PROBLEM, f"does not resolve: {error.strerror or error}", "check the spelling, DNS and /etc/hosts")
    return Check(f"name {address}", Verdict.OK, ", ".join(sorted({str(entry[4][0]) for entry in found})))


def _connect(name: str, host: str, port: int, timeout: float) -> Check:
    try:
        with socket.create_connection((host.strip("[]"), port), timeout=timeout):
            return Check(name, Verdict.OK, "open")
    except TimeoutError:
        return Check(name, Verdict.PROBLEM, f"no answer within {duration(timeout)}", "a firewall, or a wrong address")
    except ConnectionRefusedError:
        return Check(name, Verdict.PROBLEM, "refused: nobody listens", "start a broker there, or correct the address or port")
    except OSError as error:
        return Check(name, Verdict.PROBLEM, error.strerror or str(error), "check the network")


def _greet(address: str, endpoint: str, timeout: float) -> list[Check]:
    """Opens a session and ends it at once."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 200)
    try:
        dealer.connect(endpoint)
        dealer.send(encode(Hello(VERSIONS_SPOKEN, uuid.uuid4().hex, 1, "zmqmq doctor", 0.0, f"zmqmq {VERSION}")))
        if not dealer.poll(int(timeout * 1000)):
            return [Check(f"protocol {address}", Verdict.PROBLEM, f"no answer within {duration(timeout)}", "it hangs, or is no zmqmq broker")]
        answer = decode_answer(dealer.recv())
        now = time.time()
        dealer.send(encode(Goodbye(1)))
    except (ZmqmqError, zmq.ZMQError) as error:
        return [Check(f"protocol {address}", Verdict.PROBLEM, str(error), "the versions do not fit, or this is another service")]
    finally:
        dealer.close()
        context.term()
    if isinstance(answer, Welcome):
        return _welcomed(address, answer, now, timeout)
    why = f"{answer.code}: {answer.message}" if isinstance(answer, Refused) else f"unexpected answer {type(answer).__name__}"
    return [Check(f"protocol {address}", Verdict.PROBLEM, why, answer.hint if isinstance(answer, Refused) else "")]


def _welcomed(address: str, welcome: Welcome, now: float, timeout: float) -> list[Check]:
    difference = welcome.now - now
    far = abs(difference) > MAX_CLOCK_DIFFERENCE
    clock = Check(
        f"clock {address}",
        Verdict.WARNING if far else Verdict.OK,
        f"{'ahead' if difference > 0 else 'behind'} by {duration(abs(difference))}",
        "set both clocks (NTP): times of messages and delays follow the broker's" if far else "",
    )
    host, port = split_endpoint(welcome.wake_endpoint)
    host = split_endpoint(address)[0] if host in ("0.0.0.0", "*", "[::]") else host
    wake = _connect(f"wake-ups {welcome.wake_endpoint}", host, port, timeout)
    if wake.verdict is Verdict.PROBLEM:
        wake = wake._replace(verdict=Verdict.WARNING, hint="consumers fall back to asking once a beacon interval; open the port, or set advertise")
    return [Check(f"protocol {address}", Verdict.OK, f"version {welcome.version}, broker {welcome.broker_id}, {welcome.software}"), clock, wake]


def check_settings(path: str | None, timeout: float) -> list[Check]:
    """Whether a broker started here would accept its settings, and find the ensemble of its cluster."""
    try:
        config = load_broker(path)
    except ConfigError as error:
        return [Check("settings", Verdict.PROBLEM, error.message, error.hint)]
    found = f"{config.broker_id} on {config.bind}, wake-ups on {config.wake_bind_endpoint}, clients are told {config.endpoint}"
    return [Check("settings", Verdict.OK, found), *(check_zookeeper(config.zookeeper.host_list, timeout) if config.zookeeper else [])]


def check_zookeeper(hosts: Sequence[str], timeout: float) -> list[Check]:
    """Whether the servers can be reached: a warning for each that cannot, a problem if that is the majority."""
    checks = []
    for address in hosts:
        host, _, port = address.rpartition(":")
        checks.append(_connect(f"zookeeper {address}", host, int(port), timeout))
    bad = [check for check in checks if check.verdict is Verdict.PROBLEM]
    if bad and 2 * len(bad) < len(checks):
        return [check._replace(verdict=Verdict.WARNING, hint="the others are enough; see why this one is down") if check in bad else check for check in checks]
    return [check._replace(hint="start ZooKeeper there, or correct zookeeper.hosts; brokers agree through it") if check in bad else check for check in checks]


def check_data(chosen: tuple[str, bool]) -> list[Check]:
    """Whether a broker can work in its data directory."""
    path, asked = Path(chosen[0]), chosen[1]
    if not path.exists():
        missing = Check(f"data {path}", Verdict.PROBLEM if asked else Verdict.OK, "does not exist", "a broker makes it when it starts")
        return [missing, _disk(_existing_parent(path))]
    if not path.is_dir():
        return [Check(f"data {path}", Verdict.PROBLEM, "is a file", "give the path of a directory")]
    return [_permissions(path), _disk(path)]


def _permissions(path: Path) -> Check:
    name, mode = f"data {path}", stat.S_IMODE(path.stat().st_mode)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Check(name, Verdict.PROBLEM, f"not writable for this user (mode {mode:04o})", "let the broker's user own it")
    locked = [entry.name for entry in path.iterdir() if entry.is_file() and not os.access(entry, os.R_OK | os.W_OK)]
    if locked:
        return Check(name, Verdict.PROBLEM, f"not writable for this user: {', '.join(sorted(locked)[:5])}", "let the broker's user own the files")
    if mode & 0o077:
        return Check(name, Verdict.WARNING, f"mode {mode:04o}: other users can enter it", f"chmod 700 {path}")
    return Check(name, Verdict.OK, f"mode {mode:04o}, {size(sum(entry.stat().st_size for entry in path.iterdir() if entry.is_file()))}")


def _disk(path: Path) -> Check:
    try:
        disk = os.statvfs(path)
    except OSError as error:
        return Check("disk", Verdict.PROBLEM, f"{path}: {error.strerror}")
    free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    few = free < MIN_DISK_FREE
    hint = "make room: with a full disk new messages are refused" if few else ""
    return Check("disk", Verdict.WARNING if few else Verdict.OK, f"{size(free)} of {size(whole)} free", hint)


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in path.resolve().parents if parent.exists())
