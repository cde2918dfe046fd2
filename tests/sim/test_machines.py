"""Network, links between brokers and disks of the simulation behave as the real ones do."""

from __future__ import annotations

from random import Random

import pytest

from tests.fakes.memory_tree import MemoryEnsemble
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.scheduler import Scheduler
from tests.sim.sockets import SimLink, SimTransport
from tests.sim.weather import TREE, Weather
from tests.sim.world import World
from zmqmq.core.commands import BEACON
from zmqmq.core.tree import Connected, Lost, Suspended
from zmqmq.shell.peers import Gone, PeerEvent, Refused, Up

ONE, TWO = "tcp://sim:1", "tcp://sim:2"


class Stage:
    """A network with brokers `one` and `two`."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.weather = Weather(Random(1))
        self.network = Network(self.scheduler, Random(2), self.weather, lambda *facts: None)
        self.one = self.listen("one", ONE)
        self.two = self.listen("two", TWO)

    def listen(self, party: str, endpoint: str) -> SimTransport:
        return SimTransport(self.network, party, endpoint, endpoint + "0", lambda: None)

    def wait(self, seconds: float = 1.0) -> None:
        self.scheduler.run(self.scheduler.now + seconds)

    def dial(self, endpoint: str = ONE) -> SimLink:
        link = self.network.dial("client", endpoint)
        self.wait()
        return link

    def events(self, seconds: float = 3.0) -> list[PeerEvent]:
        found: list[PeerEvent] = []
        for _ in range(int(seconds / 0.1)):
            self.wait(0.1)
            found += self.one.peers.take_events()
        return found


@pytest.fixture
def stage() -> Stage:
    return Stage()


def frames(transport: SimTransport) -> list[bytes | None]:
    return [frame for _, frame in transport.receive(100, 1 << 20)]


# --- network ---------------------------------------------------------------------------------------------------------


def test_frames_go_to_the_broker_that_was_dialled(stage: Stage) -> None:
    stage.dial(ONE).send(b"1")
    stage.dial(TWO).send(b"2")
    stage.wait()
    assert frames(stage.one) == [b"1"] and frames(stage.two) == [b"2"]


def test_a_cut_direction_holds_frames_in_order_until_it_is_mended_while_the_other_is_open(stage: Stage) -> None:
    link = stage.dial()
    link.send(b"hello")
    stage.wait()
    [(address, _)] = list(stage.one.receive(1, 100))
    stage.weather.cut("client", "one")
    link.send(b"1")
    stage.wait()
    link.send(b"2")
    stage.one.send(address, b"down")
    stage.wait()
    assert frames(stage.one) == [] and link.receive() == b"down"
    stage.weather.mend("client", "one")
    stage.wait()
    assert frames(stage.one) == [b"1", b"2"]


def test_who_is_cut_off_connects_to_nobody_and_is_not_refused(stage: Stage) -> None:
    stage.weather.cut_off("client")
    link = stage.dial("tcp://sim:3")
    other = stage.dial(ONE)
    stage.wait(5.0)
    assert link.trouble() is None and other.connection is None
    stage.weather.take_back("client")
    stage.wait(5.0)
    assert link.trouble() == "refused" and other.connection is not None


def test_a_broker_that_is_cut_off_from_the_tree_loses_its_session_and_gets_another() -> None:
    world = World(5)
    ensemble = MemoryEnsemble(lambda: world.scheduler.now, world.scheduler.after, Random(1))
    host = Host("one", world.scheduler, world.network, Random(3), world.hosts[0].config, world.note, ensemble)
    tree = host.tree = host._connect_tree()
    assert tree is not None
    tree.start(lambda: None)
    world.scheduler.run(1.0)
    assert [type(event) for event in tree.take_events()] == [Connected]
    world.weather.cut("one", TREE)
    world.scheduler.run(20.0)
    world.weather.mend("one", TREE)
    world.scheduler.run(21.0)
    assert [type(event) for event in tree.take_events()] == [Suspended, Lost, Connected]


def test_cuts_add_up(stage: Stage) -> None:
    for _ in range(2):
        stage.weather.cut("one", "two")
    stage.weather.mend("one", "two")
    assert not stage.weather.passes("one", "two") and stage.weather.passes("two", "one")
    stage.weather.mend("one", "two")
    assert stage.weather.connects("one", "two")


def test_beacons_reach_those_who_listen_to_that_broker(stage: Stage) -> None:
    first, second = stage.dial(ONE), stage.dial(TWO)
    first.listen(ONE + "0", b"c")
    second.listen(TWO + "0", b"c")
    stage.one.publish(BEACON + b"x")
    stage.wait()
    assert first.hint() == BEACON + b"x" and second.hint() is None


# --- links between brokers -------------------------------------------------------------------------------------------


def test_a_broker_asks_another_and_is_answered(stage: Stage) -> None:
    stage.one.peers.connect("two", TWO)
    assert stage.events() == [Up("two")]
    stage.one.peers.send("two", b"fetch")
    stage.wait()
    [(address, frame)] = list(stage.two.receive(1, 100))
    stage.two.send(address, b"fetched")
    stage.wait()
    assert frame == b"fetch" and list(stage.one.peers.receive(10, 100)) == [("two", b"fetched")]


def test_a_process_that_dies_is_gone_and_then_refuses_once_until_it_is_back(stage: Stage) -> None:
    stage.one.peers.connect("two", TWO)
    stage.events()
    stage.two.close()
    assert stage.events() == [Gone("two"), Refused("two", TWO)]
    stage.one.peers.send("two", b"lost")
    stage.two = stage.listen("two", TWO)
    assert stage.events() == [Up("two")] and frames(stage.two) == []


def test_a_peer_that_was_never_there_refuses_and_does_so_again_when_it_is_asked_for_again(stage: Stage) -> None:
    stage.one.peers.connect("three", "tcp://sim:3")
    assert stage.events() == [Refused("three", "tcp://sim:3")]
    stage.one.peers.connect("three", "tcp://sim:3")
    assert stage.events() == [Refused("three", "tcp://sim:3")]


def test_a_peer_that_is_cut_off_yields_no_event(stage: Stage) -> None:
    stage.one.peers.connect("two", TWO)
    stage.events()
    stage.weather.cut_off("two")
    stage.two.close()
    assert stage.events() == []
    stage.weather.take_back("two")
    assert stage.events() == [Gone("two"), Refused("two", TWO)]


def test_a_break_is_no_obituary_but_may_be_taken_for_one(stage: Stage) -> None:
    stage.one.peers.connect("two", TWO)
    stage.events()
    stage.network.break_link("one", 0.0)
    assert stage.events() == [Gone("two"), Up("two")]
    stage.weather.wrong_obituaries = 1.0
    stage.network.break_link("one", 0.0)
    assert stage.events() == [Gone("two"), Refused("two", TWO), Up("two")]


def test_another_endpoint_replaces_the_connection_and_a_forgotten_peer_is_silent(stage: Stage) -> None:
    stage.one.peers.connect("two", TWO)
    stage.events()
    other = stage.listen("two", "tcp://sim:4")
    stage.one.peers.connect("two", "tcp://sim:4")
    assert stage.events() == [Up("two")] and len(other.connections) == 1 and not stage.two.connections
    stage.one.peers.forget("two")
    other.close()
    assert stage.events() == []


# --- machines --------------------------------------------------------------------------------------------------------


def test_every_broker_has_a_disk_and_clocks_of_its_own() -> None:
    world = World(5, brokers=3)
    for host in world.hosts:
        host.start()
    world.scheduler.run(1.0)
    assert len({host.disk.storage_id for host in world.hosts}) == 3 == len({host.machine.monotonic() for host in world.hosts})
    assert sorted(world.network.listeners) == [host.config.endpoint for host in world.hosts]
    world.hosts[0].die(away=0.5)
    assert [host.is_up for host in world.hosts] == [False, True, True]
    world.scheduler.run(2.0)
    assert all(host.is_up for host in world.hosts)


def test_a_disk_comes_back_empty_or_as_it_was() -> None:
    world = World(5)
    [host] = world.hosts
    host.start()
    world.scheduler.run(0.5)
    image, heard = host.disk.image(), []
    host.on_life = lambda host, what: heard.append(what)
    host.die(away=0.1)
    world.scheduler.run(1.0)
    assert host.disk.incarnation == image["incarnation"] + 1
    host.replace_disk(image)
    assert (host.disk.incarnation, host.disk.is_stale) == (image["incarnation"], True)
    world.scheduler.run(10.0)
    host.replace_disk()
    assert host.disk.storage_id != image["storage_id"]
    assert (host.disk.incarnation, host.disk.is_stale) == (0, False)
    assert heard == ["dies", "starts", "dies", "replaced", "starts", "dies", "replaced"]
