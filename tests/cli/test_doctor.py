"""`zmqmq doctor` finds what is wrong, and works while nothing else does."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command
from zmqmq.cli import exits
from zmqmq.testing import TestBroker


def verdicts(document: list[dict[str, str]]) -> dict[str, str]:
    return {entry["check"].split()[0]: entry["verdict"] for entry in document}


def test_a_healthy_broker_passes_every_check(zmqmq: Command, broker: TestBroker) -> None:
    ran = zmqmq("doctor", "--data", str(broker.data), "--json")
    assert ran.code == exits.OK
    assert verdicts(ran.document).keys() == {"software", "sqlite", "name", "port", "protocol", "clock", "wake-ups", "settings", "data", "disk"}
    assert "problem" not in verdicts(ran.document).values()


def test_without_a_broker_it_says_where_the_way_ends(zmqmq: Command, tmp_path: Path) -> None:
    ran = zmqmq("doctor", "--brokers", "127.0.0.1:1,no-such-host.invalid:7400", "--data", str(tmp_path), "--json")
    assert ran.code == exits.UNREACHABLE
    found = {entry["check"]: entry["found"] for entry in ran.document if entry["verdict"] == "problem"}
    assert "refused" in found["port 127.0.0.1:1"]
    assert "does not resolve" in found["name no-such-host.invalid:7400"]


def test_a_service_that_is_no_broker_is_recognised(zmqmq: Command) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        ran = zmqmq("doctor", "--brokers", address, "--timeout", "0.3", "--json")
    assert ran.code == exits.UNREACHABLE
    assert verdicts(ran.document)["protocol"] == "problem"


def test_wrong_settings_and_a_wrong_directory_are_problems(zmqmq: Command, tmp_path: Path) -> None:
    settings = tmp_path / "broker.yaml"
    settings.write_text("dta: x")
    ran = zmqmq("doctor", "--broker-config", str(settings), "--data", str(settings), "--json")
    assert ran.code == exits.FAILED
    assert verdicts(ran.document) | {"settings": "problem", "data": "problem"} == verdicts(ran.document)
    assert "did you mean data?" in str(ran.document)


def test_a_directory_that_others_can_enter_is_a_warning(zmqmq: Command, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    ran = zmqmq("doctor", "--data", str(tmp_path))
    assert ran.code == exits.OK
    assert "chmod 700" in ran.out


def test_zookeeper_servers_that_cannot_be_reached_are_named_and_most_of_them_are_a_problem(zmqmq: Command, tmp_path: Path) -> None:
    import socket

    settings = tmp_path / "broker.yaml"
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        here = [f"127.0.0.1:{server.getsockname()[1]}" for server in (one, two)]
        for hosts, code, verdict in (([*here, "127.0.0.1:1"], exits.OK, "warning"), (["127.0.0.1:1", "127.0.0.1:2", here[0]], exits.FAILED, "problem")):
            settings.write_text(f"zookeeper:\n  hosts: {hosts}\n")
            ran = zmqmq("doctor", "--broker-config", str(settings), "--json")
            found = {entry["check"]: entry["verdict"] for entry in ran.document}
            assert (ran.code, found["zookeeper 127.0.0.1:1"], found[f"zookeeper {here[0]}"]) == (code, verdict, "ok")
