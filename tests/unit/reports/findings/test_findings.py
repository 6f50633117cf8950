"""Findings are computed once: rendering asks no question twice, and what it shows is one frozen object."""

import cProfile
import dataclasses
import pstats
from collections import Counter
from pathlib import Path

import pytest

from reports.findings.findings import findings
from reports.page.page import render
from reports.statistics.cells import MACRO
from results.format.reader import read
from tests.report.make_results import make_results

PREVIEW = Path(__file__).resolve().parents[4] / "results" / "minilm-preview"


def calls_while_rendering(folder: Path, output: Path) -> Counter:
    """How often each function of ours was called, by its name."""
    profile = cProfile.Profile()
    profile.runcall(render, folder, output)
    found: Counter = Counter()
    for (file, _, name), (_, calls, *_) in pstats.Stats(profile).stats.items():
        if "/reports/" in file or "/results/" in file:
            found[name] += calls
    return found


def test_one_question_is_asked_once(tmp_path):
    calls, suite = calls_while_rendering(PREVIEW, tmp_path), read(PREVIEW).suite
    cells = 3 * len(suite.tasks) * len(suite.arms)  # at three protocols
    assert calls["by_seed"] == cells == 60
    assert calls["main_task"] == 1
    assert calls["findings"] == 1
    assert calls["chosen_runs"] <= cells + len(suite.tasks) * len(suite.arms)  # once more for stored predictions


def test_no_pair_is_compared_twice(tmp_path):
    calls = calls_while_rendering(make_results(tmp_path / "r", tasks=("rte", "cola"), seeds=(1, 2, 3)), tmp_path / "o")
    arms_but_the_leading, tasks_and_macro = 4, 3
    assert calls["difference"] == 2 * arms_but_the_leading * tasks_and_macro  # ours, and the estimator's below it
    assert calls["matrix"] == calls["environment"] == calls["timing_for_figure"] == calls["loyalties"] == 1


def test_findings_cannot_be_changed(tmp_path):
    found = findings(read(make_results(tmp_path, tasks=("rte", "cola"), seeds=(1, 2))))
    assert found.main.name == MACRO
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.main = found.table.columns[0]
