"""A device's stop is set by signal handlers, which interrupt the very thread that waits for it, at any instruction."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from devices.running import Stop

SOON = 10.0
LONG = 600.0


def wait(stop: Stop, seconds: float, interrupted_at: int = 0) -> int:
    """Waits, with a handler that sets the stop before that instruction of the wait. Gives how many instructions there were."""
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == interrupted_at:
                stop.set()
        return trace

    sys.settrace(trace)
    stop.wait(seconds)
    sys.settrace(None)
    return seen


def test_a_handler_may_set_the_stop_at_every_instruction_of_the_wait() -> None:
    with ThreadPoolExecutor(1) as pool:  # a debugger or a coverage run traces this thread
        instructions = pool.submit(wait, Stop(), 0.01).result()
    assert instructions
    for instruction in range(1, instructions + 1):
        thread = threading.Thread(target=wait, args=(Stop(), 0.01, instruction), daemon=True)
        thread.start()
        thread.join(SOON)
        assert not thread.is_alive(), f"the wait never ended when the stop was set at its instruction {instruction}"


def test_a_stop_that_is_not_set_lets_the_wait_run_out_and_one_that_is_ends_it_at_once() -> None:
    stop = Stop()
    assert not stop.wait(0.01) and not stop.is_set()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stop.wait, LONG)
        stop.set()
        assert waiting.result(SOON)
    stop.set()
    assert stop.wait(LONG) and stop.is_set()
