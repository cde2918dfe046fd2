"""What the demonstration of a cluster counts, from what sensors and controllers print."""

from __future__ import annotations

from devices.demo_service import Services


def confirmed(services: Services, *numbers: int) -> None:
    for number in numbers:
        services.sensor_said(f"temp_1 #{number} 21.5 C confirmed [0/{number + 7}]", at=float(number))


def received(services: Services, *numbers: int) -> None:
    for number in numbers:
        services.controller_said(f"temp_1 #{number} 21.5 C: heating and cooling off [0/{number + 7}]")


def test_a_confirmed_reading_that_nobody_acted_on_is_lost() -> None:
    services = Services(["temp_1"])
    confirmed(services, 1, 2, 3)
    received(services, 1, 3)
    assert (services.confirmed, services.received, services.lost, services.out_of_order) == (3, 2, 1, 0)


def test_a_reading_received_again_is_counted_apart_and_is_no_disorder() -> None:
    services = Services(["temp_1"])
    confirmed(services, 1, 2, 3)
    received(services, 1, 2, 3, 2, 3)
    assert (services.received, services.again, services.lost, services.out_of_order) == (3, 2, 0, 0)


def test_a_reading_that_comes_first_after_a_later_one_is_out_of_order() -> None:
    services = Services(["temp_1"])
    received(services, 1, 3, 2)
    assert services.out_of_order == 1


def test_the_longest_gap_lies_between_two_confirmations_of_one_topic() -> None:
    services = Services(["temp_1", "temp_2"])
    confirmed(services, 1, 2, 9, 10)
    services.sensor_said("temp_2 #1 20.0 C confirmed [0/0]", at=50.0)
    assert services.gap[:2] == (7.0, "temp_1")


def test_what_else_the_programs_say_counts_for_nothing() -> None:
    services = Services(["temp_1"])
    services.sensor_said("temp_1: no broker answers, still trying: ...", at=1.0)
    services.sensor_said("other_1 #1 21.5 C confirmed [0/1]", at=1.0)
    services.controller_said("temp_1: acted on 20 readings, 0 rejected, 0 taken over by others")
    assert (services.confirmed, services.received) == (0, 0)
