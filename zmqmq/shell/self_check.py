"""Does the advertised address lead to this broker? Asked once at the start of a member of a cluster, which others must be able to reach.

The broker greets itself through its own front door, in a thread of its own while the loop runs. Only evidence counts as an error: nobody listens,
the name does not resolve, something else listens, another broker answers. A broker that is merely too busy to answer is none.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable

import zmq

from zmqmq.config import split_endpoint
from zmqmq.core.commands import VERSIONS_SPOKEN, Goodbye, Hello, Welcome
from zmqmq.errors import ConfigError, ZmqmqError
from zmqmq.version import VERSION
from zmqmq.wire import decode_answer, encode

ATTEMPTS = 3
"""Looks before the address is called wrong: networks and names may need a moment after a machine's start."""
PAUSE = 0.3
"""Seconds between two looks."""
HINT = "set advertise to an address of this broker that other machines can connect to, or leave it out to use bind"


def check_in_background(endpoint: str, broker_id: str, incarnation: int, then: Callable[[str | None], None]) -> threading.Thread:
    """Looks in a thread, and calls `then` there with what `reaches_itself` says."""
    thread = threading.Thread(target=lambda: then(reaches_itself(endpoint, broker_id, incarnation)), name="zmqmq-self-check", daemon=True)
    thread.start()
    return thread


def reaches_itself(endpoint: str, broker_id: str, incarnation: int, timeout: float = 2.0) -> str | None:
    """None if the endpoint leads to the broker with this id and incarnation, or nothing speaks against it; otherwise the text of a ConfigError.
    Blocks, at most about `timeout` seconds for each of ATTEMPTS looks."""
    pause = threading.Event()
    reason = _look(endpoint, broker_id, incarnation, timeout)
    for _ in range(ATTEMPTS - 1):
        if reason is None:
            return None
        pause.wait(PAUSE)
        reason = _look(endpoint, broker_id, incarnation, timeout)
    return str(ConfigError(f"advertise: {endpoint} does not lead to this broker: {reason}", hint=HINT)) if reason else None


def _look(endpoint: str, broker_id: str, incarnation: int, timeout: float) -> str | None:
    """In a few words, what is wrong with the endpoint."""
    deadline = time.monotonic() + timeout
    return _cannot_connect(endpoint, timeout) or _greet(endpoint, broker_id, incarnation, max(0.2, deadline - time.monotonic()))


def _cannot_connect(endpoint: str, timeout: float) -> str | None:
    try:
        host, port = split_endpoint(endpoint)
        socket.create_connection((host.strip("[]"), port), timeout).close()
    except socket.gaierror as error:
        return f"the host name does not resolve: {error.strerror}"
    except TimeoutError:
        return f"no answer to a connection attempt within {timeout:g} seconds"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except (ValueError, OverflowError):
        return "it is no address of the form tcp://HOST:PORT"
    return None


def _greet(endpoint: str, broker_id: str, incarnation: int, timeout: float) -> str | None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.IMMEDIATE, 1)
        dealer.setsockopt(zmq.IPV6, 1)
        dealer.connect(endpoint)
        if not dealer.poll(int(timeout * 1000), zmq.POLLOUT):
            return "something listens there that does not speak ZeroMQ"
        dealer.send(encode(Hello(VERSIONS_SPOKEN, uuid.uuid4().hex, 1, "self check", 0.0, f"zmqmq {VERSION}")))
        if not dealer.poll(int(timeout * 1000), zmq.POLLIN):
            return None
        reason = _judge(dealer.recv_multipart()[0], broker_id, incarnation)
        dealer.send(encode(Goodbye(1)), zmq.DONTWAIT)
        dealer.poll(int(timeout * 1000), zmq.POLLIN)  # closing at once would throw the goodbye away
        return reason
    except zmq.ZMQError:
        return None  # a lack of our own: of sockets, of memory
    finally:
        context.destroy(linger=0)


def _judge(frame: bytes, broker_id: str, incarnation: int) -> str | None:
    try:
        answer = decode_answer(frame)
    except ZmqmqError:
        return "something listens there that is no zmqmq broker"
    if isinstance(answer, Welcome) and (answer.broker_id, answer.incarnation) != (broker_id, incarnation):
        return f"there answers broker {answer.broker_id} of cluster {answer.cluster_id} (start {answer.incarnation})"
    return None
