"""Telling a file from its copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from zmqmq.shell import file_birth
from zmqmq.shell.file_birth import FileBirth


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


def test_a_file_stays_the_same_whatever_is_done_to_it(file: Path) -> None:
    before = FileBirth.of(file)
    with file.open("ab") as opened:
        opened.write(b"more")
    file.chmod(0o600)
    file = file.rename(file.with_name("other"))
    assert FileBirth.of(file).is_same(before)
    assert FileBirth.parse(str(before)) == before


def test_a_copy_in_the_place_of_its_original_is_another_file(file: Path) -> None:
    before = FileBirth.of(file)
    shutil.copy2(file, file.with_name("copy"))
    file.unlink()
    shutil.copy2(file.with_name("copy"), file)
    assert not FileBirth.of(file).is_same(before)


def test_where_nobody_knows_when_a_file_was_made_its_number_has_to_do(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = FileBirth.of(file)
    monkeypatch.setattr(file_birth, "STATX_BTIME", 0)
    numbered = FileBirth.of(file)
    assert numbered.born == 0
    assert numbered.is_same(before)
    assert not numbered.is_same(FileBirth(before.number + 1, 0))


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileBirth.of(tmp_path / "nothing")
