"""The `zmqmq` command, also `python -m zmqmq`. A broker, sensor or controller starts without loading the command line's libraries."""

from __future__ import annotations

import sys

from zmqmq.cli import main

if __name__ == "__main__":
    sys.exit(main())
