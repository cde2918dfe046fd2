"""The documentation is true: every block of code and every command in it runs, every link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doc_cluster import three_brokers
from tests.doc_pages import PAGES, ROOT, Supply, Workshop, blocks
from zmqmq.testing import TestBroker

ABOUT_CLUSTERS = ROOT / "docs" / "cluster.md"

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_CITED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """What `#...` may name on a page, by GitHub's rule."""
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in _HEADING.findall(_CODE.sub("", page.read_text(encoding="utf-8")))}


@contextmanager
def supply(page: Path, place: Path) -> Iterator[Supply]:
    """What a page is run against."""
    if page == ABOUT_CLUSTERS:
        with three_brokers(place / "cluster") as cluster:
            yield cluster
    else:
        with TestBroker() as broker:
            yield Supply(broker.endpoint, broker.data)


@pytest.mark.parametrize("page", PAGES, ids=named)
@pytest.mark.timeout(180)
def test_every_block_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZMQMQ_BROKERS", "ZMQMQ_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with supply(page, tmp_path) as supplied:
        workshop = Workshop(tmp_path, supplied)
        for block in blocks(page):
            workshop.run(block)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        goal = (page.parent / file).resolve() if file else page
        assert goal.exists(), f"{named(page)}: {target} is not there"
        assert not anchor or anchor in anchors(goal), f"{named(page)}: {target} names no heading"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_test_that_a_page_cites_exists(page: Path) -> None:
    for file, function in _CITED.findall(page.read_text(encoding="utf-8")):
        source = ROOT / file
        assert source.exists() and f"def {function}(" in source.read_text(encoding="utf-8"), f"{named(page)}: {file}::{function} is not there"


def test_the_readme_shows_a_test_for_each_promise() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What is guaranteed")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| **")]
    assert len(rows) >= 9
    assert [row for row in rows if not _CITED.search(row)] == []
