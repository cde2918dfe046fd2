"""The codec: what goes in comes out, and whatever else comes in gets a typed error."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from zmqmq import wire
from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster
from zmqmq.core import commands as data
from zmqmq.core import peer_commands as peer
from zmqmq.core.model import Limits
from zmqmq.errors import BadFrame, UnsupportedVersion

MESSAGES = peer.Block(0, 17, 4, 1.5, 2**62, 7, [b"a", b"b"], [1, 2], [b"k", None], [None, "{}"])
OPERATION = peer.Block(2, 19, 4, 1.5, 0, 0, [b'{"op": "opened"}'], [1], None, None)
DELAYED = peer.Block(1, 20, 4, 1.5, 3, 9, [b"later"], [1], None, None, 99.5)
NEWS = peer.FetchedPart(3, 0, 4, 17, "data", 17, 2, [MESSAGES, OPERATION, DELAYED], next=21)
SNAPSHOT = peer.Snapshot(
    9,
    5,
    3,
    0,
    4,
    17,
    20,
    2,
    200,
    1,
    [(1, 0), (4, 12)],
    [(7, 3, "[]", 1.5)],
    [("g", 17, "[]", "{}", "[]", 2, 1, "[3,9]")],
    [("g", "m", 10.0)],
    [("g", 3, 5, "bad", "c", 1.0, 0)],
)
MEMBER = cluster.MemberSummary("b-1", True, "tcp://127.0.0.1:7400", "", "test", 3, False, False, 1, 2, 2)
PLACE = cluster.PlaceSummary("temp_1", 0, "b-1", 4, ["b-1", "b-2"], ["b-1"], [], [], [], 2, 21, 17, {"b-2": 4})

REQUESTS = [
    data.Hello((1, 1), "c" * 32, 1, "sensor", 10.0, "test"),
    data.Ping(1, 0.5),
    data.Describe(2, "temp_1", True),
    data.Produce(3, "temp_1", 0, 1, 2**62, 7, 7, [b"a", b"b"], [1, 2], [b"k", None], [None, "{}"], [None, 1.5]),
    data.Subscribe(4, "temp_1", "g", held=[data.HeldLease(0, 1, 9, [3, 5])]),
    data.Pull(5, 32, 1 << 20),
    data.Settle(6, [data.Settlement(1, 0, 1, 9, "nack", [3], 2.5, "because")]),
    admin.AlterTopic(7, "temp_1", {"max_age": 3.5}),
    admin.Replay(8, "temp_1", "g", 0, [1, 2]),
    data.Subscribe(9, "temp_1", "g", partitions=[0, 2]),
    peer.Fetch(10, "c", "b-2", 5, 1, True, [peer.FetchPart(3, 0, 4, 17, -1), peer.FetchPart(3, 1, -1, 0, -1, 25)], 0.5, 1 << 20),
    peer.AskSnapshot(11, "c", "b-2", 5, 3, 0, 4),
    cluster.AskCluster(12, "temp_1"),
    cluster.DrainBroker(13, "b-1", False),
    cluster.RemoveBroker(14, "b-1"),
    cluster.Reassign(15, "temp_1", 0, ["b-2", "b-3"]),
    cluster.AddPartitions(16, "temp_1", 8),
]
ANSWERS = [
    data.Welcome(1, "c", "b", 1, 1, Limits(), 10.0, 1.0, "tcp://127.0.0.1:7401", b"12345678", "test", 0.0),
    data.WhoAreYou(),
    data.Produced(3, 17, 1.0),
    data.Delivery(5, [data.Lot(1, 0, 1, 9, [3, 5], [1.0, 1.0], [b"a", b"b"], [1, 2], None, None, [1, 2])]),
    data.Settled(6, [data.Settlement(1, 0, 1, 9, "ack", [3])]),
    data.Settled(6, [data.Settlement(1, 0, 1, 9, "ack", [3])], [0]),
    data.Refused(6, "StorageFull", "the disk is full", details={"broker": "b"}),
    data.Moved("temp_1"),
    data.Subscribed(9, 1, "temp_1", "g", [data.KeptLease(0, 1, 9, 2, 10, [3], [5])], [0, 2]),
    peer.Fetched(10, 5, [NEWS, peer.FetchedPart(3, 1, 4, 7, "diverged", diverged_epoch=2, diverged_end=5)], True),
    SNAPSHOT,
    cluster.ClusterReport(12, "c", "b-1", "b-1", 2, True, [MEMBER], [PLACE]),
]


@pytest.mark.parametrize("command", REQUESTS, ids=lambda command: type(command).__name__)
def test_a_request_comes_back_as_it_was(command: data.Command) -> None:
    assert wire.decode_request(wire.encode(command)) == command


@pytest.mark.parametrize("command", ANSWERS, ids=lambda command: type(command).__name__)
def test_an_answer_comes_back_as_it_was(command: data.Command) -> None:
    assert wire.decode_answer(wire.encode(command)) == command


def test_a_beacon_comes_back_as_it_was() -> None:
    beacon = data.Beacon(3, 17, [(1, 16)], True)
    assert wire.decode_beacon(wire.encode_beacon(beacon)) == beacon


def test_an_answer_is_no_request() -> None:
    with pytest.raises(BadFrame, match="unknown command 'pong'"):
        wire.decode_request(wire.encode(data.Pong(1)))


def test_another_version_is_refused_by_its_number() -> None:
    frame = b"\x07" + wire.encode(REQUESTS[0])[1:]
    with pytest.raises(UnsupportedVersion, match="protocol version 7"):
        wire.decode_request(frame)


def test_a_bad_field_is_named() -> None:
    frame = b"\x01" + msgspec.msgpack.encode(["ping", "seven"])
    with pytest.raises(BadFrame, match="ping.id"):
        wire.decode_request(frame)


def test_unknown_trailing_fields_disturb_nobody() -> None:
    frame = b"\x01" + msgspec.msgpack.encode(["ping", 7, 0.0, "of a newer version"])
    assert wire.decode_request(frame) == data.Ping(7)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"crcs": [1]}, "produce.crcs has 1 entries"),
        ({"crcs": [1, 2**32]}, "produce.crcs holds"),
        ({"values": [], "crcs": []}, "produce.values is empty"),
        ({"delays": [None, float("nan")]}, "produce.delays"),
        ({"delays": [None, -1.0]}, "produce.delays"),
        ({"sequence": 3, "oldest": 4}, "produce.sequence"),
        ({"producer": 2**63}, "produce.producer"),
        ({"partition": -1}, "produce holds -1"),
        ({"epoch": 2**64 - 1}, "produce.epoch"),
    ],
)
def test_a_produce_that_cannot_be_stored_is_refused(fields: dict[str, object], named: str) -> None:
    good = {"values": [b"a", b"b"], "crcs": [1, 2], "partition": 0, "epoch": 1, "producer": 5, "sequence": 7, "oldest": 7, "delays": None}
    given_ = {**good, **fields}
    columns = [given_[name] for name in ("partition", "epoch", "producer", "sequence", "oldest", "values", "crcs")]
    frame = b"\x01" + msgspec.msgpack.encode(["produce", 1, "t", *columns, None, None, given_["delays"]])
    with pytest.raises(BadFrame, match=named):
        wire.decode_request(frame)


def refused_answer(command: data.Command) -> str:
    with pytest.raises(BadFrame) as caught:
        wire.decode_answer(wire.encode(command))
    return str(caught.value)


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (replace(MESSAGES, crcs=[1]), "blocks.crcs has 1 entries"),
        (replace(MESSAGES, keys=[b"k"]), "blocks.keys has 1 entries"),
        (replace(MESSAGES, headers=[None] * 3), "blocks.headers has 3 entries"),
        (replace(MESSAGES, crcs=[1, 2**32]), "blocks.crcs holds"),
        (replace(MESSAGES, values=[], crcs=[], keys=None, headers=None), "blocks.values has 0 entries"),
        (replace(MESSAGES, kind=1), "blocks.values has 2 entries"),
        (replace(MESSAGES, kind=3), "blocks.kind holds 3"),
        (replace(MESSAGES, due=5.0), "blocks.due is 5.0"),
        (replace(MESSAGES, first=-1), "`fetched.parts[0].blocks[0].first`"),
        (replace(MESSAGES, first=2**63 - 2), "blocks.first is"),
        (replace(MESSAGES, epoch=-1), "`fetched.parts[0].blocks[0].epoch`"),
        (replace(MESSAGES, producer=2**63), "`fetched.parts[0].blocks[0].producer`"),
        (replace(MESSAGES, time=float("nan")), "blocks.time is nan"),
        (replace(DELAYED, due=float("inf")), "blocks.due is inf"),
    ],
)
def test_records_that_cannot_be_stored_are_not_taken_from_a_leader(block: peer.Block, named: str) -> None:
    assert named in refused_answer(peer.Fetched(1, 5, [replace(NEWS, blocks=[block])]))


@pytest.mark.parametrize("field", ["topic_id", "partition", "offset", "committed", "start", "diverged_end", "next"])
def test_news_of_a_place_that_cannot_be_is_refused(field: str) -> None:
    assert f"Expected `int` >= 0 - at `fetched.parts[1].{field}`" in refused_answer(peer.Fetched(1, 5, [NEWS, replace(NEWS, **{field: -1})]))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"start": -1}, "snapshot holds -1"),
        ({"applied": 2**63}, "snapshot.applied is"),
        ({"epochs": [(1, -1)]}, "snapshot.epochs holds -1"),
        ({"producers": [(2**63, 0, "[]", 1.0)]}, "snapshot.producers.0 is"),
        ({"producers": [(1, 0, "[]", float("inf"))]}, "snapshot.producers.3 is inf"),
        ({"groups": [("g", 2**64 - 1, "[]", "{}", "[]", 0, 0, "[0,0]")]}, "snapshot.groups.1 is"),
        ({"members": [("g", "m", float("nan"))]}, "snapshot.members.2 is nan"),
        ({"dead": [("g", -1, 5, "", "", 1.0, 0)]}, "snapshot.dead holds -1"),
    ],
)
def test_a_snapshot_that_cannot_be_stored_is_refused(fields: dict[str, object], named: str) -> None:
    assert named in refused_answer(replace(SNAPSHOT, **fields))


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (peer.Fetch(1, "c", "b", 5, 1, True, [peer.FetchPart(3, 0, 4, -1, -1)], 0.5, 1), "`fetch.parts[0].offset`"),
        (peer.Fetch(1, "c", "b", 5, 1, True, [peer.FetchPart(3, 0, -2, 0, -1)], 0.5, 1), "Expected `int` >= -1 - at `fetch.parts[0].epoch`"),
        (peer.Fetch(1, "c", "b", -1, 1, True, [], 0.5, 1), "`fetch.be`"),
        (peer.Fetch(1, "c", "b", 5, 1, True, [], -0.5, 1), "fetch.wait is -0.5"),
        (peer.Fetch(1, "c", "b", 5, 1, True, [], float("nan"), 1), "fetch.wait is nan"),
        (peer.AskSnapshot(1, "c", "b", 5, 3, -1, 4), "ask_snapshot holds -1"),
        (data.Subscribe(1, "t", "g", partitions=[-1]), "subscribe.partitions holds -1"),
        (cluster.Reassign(1, "t", -1, ["b"]), "reassign.partition holds -1"),
        (cluster.Reassign(1, "t", 0, []), "reassign.replicas is empty"),
    ],
)
def test_a_request_about_a_place_that_cannot_be_is_refused(command: data.Command, named: str) -> None:
    with pytest.raises(BadFrame) as caught:
        wire.decode_request(wire.encode(command))
    assert named in str(caught.value)


def test_a_lag_that_cannot_be_is_refused() -> None:
    assert "places.lag holds -4" in refused_answer(cluster.ClusterReport(1, "c", "b", "b", 2, True, [MEMBER], [replace(PLACE, lag={"b-2": -4})]))


def test_deep_nesting_is_a_bad_frame() -> None:
    for nested in (b"\x91" * 100_000, b"\x81\xa1a" * 50_000):
        with pytest.raises(BadFrame):
            wire.decode_request(b"\x01" + nested)


def test_a_lying_length_is_a_bad_frame() -> None:
    for lie in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x92\xa4ping\xc6\xff\xff\xff\xff"):
        with pytest.raises(BadFrame):
            wire.decode_request(b"\x01" + lie)


def test_text_that_is_not_utf_8_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame):
        wire.decode_request(b"\x01\x93\xa8describe\x01\xa2\xff\xfe")


def _decoded_or_refused(frame: bytes) -> None:
    for decode in (wire.decode_request, wire.decode_answer, wire.decode_beacon):
        try:
            decode(frame)
        except (BadFrame, UnsupportedVersion) as error:
            assert str(error)


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    _decoded_or_refused(body)
    _decoded_or_refused(b"\x01" + body)


@given(st.sampled_from([*REQUESTS, *ANSWERS]), st.data())
@settings(max_examples=500, deadline=None)
def test_a_damaged_frame_is_decoded_or_refused(command: data.Command, draw: st.DataObject) -> None:
    frame = bytearray(wire.encode(command))
    place = draw.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= 1 << draw.draw(st.integers(0, 7))
    _decoded_or_refused(bytes(frame))
    _decoded_or_refused(bytes(frame[:place]))


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(wire._REQUESTS | wire._ANSWERS)), st.lists(_plain, max_size=12))
@settings(max_examples=500, deadline=None)
def test_a_known_command_with_any_fields_is_decoded_or_refused(tag: str, fields: list[object]) -> None:
    _decoded_or_refused(b"\x01" + msgspec.msgpack.encode([tag, *fields]))
