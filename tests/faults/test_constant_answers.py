"""A seed that learned one answer: kept, flagged, counted, shown; and the median is told with it and without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.plans.planner import make_plan
from benchmarks.runs.execute import execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from reports import export, read, render
from reports.findings.findings import findings
from reports.statistics.cells import Cells
from reports.statistics.failures import constant_cells
from tests import tiny
from tests.report.make_results import make_results

SCORES = {("rte", "kd", seed): score for seed, score in ((1, 52.7), (2, 66.0), (3, 68.0), (4, 47.3))}


@pytest.fixture
def degenerate(tmp_path) -> Path:
    """Four seeds of an arm, two of which answered one class."""
    root = make_results(tmp_path, tasks=("rte",), arms=("kd", "theseus"), seeds=(1, 2, 3, 4), scores=SCORES)
    for seed in (1, 4):
        path = next((root / "rte" / "kd").glob(f"seed-{seed}-*")) / "result.json"
        result = json.loads(path.read_text())
        for checkpoint in ("last", "selected"):
            result[checkpoint]["flags"] = ["constant predictions on validation", "no better than a constant answer"]
        path.write_text(json.dumps(result))
    return root


def test_a_run_that_learned_one_class_is_done_and_flagged(tmp_path):
    suite = tiny.save_suite(tmp_path, tiny.save_encoder(tmp_path / "encoder"), tiny.save_glue(tmp_path / "glue", "rte"))
    plan = make_plan(load_suite(str(suite), ["training.learning_rate=0.5", "seeds=[1]"]))
    run = next(run for run in plan.runs if run.arm == "finetune")
    store = Store(tmp_path / "results")
    store.open()
    store.write_suite(plan)
    result = execute(run, store.path)
    assert result.status == "done"
    assert "constant predictions on validation" in result.last.flags
    assert store.settled(run), "it is not run again until it looks better"
    assert [run.status for run in read(store.path).runs if run.arm == "finetune"] == ["done"]


def test_the_median_is_told_with_and_without(degenerate):
    (cell,) = constant_cells(Cells.of(read(degenerate)))
    assert (cell.task, cell.seeds, cell.of_all.n) == ("RTE", (1, 4), 4)
    assert (cell.of_all.median, cell.others.median) == (pytest.approx((52.7 + 66.0) / 2), 67.0)


def test_nothing_is_left_without_them_where_every_seed_failed(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), scores=SCORES)
    path = next((root / "rte" / "kd").glob("seed-1-*")) / "result.json"
    result = json.loads(path.read_text())
    result["last"]["flags"] = ["constant predictions on validation"]
    path.write_text(json.dumps(result))
    (cell,) = constant_cells(Cells.of(read(root)))
    assert cell.others.median is None
    assert constant_cells(Cells.of(read(root)), "selected") == []


def test_they_count_in_the_table_and_the_page_names_them(degenerate):
    table = findings(read(degenerate)).table
    entry = table.entries[[arm.name for arm in table.arms].index("kd")][0]
    assert entry.remark == "2 flagged"
    assert entry.cell.summary.n == 4
    assert entry.value == pytest.approx(sum(SCORES.values()) / 4)
    page = render(degenerate).read_text(encoding="utf-8")
    assert "Constant answers" in page
    assert '2 of 4 <span class="spread">(1, 4)</span>' in page
    assert "constant predictions on validation" in page
    assert export(degenerate, "csv").decode().count(",kd,") == 4 * 2, "every seed has its rows"


def test_a_page_without_them_says_nothing_of_them(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd", "theseus"), seeds=(1, 2))
    assert constant_cells(Cells.of(read(root))) == []
    assert "Constant answers" not in render(root).read_text(encoding="utf-8")
