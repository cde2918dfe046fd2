"""Encrypted connections to ZooKeeper: a server that asks for certificates, brokers that have them, and brokers that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.system.cluster import ClusterProcesses
from tests.system.cluster_load import read
from tests.system.ensemble import Ensemble, free_ports
from tests.system.processes import Programs
from zmqmq import Producer


class Papers(NamedTuple):
    """Files of somebody's certificate, in PEM."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def issue(cls, directory: Path, authority: trustme.CA, name: str) -> Papers:
        """A certificate for `name` and its key, as Java reads it too (PKCS 8)."""
        directory.mkdir()
        papers, issued = cls(directory / "ca.pem", directory / "cert.pem", directory / "key.pem"), authority.issue_cert(name)
        authority.cert_pem.write_to_path(papers.ca)
        papers.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        papers.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return papers

    def tls(self, **changes: object) -> dict[str, object]:
        """The section of a broker's configuration."""
        return {"enabled": True, "ca": str(self.ca), "cert": str(self.cert), "key": str(self.key), **changes}


class Guarded(NamedTuple):
    """A ZooKeeper server that lets only those in that its authority knows."""

    authority: trustme.CA
    address: str
    servers: Ensemble
    papers: Papers


def options(port: int, papers: Papers, store: Path) -> list[str]:
    """What makes a server listen for encrypted connections on `port`."""
    store.write_bytes(papers.key.read_bytes() + papers.cert.read_bytes())
    return [
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"secureClientPort={port}",
        "secureClientPortAddress=127.0.0.1",
        f"ssl.keyStore.location={store}",
        "ssl.keyStore.type=PEM",
        f"ssl.trustStore.location={papers.ca}",
        "ssl.trustStore.type=PEM",
        "ssl.clientAuth=need",
    ]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("tls")
    authority, port = trustme.CA(), free_ports(1)[0]
    lines = options(port, Papers.issue(directory / "server", authority, "127.0.0.1"), directory / "store.pem")
    with Ensemble(directory / "zookeeper", servers=1, options=lines) as servers:
        servers.wait_ready()
        yield Guarded(authority, f"127.0.0.1:{port}", servers, Papers.issue(directory / "broker", authority, "broker"))


@pytest.fixture
def cluster(guarded: Guarded, programs: Programs, tmp_path: Path) -> Iterator[ClusterProcesses]:
    """Two brokers, not started."""
    with ClusterProcesses(programs, guarded.servers, tmp_path / "guarded", brokers=2) as made:
        yield made


def behind(guarded: Guarded, **tls: object) -> dict[str, Any]:
    return {"hosts": guarded.address, "tls": guarded.papers.tls(**tls)}


def test_brokers_with_certificates_form_a_cluster(guarded: Guarded, cluster: ClusterProcesses) -> None:
    for name in cluster.members:
        cluster.write(name, zookeeper=behind(guarded))
    cluster.start()
    cluster.wait_whole()
    with Producer(cluster.members["b1"].endpoint) as producer:
        producer.send("secrets", b"a message").result()
    assert read(cluster, "secrets", 1) == [b"a message"]


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("no certificate", "alert"),
        ("a certificate of somebody else", "alert"),
        ("a server that nobody knows", "certificate verify failed"),
        ("a server of another name", "certificate is not valid for 'localhost'"),
        ("no encryption", "connection broken"),
    ],
)
def test_who_is_not_let_in_says_why_and_keeps_trying(guarded: Guarded, cluster: ClusterProcesses, tmp_path: Path, trouble: str, says: str) -> None:
    stranger = Papers.issue(tmp_path / "stranger", trustme.CA(), "broker")
    wrong = {
        "no certificate": behind(guarded, cert=None, key=None),
        "a certificate of somebody else": behind(guarded, cert=str(stranger.cert), key=str(stranger.key)),
        "a server that nobody knows": behind(guarded, ca=str(stranger.ca)),
        "a server of another name": {**behind(guarded), "hosts": guarded.address.replace("127.0.0.1", "localhost")},
        "no encryption": behind(guarded, enabled=False),
    }
    cluster.write("b1", zookeeper=wrong[trouble])
    program = cluster.programs.start("b1", "run_broker.py", "--config", cluster.members["b1"].file)
    line = program.line("ZooKeeper cannot be reached, trying again: ", stderr=True).string
    assert says in line
    assert program.is_running
