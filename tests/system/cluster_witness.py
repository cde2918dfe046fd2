"""A client of bare sockets at one broker of a cluster: it says what it wants, and hears what that very broker answers."""

from __future__ import annotations

from tests.system.cluster import ClusterProcesses
from tests.system.wire_client import WireClient
from zmqmq.core.checksum import checksums
from zmqmq.core.commands import Command, Produce, Pull, Subscribe, Subscribed
from zmqmq.wire import encode


class Witness:
    """A producer and consumer of bare sockets at one broker, that says what it wants and hears what that broker answers."""

    def __init__(self, cluster: ClusterProcesses, broker: str, topic: str) -> None:
        self.topic = topic
        self._client = WireClient(cluster.members[broker].endpoint)
        self._client.greet("witness")
        self._epoch = cluster.place(topic).epoch
        self._sequence = 0
        answer = self._client.ask(Subscribe(1, topic, "witnesses", create=False), Subscribed)
        assert answer.partitions == [0]

    def send(self, value: bytes) -> None:
        """Says that a message shall be stored."""
        crcs = checksums([value], None, None)
        self._client.say(encode(Produce(100 + self._sequence, self.topic, 0, self._epoch, 77, self._sequence, self._sequence, [value], crcs)))
        self._sequence += 1

    def pull(self) -> None:
        """Says that it wants messages."""
        self._client.say(encode(Pull(self._sequence, 10, 1 << 20)))

    def hear(self, *kinds: type[Command], within: float) -> list[Command]:
        """All answers of those kinds until nothing has come for so long."""
        found: list[Command] = []
        while (answer := self._client.next(within)) is not None:
            if isinstance(answer, kinds):
                found.append(answer)
        return found

    def close(self) -> None:
        self._client.close()
