"""Trials and held-out data: which trial counts, what everything else then shows, and what the search cost."""

import json
from pathlib import Path

import pytest
from scipy import stats

from reports.findings.findings import findings
from reports.page.sections import costs, selections
from reports.statistics.cells import MACRO, Cells
from reports.statistics.differences import Differences
from reports.statistics.intervals import Estimator
from results.format.errors import ReportError
from results.format.reader import COLUMNS, export_table, read
from results.format.trials import choices, chosen_trial, in_words
from tests.report.make_results import make_results

# rte, kd: trial 1 is best but lacks a seed; trial 2 is best on dev, trial 0 on held-out data.
VALUES = {0: (64.0, 65.0, 66.0), 1: (70.0, 70.0, 70.0), 2: (66.0, 66.0, 66.3)}
APART = {0: ((63.0, 80.0), (64.0, 81.0), (65.5, 82.0)), 1: ((70.0, 90.0),) * 3, 2: ((66.0, 79.0),) * 3}
THESEUS = (67.0, 68.0, 70.5)
SCORES = {("rte", "kd", seed, trial): row[seed - 1] for trial, row in VALUES.items() for seed in (1, 2, 3)} | {
    ("rte", "theseus", seed): value for seed, value in enumerate(THESEUS, 1)
}
HELD = {("rte", "kd", seed, trial): row[seed - 1] for trial, row in APART.items() for seed in (1, 2, 3)} | {
    ("rte", "theseus", seed): (value - 0.5, 85.0) for seed, value in enumerate(THESEUS, 1)
}
TRIALS = [{"training.learning_rate": 1e-5}, {"training.learning_rate": 2e-5}, {"options.rate.base": 0.1}]
SEARCH = {
    "tasks": ("rte",), "arms": ("kd", "theseus"), "scores": SCORES, "held_out": HELD, "speed": False,
    "arm_changes": {"kd": {"trials": TRIALS}}, "outcomes": {("rte", "kd", 3, 1): "diverged"},
    "suite": {"held_out": 0.1},
}  # fmt: skip


def cell(results, task, arm, protocol="last"):
    return Cells.of(results).at(task, arm, protocol)


def difference(results, task, reference, arm, protocol="last"):
    return Differences(Estimator(Cells.of(results), protocol)).of(task, reference, arm)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_results(tmp_path_factory.mktemp("search"), **SEARCH)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_dev_chooses_at_last_and_selected_and_held_out_data_at_held_out(folder):
    results = read(folder)
    assert [chosen_trial(results, "rte", "kd", p) for p in ("last", "selected", "held_out")] == [2, 2, 0]
    assert cell(results, "rte", "kd", "last").scores == {1: 66.0, 2: 66.0, 3: 66.3}
    assert cell(results, "rte", "kd", "held_out").scores == {1: 63.0, 2: 64.0, 3: 65.5}
    assert [chosen_trial(results, "rte", "theseus", p) for p in ("last", "held_out")] == [0, 0]


def test_only_the_chosen_trial_counts(folder):
    results = read(folder)
    found = cell(results, "rte", "kd", "last")
    assert (found.planned, found.gap) == (3, "")
    against = difference(results, "rte", "theseus", "kd", "held_out")
    test = stats.ttest_rel([66.5, 67.5, 70.0], [63.0, 64.0, 65.5]).confidence_interval(0.95)
    assert against.values == (3.5, 3.5, 4.5)
    assert (against.low, against.high) == pytest.approx((test.low, test.high))
    kd = findings(results).table.entries[0]
    assert kd[0].value == pytest.approx((66.0 + 66.0 + 66.3) / 3)
    assert kd[0].remark == ""


def test_a_trial_that_lacks_seeds_competes_only_with_its_like(tmp_path):
    lacking = {("rte", "kd", 3, 1): "diverged", ("rte", "kd", 1, 0): "missing", ("rte", "kd", 2, 2): "failed"}
    results = read(make_results(tmp_path, **(SEARCH | {"outcomes": lacking})))
    assert chosen_trial(results, "rte", "kd", "last") == 1
    assert cell(results, "rte", "kd", "last").gap == "2 of 3 seeds, 1 diverged"


def test_equal_trials_and_trials_without_a_score_give_the_first(tmp_path):
    equal = {"scores": dict.fromkeys(SCORES, 65.0), "outcomes": {}}
    assert chosen_trial(read(make_results(tmp_path / "a", **(SEARCH | equal))), "rte", "kd", "last") == 0
    none = {key: "diverged" for key in SCORES}
    results = read(make_results(tmp_path / "b", **(SEARCH | {"outcomes": none})))
    assert chosen_trial(results, "rte", "kd", "last") == 0
    assert cell(results, "rte", "kd", "last").gap == "0 of 3 seeds, 3 diverged"


def test_every_task_has_its_own_trial_in_the_macro(tmp_path):
    scores = {(task, "kd", 1, trial): value for task, row in {"rte": (60.0, 70.0), "mrpc": (90.0, 80.0)}.items()
              for trial, value in enumerate(row)}  # fmt: skip
    results = read(make_results(
        tmp_path, tasks=("rte", "mrpc"), arms=("kd",), seeds=(1,), scores=scores, speed=False,
        arm_changes={"kd": {"trials": [{}, {"training.epochs": 5}]}},
    ))  # fmt: skip
    assert cell(results, MACRO, "kd", "last").scores == {1: 80.0}
    assert choices(results)[0].settings == (("epochs 5",), ())


def test_what_selection_on_dev_is_worth(folder):
    line = next(s for s in selections(findings(read(folder))) if s["arm"].name == "kd")
    planned = json.loads((folder / "suite.json").read_text())["runs"]
    places = [folder / run["folder"] / "result.json" for run in planned if run.get("trial") == 2]
    best = [json.loads(path.read_text())["selected"]["score"] for path in places]
    assert len(best) == 3
    assert line["worth"] == pytest.approx(sum(best) / 3 - (63.0 + 64.0 + 65.5) / 3)
    assert line["held_out"] == pytest.approx((63.0 + 64.0 + 65.5) / 3)


def test_costs_count_every_trial(folder):
    line = next(c for c in costs(findings(read(folder))) if c["arm"].name == "kd")
    runs = [json.loads(p.read_text()) for p in folder.glob("rte/kd/seed-*/result.json")]
    assert len(runs) == 9
    assert len(line["arm"].trials) == 3
    assert line["total"] == pytest.approx(sum(run["train_seconds"] for run in runs))


def test_export_says_which_trial_counts_at_which_protocol(folder):
    frame = export_table(folder)
    assert tuple(frame.columns) == COLUMNS
    assert COLUMNS[-4:] == ("run_id", "trial", "chosen", "origin")
    kd = frame[frame.arm == "kd"]
    # 8 runs done and one diverged, three protocols each, one metric
    assert len(kd) == 27
    assert set(kd.protocol) == {"last", "selected", "held_out"}
    assert set(kd[kd.chosen & (kd.protocol == "last")].trial) == {2}
    assert set(kd[kd.chosen & (kd.protocol == "held_out")].trial) == {0}
    assert sorted(kd[kd.chosen & (kd.protocol == "held_out")].score) == [63.0, 64.0, 65.5]
    assert frame.chosen.dtype == bool
    assert set(frame[frame.arm == "theseus"].trial) == {0}
    assert frame[frame.arm == "theseus"].chosen.all()


def test_without_held_out_data_there_are_no_such_rows(tmp_path):
    plain = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), speed=False)
    assert list(export_table(plain).protocol) == ["last", "selected"]
    assert read(plain).protocols == ("last", "selected")
    edit(next(plain.glob("rte/kd/*/result.json")), held_out=None)
    assert list(export_table(plain).protocol) == ["last", "selected"]


def test_a_suite_may_report_the_held_out_checkpoint(tmp_path):
    results = read(make_results(tmp_path, **(SEARCH | {"suite": {"held_out": 0.1, "protocol": "held_out"}})))
    assert findings(results).table.entries[0][0].value == pytest.approx((63.0 + 64.0 + 65.5) / 3)


def test_settings_in_words():
    trial = {"training.learning_rate": 1e-5, "options.rate.base": 0.1, "training.epochs": 3, "options.init": "first"}
    assert in_words(trial) == ("learning rate 1e-05", "rate base 0.1", "epochs 3", "init first")
    assert in_words({"options.x": "a\u202eb\n" * 90})[0].startswith("x ab ab")
    assert in_words({}) == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trial": 7}, "trial its arm lacks"),
        ({"trial": -1}, "trial its arm lacks"),
        ({"trial": "two"}, "not a whole number"),
        ({"trial": 2, "seed": 1}, "twice"),
    ],
)
def test_a_run_of_no_planned_trial_is_refused(tmp_path, changes, message):
    root = make_results(tmp_path, **SEARCH)
    suite = json.loads((root / "suite.json").read_text())
    run = next(r for r in suite["runs"] if (r["arm"], r["seed"], r.get("trial")) == ("kd", 1, 0))
    run |= changes
    edit(root / "suite.json", runs=suite["runs"])
    with pytest.raises(ReportError, match=message):
        read(root)


@pytest.mark.parametrize(
    "changes",
    [
        {"table": 3},
        {"table": "two"},
        {"held_out": 1.5},
        {"held_out": "a lot"},
        {"steps": ["nobody"]},
        {"steps": ["kd", "kd"]},
        {"steps": "kd"},
        {"arms": [{"name": "kd", "trials": [1]}, {"name": "theseus"}]},
        {"arms": [{"name": "kd", "x": "far"}, {"name": "theseus"}]},
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused(tmp_path, changes):
    root = make_results(tmp_path, **SEARCH)
    edit(root / "suite.json", **changes)
    with pytest.raises(ReportError, match=r"suite\.json"):
        read(root)


def test_a_held_out_score_out_of_range_is_refused(tmp_path):
    root = make_results(tmp_path, **SEARCH)
    path = next(root.glob("rte/theseus/seed-1-*/result.json"))
    edit(path, held_out=json.loads(path.read_text())["held_out"] | {"held_out_score": 8500})
    with pytest.raises(ReportError, match="outside -100 to 100"):
        read(root)
