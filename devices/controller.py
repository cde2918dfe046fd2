"""A controller: acts on each reading of a topic, and acknowledges it when it has acted.

    python run_controller.py temp_1

Controllers of one group compete: each reading goes to one of them. The acknowledgement comes after the work, never
before it: a controller that dies in between leaves the reading to another one. A reading that makes no sense is
rejected to the dead letters, where `zmqmq dead` lists and replays it.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from devices.rules import Rules
from devices.running import DRAIN_SECONDS, EXIT_OK, Connection, Stop, complain, failure, say, stop_on_signals
from zmqmq import Consumer, Message
from zmqmq.config import DeviceConfig, load_device
from zmqmq.errors import LeaseLost, ZmqmqError
from zmqmq.version import VERSION

LISTEN_SECONDS = 0.5
"""How often a controller that waits for a reading looks whether it shall stop."""


class Controller:
    """One controller. `run` acts until stopped or on `count` readings."""

    def __init__(self, topic: str, config: DeviceConfig) -> None:
        """Raises ConfigError or InvalidName for settings that cannot work."""
        self.topic = topic
        self.acted = self.rejected = self.lost = 0
        self._count = config.controller.count or math.inf
        self._rules = Rules(config.controller.rules)
        self._connection = Connection(topic)
        self._brokers = list(config.client.brokers)
        self._consumer = Consumer(self._brokers, topic, group=config.controller.group, **consumer_options(config))

    def run(self, stop: Stop) -> int:
        """Acts on readings until `stop` or the count is reached; gives the exit code."""
        while not stop.is_set() and self.acted < self._count:
            message = self._receive()
            if message is not None:
                self._handle(message)
        self._consumer.close(timeout=DRAIN_SECONDS)
        say(f"{self.topic}: acted on {self.acted} readings, {self.rejected} rejected, {self.lost} taken over by others")
        return EXIT_OK

    def _receive(self) -> Message | None:
        message = self._consumer.receive(timeout=LISTEN_SECONDS)
        obstacle = self._consumer.obstacle
        if obstacle is None:
            self._connection.fine()
        elif message is None:  # else it may just be on its way to the last of several leaders
            self._connection.lost(obstacle)
        return message

    def _handle(self, message: Message) -> None:
        kind = message.headers.get("kind") or message.topic.partition("_")[0]
        text = message.value.decode(errors="replace")
        try:
            action = self._rules.act(kind, text)
        except ValueError:
            self.rejected += 1
            complain(f"{message.topic} offset {message.offset}: rejected, {text[:40]!r} is no reading")
            self._settle(message, reject=f"{text[:40]!r} is no reading")
            return
        again = f" (attempt {message.attempt})" if message.attempt > 1 else ""
        headers = message.headers
        reading = f"{message.topic} #{headers.get('sequence', '?')} {text} {headers.get('unit', '')}"
        say(f"{reading}: {action}{again} [{message.partition}/{message.offset}]")
        self.acted += self._settle(message)

    def _settle(self, message: Message, reject: str | None = None) -> bool:
        """Whether the reading was still this controller's to settle."""
        try:
            if reject is None:
                message.ack()
            else:
                message.reject(reject)
        except LeaseLost:
            self.lost += 1
            complain(f"{message.topic} offset {message.offset}: another controller has it by now")
            return False
        return True


def consumer_options(config: DeviceConfig) -> dict[str, Any]:
    """The consumer's arguments that the settings ask for."""
    return {"prefetch": config.client.prefetch, "session_timeout": config.client.session_timeout_seconds or 0.0}


def parser() -> argparse.ArgumentParser:
    """The arguments of `run_controller.py` and `zmqmq controller`."""
    made = argparse.ArgumentParser(prog="controller", description="Acts on each reading of TOPIC and acknowledges it, until stopped.")
    made.add_argument("topic", metavar="TOPIC", help="e.g. temp_1, the topic of sensor 1 of kind temp")
    made.add_argument("--group", help="controllers of one group share the readings (default controllers)")
    made.add_argument("--brokers", help="addresses, separated by commas (default tcp://127.0.0.1:7400, or ZMQMQ_BROKERS)")
    made.add_argument("--count", type=int, help="end after so many readings")
    made.add_argument("--config", metavar="FILE", help="settings, see configs/device.yaml")
    made.add_argument("--version", action="version", version=f"zmqmq {VERSION}")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Runs a controller from the command line; gives the exit code."""
    given = parser().parse_args(arguments)
    brokers = [part.strip() for part in given.brokers.split(",") if part.strip()] if given.brokers else None
    try:
        config = load_device(given.config, {"client.brokers": brokers, "controller.group": given.group, "controller.count": given.count})
        return Controller(given.topic, config).run(stop_on_signals())
    except ZmqmqError as error:
        return failure(error)


if __name__ == "__main__":
    sys.exit(main())
