"""What a broker of a cluster is set to beyond what a broker alone needs: where ZooKeeper is, and how logs are copied.

A broker whose configuration has a `zookeeper` section belongs to a cluster; without it the broker stands alone. Only brokers talk
to ZooKeeper; clients and devices never do.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from msgspec import Meta

from zmqmq.config_section import FilePath, Section
from zmqmq.errors import ConfigError

DEFAULT_ZOOKEEPER_PORT = 2181
_HOST = re.compile(r"([^\s/:\[\]]+|\[[0-9a-fA-F:]+\])(?::([0-9]{1,5}))?")

TreePath = Annotated[str, Meta(pattern=r"^(/[^/\s]+)+$", max_length=200, examples=["/zmqmq/factory"])]
Secret = Annotated[str, Meta(min_length=1, max_length=200)]


class TlsConfig(Section, frozen=True):
    """Encrypted connections to ZooKeeper."""

    enabled: bool = False
    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    verify: bool = True


class ZooKeeperConfig(Section, frozen=True):
    """The ensemble that the brokers of a cluster agree through. Its password is never printed."""

    hosts: str | tuple[str, ...] = ""
    session_timeout_seconds: Annotated[float, Meta(ge=2, le=60)] = 4.0
    chroot: TreePath | None = None
    username: Secret | None = None
    password: Secret | None = None
    tls: TlsConfig = TlsConfig()

    @property
    def host_list(self) -> tuple[str, ...]:
        """("zk1:2181", "zk2:2181"): every host with its port."""
        parts = self.hosts.split(",") if isinstance(self.hosts, str) else self.hosts
        return tuple(_with_port(part.strip()) for part in parts if part.strip())

    def root(self, cluster: str) -> str:
        """The node below which everything of the cluster is kept."""
        return self.chroot or f"/zmqmq/{cluster}"

    def __repr__(self) -> str:
        return f"ZooKeeperConfig({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        return [(name, "***" if name == "password" and value else value) for name, value in shown.items()]


class ReplicationConfig(Section, frozen=True):
    """How followers copy the logs of leaders."""

    max_lag_seconds: Annotated[float, Meta(ge=0.5, le=300)] = 4.0
    fetch_wait_seconds: Annotated[float, Meta(ge=0.05, le=10)] = 0.5
    fetch_bytes: Annotated[int, Meta(ge=65536, le=128 << 20)] = 8 << 20
    catch_up_bytes_per_second: Annotated[int, Meta(ge=65536, le=1 << 40)] = 32 << 20
    max_uncommitted_messages: Annotated[int, Meta(ge=1000, le=10_000_000)] = 200_000


def check_zookeeper(config: ZooKeeperConfig) -> None:
    """What no single field can know. Raises ConfigError."""
    if not config.host_list:
        raise ConfigError("zookeeper.hosts: is missing", hint="name the servers: zk1:2181,zk2:2181,zk3:2181")
    for host in config.host_list:
        found = _HOST.fullmatch(host)
        if found is None:
            hint = "the path below which the cluster lives is zookeeper.chroot" if "/" in host else ""
            raise ConfigError(f"zookeeper.hosts: {host.removesuffix(f':{DEFAULT_ZOOKEEPER_PORT}')!r} is no address like zk1:2181", hint=hint)
        if not 1 <= int(found[2] or 0) <= 65535:
            raise ConfigError(f"zookeeper.hosts: {host!r} has port {found[2]}; allowed: 1 to 65535")
    if (config.username is None) != (config.password is None):
        raise ConfigError("zookeeper: username and password go together", hint="give both or neither")
    if (config.tls.cert is None) != (config.tls.key is None):
        raise ConfigError("zookeeper.tls: cert and key go together", hint="give both or neither")


def _with_port(host: str) -> str:
    found = _HOST.fullmatch(host)
    return f"{host}:{DEFAULT_ZOOKEEPER_PORT}" if found and found[2] is None else host
