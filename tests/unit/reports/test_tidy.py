"""`load_results` and `export --wide`: the obvious line of pandas gives the numbers of the page."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from reports import ReportError, export, load_results
from reports.findings.findings import findings
from results.format.reader import read
from tests.report.make_results import KINDS, make_results


@pytest.mark.parametrize("kind", ["full", "partial", "search", "depths", "predictions"])
def test_means_by_arm_and_task_are_those_of_the_main_table(tmp_path: Path, kind: str) -> None:
    make_results(tmp_path, **KINDS[kind])
    means = load_results(tmp_path).groupby(["arm", "task"]).score.mean()
    table = findings(read(tmp_path)).table
    for arm, entries in zip(table.arms, table.entries, strict=True):
        for entry in entries:
            if entry.cell.task != "macro" and entry.cell.summary.mean is not None:
                assert means[arm.name, entry.cell.task] == pytest.approx(entry.cell.summary.mean)


def test_a_row_per_planned_run_with_a_column_per_metric(tmp_path: Path) -> None:
    make_results(tmp_path, **KINDS["partial"])
    frame, results = load_results(tmp_path), read(tmp_path)
    assert list(frame.run_id) == [run.run_id for run in results.runs]
    assert set(frame.status) == {"done", "diverged", "failed", "missing"}
    assert frame.score.isna().equals(frame.status != "done")
    assert frame.loc[frame.task == "rte", "accuracy"].notna().sum() == sum(
        run.task == "rte" and run.status == "done" for run in results.runs
    )
    assert frame.loc[frame.task == "rte", "matthews_correlation"].isna().all()


def test_trials_and_protocols_can_be_asked_for(tmp_path: Path) -> None:
    make_results(tmp_path, **KINDS["search"])
    results = read(tmp_path)
    assert len(load_results(tmp_path, trials=True)) == len(results.runs) > len(load_results(tmp_path))
    assert set(load_results(tmp_path).protocol) == {"held_out"}  # the suite's own
    last = load_results(tmp_path, "last", trials=True).set_index("run_id").score
    for run in results.runs:
        assert run.last is None or last[run.run_id] == run.last.score
    with pytest.raises(ReportError, match="no protocol 'best' here; there are last, selected, held_out"):
        load_results(tmp_path, "best")


def test_export_writes_the_same_table(tmp_path: Path) -> None:
    make_results(tmp_path, **KINDS["full"])
    wide = pd.read_csv(io.BytesIO(export(tmp_path, "csv", wide=True)))
    frame = load_results(tmp_path)
    assert list(wide.columns) == list(frame.columns)
    assert wide.score.to_numpy() == pytest.approx(frame.score.to_numpy(), nan_ok=True)
    one = pd.read_csv(io.BytesIO(export(tmp_path, "csv", protocol="selected")))
    assert set(one.protocol) == {"selected"}
    with pytest.raises(ReportError, match="no protocol 'held_out' here"):
        export(tmp_path, "csv", protocol="held_out")
