"""What applications pass in, checked and brought into the form that travels."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import msgspec

from zmqmq.core.names import check_key
from zmqmq.errors import InvalidValue, MessageTooLarge

_headers_encoder = msgspec.json.Encoder()
_headers_decoder = msgspec.json.Decoder(dict[str, str])


def value_bytes(value: object) -> bytes:
    """The bytes of a message's value. Raises InvalidValue unless it is bytes-like."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidValue(f"the value is of type {type(value).__name__}", hint="pass bytes; encode text with .encode()")


def key_bytes(key: object, max_bytes: int) -> bytes:
    """The bytes of a key given as str or bytes. Raises InvalidValue or InvalidName."""
    if isinstance(key, str):
        return check_key(key.encode("utf-8", "surrogatepass"), max_bytes)
    if isinstance(key, bytes | bytearray | memoryview):
        return check_key(bytes(key), max_bytes)
    raise InvalidValue(f"the key is of type {type(key).__name__}", hint="pass str or bytes")


def key_for_people(key: bytes | None) -> str | bytes | None:
    """A key as applications get it: str if it is UTF-8 text, as most keys are, else the bytes themselves."""
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key


def headers_text(headers: Mapping[str, str], max_bytes: int) -> str | None:
    """Headers as the JSON object that travels, None for none. Raises InvalidValue or MessageTooLarge."""
    if not headers:
        return None
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidValue(f"the header {name!r} is {value!r}", hint="names and values of headers are str")
    try:
        text = _headers_encoder.encode(dict(headers))
    except (UnicodeError, msgspec.MsgspecError) as error:
        raise InvalidValue(f"a header is not valid text: {error}", hint="names and values of headers are str") from None
    if len(text) > max_bytes:
        raise MessageTooLarge(f"the headers take {len(text)} bytes", hint=f"at most {max_bytes} are allowed")
    return text.decode()


def headers_dict(text: str | None) -> dict[str, str]:
    """Headers as applications get them; what is no JSON object of strings (no zmqmq client sends that) is empty."""
    if text is None:
        return {}
    try:
        return _headers_decoder.decode(text)
    except msgspec.MsgspecError:
        return {}


def delay_seconds(delay: object, max_delay: float) -> float:
    """A delay. Raises InvalidValue."""
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not isfinite(delay) or not 0 <= delay <= max_delay:
        raise InvalidValue(f"the delay is {delay!r}", hint=f"allowed are 0 to {max_delay:g} seconds")
    return float(delay)


def positive(what: str, value: object, highest: float = 10 * 365 * 86400.0) -> float:
    """A setting that is a number above 0. Raises InvalidValue."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= highest:
        raise InvalidValue(f"{what} is {value!r}", hint=f"allowed is a number above 0, at most {highest:g}")
    return value


def timeout_seconds(timeout: float | None) -> float | None:
    """A timeout: seconds from 0 on, or None. Raises InvalidValue."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise InvalidValue(f"the timeout is {timeout!r}", hint="allowed are seconds from 0 on, or None to wait as long as it takes")
    return min(timeout, 1e8)
