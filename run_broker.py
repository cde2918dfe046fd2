"""Runs a broker; see zmqmq/cli/broker.py, or `python run_broker.py --help`."""

from __future__ import annotations

import sys

from zmqmq.cli.broker import main

if __name__ == "__main__":
    sys.exit(main())
