"""The life of a broker on a disk of 24 MiB: run by `test_disk_full` where the directory is such a disk.

    python -m tests.system.disk_story DIRECTORY
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.system.processes import PATIENCE, BrokerProcess, Programs, eventually
from zmqmq import Admin, Consumer, PendingReceipt, Producer
from zmqmq.errors import OutcomeUnknown, StorageFull

TOPIC, GROUP = "readings", "workers"
VALUE = bytes(4096)
WAVE = 20
"""Messages sent at a time: little beside the ballast of so small a disk."""
MOST_LEFT = 100
"""Settled messages that may still be there when the disk has been emptied."""
MAX_WAVES = 600
"""More than the disk can hold."""


def fill(broker: BrokerProcess, safe: set[int]) -> None:
    """Sends until the broker says that its disk is full; notes what it has confirmed."""
    producer = Producer(broker.endpoint, delivery_timeout=2.0)
    for wave in range(MAX_WAVES):
        receipts = {index: producer.send(TOPIC, b"%d:" % index + VALUE, key=f"key-{index % 7}") for index in range(wave * WAVE, (wave + 1) * WAVE)}
        outcomes = [confirmed(receipt, index, safe) for index, receipt in receipts.items()]
        if not all(outcomes):
            break
    else:
        raise AssertionError("the disk never got full")
    producer.close(timeout=1.0)


def confirmed(receipt: PendingReceipt, index: int, safe: set[int]) -> bool:
    try:
        receipt.result(timeout=PATIENCE)
    except StorageFull as error:
        assert "disk is full" in str(error)
        return False
    except OutcomeUnknown:  # its last try had no answer yet when the time was over
        return False
    safe.add(index)
    return True


def consume_all(broker: BrokerProcess, safe: set[int]) -> None:
    """Everything that was confirmed is delivered and can be acknowledged, on a full disk too."""
    found: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    with Consumer(broker.endpoint, TOPIC, GROUP) as consumer, Admin(broker.endpoint) as admin:
        while not safe <= found or admin.lag(TOPIC, GROUP).lag:  # what nobody got an answer for may be there as well
            assert time.monotonic() < deadline, f"{len(safe - found)} confirmed messages did not come"
            messages = consumer.receive_many(200, timeout=1.0)
            found |= {int(message.value.partition(b":")[0]) for message in messages}
            if messages:
                consumer.ack(messages).result(timeout=PATIENCE)


def goes_on(broker: BrokerProcess) -> None:
    """There is room again, and messages are accepted, without a restart."""
    with Admin(broker.endpoint) as admin, Producer(broker.endpoint) as producer:
        eventually(lambda: not admin.status().storage_full, "there is room again")
        assert producer.send("other", VALUE).result(timeout=PATIENCE).offset >= 0


def story(directory: Path, programs: Programs) -> None:
    broker = programs.broker(directory / "data", ballast_bytes=2 << 20)
    for _ in range(2):
        safe: set[int] = set()
        fill(broker, safe)
        assert len(safe) > WAVE, "some of them were confirmed before"
        consume_all(broker, safe)
        with Admin(broker.endpoint) as admin:
            eventually(lambda: admin.topic(TOPIC).messages < MOST_LEFT, "what is settled is deleted")
        goes_on(broker)
        print(f"full with {len(safe)} messages, and empty again")
    intruder = directory / "intruder"
    fill_from_outside(intruder)
    safe = set()
    fill(broker, safe)
    intruder.unlink()
    consume_all(broker, safe)  # what was taken into free pages inside the file meanwhile
    goes_on(broker)
    assert broker.program.stop() == 0
    assert "disk full" in broker.program.errors and "disk has room" in broker.program.errors
    assert "Traceback" not in broker.program.errors
    broker.restart()
    goes_on(broker)


def fill_from_outside(path: Path) -> None:
    """Another program takes the whole disk."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError as error:
            print(f"as expected: {error}")


if __name__ == "__main__":
    with Programs() as started:
        story(Path(sys.argv[1]), started)
