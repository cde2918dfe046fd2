"""The tree over ZooKeeper where a model has nothing to compare: unreachable and silent servers, a lost leader, passwords, what is loaded."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.tree_rigs import LOOK, Seat
from tests.system.ensemble import Ensemble, free_ports
from zmqmq.config_cluster import TlsConfig, ZooKeeperConfig
from zmqmq.core.tree import Change, Connected, Create, List, Node, Read, Refusal, Suspended, Sync, Synced, Trouble
from zmqmq.shell.zookeeper import STOP_LIMIT, ZooKeeperTree

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """Three real servers for the module."""
    directory: Path = tmp_path_factory.mktemp("zookeeper")
    with Ensemble(directory, servers=3) as servers:
        servers.wait_ready()
        yield servers


@pytest.fixture
def seats() -> Iterator[list[ZooKeeperTree]]:
    """Trees to be stopped in the end."""
    trees: list[ZooKeeperTree] = []
    yield trees
    for tree in trees:
        tree.stop()


def take_seat(seats: list[ZooKeeperTree], config: ZooKeeperConfig, cluster: str) -> Seat:
    tree, woken = ZooKeeperTree(config, cluster), threading.Event()
    seats.append(tree)
    tree.start(woken.set)

    def let_pass() -> None:
        woken.wait(LOOK)
        woken.clear()

    return Seat(tree, let_pass)


def test_unreachable_servers_are_named_with_the_reason(seats: list[ZooKeeperTree]) -> None:
    hosts = [f"127.0.0.1:{port}" for port in free_ports(2)]
    seat = take_seat(seats, ZooKeeperConfig(hosts=",".join(hosts)), "nowhere")
    text = seat.wait(Trouble).text
    assert text == f"ZooKeeper cannot be reached, trying again: {hosts[0]} (Connection refused), {hosts[1]} (Connection refused)"


def test_a_name_that_nobody_knows_and_a_missing_certificate_are_trouble_and_not_the_end(seats: list[ZooKeeperTree], ensemble: Ensemble) -> None:
    nobody = take_seat(seats, ZooKeeperConfig(hosts="no-such-host.invalid"), "nowhere")
    assert "no-such-host.invalid:2181 (" in nobody.wait(Trouble).text
    tls = take_seat(seats, ZooKeeperConfig(hosts=ensemble.servers[0].address, tls=TlsConfig(enabled=True, ca="/no/such/file")), "nowhere")
    assert "No such file" in tls.wait(Trouble).text


def test_servers_that_come_later_are_found(seats: list[ZooKeeperTree], tmp_path: Path) -> None:
    with Ensemble(tmp_path, servers=1) as late:
        late.stop_server(0)
        seat = take_seat(seats, ZooKeeperConfig(hosts=late.hosts), "late")
        seat.wait(Trouble)
        late.start_server(0)
        seat.wait(Connected)
        seat.tree.stop()


def test_the_granted_timeout_is_told_and_not_the_wanted_one(seats: list[ZooKeeperTree], ensemble: Ensemble) -> None:
    seat = take_seat(seats, ZooKeeperConfig(hosts=ensemble.hosts, session_timeout_seconds=60.0), "timeouts")
    assert seat.wait(Connected).timeout == 10.0


def test_a_killed_server_is_replaced_within_a_moment_and_the_session_goes_on(seats: list[ZooKeeperTree], ensemble: Ensemble) -> None:
    seat = take_seat(seats, ZooKeeperConfig(hosts=ensemble.hosts), "killed")
    session = seat.wait(Connected).session
    seat.do(Create("/mine", ephemeral=True))
    serving = next(server for server in ensemble.servers if f"{session & (2**64 - 1):x}" in server.ask("cons"))
    before, began = len(seat.events), time.monotonic()
    ensemble.stop_server(serving.number)
    seat.wait(Suspended)
    assert seat.wait(Connected, after=before).session == session
    took = time.monotonic() - began
    ensemble.start_server(serving.number)
    ensemble.wait_ready()
    assert isinstance(seat.ask(Read("/mine")), Node)
    assert took < 4.0


def test_a_silent_server_does_not_hold_up_the_one_who_stops(seats: list[ZooKeeperTree], tmp_path: Path) -> None:
    with Ensemble(tmp_path, servers=1) as silent:
        silent.wait_ready()
        seat = take_seat(seats, ZooKeeperConfig(hosts=silent.hosts, session_timeout_seconds=2.0), "silent")
        seat.wait(Connected)
        silent.pause(0)
        numbers = seat.ask_all(*[Change([Create("/a")])] * 1000)
        began = time.monotonic()
        seat.tree.stop()
        assert time.monotonic() - began < STOP_LIMIT + 1.0
        assert len(seat.answers(numbers)) == 1000


def test_a_silent_server_is_noticed_before_the_session_is_over(seats: list[ZooKeeperTree], tmp_path: Path) -> None:
    with Ensemble(tmp_path, servers=1) as silent:
        silent.wait_ready()
        seat = take_seat(seats, ZooKeeperConfig(hosts=silent.hosts), "silent")
        granted = seat.wait(Connected).timeout
        silent.pause(0)
        began = time.monotonic()
        seat.wait(Suspended)
        assert time.monotonic() - began < granted
        silent.resume(0)
        seat.wait(Connected, after=len(seat.events))


def test_what_a_broker_with_a_password_makes_is_its_own(seats: list[ZooKeeperTree], ensemble: Ensemble) -> None:
    owner = take_seat(seats, ZooKeeperConfig(hosts=ensemble.hosts, username="zmqmq", password="sesame"), "guarded")
    owner.wait(Connected)
    owner.do(Create("/a", b"secret"))
    stranger = take_seat(seats, ZooKeeperConfig(hosts=ensemble.hosts), "guarded")
    stranger.wait(Connected)
    for request in (Change([Create("/b")]), Read("/a"), List("/a")):
        answer = stranger.ask(request)
        assert isinstance(answer, Refusal) and answer.reason == "other" and "NoAuth" in answer.text
    again = take_seat(seats, ZooKeeperConfig(hosts=ensemble.hosts, username="zmqmq", password="sesame"), "guarded")
    again.wait(Connected)
    assert again.ask(Sync()) == Synced()
    assert isinstance(again.ask(Read("/a")), Node)


def test_a_change_that_no_server_would_take_is_refused(seats: list[ZooKeeperTree], ensemble: Ensemble) -> None:
    seat = take_seat(seats, ZooKeeperConfig(hosts=ensemble.hosts), "large")
    seat.wait(Connected)
    answer = seat.ask(Change([Create("/a", b"x" * 1_000_000)]))
    assert isinstance(answer, Refusal) and answer.reason == "other"
    assert not any(isinstance(event, Suspended) for event in seat.events)


def test_kazoo_is_loaded_by_whoever_connects_and_by_nobody_else() -> None:
    code = "import sys, zmqmq.shell.zookeeper, zmqmq.broker; print('kazoo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT).stdout.strip() == "False"


def test_nothing_of_kazoo_is_printed(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    code = (
        "import threading\nfrom zmqmq.config_cluster import ZooKeeperConfig\nfrom zmqmq.core.tree import Trouble\n"
        "from zmqmq.shell.zookeeper import ZooKeeperTree\nwoken = threading.Event()\n"
        f"tree = ZooKeeperTree(ZooKeeperConfig(hosts='127.0.0.1:{port}'), 'c')\ntree.start(woken.set)\n"
        "assert woken.wait(30) and isinstance(tree.take_events()[0], Trouble)\ntree.stop()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
