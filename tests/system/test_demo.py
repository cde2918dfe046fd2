"""The demonstration shows what it promises, and ends by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO_SECONDS = 60.0


def test_the_demonstration_loses_nothing_and_ends_by_itself() -> None:
    ran = subprocess.run([sys.executable, "-m", "devices.demo"], capture_output=True, text=True, timeout=DEMO_SECONDS, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for line in ran.stdout.splitlines() if (row := re.split("[│┃]", line)[1:-1])}
    assert rows["lost"] == ["", "0"] and rows["duplicated"] == ["", "0"]
    assert rows["all"][0] == rows["all"][1] != "0"
    assert all(int(rows[name][1]) > 0 for name in ("controller 1 (temp_1)", "controller 2 (temp_1)", "controller 3 (temp_2)"))
    assert "log_temp_1_0" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
