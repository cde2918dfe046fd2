"""The demonstration of a cluster shows what it promises, and ends by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO_SECONDS = 90.0


@pytest.mark.timeout(120)
def test_a_killed_leader_costs_nothing_that_was_confirmed() -> None:
    ran = subprocess.run([sys.executable, "-m", "devices.demo_cluster"], capture_output=True, text=True, timeout=DEMO_SECONDS, cwd=ROOT)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for line in ran.stdout.splitlines() if (row := re.split("[│┃]", line)[1:-1])}
    confirmed, received, _, lost, out_of_order, _ = rows["all"]
    assert int(confirmed) == int(received) > 500 and (lost, out_of_order) == ("0", "0")
    assert "kill -9 broker-" in ran.stdout and "healthy: 3 brokers" in ran.stdout
    assert "Traceback" not in said
