"""Broker time: it follows the system's clock, except backwards."""

from __future__ import annotations

from zmqmq.shell.clock import Clock


class Bent(Clock):
    """A clock whose sources the test sets."""

    steady = 100.0
    shown = 1_700_000_000.0

    def monotonic(self) -> float:  # type: ignore[override]
        return self.steady

    def system(self) -> float:  # type: ignore[override]
        return self.shown


def advance(clock: Bent, seconds: float, step: float = 0.0) -> float:
    """Lets time pass, and somebody change the system's clock by `step` meanwhile; returns broker time."""
    clock.steady += seconds
    clock.shown += seconds + step
    return clock.read().wall


def test_broker_time_is_the_systems_time() -> None:
    clock = Bent()
    assert advance(clock, 5.0) == Bent.shown + 5.0


def test_a_clock_set_back_one_hour_goes_on_at_its_own_pace() -> None:
    clock = Bent()
    before = clock.read().wall
    assert advance(clock, 1.0, step=-3600.0) == before + 1.0
    assert advance(clock, 10.0) == before + 11.0, "no delay becomes an hour longer"


def test_a_clock_set_forward_is_followed() -> None:
    clock = Bent()
    before = clock.read().wall
    assert advance(clock, 1.0, step=3600.0) == before + 3601.0


def test_a_clock_set_back_and_right_again_loses_nothing() -> None:
    clock = Bent()
    before = clock.read().wall
    advance(clock, 1.0, step=-3600.0)
    assert advance(clock, 1.0, step=3600.0) == before + 2.0


def test_slewing_never_makes_time_go_back() -> None:
    clock = Bent()
    moments = [clock.read().wall] + [advance(clock, 0.01, step=step) for step in (-0.002, -0.02) for _ in range(200)]
    assert moments == sorted(moments)


def test_the_monotonic_part_never_goes_back_either() -> None:
    clock = Bent()
    now = clock.read().now
    clock.steady -= 50.0
    assert clock.read().now == now


def test_the_real_sources_move_forward() -> None:
    clock = Clock()
    first, second = clock.read(), clock.read()
    assert second.now >= first.now and second.wall >= first.wall


def test_a_clock_that_was_set_back_while_the_broker_was_down_goes_on_from_its_last_stamp() -> None:
    clock = Bent()
    clock.not_before(Bent.shown + 3600.0)
    assert advance(clock, 1.0) == Bent.shown + 3601.0
    clock.not_before(5.0)
    assert advance(clock, 1.0) == Bent.shown + 3602.0, "what lies behind changes nothing"
