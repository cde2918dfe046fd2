"""Golden conversations: each script is played, and what comes of it must be what is written.

With ZMQMQ_REWRITE=1 the scripts are written anew, to be read before they are committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scripts.stage import stage_for

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


def play(text: str) -> str:
    """The script with its answers as they are now: blocks of `>` and `*` lines are done, old answers are left out."""
    stage = stage_for(text.split("\n", 1)[0])
    played: list[str] = []
    for block in text.strip("\n").split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(("<", "~"))]
        played.append("\n".join([*lines, *stage.play([line for line in lines if line.startswith((">", "*"))])]))
    return "\n\n".join(played) + "\n"


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_conversation_goes_as_it_is_written(path: Path) -> None:
    written = path.read_text(encoding="utf-8")
    played = play(written)
    if os.environ.get("ZMQMQ_REWRITE") == "1":
        path.write_text(played, encoding="utf-8")
        written = played
    assert played == written
