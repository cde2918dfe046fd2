"""A registrar before a small tree, for tests of registrations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.core.small_tree import Seat, SmallTree
from zmqmq.core import layout
from zmqmq.core.layout import BrokerInfo, decode
from zmqmq.core.registrar import Registrar, Registration
from zmqmq.core.tree import Answered, Change, Outlet

T = 4.0
INFINITE = float("inf")


def settings(**fields: Any) -> Registration:
    base = Registration(broker_id="a", incarnation=1, storage_id="s1", cluster_id="c1", has_data=False, endpoint="tcp://a:1", session_timeout=T)
    return msgspec.structs.replace(base, **fields)


@dataclass
class Broker:
    """One registrar before a tree."""

    tree: SmallTree
    settings: Registration = field(default_factory=settings)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.outlet = Outlet()
        self.registrar = Registrar(self.outlet, self.settings)
        self.seat = Seat(self.tree, self.outlet, lambda event: self.registrar.hear(event, self.now))

    def connect(self, session: int, timeout: float = T) -> None:
        self.seat.connect(session, timeout)
        self.seat.run()

    def wait(self, seconds: float) -> None:
        """Time passes; the registrar ticks whenever it wants to."""
        end = self.now + seconds
        while self.registrar.deadline() <= end:
            self.now = max(self.now, self.registrar.deadline())
            self.registrar.tick(self.now)
            self.seat.run()
        self.now = end

    def shown(self) -> BrokerInfo | None:
        node = self.tree.nodes.get(layout.broker_path(self.settings.broker_id))
        info = decode(layout.broker_path(self.settings.broker_id), node.data, BrokerInfo) if node else None
        assert info is None or isinstance(info, BrokerInfo)
        return info


def step_until_registering(broker: Broker) -> None:
    """Carries out everything up to the change that registers, which stays in the outlet."""
    while True:
        requests = broker.outlet.take()
        for number, request in requests:
            if isinstance(request, Change) and len(request.steps) > 1:
                broker.outlet._requests.append((number, request))
                return
            broker.outlet.hear(Answered(number, broker.seat._answer(request)))
