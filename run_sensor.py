"""Runs a sensor; see devices/sensor.py, or `python run_sensor.py --help`."""

from __future__ import annotations

import sys

from devices.sensor import main

if __name__ == "__main__":
    sys.exit(main())
