"""The desk at the door: who comes, who is still there, who leaves."""

from __future__ import annotations

from collections.abc import Callable

from zmqmq.core.commands import VERSIONS_SPOKEN, Farewell, Goodbye, Hello, Ping, Pong, SessionReplaced, Welcome
from zmqmq.core.consumers import Consumers
from zmqmq.core.context import Context
from zmqmq.core.sessions import Session
from zmqmq.errors import UnsupportedVersion, ZmqmqError


class Greeting:
    """Opens, keeps and ends sessions. `loop_lag` gives the worst turn of late, in seconds."""

    def __init__(self, context: Context, consumers: Consumers, loop_lag: Callable[[], float]) -> None:
        self.context = context
        self.consumers = consumers
        self.loop_lag = loop_lag

    def hello(self, address: bytes, command: Hello) -> None:
        """A session begins, or goes on over another connection."""
        context = self.context
        low, high = command.versions
        if low > VERSIONS_SPOKEN[1] or high < VERSIONS_SPOKEN[0]:
            spoken = f"{VERSIONS_SPOKEN[0]} to {VERSIONS_SPOKEN[1]}"
            error = UnsupportedVersion(f"the client speaks protocol {low} to {high}", hint=f"this broker speaks {spoken}; update the older side")
            context.refuse(address, 0, error)
            return
        try:
            session, replaced = context.sessions.open(address, command, context.now)
        except ZmqmqError as error:
            context.refuse(address, 0, error)
            return
        if session is None:
            context.reply(address, SessionReplaced())
            return
        if replaced is not None:
            context.reply(replaced, SessionReplaced())
        event = "session opened" if session.connected == context.now else "session resumed"
        context.note(event, client=session.client_id, name=session.name, epoch=session.epoch, software=session.software)
        context.reply(address, self._welcome(session, high))

    def _welcome(self, session: Session, version: int) -> Welcome:
        settings = self.context.settings
        return Welcome(
            min(version, VERSIONS_SPOKEN[1]),
            settings.cluster_id,
            settings.broker_id,
            settings.incarnation,
            session.epoch,
            settings.limits,
            session.timeout,
            settings.beacon_interval,
            settings.wake_endpoint,
            session.wake_name,
            settings.software,
            self.context.wall,
        )

    def ping(self, session: Session, command: Ping) -> None:
        """It lives, and so do we."""
        self.context.send(session, Pong(command.id, self.loop_lag()))

    def goodbye(self, session: Session, command: Goodbye) -> None:
        """Releases what the session holds; the farewell follows when that is committed."""
        concerned = self.consumers.leave_all(session, crashed=False, reason="goodbye")

        def farewell() -> None:
            self.context.send(session, Farewell(command.id))
            self.context.sessions.remove(session)
            self.context.note("session closed", client=session.client_id, name=session.name)

        self.context.when_known(concerned, farewell)
