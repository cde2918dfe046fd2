"""Runs a controller; see devices/controller.py, or `python run_controller.py --help`."""

from __future__ import annotations

import sys

from devices.controller import main

if __name__ == "__main__":
    sys.exit(main())
