"""Commands to frames and back: one frame is one version byte followed by msgpack of a tagged command.

Encoding trusts its caller. Decoding trusts nobody and is *total*: whatever bytes come in, the result is a command of the
expected direction or a typed error (`BadFrame`, `UnsupportedVersion`) that names the field and what is allowed. Types are
checked by msgspec while it decodes; what types cannot say (columns of one length, numbers that SQLite can store, times that
are numbers) is checked by `zmqmq.wire_checks`.

The version byte is outside of msgpack so that a peer of any other version can still be told, in version 1, why it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast, get_args

import msgspec
from msgspec.structs import fields

from zmqmq.core import admin_commands as admin
from zmqmq.core import cluster_commands as cluster
from zmqmq.core import commands as data
from zmqmq.core import peer_commands as peer
from zmqmq.core.commands import BEACON, PROTOCOL_VERSION, VERSIONS_SPOKEN, Command
from zmqmq.core.model import Limits
from zmqmq.errors import BadFrame, UnsupportedVersion
from zmqmq.wire_checks import CHECKS, MAX_QUOTED, check_scalars

FRAME_OVERHEAD_PER_MESSAGE = 64
"""Bytes of encoding that one message may need beside its value, key and headers."""
FRAME_OVERHEAD = 65536
"""Bytes that a frame may need beside its messages."""

Request = (
    data.Hello
    | data.Ping
    | data.Goodbye
    | data.Describe
    | data.Produce
    | data.Subscribe
    | data.Pull
    | data.Settle
    | admin.CreateTopic
    | admin.AlterTopic
    | admin.DeleteTopic
    | admin.ListTopics
    | admin.DescribePartitions
    | admin.ListGroups
    | admin.DeleteGroup
    | admin.AskLag
    | admin.Seek
    | admin.ListDead
    | admin.Replay
    | admin.Purge
    | admin.AskExplain
    | admin.AskStatus
    | admin.ListBrokers
    | cluster.AskCluster
    | cluster.DrainBroker
    | cluster.RemoveBroker
    | cluster.Reassign
    | cluster.AddPartitions
    | peer.Fetch
    | peer.AskSnapshot
)
"""What a broker may receive: from a client, or from a broker that follows it."""

Answer = (
    data.Welcome
    | data.WhoAreYou
    | data.SessionReplaced
    | data.Pong
    | data.Farewell
    | data.Refused
    | data.Described
    | data.Moved
    | data.Produced
    | data.Subscribed
    | data.Delivery
    | data.Empty
    | data.Settled
    | data.Recalled
    | admin.Done
    | admin.TopicList
    | admin.PartitionList
    | admin.GroupList
    | admin.LagReport
    | admin.DeadList
    | admin.Explanation
    | admin.BrokerStatus
    | admin.BrokerList
    | cluster.ClusterReport
    | peer.Fetched
    | peer.Snapshot
)
"""What a client, or a broker that follows, may receive from a broker."""

_VERSION_BYTE = bytes([PROTOCOL_VERSION])
_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Request)
_answer_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Answer)
_beacon_decoder = msgspec.msgpack.Decoder(data.Beacon)
_outline_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_tag_decoder = msgspec.msgpack.Decoder(str)
_PLACE = re.compile(r"\$(\[\d+\])+")
_INDEX = re.compile(r"\d+")
_UNDECODABLE = (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)
"""All that a decoder may raise on hostile bytes; deep nesting is a RecursionError, a lying length may be a MemoryError."""


def encode(command: Command) -> bytes:
    """The frame of a command."""
    return _VERSION_BYTE + _encoder.encode(command)


def decode_request(frame: bytes | memoryview) -> Command:
    """What a client or a follower says to a broker. Raises BadFrame or UnsupportedVersion, and nothing else, on bytes that are no request."""
    return _decode(frame, _request_decoder, _REQUESTS)


def decode_answer(frame: bytes | memoryview) -> Command:
    """What a broker says to a client or a follower. Raises BadFrame or UnsupportedVersion, and nothing else, on bytes that are no answer."""
    return _decode(frame, _answer_decoder, _ANSWERS)


def encode_beacon(beacon: data.Beacon) -> bytes:
    """The PUB frame of a beacon, with its subscription prefix."""
    return BEACON + _encoder.encode(beacon)


def decode_beacon(frame: bytes | memoryview) -> data.Beacon:
    """The beacon in a SUB frame; raises BadFrame on anything else."""
    view = memoryview(frame)
    if bytes(view[:1]) != BEACON:
        raise BadFrame("not a beacon", hint=f"it begins with {BEACON!r}")
    try:
        beacon = _beacon_decoder.decode(view[1:])
    except _UNDECODABLE as error:
        raise BadFrame(f"not a beacon: {_quoted(error)}") from None
    check_scalars(beacon, "beacon")
    return beacon


def max_frame_bytes(limits: Limits) -> int:
    """The largest frame that a peer within these limits can send, in bytes: what a socket's MAXMSGSIZE must allow."""
    messages = max(limits.max_batch_bytes, limits.max_message_bytes)
    return messages + limits.max_batch_messages * FRAME_OVERHEAD_PER_MESSAGE + FRAME_OVERHEAD


def _decode(frame: bytes | memoryview, decoder: msgspec.msgpack.Decoder[Any], kinds: dict[str, type[Command]]) -> Command:
    view = memoryview(frame)
    _check_version(view)
    try:
        command = cast(Command, decoder.decode(view[1:]))
    except _UNDECODABLE as error:
        raise _explained(error, view[1:], kinds) from None
    name = str(command.__struct_config__.tag)
    check_scalars(command, name)
    check = CHECKS.get(type(command))
    if check is not None:
        check(command)
    return command


def _check_version(view: memoryview) -> None:
    if not len(view):
        raise BadFrame("an empty frame is no command", hint="a frame is a version byte and a msgpack array")
    low, high = VERSIONS_SPOKEN
    if not low <= view[0] <= high:
        raise UnsupportedVersion(f"protocol version {view[0]} is not spoken here", hint=f"versions {low} to {high} are", version=view[0])


def _explained(error: BaseException, body: memoryview, kinds: dict[str, type[Command]]) -> BadFrame:
    """The typed error for bytes that msgspec refused, with indices of the array replaced by names of fields."""
    tag = _tag_of(body)
    if tag is None:
        return BadFrame("the frame is not a msgpack array that begins with a command's name", hint=_quoted(error))
    kind = kinds.get(tag)
    if kind is None:
        return BadFrame(f"unknown command {tag[:MAX_QUOTED]!r}", hint=f"known are {', '.join(sorted(kinds))}")
    text = _PLACE.sub(lambda match: tag + _named(kind, [int(index) for index in _INDEX.findall(match[0])]), _quoted(error), count=1)
    return BadFrame(f"bad {tag}: {text}", hint=f"its fields are {', '.join(kind.__struct_fields__)}", command=tag)


def _named(kind: Any, indices: Sequence[int]) -> str:
    """A place in a command as people write it, for the indices of the arrays that lead there."""
    if not indices:
        return ""
    index, *inner = indices
    if not (isinstance(kind, type) and issubclass(kind, Command)):
        return f"[{index}]" + _named(next(iter(get_args(kind)), None), inner)
    known = fields(kind)
    index -= kind.__struct_config__.tag is not None  # it comes before the fields
    return f".{known[index].name}" + _named(known[index].type, inner) if 0 <= index < len(known) else ""


def _tag_of(body: memoryview) -> str | None:
    try:
        outline = _outline_decoder.decode(body)
        return _tag_decoder.decode(outline[0]) if outline else None
    except _UNDECODABLE:
        return None


def _quoted(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"


def _by_tag(union: Any) -> dict[str, type[Command]]:
    return {str(kind.__struct_config__.tag): kind for kind in union.__args__}


_REQUESTS = _by_tag(Request)
_ANSWERS = _by_tag(Answer)
