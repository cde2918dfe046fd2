"""What is asked of kazoo, and what its answers mean. Nothing else knows kazoo; this module is loaded when a broker of a cluster starts.

kazoo runs completions and watches on threads of their own, so that what the server said in one order is heard in another. Here both
run where they are read, on the connection's thread, and therefore in the server's order; all they may do is to put something
into a queue. Nothing is ever tried again: kazoo's retries would carry out a change in a later session.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionDropped,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.connection import STOP_CONNECTING
from kazoo.protocol.states import KeeperState
from kazoo.retry import KazooRetry
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

from zmqmq.config_cluster import ZooKeeperConfig
from zmqmq.core.tree import Answer, Change, Changed, Check, Children, Create, Delete, List, Missing, Node, Put, Read, Refusal, Request, Sync, Synced, Unknown

CONNECT_LIMIT = 1.0
"""Seconds for a server to accept a connection; then the next one is tried."""
FIRST_DELAY, LAST_DELAY, GROWTH = 0.1, 1.0, 1.5
"""Seconds between two rounds over all servers, and how they grow."""
MAX_CHANGE_BYTES = 900_000
"""A server drops the connection over a larger request (jute.maxbuffer, 1 MiB)."""

_LOST = (ConnectionLoss, ConnectionDropped, SessionExpiredError, SessionMovedError, OperationTimeoutError, AuthFailedError)
_ROLLED_BACK = (RolledBackError, RuntimeInconsistency)
_LOG = logging.getLogger("zmqmq.kazoo")

Done = Callable[[Answer], None]
Touch = Callable[[str], None]


class InlineHandler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """Runs callbacks at once, on the connection's thread."""

    def start(self) -> None:
        """There are no workers to start."""

    def stop(self) -> None:
        """Nor to stop."""

    def dispatch_callback(self, callback: Any) -> None:
        callback.func(*callback.args)

    def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = min(kwargs.get("timeout") or CONNECT_LIMIT, CONNECT_LIMIT)
        return super().create_connection(*args, **kwargs)


class Attempts:
    """What came of the attempts to connect: the granted timeout, or each server's last excuse."""

    def __init__(self) -> None:
        self.timeout = 0.0
        self.excuses: dict[str, str] = {}


class Watch(NamedTuple):
    """A one-shot watch. Equal ones are one, as they are for the server."""

    touch: Touch
    path: str
    children: bool

    def __call__(self, event: Any) -> None:
        if event.type != "NONE":
            self.touch(self.path)


def make_client(config: ZooKeeperConfig, attempts: Attempts, lock: threading.RLock, breaking: Callable[[], None]) -> Any:
    """A client that never gives up, and that changes its state only while it holds `lock`; first it calls `breaking` if that is for the worse."""
    for logger in (_LOG, logging.getLogger("kazoo")):
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
    _LOG.propagate = False
    handler, tls = InlineHandler(), config.tls
    client = KazooClient(
        hosts=",".join(config.host_list),
        timeout=config.session_timeout_seconds,
        handler=handler,
        default_acl=CREATOR_ALL_ACL if config.username else OPEN_ACL_UNSAFE,
        auth_data=[("digest", f"{config.username}:{config.password}")] if config.username else None,
        read_only=False,
        connection_retry=KazooRetry(max_tries=-1, delay=FIRST_DELAY, backoff=GROWTH, max_delay=LAST_DELAY, max_jitter=0.2, sleep_func=handler.sleep_func),
        logger=_LOG,
        use_ssl=tls.enabled,
        ca=tls.ca,
        certfile=tls.cert,
        keyfile=tls.key,
        verify_certs=tls.verify,
        check_hostname=tls.enabled and tls.verify,
    )
    _keep_trying(client, attempts)
    client._session_callback = partial(_change_state, client, lock, breaking, client._session_callback)
    return client


def close_client(client: Any) -> None:
    """Ends the session; takes as long as it takes."""
    client.stop()
    client.close()


def make_root(client: Any, root: str, done: Callable[[str], None]) -> None:
    """Makes sure that the node `root` exists; calls `done` with "" or with what went wrong. Nodes above it are open to all clusters."""

    def above(result: Any) -> None:
        if result.exception is not None:
            done(_text(result.exception))
        else:
            client.create_async(root).rawlink(made)

    def made(result: Any) -> None:
        fine = result.exception is None or isinstance(result.exception, NodeExistsError)
        done("" if fine else f"{root} cannot be made: {_text(result.exception)}")

    client.ensure_path_async(root.rpartition("/")[0] or "/", acl=OPEN_ACL_UNSAFE).rawlink(above)


def perform(client: Any, root: str, request: Request, done: Done, touch: Touch) -> None:
    """Sends one request below `root` without waiting; `done` gets the answer, `touch` the paths of watched nodes that change."""
    try:
        _send(client, root, request, done, touch)
    except (KazooException, TypeError, ValueError) as error:
        done(_failure(error))


def _send(client: Any, root: str, request: Request, done: Done, touch: Touch) -> None:
    if isinstance(request, Change):
        if sum(len(step.data) for step in request.steps if isinstance(step, Create | Put)) > MAX_CHANGE_BYTES:
            done(Refusal("other", 0, f"more than {MAX_CHANGE_BYTES} bytes in one change"))
        elif not request.steps:
            done(Changed(()))
        else:
            _transaction(client, root, request).commit_async().rawlink(lambda result: done(_changed(request, result)))
    elif isinstance(request, Read):
        watch = Watch(touch, request.path, False) if request.watch else None
        client.get_async(_full(root, request.path), watch=watch).rawlink(partial(_node, client, root, request, done, watch))
    elif isinstance(request, List):
        children = Watch(touch, request.path, True) if request.watch else None
        client.get_children_async(_full(root, request.path), watch=children).rawlink(lambda result: done(_children(result)))
    else:
        assert isinstance(request, Sync)
        client.sync_async(root).rawlink(lambda result: done(Synced() if result.exception is None else _failure(result.exception)))


def _transaction(client: Any, root: str, change: Change) -> Any:
    transaction = TransactionRequest(client)
    for step in change.steps:
        path = _full(root, step.path)
        if isinstance(step, Create):
            transaction.create(path, step.data, ephemeral=step.ephemeral)
        elif isinstance(step, Put):
            transaction.set_data(path, step.data, step.version)
        elif isinstance(step, Delete):
            transaction.delete(path, step.version)
        else:
            transaction.check(path, step.version)
    return transaction


def _changed(change: Change, result: Any) -> Answer:
    if result.exception is not None:
        return _failure(result.exception)
    results: Sequence[Any] = result.value
    for number, part in enumerate(results):
        if isinstance(part, Exception) and not isinstance(part, _ROLLED_BACK):
            return _failure(part, number)
    if len(results) != len(change.steps) or any(isinstance(part, Exception) for part in results):
        return Unknown()
    return Changed([_version(step, part) for step, part in zip(change.steps, results, strict=True)])


def _version(step: object, result: Any) -> int:
    if isinstance(step, Create):
        return 0
    if isinstance(step, Put):
        return int(result.version)
    return step.version if isinstance(step, Check) else -1


def _node(client: Any, root: str, request: Read, done: Done, watch: Watch | None, result: Any) -> None:
    """A server sets no watch on a node that is not there when it is read; `exists` does, and says if the node has come meanwhile."""
    if isinstance(result.exception, NoNodeError):
        done(Missing())
        if watch is not None and not request.if_there:
            exists = client.exists_async(_full(root, request.path), watch=watch)
            exists.rawlink(lambda later: watch.touch(watch.path) if later.exception is None and later.value is not None else None)
    elif result.exception is not None:
        done(_failure(result.exception))
    else:
        data, stat = result.value
        done(Node(data, stat.version, stat.ephemeralOwner, stat.czxid))


def _children(result: Any) -> Answer:
    if isinstance(result.exception, NoNodeError):
        return Missing()
    return _failure(result.exception) if result.exception is not None else Children(sorted(result.value))


def _failure(error: BaseException, step: int = 0) -> Answer:
    if isinstance(error, _LOST):
        return Unknown()
    if isinstance(error, NoNodeError):
        return Refusal("missing", step)
    if isinstance(error, NodeExistsError):
        return Refusal("exists", step)
    if isinstance(error, BadVersionError):
        return Refusal("version", step)
    return Refusal("not_empty", step) if isinstance(error, NotEmptyError) else Refusal("other", step, _text(error))


def _full(root: str, path: str) -> str:
    return root if path == "/" else root + path


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()


def _change_state(client: Any, lock: threading.RLock, breaking: Callable[[], None], change: Callable[[Any], None], state: str) -> None:
    with lock:
        if state not in (KeeperState.CONNECTED, client._state):
            breaking()
        change(state)


def _keep_trying(client: Any, attempts: Attempts) -> None:
    """kazoo's connection ends for good when something unforeseen happens in it, or when the servers do not know the password: not here."""
    connection = client._connection
    connect, attempt = connection._connect, connection._connect_attempt

    def connecting(host: str, address: str, port: int) -> Any:
        try:
            read_timeout, connect_timeout = connect(host, address, port)
        except Exception as error:
            attempts.excuses[_address(host, port)] = str(error).removeprefix("socket connection error: ") or type(error).__name__
            raise
        # The granted timeout is not kept anywhere: what is returned, in milliseconds, is two thirds of it.
        attempts.timeout = round(read_timeout * 1.5) / 1000.0
        attempts.excuses.clear()
        return read_timeout, connect_timeout

    def attempting(host: str, address: str, port: int, retry: Any) -> Any:
        try:
            status = attempt(host, address, port, retry)
        except Exception as error:
            attempts.excuses[_address(host, port)] = _text(error)
            client._session_callback(KeeperState.CONNECTING)
            return None
        return None if status is STOP_CONNECTING and not client._stopped.is_set() else status

    connection._connect, connection._connect_attempt = connecting, attempting
