"""A sensor: sends a reading of its kind to its topic again and again, and prints each one when it is safe.

    python run_sensor.py temp 1 5       a temperature to topic temp_1 every 5 seconds

Two threads: the main one measures by a schedule that does not drift (reading n is due at start + n · interval; what a
stopped process has missed is skipped, not caught up), the other waits for the confirmations in order. While no broker
answers, readings wait in memory (up to `sensor.max_unconfirmed`) or in the outbox; the sensor says so once and goes on.
"""

from __future__ import annotations

import argparse
import math
import queue
import re
import sys
import threading
import time
from contextlib import suppress
from random import Random
from typing import Any, NamedTuple

from devices.readings import KINDS, Gauge
from devices.running import DRAIN_SECONDS, EXIT_FAILED, EXIT_OK, EXIT_USAGE, PATIENCE_SECONDS, Connection, Stop, complain, failure, say, stop_on_signals
from zmqmq import PendingReceipt, Producer
from zmqmq.config import DeviceConfig, load_device
from zmqmq.errors import BufferFull, ClosedError, DeadlineExceeded, Unreachable, ZmqmqError
from zmqmq.version import VERSION

MIN_INTERVAL_SECONDS = 0.001
MAX_INTERVAL_SECONDS = 86400.0
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Sent(NamedTuple):
    """A reading on its way."""

    sequence: int
    text: str
    receipt: PendingReceipt


class Sensor:
    """One sensor. `run` measures until stopped or `count` readings are sent."""

    def __init__(self, kind: str, identity: str, interval: float, config: DeviceConfig, random: Random | None = None) -> None:
        """`interval` is in seconds. Raises ConfigError or InvalidName for settings that cannot work."""
        self.topic = f"{kind}_{identity}"
        self.sent = self.confirmed = self.dropped = 0
        self._kind, self._key, self._interval, self._config = kind, f"{kind}-{identity}", interval, config
        self._gauge = Gauge(kind, random or Random())
        self._pending: queue.SimpleQueue[Sent | None] = queue.SimpleQueue()
        self._connection = Connection(self.topic)
        self._overflowing = False
        self._producer = Producer(list(config.client.brokers), **producer_options(config))

    def run(self, stop: Stop) -> int:
        """Measures, sends and confirms until `stop` or the count is reached; gives the exit code."""
        confirmer = threading.Thread(target=self._confirm_all, name="confirmations", daemon=True)
        confirmer.start()
        self._measure(stop)
        self._finish(confirmer, stop)
        lost = self.sent - self.confirmed
        kept = f" (kept in {self._config.sensor.outbox.path})" if lost and self._config.sensor.outbox.path else ""
        say(f"{self.topic}: {self.confirmed} readings confirmed, {lost} unconfirmed{kept}, {self.dropped} dropped")
        return EXIT_OK if stop.is_set() or not lost else EXIT_FAILED

    def _measure(self, stop: Stop) -> None:
        start, tick, count = time.monotonic(), 0, self._config.sensor.count or math.inf
        while self.sent + self.dropped < count:
            self._send()
            tick = max(tick + 1, math.floor((time.monotonic() - start) / self._interval))
            if self.sent + self.dropped < count and stop.wait(max(0.0, start + tick * self._interval - time.monotonic())):
                return

    def _send(self) -> None:
        sequence = self.sent + self.dropped + 1
        text = self._gauge.read()
        headers = {"unit": self._gauge.kind.unit, "sequence": str(sequence), "kind": self._kind}
        if self.sent - self.confirmed >= self._config.sensor.max_unconfirmed:
            self._drop(f"{self.sent - self.confirmed} readings wait for a broker")
            return
        try:
            receipt = self._producer.send(self.topic, text.encode(), key=self._key, headers=headers)
        except BufferFull as error:
            self._drop(str(error))
            return
        self.sent += 1
        self._overflowing = False
        self._pending.put(Sent(sequence, text, receipt))

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if not self._overflowing:
            self._overflowing = True
            complain(f"{self.topic}: dropping new readings: {why}")

    def _confirm_all(self) -> None:
        while (sent := self._pending.get()) is not None:
            self._confirm(sent)

    def _confirm(self, sent: Sent) -> None:
        while True:
            try:
                receipt = sent.receipt.result(timeout=PATIENCE_SECONDS)
            except (DeadlineExceeded, Unreachable) as error:
                if sent.receipt.done():
                    complain(f"{self.topic}: reading #{sent.sequence} is given up: {error}")
                    return
                self._connection.lost(error)
            except ClosedError:
                return
            except ZmqmqError as error:
                complain(f"{self.topic}: reading #{sent.sequence} is not confirmed: {error}")
                return
            else:
                self._connection.fine()
                self.confirmed += 1
                say(f"{self.topic} #{sent.sequence} {sent.text} {self._gauge.kind.unit} confirmed [{receipt.partition}/{receipt.offset}]")
                return

    def _finish(self, confirmer: threading.Thread, stop: Stop) -> None:
        """Waits for the confirmations that are still due: for as long as it takes when all readings are sent, briefly when stopped."""
        self._pending.put(None)
        while confirmer.is_alive() and not stop.is_set():
            confirmer.join(0.1)
        confirmer.join(DRAIN_SECONDS)
        with suppress(ZmqmqError):  # what is not confirmed by now is counted in the last line
            self._producer.close(timeout=1.0)
        confirmer.join(1.0)


def producer_options(config: DeviceConfig) -> dict[str, Any]:
    """The producer's arguments that the settings ask for."""
    client, outbox = config.client, config.sensor.outbox
    options: dict[str, Any] = {
        "delivery_timeout": client.delivery_timeout_seconds,
        "session_timeout": client.session_timeout_seconds or 0.0,
        "buffer_messages": client.buffer_messages,
        "buffer_bytes": client.buffer_bytes,
        "when_full": client.when_full,
    }
    if outbox.path:
        options |= {"outbox": outbox.path, "outbox_max_bytes": outbox.max_bytes, "outbox_max_age": outbox.max_age_seconds, "outbox_when_full": outbox.when_full}
    return options


def parser() -> argparse.ArgumentParser:
    """The arguments of `run_sensor.py` and `zmqmq sensor`."""
    made = argparse.ArgumentParser(prog="sensor", description="Sends readings to the topic KIND_ID until stopped.")
    made.add_argument("kind", metavar="KIND", help=f"what it measures: {', '.join(KINDS)}")
    made.add_argument("id", metavar="ID", help="which one of its kind: letters, digits, '.', '_', '-'")
    made.add_argument("interval", metavar="INTERVAL", type=float, help="seconds from one reading to the next")
    made.add_argument("--brokers", help="addresses, separated by commas (default tcp://127.0.0.1:7400, or ZMQMQ_BROKERS)")
    made.add_argument("--count", type=int, help="end after so many readings")
    made.add_argument("--outbox", metavar="FILE", help="keep unconfirmed readings in this file, over a power cut too")
    made.add_argument("--config", metavar="FILE", help="settings, see configs/device.yaml")
    made.add_argument("--version", action="version", version=f"zmqmq {VERSION}")
    return made


def check(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the arguments, if anything."""
    if arguments.kind not in KINDS:
        return f"KIND {arguments.kind!r} is unknown; known are: {', '.join(KINDS)}"
    if not _ID.fullmatch(arguments.id):
        return f"ID {arguments.id[:80]!r} is not allowed; allowed are 1 to 64 letters, digits, '.', '_' and '-'"
    if not MIN_INTERVAL_SECONDS <= arguments.interval <= MAX_INTERVAL_SECONDS:
        return f"INTERVAL {arguments.interval} is not allowed; allowed are {MIN_INTERVAL_SECONDS} to {MAX_INTERVAL_SECONDS:g} seconds"
    return None


def main(arguments: list[str] | None = None) -> int:
    """Runs a sensor from the command line; gives the exit code."""
    known = parser()
    given = known.parse_args(arguments)
    if wrong := check(given):
        complain(f"error: {wrong}")
        return EXIT_USAGE
    brokers = [part.strip() for part in given.brokers.split(",") if part.strip()] if given.brokers else None
    try:
        config = load_device(given.config, {"client.brokers": brokers, "sensor.count": given.count, "sensor.outbox.path": given.outbox})
        sensor = Sensor(given.kind, given.id, given.interval, config)
        return sensor.run(stop_on_signals())
    except ZmqmqError as error:
        return failure(error)


if __name__ == "__main__":
    sys.exit(main())
