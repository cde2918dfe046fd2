"""What brokers, clients and devices are set to, and where those settings come from.

A setting is looked for in four places; the first that has it wins:

    flag  >  ZMQMQ_* variable  >  YAML file  >  default of the struct below

A variable is named after the key: `data` is ZMQMQ_DATA, `limits.max_message_bytes` is ZMQMQ_LIMITS__MAX_MESSAGE_BYTES. Those
of clients begin with ZMQMQ_CLIENT_, those of devices with ZMQMQ_DEVICE_; ZMQMQ_BROKERS (comma-separated) serves both, and
ZMQMQ_CONFIG names the file. Each key stands with its meaning, unit, default and limit in `configs/*.yaml`, and nowhere else
twice: the structs are the truth, a test compares the files with them.

Nothing is guessed and nothing is ignored: an unknown key, a value of the wrong type or outside its limits, a key given
twice or an unreadable file is a `ConfigError` that names the place (file:line, variable or flag), the key, the value and
what is allowed. Reading and merging are in `config_sources`, the wording of "allowed" in `config_wording`, what only
brokers of a cluster need in `config_cluster`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from zmqmq.config_cluster import ReplicationConfig, ZooKeeperConfig, check_zookeeper
from zmqmq.config_section import DEFAULT_BROKER, DEFAULT_PORT, Address, Endpoint, FilePath, Name, Port, Section, join_endpoint, split_endpoint
from zmqmq.config_sources import Layer, build, read_environment, read_file
from zmqmq.core.model import GroupLimits, Limits, TopicSettings
from zmqmq.errors import ConfigError

__all__ = [
    "DEFAULT_BROKER",
    "DEFAULT_PORT",
    "BrokerConfig",
    "ClientConfig",
    "ControllerConfig",
    "DeviceConfig",
    "LogConfig",
    "MetricsConfig",
    "OutboxConfig",
    "RulesConfig",
    "SensorConfig",
    "TopicsConfig",
    "join_endpoint",
    "load_broker",
    "load_client",
    "load_device",
    "split_endpoint",
]

_RESERVED = frozenset({"ZMQMQ_CONFIG", "ZMQMQ_BROKERS"})


class TopicsConfig(Section, frozen=True):
    """How topics begin."""

    auto_create: bool = True
    default_partitions: Annotated[int, Meta(ge=1, le=1000)] = 1
    default_replicas: Annotated[int, Meta(ge=0, le=9)] = 0
    max_topics: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    defaults: TopicSettings = TopicSettings()


class LogConfig(Section, frozen=True):
    """What the broker writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class MetricsConfig(Section, frozen=True):
    """The Prometheus endpoint."""

    enabled: bool = False
    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Port = 9400


class BrokerConfig(Section, frozen=True):
    """One broker. Times are in seconds, sizes in bytes."""

    broker_id: Name = "broker-1"
    cluster: Name = "zmqmq"
    rack: Annotated[str, Meta(max_length=64)] = ""
    bind: Endpoint = DEFAULT_BROKER
    advertise: Endpoint | None = None
    wake_bind: Endpoint | None = None
    data: FilePath = "./data"
    session_timeout_seconds: Annotated[float, Meta(ge=1, le=300)] = 10.0
    max_sessions: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    beacon_interval_seconds: Annotated[float, Meta(ge=0.05, le=60)] = 1.0
    ballast_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 64 << 20
    topics: TopicsConfig = TopicsConfig()
    limits: Limits = Limits()
    group_limits: GroupLimits = GroupLimits()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
    replication: ReplicationConfig = ReplicationConfig()
    zookeeper: ZooKeeperConfig | None = None

    @property
    def endpoint(self) -> str:
        """What clients are told to connect to: `advertise`, or `bind` with this machine's name in place of a wildcard."""
        return self.advertise or _concrete(self.bind)

    @property
    def wake_bind_endpoint(self) -> str:
        """Where the PUB socket listens: `wake_bind`, or the port after that of `bind`."""
        return self.wake_bind or _next_port(self.bind)

    @property
    def wake_endpoint(self) -> str:
        """What clients are told to subscribe to: the advertised host with the wake-up port."""
        host = split_endpoint(self.endpoint)[0]
        return join_endpoint(host, split_endpoint(self.wake_bind_endpoint)[1])


class ClientConfig(Section, frozen=True):
    """One producer, consumer or admin, by the names of their arguments."""

    brokers: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=100)] = (DEFAULT_BROKER,)
    session_timeout_seconds: Annotated[float, Meta(ge=1, le=300)] | None = None
    request_timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    delivery_timeout_seconds: Annotated[float, Meta(gt=0, le=30 * 86400.0)] = 120.0
    buffer_messages: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    buffer_bytes: Annotated[int, Meta(ge=1024, le=1 << 40)] = 64 << 20
    when_full: Literal["block", "raise"] = "block"
    prefetch: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class OutboxConfig(Section, frozen=True):
    """The file in which a sensor keeps readings that no broker has confirmed yet."""

    path: FilePath | None = None
    max_bytes: Annotated[int, Meta(ge=65536, le=1 << 40)] = 64 << 20
    max_age_seconds: Annotated[float, Meta(gt=0, le=3650 * 86400.0)] | None = None
    when_full: Literal["drop_oldest", "raise"] = "drop_oldest"


class SensorConfig(Section, frozen=True):
    """`run_sensor.py`."""

    count: Annotated[int, Meta(ge=1)] | None = None
    max_unconfirmed: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    outbox: OutboxConfig = OutboxConfig()


class RulesConfig(Section, frozen=True):
    """Beyond which reading a controller acts."""

    temp_high: float = 25.0
    temp_low: float = 18.0
    humidity_high: Annotated[float, Meta(ge=0, le=100)] = 60.0
    humidity_low: Annotated[float, Meta(ge=0, le=100)] = 35.0
    pressure_low: Annotated[float, Meta(ge=0)] = 1000.0


class ControllerConfig(Section, frozen=True):
    """`run_controller.py`."""

    group: Annotated[str, Meta(min_length=1, max_length=200)] = "controllers"
    count: Annotated[int, Meta(ge=1)] | None = None
    rules: RulesConfig = RulesConfig()


class DeviceConfig(Section, frozen=True):
    """A sensor or a controller."""

    client: ClientConfig = ClientConfig(delivery_timeout_seconds=86400.0)
    sensor: SensorConfig = SensorConfig()
    controller: ControllerConfig = ControllerConfig()


def load_broker(path: str | None = None, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> BrokerConfig:
    """The broker's settings; `flags` maps keys ("data", "bind", "log.level") to values given on the command line. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    own = {name: text for name, text in environ.items() if name not in _RESERVED and not name.startswith(("ZMQMQ_CLIENT_", "ZMQMQ_DEVICE_"))}
    config = build(BrokerConfig, [_file(path, environ), read_environment(BrokerConfig, own, "ZMQMQ_"), _flags(flags)])
    _check_broker(config)
    return config


def load_client(path: str | None = None, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> ClientConfig:
    """A client's settings. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    layers = [_file(path, {}), _brokers(environ, "brokers"), read_environment(ClientConfig, environ, "ZMQMQ_CLIENT_"), _flags(flags)]
    config = build(ClientConfig, layers)
    _check_addresses(config, "brokers")
    return config


def load_device(path: str | None = None, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> DeviceConfig:
    """A device's settings. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    layers = [_file(path, {}), _brokers(environ, "client.brokers"), read_environment(DeviceConfig, environ, "ZMQMQ_DEVICE_"), _flags(flags)]
    config = build(DeviceConfig, layers)
    _check_addresses(config.client, "client.brokers")
    return config


def _concrete(endpoint: str) -> str:
    host, port = split_endpoint(endpoint)
    return join_endpoint(socket.gethostname(), port) if host in ("*", "0.0.0.0", "[::]") else endpoint


def _next_port(endpoint: str) -> str:
    host, port = split_endpoint(endpoint)
    return join_endpoint(host, port + 1)


def _file(path: str | None, environ: Mapping[str, str]) -> Layer:
    chosen = path or environ.get("ZMQMQ_CONFIG")
    return read_file(Path(chosen)) if chosen else Layer({}, {})


def _flags(flags: Mapping[str, object] | None) -> Layer:
    layer = Layer({}, {})
    for key, value in (flags or {}).items():
        if value is not None:
            layer.put(tuple(key.split(".")), value, f"flag for {key}")
    return layer


def _brokers(environ: Mapping[str, str], key: str) -> Layer:
    layer = Layer({}, {})
    if text := environ.get("ZMQMQ_BROKERS"):
        layer.put(tuple(key.split(".")), [part.strip() for part in text.split(",") if part.strip()], "variable ZMQMQ_BROKERS")
    return layer


def _check_broker(config: BrokerConfig) -> None:
    """What no single field can know."""
    last = 65535 if config.wake_bind else 65534
    for key in ("bind", "advertise", "wake_bind"):
        if endpoint := getattr(config, key):
            _check_port(key, endpoint, last if key == "bind" else 65535)
    if config.wake_bind_endpoint == config.bind:
        raise ConfigError(f"wake_bind: {config.bind} is taken by bind", hint="wake-ups need a port of their own; leave it out for the port after bind")
    if config.advertise and split_endpoint(config.advertise)[0] in ("*", "0.0.0.0", "[::]"):
        raise ConfigError(f"advertise: {config.advertise} is no address that a client can connect to", hint="name a host")
    if config.topics.defaults.max_retry_delay < config.topics.defaults.retry_delay:
        raise ConfigError("topics.defaults.max_retry_delay: is below topics.defaults.retry_delay", hint="raise it, or lower retry_delay")
    if config.zookeeper is not None:
        check_zookeeper(config.zookeeper)


def _check_addresses(config: ClientConfig, key: str) -> None:
    for address in config.brokers:
        _check_port(key, address, 65535)


def _check_port(key: str, endpoint: str, last: int) -> None:
    port = split_endpoint(endpoint)[1]
    if not 1 <= port <= last:
        raise ConfigError(f"{key}: {endpoint!r} has port {port}; allowed: 1 to {last}", hint="" if last == 65535 else "wake-ups take the port after it")
