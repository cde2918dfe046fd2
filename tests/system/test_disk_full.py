"""A real small disk, full during produce: messages are refused with StorageFull, what is confirmed is kept, and all goes on by itself when there is room.

The disk is a mount in a name space of its own, which goes away with the process. A machine that does not allow one says so, and the
same is told on a pretended disk in the tests of storage.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.processes import ROOT

DISK_MIB = 24


def name_space() -> list[str]:
    """The command that gives a process mounts of its own; empty where that is not allowed."""
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        command = ["unshare", *options, "sh", "-c"]
        if shutil.which("unshare") and subprocess.run([*command, "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False).returncode == 0:
            return command
    return []


NAME_SPACE = name_space()


@pytest.mark.parametrize("command", [NAME_SPACE] if NAME_SPACE else [], ids=["disk of 24 MiB"] if NAME_SPACE else [])
def test_a_full_disk_refuses_messages_keeps_what_is_confirmed_and_recovers_without_a_restart(command: list[str], tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size={DISK_MIB}m tmpfs "$1" && exec "$2" -m tests.system.disk_story "$1"'
    told = subprocess.run([*command, script, "sh", str(tmp_path), sys.executable], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 0, told.stdout + told.stderr
