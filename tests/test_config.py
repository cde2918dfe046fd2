"""Configuration: the files say every key with its default, and every mistake is named with its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from zmqmq.config import BrokerConfig, ClientConfig, DeviceConfig, load_broker, load_client, load_device, split_endpoint
from zmqmq.config_cluster import ZooKeeperConfig
from zmqmq.config_wording import fields_of
from zmqmq.errors import ConfigError

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
FILES: dict[str, type[msgspec.Struct]] = {"standalone.yaml": BrokerConfig, "client.yaml": ClientConfig, "device.yaml": DeviceConfig}

LOADERS: dict[str, Callable[..., msgspec.Struct]] = {"standalone.yaml": load_broker, "client.yaml": load_client, "device.yaml": load_device}
CLUSTER_FILES = ("broker-1.yaml", "broker-2.yaml", "broker-3.yaml")


def written(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "broker.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """What is said about a broker's file, without the directory."""
    with pytest.raises(ConfigError) as caught:
        load_broker(written(tmp_path, text), environ={})
    return str(caught.value).replace(f"{tmp_path}/", "")


def dotted(kind: object, prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in fields_of(kind).items():
        inner = dotted(field.type, f"{prefix}{name}.") if field.default is not None else []
        names += [prefix + name, *inner]
    return names


def keys_of(values: dict[str, object], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in values.items():
        names.append(prefix + name)
        if isinstance(value, dict):
            names += keys_of(value, f"{prefix}{name}.")
    return names


@pytest.mark.parametrize("name", FILES)
def test_every_key_stands_in_the_file(name: str) -> None:
    import yaml

    values = yaml.safe_load((CONFIGS / name).read_text())
    assert sorted(keys_of(values)) == sorted(dotted(FILES[name]))


@pytest.mark.parametrize("name", FILES)
def test_the_file_says_the_defaults(name: str) -> None:
    path = str(CONFIGS / name)
    assert LOADERS[name](path, environ={}) == FILES[name]()


@pytest.mark.parametrize("name", [*FILES, *(f"cluster/{name}" for name in CLUSTER_FILES)])
def test_every_key_has_a_comment_above_it(name: str) -> None:
    lines = (CONFIGS / name).read_text().splitlines()
    naked = [line for above, line in zip(lines, lines[1:], strict=False) if re.match(r" *[a-z_]+:", line) and not above.strip().startswith("#")]
    sections = [name for name in ("topics:", "log:", "sensor:", "controller:") if name in naked]
    assert naked == sections


@pytest.mark.parametrize("name", CLUSTER_FILES)
def test_every_key_of_zookeeper_stands_in_the_cluster_s_files_with_its_default(name: str) -> None:
    import yaml

    values = yaml.safe_load((CONFIGS / "cluster" / name).read_text())
    assert sorted(keys_of(values["zookeeper"])) == sorted(dotted(ZooKeeperConfig))
    config = load_broker(str(CONFIGS / "cluster" / name), environ={}).zookeeper
    assert config == ZooKeeperConfig(hosts="127.0.0.1:2181")


def test_the_cluster_s_files_differ_in_name_address_and_directory_only() -> None:
    configs = [load_broker(str(CONFIGS / "cluster" / name), environ={}) for name in CLUSTER_FILES]
    assert {config.broker_id for config in configs} == {"broker-1", "broker-2", "broker-3"}
    assert len({config.bind for config in configs} | {config.wake_bind_endpoint for config in configs}) == 6
    assert len({config.data for config in configs}) == 3
    same = {"broker_id": "broker-1", "bind": "tcp://127.0.0.1:7400", "data": "./data-1"}
    assert all(msgspec.structs.replace(config, **same) == configs[0] for config in configs)


def test_without_anything_the_defaults_hold() -> None:
    assert load_broker(environ={}) == BrokerConfig()


def test_a_flag_wins_over_a_variable_and_that_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "data: from-file\nbroker_id: from-file\ncluster: from-file\n")
    config = load_broker(path, flags={"data": "from-flag", "cluster": None}, environ={"ZMQMQ_DATA": "from-variable", "ZMQMQ_CLUSTER": "from-variable"})
    assert (config.data, config.cluster, config.broker_id) == ("from-flag", "from-variable", "from-file")


def test_a_variable_reaches_nested_keys_and_takes_their_type() -> None:
    config = load_broker(environ={"ZMQMQ_LIMITS__MAX_MESSAGE_BYTES": "2048", "ZMQMQ_METRICS__ENABLED": "true", "ZMQMQ_TOPICS__DEFAULTS__MAX_AGE": "null"})
    assert (config.limits.max_message_bytes, config.metrics.enabled, config.topics.defaults.max_age) == (2048, True, None)


def test_a_variable_can_name_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "data: elsewhere")
    assert load_broker(environ={"ZMQMQ_CONFIG": path}).data == "elsewhere"


def test_a_section_given_in_part_keeps_its_other_defaults(tmp_path: Path) -> None:
    config = load_device(written(tmp_path, "client:\n  prefetch: 10\n"), environ={})
    assert config.client == msgspec.structs.replace(DeviceConfig().client, prefetch=10)


def test_an_empty_file_and_an_empty_section_are_fine(tmp_path: Path) -> None:
    assert load_broker(written(tmp_path, ""), environ={}) == load_broker(written(tmp_path, "limits:\n  # nothing\n"), environ={})


def test_the_brokers_variable_serves_clients_and_devices_and_does_not_trouble_a_broker() -> None:
    environ = {"ZMQMQ_BROKERS": "a:1, tcp://b:2", "ZMQMQ_CLIENT_PREFETCH": "7", "ZMQMQ_DEVICE_CONTROLLER__GROUP": "g"}
    assert load_client(environ=environ).brokers == load_device(environ=environ).client.brokers == ("a:1", "tcp://b:2")
    assert load_client(environ=environ).prefetch == 7
    assert load_device(environ=environ).controller.group == "g"
    assert load_broker(environ=environ) == BrokerConfig()


def test_wake_ups_take_the_next_port_and_a_wildcard_becomes_this_machine() -> None:
    config = load_broker(flags={"bind": "tcp://0.0.0.0:7500"}, environ={})
    assert config.wake_bind_endpoint == "tcp://0.0.0.0:7501"
    assert "0.0.0.0" not in config.endpoint
    assert split_endpoint(config.wake_endpoint) == (split_endpoint(config.endpoint)[0], 7501)


def test_a_broker_stands_alone_until_a_section_names_zookeeper(tmp_path: Path) -> None:
    assert load_broker(written(tmp_path, "zookeeper: null"), environ={}).zookeeper is None
    given = load_broker(written(tmp_path, "cluster: c\nzookeeper: {hosts: [zk1, 'zk2:2182', '[::1]']}"), environ={}).zookeeper
    assert given is not None and given.host_list == ("zk1:2181", "zk2:2182", "[::1]:2181")
    assert (given.root("c"), given.session_timeout_seconds, given.tls.verify) == ("/zmqmq/c", 4.0, True)


def test_variables_alone_can_make_a_broker_part_of_a_cluster() -> None:
    environ = {"ZMQMQ_ZOOKEEPER__HOSTS": "a:1, b:2", "ZMQMQ_ZOOKEEPER__TLS__ENABLED": "true", "ZMQMQ_ZOOKEEPER__CHROOT": "/else/where"}
    given = load_broker(environ=environ).zookeeper
    assert given is not None and given.host_list == ("a:1", "b:2")
    assert given.tls.enabled and given.root("c") == "/else/where"


def test_a_password_is_never_printed(tmp_path: Path) -> None:
    from rich.pretty import pretty_repr

    config = load_broker(written(tmp_path, "zookeeper: {hosts: a, username: u, password: sesame}"), environ={})
    assert config.zookeeper is not None and config.zookeeper.password == "sesame"
    assert "sesame" not in repr(config) + str(config) + pretty_repr(config)
    assert "***" in repr(config)
    with pytest.raises(ConfigError) as caught:
        load_broker(environ={"ZMQMQ_ZOOKEEPER__PASSWORD": "sesame" * 100})
    assert "sesame" not in str(caught.value)


MISTAKES = {
    "dta: x": "broker.yaml:1: dta: unknown key; did you mean data? allowed: advertise, ",
    "limits:\n  max_mesage_bytes: 5000": "broker.yaml:2: limits.max_mesage_bytes: unknown key; did you mean max_message_bytes? ",
    "limits:\n\n  max_message_bytes: 5": "broker.yaml:3: limits.max_message_bytes: 5 is not allowed; allowed: a whole number from 1024 to 67108864",
    "limits: 5": "broker.yaml:1: limits: 5 is not allowed; allowed: a section",
    "log: {level: loud}": "broker.yaml:1: log.level: 'loud' is not allowed; allowed: one of: debug, error, info, warning",
    "data: 5": "broker.yaml:1: data: 5 is not allowed; allowed: a text of 1 to 4096 characters",
    "max_sessions: '5'": "broker.yaml:1: max_sessions: '5' is not allowed; allowed: a whole number",
    "max_sessions: true": "broker.yaml:1: max_sessions: True is not allowed",
    "session_timeout_seconds: .nan": "broker.yaml:1: session_timeout_seconds: nan is not allowed; allowed: a number from 1 to 300",
    "session_timeout_seconds: 0.5": "broker.yaml:1: session_timeout_seconds: 0.5 is not allowed",
    "broker_id: a/b": "broker.yaml:1: broker_id: 'a/b' is not allowed; allowed: a name of up to 64 letters",
    "bind: 7400": "broker.yaml:1: bind: 7400 is not allowed; allowed: an address like tcp://127.0.0.1:7400",
    "bind: tcp://localhost:99999": "bind: 'tcp://localhost:99999' has port 99999; allowed: 1 to 65534",
    "wake_bind: tcp://127.0.0.1:7400": "wake_bind: tcp://127.0.0.1:7400 is taken by bind",
    "advertise: tcp://0.0.0.0:7400": "advertise: tcp://0.0.0.0:7400 is no address",
    "topics:\n  defaults:\n    max_age: -1": "broker.yaml:3: topics.defaults.max_age: -1 is not allowed; allowed: a number from 0 up, or null",
    "topics: {defaults: {retry_delay: 70}}": "topics.defaults.max_retry_delay: is below topics.defaults.retry_delay",
    "zookeeper: {session_timeout_seconds: 5}": "zookeeper.hosts: is missing",
    "zookeeper: {hosts: 'a:2181/factory'}": "zookeeper.hosts: 'a:2181/factory' is no address like zk1:2181",
    "zookeeper: {hosts: 'a:0'}": "zookeeper.hosts: 'a:0' has port 0; allowed: 1 to 65535",
    "zookeeper: {hosts: a, session_timeout_seconds: 1}": "broker.yaml:1: zookeeper.session_timeout_seconds: 1 is not allowed; allowed: a number from 2 to 60",
    "zookeeper: {hosts: a, chroot: b}": "broker.yaml:1: zookeeper.chroot: 'b' is not allowed; allowed: a path like /zmqmq/factory",
    "zookeeper: {hosts: a, password: 5}": "broker.yaml:1: zookeeper.password: the value is not allowed; allowed: a text of 1 to 200",
    "zookeeper: {hosts: a, username: b}": "zookeeper: username and password go together",
    "zookeeper: {hosts: a, tls: {cert: b}}": "zookeeper.tls: cert and key go together",
    "zookeeper: {host: a}": "broker.yaml:1: zookeeper.host: unknown key; did you mean hosts? ",
    "zookeeper: a": "broker.yaml:1: zookeeper: 'a' is not allowed; allowed: a section",
    "data: x\ncluster: c\ndata: y": "broker.yaml:3: data: given twice (first at broker.yaml:1)",
    "data: [1": "broker.yaml:1: not valid YAML: ",
    "data: x\n\tcluster: y": "broker.yaml:2: not valid YAML: ",
    "data: *nowhere": "broker.yaml:1: not valid YAML: found undefined alias",
    "- data": "broker.yaml:1: expected 'key: value' lines",
    "? [a]\n: b": "broker.yaml:1: top level: a key must be a plain word",
    "data: !!python/object/apply:os.getcwd []": "broker.yaml:1: data: cannot be read: ",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_file_is_named_with_its_place(text: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text).startswith(MISTAKES[text])


def test_a_file_that_is_missing_or_no_text_or_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: no such file"):
        load_broker(str(tmp_path / "missing.yaml"), environ={})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_broker(str(tmp_path), environ={})
    assert refusal(tmp_path, b"\xff\xfe") == "broker.yaml: not UTF-8 text (byte 0)"
    assert refusal(tmp_path, b"#" * (1 << 20) + b"#").startswith("broker.yaml: larger than 1048576 bytes")
    assert refusal(tmp_path, "data: " + "[" * 100_000).startswith("broker.yaml: not valid YAML")


def test_an_unknown_variable_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="variable ZMQMQ_DTA: unknown; did you mean ZMQMQ_DATA"):
        load_broker(environ={"ZMQMQ_DTA": "x"})
    with pytest.raises(ConfigError, match="variable ZMQMQ_CLIENT_PREFETSH: unknown; did you mean ZMQMQ_CLIENT_PREFETCH"):
        load_client(environ={"ZMQMQ_CLIENT_PREFETSH": "1"})


def test_a_bad_value_of_a_variable_or_flag_is_refused_with_its_name() -> None:
    with pytest.raises(ConfigError, match="variable ZMQMQ_MAX_SESSIONS: 'many' is not allowed; allowed: a whole number from 1 to 1000000"):
        load_broker(environ={"ZMQMQ_MAX_SESSIONS": "many"})
    with pytest.raises(ConfigError, match="flag for data: data: '' is not allowed"):
        load_broker(flags={"data": ""}, environ={})


def test_a_client_address_is_checked() -> None:
    with pytest.raises(ConfigError, match="variable ZMQMQ_BROKERS: brokers: .* allowed: a list, each an address like"):
        load_client(environ={"ZMQMQ_BROKERS": "nonsense"})
    with pytest.raises(ConfigError, match=r"client\.brokers: 'a:0' has port 0; allowed: 1 to 65535"):
        load_device(environ={"ZMQMQ_BROKERS": "a:0"})
