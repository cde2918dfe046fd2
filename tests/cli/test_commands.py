"""The `zmqmq` command against a real broker: what it does, what it prints, how it ends."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.cli.conftest import Command
from zmqmq import Consumer, Producer
from zmqmq.cli import exits
from zmqmq.testing import TestBroker


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Standard input for the next command."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def kill_one(broker: TestBroker, topic: str, group: str, value: bytes = b"bad") -> None:
    """Makes one dead letter."""
    with Producer(broker.endpoint) as producer:
        producer.send(topic, value, key="k", headers={"unit": "C"}).result()
    with Consumer(broker.endpoint, topic, group=group) as consumer:
        message = consumer.receive()
        assert message is not None
        message.reject("no reading").result()


def test_a_topic_is_created_described_altered_and_deleted(zmqmq: Command) -> None:
    created = zmqmq("topic", "create", "life", "--partitions", "2", "--set", "max_attempts=3", "--set", "keep=log", "--json").document
    assert (created["name"], len(created["partitions"]), created["settings"]["max_attempts"], created["settings"]["keep"]) == ("life", 2, 3, "log")
    assert zmqmq("topic", "alter", "life", "--set", "max_age=3600", "--json").document["settings"]["max_age"] == 3600
    settings = zmqmq("topic", "describe", "life", "--json").document["settings"]
    assert (settings["max_age"], settings["max_attempts"]) == (3600, 3)
    assert "life" in zmqmq("topics").out
    assert zmqmq("topic", "delete", "life", "--yes").code == exits.OK
    assert zmqmq("topic", "describe", "life").code == exits.NOT_FOUND


def test_creating_a_topic_again_with_other_settings_is_refused(zmqmq: Command) -> None:
    zmqmq("topic", "create", "twice", "--partitions", "2")
    assert zmqmq("topic", "create", "twice", "--partitions", "2").code == exits.OK
    again = zmqmq("topic", "create", "twice", "--partitions", "3")
    assert again.code == exits.REFUSED and "exists" in again.err


def test_a_wrong_setting_is_named_with_what_is_allowed(zmqmq: Command) -> None:
    wrong = zmqmq("topic", "create", "never", "--set", "max_atempts=3")
    assert wrong.code == exits.USAGE and "did you mean max_attempts?" in wrong.err
    outside = zmqmq("topic", "create", "never", "--set", "max_age=-1")
    assert outside.code == exits.USAGE and "allowed: a number from 0 up, or null" in outside.err
    assert "never" not in zmqmq("topics").out


def test_deleting_asks_for_yes_when_there_is_nobody_to_ask(zmqmq: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    zmqmq("topic", "create", "careful")
    feed(monkeypatch, b"")
    refused = zmqmq("topic", "delete", "careful")
    assert refused.code == exits.USAGE and "--yes" in refused.err
    assert zmqmq("topic", "describe", "careful").code == exits.OK


def test_a_value_is_produced_and_consumed_with_key_and_headers(zmqmq: Command) -> None:
    sent = zmqmq("produce", "one", "21.5", "--key", "sensor-1", "--header", "unit=C", "--json").document
    assert sent["sent"] == 1 and sent["offset"] >= 0
    got = json.loads(zmqmq("consume", "one", "--count", "1", "--json").out)
    assert (got["value"], got["key"], got["headers"], got["partition"], got["offset"]) == ("21.5", "sensor-1", {"unit": "C"}, sent["partition"], sent["offset"])
    assert zmqmq("lag", "one", "default", "--json").document["lag"] == 0


def test_lines_of_standard_input_are_produced_in_order_with_their_keys(zmqmq: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"".join(b"k=%d\n" % number for number in range(3000)))
    assert zmqmq("produce", "lines", "--key-separator", "=").out == "sent 3000 messages to lines\n"
    lines = [json.loads(line) for line in zmqmq("consume", "lines", "--count", "3000", "--json").out.splitlines()]
    assert [line["value"] for line in lines] == [str(number) for number in range(3000)]
    assert {line["key"] for line in lines} == {"k"}


def test_looking_without_acknowledging_leaves_everything(zmqmq: Command) -> None:
    zmqmq("produce", "peek", "a", "b", "c", "--key", "k")
    assert zmqmq("consume", "peek", "--no-ack", "--count", "2").out == "a\nb\n"
    assert zmqmq("consume", "peek", "--count", "3").out == "a\nb\nc\n"


def test_bytes_that_are_no_text_become_base64_in_json(zmqmq: Command, broker: TestBroker) -> None:
    with Producer(broker.endpoint) as producer:
        producer.send("bytes", b"\xff\x00").result()
    assert json.loads(zmqmq("consume", "bytes", "--count", "1", "--json").out)["value"] == {"base64": "/wA="}


def test_consuming_a_topic_that_does_not_exist_does_not_make_it(zmqmq: Command) -> None:
    assert zmqmq("consume", "nowhere").code == exits.NOT_FOUND
    assert zmqmq("consume", "nowhere", "--create", "--timeout", "0.1").code == exits.OK


def test_groups_lag_explain_and_seek_tell_where_a_group_is(zmqmq: Command) -> None:
    zmqmq("topic", "create", "where", "--set", "keep=log", "--partitions", "1")
    zmqmq("produce", "where", "a", "b", "c")
    zmqmq("consume", "where", "--group", "g", "--count", "3")
    assert [group["group"] for group in zmqmq("groups", "where", "--json").document] == ["g"]
    assert "nothing is left" in zmqmq("explain", "where", "g").out
    assert zmqmq("seek", "where", "g", "earliest", "--json").document["lag"] == 3
    assert zmqmq("lag", "where", "g").out.startswith("where / g: 3 behind\n")
    assert {reason["code"] for reason in zmqmq("explain", "where", "g", "--json").document["reasons"]} == {"no_consumer"}
    assert zmqmq("seek", "where", "g", "2000-01-01", "--json").document["lag"] == 3
    assert zmqmq("seek", "where", "g", "latest", "--json").document["lag"] == 0
    assert zmqmq("seek", "where", "g", "tomorrow").code == exits.USAGE
    assert zmqmq("group", "delete", "where", "g", "--yes").code == exits.OK
    assert zmqmq("lag", "where", "g").code == exits.NOT_FOUND


def test_dead_letters_are_listed_shown_replayed_and_purged(zmqmq: Command, broker: TestBroker) -> None:
    kill_one(broker, "dead", "g")
    letter = zmqmq("dead", "list", "dead", "g", "--json").document[0]
    assert (letter["value"], letter["key"], letter["headers"], letter["reason"]) == ("bad", "k", {"unit": "C"}, "no reading")
    place = [str(letter["partition"]), str(letter["offset"])]
    assert "no reading" in zmqmq("dead", "show", "dead", "g", *place).out
    assert zmqmq("dead", "show", "dead", "g", "0", "999").code == exits.NOT_FOUND
    assert zmqmq("dead", "replay", "dead", "g", "--offset", place[1]).code == exits.USAGE
    assert zmqmq("dead", "replay", "dead", "g", "--partition", place[0], "--offset", place[1]).out == "replayed 1\n"
    assert zmqmq("consume", "dead", "--group", "g", "--count", "1").out == "bad\n"
    kill_one(broker, "dead", "g")
    assert zmqmq("dead", "purge", "dead", "g", "--yes").out == "purged 1\n"
    assert zmqmq("dead", "list", "dead", "g").out == "dead letters of dead / g: none\n"


def test_status_and_brokers_show_the_broker(zmqmq: Command, broker: TestBroker) -> None:
    assert zmqmq("status", "--json").document["endpoint"] == broker.endpoint
    assert "standalone" in zmqmq("status").out
    assert [entry["endpoint"] for entry in zmqmq("brokers", "--json").document] == [broker.endpoint]


def test_an_error_is_one_sentence_and_with_json_a_document(zmqmq: Command) -> None:
    plain = zmqmq("lag", "absent", "g")
    assert plain.code == exits.NOT_FOUND and plain.out == "" and plain.err.startswith("error: ") and "Traceback" not in plain.err
    document = zmqmq("lag", "absent", "g", "--json").document
    assert (document["error"], document["retryable"]) == ("UnknownTopic", False)


@pytest.mark.parametrize("name", ["", "a/b", "a b", "nul\0", "x" * 201])
def test_a_bad_name_is_refused(zmqmq: Command, name: str) -> None:
    assert zmqmq("produce", name, "x").code == exits.REFUSED


def test_no_broker_is_told_with_every_address_and_its_reason(zmqmq: Command) -> None:
    absent = zmqmq("topics", "--brokers", "127.0.0.1:1,localhost:2", "--timeout", "1")
    assert absent.code == exits.UNREACHABLE
    assert "127.0.0.1:1" in absent.err and "localhost:2" in absent.err and "refused" in absent.err
    sending = zmqmq("produce", "t", "x", "--brokers", "127.0.0.1:1", "--timeout", "0.3")
    assert sending.code == exits.UNREACHABLE and "Traceback" not in sending.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["produce"],
        ["produce", "t", "x", "--key", "k", "--key-separator", "="],
        ["produce", "t", "x", "--header", "nonsense"],
        ["produce", "t", "x", "--delay", "-1"],
        ["consume", "t", "--no-ack", "--follow"],
        ["topic", "alter", "t"],
        ["topics", "--config", "/nowhere.yaml"],
        ["topics", "--brokers", "nonsense"],
    ],
)
def test_wrong_usage_ends_with_2(zmqmq: Command, arguments: list[str]) -> None:
    assert zmqmq(*arguments).code == exits.USAGE
