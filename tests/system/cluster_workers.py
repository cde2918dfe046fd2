"""A producer that goes on until it is told to end, for as long as the brokers have trouble.

    python -m tests.system.cluster_workers BROKERS TOPIC NUMBER KEYS [--interval SECONDS]

Prints `flows` when its first message is confirmed, and at the end (SIGTERM) a line of JSON: how many it sent, what failed, and the longest time
between two confirmations.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque

from devices.running import stop_on_signals
from tests.system.workers import say
from zmqmq import PendingReceipt, Producer
from zmqmq.errors import ZmqmqError

CONFIRMED_WITHIN = 90.0
"""Seconds that the last messages may take."""


class Sending:
    """What was sent, and what became of it."""

    def __init__(self) -> None:
        self.sent = 0
        self.failures: list[str] = []
        self.longest = 0.0
        self._last = 0.0
        self._open: deque[tuple[int, PendingReceipt]] = deque()

    def add(self, receipt: PendingReceipt) -> None:
        self._open.append((self.sent, receipt))
        self.sent += 1

    def look(self, patience: float = 0.0) -> None:
        """Takes the outcomes that are there, in order."""
        while self._open and (patience or self._open[0][1].done()):
            index, receipt = self._open.popleft()
            try:
                receipt.result(timeout=patience)
            except ZmqmqError as error:
                self.failures.append(f"{index}: {type(error).__name__}: {error}")
                continue
            self._confirmed(time.monotonic())

    def _confirmed(self, now: float) -> None:
        if not self._last:
            say("flows")
        else:
            self.longest = max(self.longest, now - self._last)
        self._last = now


def main() -> None:
    made = argparse.ArgumentParser()
    for name in ("brokers", "topic"):
        made.add_argument(name)
    for name in ("number", "keys"):
        made.add_argument(name, type=int)
    made.add_argument("--interval", type=float, default=0.01)
    given = made.parse_args()
    end, sending = stop_on_signals(), Sending()
    with Producer(given.brokers, delivery_timeout=600) as producer:
        while not end.wait(given.interval):
            sending.add(producer.send(given.topic, f"{given.number}:{sending.sent}".encode(), key=f"key-{sending.sent % given.keys}"))
            sending.look()
        sending.look(CONFIRMED_WITHIN)
    say(json.dumps({"sent": sending.sent, "failures": sending.failures, "longest": round(sending.longest, 3)}))


if __name__ == "__main__":
    main()
