"""A TCP connection that fails as networks do: while it is cut nothing passes and nobody is told; mended, what was under way arrives late.

Bytes are held back rather than thrown away, as TCP's own repetition would do it. A new connection is taken while the cable is cut, but it stays silent.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

PIECE = 65536
CONNECT_LIMIT = 5.0
"""Seconds for the connection to the far side."""


class Proxy:
    """Listens on a port and passes everything on to a port of this machine, both ways."""

    def __init__(self, listen: int, target: int) -> None:
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._closed = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", listen))
        threading.Thread(target=self._accept, name=f"proxy {listen}", daemon=True).start()

    def cut(self) -> None:
        """From now on nothing passes; all connections stay."""
        self._whole.clear()

    def mend(self) -> None:
        """Everything passes again, what was held back first."""
        self._whole.set()

    def close(self) -> None:
        """Ends all connections and listens no more."""
        self._closed = True
        self._whole.set()
        for one in [self._listener, *self._sockets]:
            _end(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        """Nobody listens at the far side: the near side finds its connection closed at once."""
        self._whole.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target), CONNECT_LIMIT)
            far.settimeout(None)
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            _end(near)
            return
        self._sockets.append(far)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                self._whole.wait()
                sink.sendall(piece)
        _end(source)
        _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
