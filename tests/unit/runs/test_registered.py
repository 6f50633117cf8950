"""suite.json records which seeds and questions were planned before anybody could look at a result."""

from __future__ import annotations

from pathlib import Path

from benchmarks.plans.planner import make_plan
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from results.format import layout
from results.format.reader import read

ASKED = 'contrasts=[{question="Is it?", first="theseus", second="kd"}]'


def recorded(folder: Path, *settings: str) -> list[tuple[int, int | None, int]]:
    """Seeds, runs with a result by then, and questions of each entry after the suite has been written once more."""
    store = Store(folder)
    store.open()
    store.write_suite(make_plan(load_suite("demo", settings)))
    suite = read(folder).suite
    return [(len(r.seeds), r.after_runs, len(r.contrasts)) for r in suite.registered]


def test_what_changes_after_a_result_is_kept_beside_what_was_planned_before(tmp_path: Path) -> None:
    assert recorded(tmp_path) == [(3, 0, 0)]
    assert recorded(tmp_path, ASKED) == [(3, 0, 1)]  # before the first result a change replaces the plan
    assert read(tmp_path).suite.asked_beforehand
    result = tmp_path / "syn-cola" / "kd" / "seed-1-x" / layout.RESULT
    result.parent.mkdir(parents=True)
    result.write_text("{}", encoding="utf-8")
    assert recorded(tmp_path, ASKED) == [(3, 0, 1)]
    assert recorded(tmp_path) == [(3, 0, 1), (3, 1, 0)]
    assert recorded(tmp_path, ASKED, "seeds=[1, 2, 3, 4]") == [(3, 0, 1), (3, 1, 0), (4, 1, 1)]
    assert read(tmp_path).suite.asked_beforehand  # they are those of the first entry


def test_a_question_that_comes_after_a_result_was_not_asked_beforehand(tmp_path: Path) -> None:
    recorded(tmp_path)
    result = tmp_path / "syn-cola" / "kd" / "seed-1-x" / layout.RESULT
    result.parent.mkdir(parents=True)
    result.write_text("{}", encoding="utf-8")
    assert recorded(tmp_path, ASKED) == [(3, 0, 0), (3, 1, 1)]
    assert not read(tmp_path).suite.asked_beforehand
