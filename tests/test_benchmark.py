"""The benchmarks run, count right and print what they promise; no figure is judged here, a busy machine must not fail a test."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from benchmarks import bench, footprint
from benchmarks.bare import commit_seconds, rows_per_second
from benchmarks.children import BenchmarkFailed, Worker
from benchmarks.measuring import Plan, Round
from benchmarks.report import percentile, report

SMALL = ["--quick", "--count", "300", "--singles", "3", "--knocks", "2", "--sizes", "100"]


def a_round(produce: float, live: float, bare: float) -> Round:
    return Round(produce, 10, bare, bare / 2, 1.0, live, [0.001], [0.001], [0.002])


@pytest.mark.system
def test_a_tiny_benchmark_measures_everything_and_answers_in_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert bench.main([*SMALL, "--json", "--directory", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    figures = found["figures"]["100"]
    for name in ("produce", "drain", "live", "bare", "batch", "produce_ratio", "live_ratio"):
        assert figures[name] > 0, name
    for name in ("single", "wake", "bare_single"):
        assert 0 < figures[name]["p50"] <= figures[name]["p99"], name
    assert (figures["produce_target"], figures["live_target"]) == (0.5, 0.2)
    assert [len(found["rounds"]["100"][0][name]) for name in ("single", "wake")] == [3, 2]
    assert not list(tmp_path.iterdir()), "the databases were left behind"


@pytest.mark.system
def test_a_tiny_benchmark_of_keyed_messages_prints_a_table_with_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([*SMALL, "--keys", "7", "--partitions", "2"]) == 0
    printed = capsys.readouterr().out
    for text in ("produce", "drain a backlog", "end to end, live", "bare limit", "target 50%", "target 20%", "one at a time", "wake-up"):
        assert text in printed


@pytest.mark.system
def test_a_tiny_footprint_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--json", "--consumers", "5", "--seconds", "0.2", "--sensors", "5", "--backlog", "1000"]
    assert footprint.main(small) == 0
    found = {figure["what"]: figure for figure in json.loads(capsys.readouterr().out)}
    assert found["sleepers woken by one message"]["value"] == pytest.approx(1, abs=0.5)
    wanted = {"import zmqmq", "memory of a sensor", "start with 1,000 messages waiting", "memory with 5 sensors on 5 topics"}
    assert wanted <= found.keys()


@pytest.mark.system
def test_a_worker_that_fails_is_reported_with_its_own_words() -> None:
    with pytest.raises(BenchmarkFailed, match=r"(?s)worker produce ended with exit code 1.*http://nowhere"):
        Worker("produce", endpoint="http://nowhere", topic="t", size=1, count=1, keys=0)


def test_the_bare_limit_inserts_every_row_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert rows_per_second(tmp_path, [b"x" * 100] * 50, 20, checkpoints=True) > 0
    assert len(commit_seconds(tmp_path, b"x", 4)) == 4
    assert not list(tmp_path.iterdir())


def test_ratios_are_taken_within_each_round_and_their_median_is_judged() -> None:
    found = report(Plan(sizes=(100,)), {100: [a_round(60, 30, 100), a_round(10, 5, 10), a_round(4, 1, 10)]})
    figures = found.figures["100"]
    assert (figures.produce, figures.bare) == (10, 10)
    assert (figures.produce_ratio, figures.live_ratio) == (0.6, 0.3)
    assert figures.reaches_targets is True


def test_a_size_without_targets_is_not_judged() -> None:
    figures = report(Plan(sizes=(5,)), {5: [a_round(1, 1, 10)]}).figures["5"]
    assert (figures.produce_target, figures.reaches_targets) == (None, None)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (51.0, 100.0, 7.0)


@pytest.mark.parametrize("arguments", [["--count", "0"], ["--sizes", "100,"], ["--rounds", "many"]])
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(arguments)
    assert ended.value.code == 2


def test_the_bare_table_has_the_columns_of_the_brokers_log(tmp_path: Path) -> None:
    from benchmarks.bare import INSERT
    from zmqmq.shell.log_tables import LOG_COLUMNS

    names = INSERT[INSERT.index("(") + 1 : INSERT.index(")")].split(", ")
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute(f"CREATE TABLE log ({LOG_COLUMNS})")
        assert set(names) <= {row[1] for row in connection.execute("PRAGMA table_info(log)")}
    connection.close()
