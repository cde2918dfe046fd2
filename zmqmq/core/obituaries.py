"""Whom this broker has taken for dead, and who turned out to live.

That nobody listens at an address is good evidence of a death, but it can be wrong for this broker alone: a firewall that rejects, a name that leads
elsewhere from here. Whoever was declared dead while it lived registers again, as the same process, and that proves more than any refused
connection: this broker never again believes in the death of that process. Should it die later, the others notice, or its session expires. There
is one entry per broker id, of the last process that was declared dead under it.
"""

from __future__ import annotations

import msgspec

from zmqmq.core.layout import BrokerInfo


class _Obituary(msgspec.Struct):
    info: BrokerInfo
    """The registration that was to be removed."""
    is_wrong: bool = False


class Obituaries:
    """Remembers what came of them."""

    def __init__(self) -> None:
        self._last: dict[str, _Obituary] = {}

    def is_believed(self, info: BrokerInfo) -> bool:
        """Whether this registration is to be removed because its address refuses. It may be asked for again until it is gone."""
        last = self._last.get(info.broker_id)
        if last is None or not _is_same_process(last.info, info):
            self._last[info.broker_id] = _Obituary(info)
            return True
        return not last.is_wrong and info.be <= last.info.be

    def find_wrong(self, info: BrokerInfo) -> bool:
        """Whether it shows only now that this process was taken for dead while it lived."""
        last = self._last.get(info.broker_id)
        if last is None or last.is_wrong or not _is_same_process(last.info, info) or info.be <= last.info.be:
            return False
        last.is_wrong = True
        return True


def _is_same_process(one: BrokerInfo, other: BrokerInfo) -> bool:
    return (one.storage_id, one.incarnation) == (other.storage_id, other.incarnation)
