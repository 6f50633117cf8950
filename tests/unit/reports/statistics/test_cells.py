"""Statistics against other derivations: the statistics module, scipy's own tests, and simulation."""

import json
import statistics as plain

import numpy as np
import pytest
from scipy import stats

from reports.statistics.bootstrap import mean_estimate
from reports.statistics.cells import MACRO, Cells, macro_tasks, summarise
from reports.statistics.differences import Differences, comparisons, depth_leaders
from reports.statistics.intervals import Estimator
from reports.statistics.power import detectable_effect
from results.format.reader import read
from tests.report.make_results import make_results

SCORES = {
    **{("rte", "kd", s): v for s, v in zip((1, 2, 3), (64.0, 66.0, 65.5), strict=True)},
    **{("rte", "theseus", s): v for s, v in zip((1, 2, 3), (66.0, 67.0, 68.5), strict=True)},
    **{("mrpc", "kd", s): v for s, v in zip((1, 2, 3), (86.0, 85.0, 87.0), strict=True)},
    **{("mrpc", "theseus", s): v for s, v in zip((1, 2, 3), (87.0, 86.5, 87.25), strict=True)},
    ("rte", "predecessor", 1): 71.0,
    ("mrpc", "predecessor", 1): 89.0,
}
GRID = {"tasks": ("mrpc", "rte"), "arms": ("predecessor", "kd", "theseus"), "speed": False, "scores": SCORES}


def cell(results, task, arm, protocol="last"):
    return Cells.of(results).at(task, arm, protocol)


def difference(results, task, reference, arm, protocol="last"):
    return Differences(Estimator(Cells.of(results), protocol)).of(task, reference, arm)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return read(make_results(tmp_path_factory.mktemp("whole"), **GRID))


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    outcomes = {("rte", "kd", 2): "diverged", ("mrpc", "theseus", 3): "missing"}
    return read(make_results(tmp_path_factory.mktemp("holed"), outcomes=outcomes, **GRID))


def test_summary_of_a_cell(whole):
    values = [64.0, 66.0, 65.5]
    found = cell(whole, "rte", "kd", "last").summary
    assert found.n == 3
    assert found.mean == pytest.approx(plain.mean(values))
    assert found.median == plain.median(values)
    assert found.sd == pytest.approx(plain.stdev(values))
    assert found.centre("median") == 65.5
    assert found.centre("mean") == pytest.approx(65.1666667)


def test_one_value_has_no_sd_and_none_has_nothing():
    assert summarise([3.0]).sd is None
    empty = summarise([])
    assert (empty.n, empty.mean, empty.centre("mean")) == (0, None, None)
    assert mean_estimate(np.array([1.0])) is None


def test_macro_is_per_seed_and_only_over_whole_seeds(whole, holed):
    assert cell(whole, MACRO, "kd").scores == {1: 75.0, 2: 75.5, 3: 76.25}
    assert cell(holed, MACRO, "kd").scores == {1: 75.0, 3: 76.25}
    assert cell(holed, MACRO, "theseus").scores == {1: 76.5, 2: 76.75}
    assert cell(holed, MACRO, "kd", "last").gap == "2 of 3 seeds, 1 diverged"
    assert cell(holed, "mrpc", "theseus", "last").gap == "2 of 3 seeds"
    assert cell(whole, MACRO, "kd", "last").gap == ""


def test_a_task_out_of_the_macro_does_not_count(tmp_path):
    root = make_results(tmp_path, **GRID)
    suite = json.loads((root / "suite.json").read_text())
    suite["tasks"][0]["in_macro"] = False
    (root / "suite.json").write_text(json.dumps(suite))
    results = read(root)
    assert macro_tasks(results.suite) == ("rte",)
    assert cell(results, MACRO, "kd").scores == {1: 64.0, 2: 66.0, 3: 65.5}


def test_paired_difference_agrees_with_the_paired_t_test(whole):
    found = difference(whole, "rte", "theseus", "kd", "last")
    test = stats.ttest_rel([66.0, 67.0, 68.5], [64.0, 66.0, 65.5]).confidence_interval(0.95)
    assert found.values == (2.0, 1.0, 3.0)
    assert (found.n, found.pairing, found.mean) == (3, "seed", 2.0)
    assert (found.low, found.high) == pytest.approx((test.low, test.high))


def test_pairs_are_the_seeds_that_both_have(holed):
    assert difference(holed, "rte", "theseus", "kd", "last").seeds == (1, 3)
    macro = difference(holed, MACRO, "theseus", "kd", "last")
    assert (macro.seeds, macro.values, macro.low, macro.detectable) == ((1,), (1.5,), None, None)


def test_shared_predecessor_is_one_run_and_one_sample(whole):
    assert cell(whole, MACRO, "predecessor", "last").summary.n == 1
    found = difference(whole, "rte", "theseus", "predecessor", "last")
    test = stats.ttest_1samp([66.0, 67.0, 68.5], 71.0).confidence_interval(0.95)
    assert found.pairing == "shared"
    assert (found.low, found.high) == pytest.approx((test.low - 71.0, test.high - 71.0))


def test_predecessor_per_seed_is_paired(tmp_path):
    results = read(make_results(tmp_path, **(GRID | {"suite": {"predecessor_per_seed": True}})))
    assert difference(results, "rte", "theseus", "predecessor", "last").pairing == "seed"
    assert cell(results, "rte", "predecessor", "last").planned == 3


def test_shared_predecessor_whose_tasks_have_other_seeds_still_has_a_macro(tmp_path):
    root = make_results(tmp_path, **GRID)
    suite = json.loads((root / "suite.json").read_text())
    run = next(r for r in suite["runs"] if (r["task"], r["arm"]) == ("rte", "predecessor"))
    run["seed"] = 9
    for name in ("config.json",):
        path = root / run["folder"] / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 9}))
    (root / "suite.json").write_text(json.dumps(suite))
    assert list(cell(read(root), MACRO, "predecessor").scores.values()) == [80.0]


def test_equal_differences_decide_nothing(tmp_path):
    equal = SCORES | {("rte", "theseus", s): SCORES["rte", "kd", s] + 1 for s in (1, 2, 3)}
    found = difference(read(make_results(tmp_path, **(GRID | {"scores": equal}))), "rte", "theseus", "kd", "last")
    assert found.mean == pytest.approx(1.0)
    assert found.estimate.p() == pytest.approx(2 / 2**3)  # no surer than the sign-flip test of three equal differences
    assert found.low < 0 < found.high


def test_every_arm_but_the_reference_on_every_task(whole):
    found = comparisons(Differences(Estimator(Cells.of(whole))))
    assert [(d.arm, d.task) for d in found] == [
        (arm, task) for arm in ("predecessor", "kd") for task in ("mrpc", "rte", MACRO)
    ]


def test_protocol_is_kept_apart(whole):
    last, best = (cell(whole, "rte", "kd", protocol).scores for protocol in ("last", "selected"))
    assert all(best[seed] >= last[seed] for seed in last)
    assert best != last


@pytest.mark.parametrize(("n", "expected"), [(3, 3.26), (5, 1.68), (10, 1.00), (20, 0.66)])
def test_detectable_difference_is_the_textbook_one(n, expected):
    assert detectable_effect(1.0, 0.0, n) == pytest.approx(expected, abs=0.006)


def test_detectable_difference_by_simulation():
    draws = np.random.default_rng(0).normal(detectable_effect(1.0, 0.0, 4), 1.0, size=(20_000, 4))
    hit = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05
    assert hit.mean() == pytest.approx(0.8, abs=0.012)


def test_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(0.7, 2.0, size=(2000, 5))
    bounds = [mean_estimate(row).interval() for row in draws]
    assert np.mean([low <= 0.7 <= high for low, high in bounds]) == pytest.approx(0.95, abs=0.015)


def test_reference_arm_prefers_the_one_named_theseus(tmp_path):
    arms = ("kd", "theseus-constant", "theseus")
    changes = {"theseus-constant": {"method": "theseus", "published": "Constant"}}
    results = read(make_results(tmp_path, tasks=("rte",), arms=arms, seeds=(1,), arm_changes=changes))
    assert depth_leaders(results.suite) == {6: "theseus"}
    other = read(make_results(tmp_path / "b", tasks=("rte",), arms=arms[:2], seeds=(1,), arm_changes=changes))
    assert depth_leaders(other.suite) == {6: "theseus-constant"}
    none = read(make_results(tmp_path / "c", tasks=("rte",), arms=("kd",), seeds=(1,)))
    assert depth_leaders(none.suite) == {}


def test_a_cell_without_planned_runs_says_so(tmp_path):
    root = make_results(tmp_path, **GRID)
    suite = json.loads((root / "suite.json").read_text())
    suite["runs"] = [run for run in suite["runs"] if run["task"] == "rte"]
    (root / "suite.json").write_text(json.dumps(suite))
    assert cell(read(root), "mrpc", "kd", "last").gap == "not planned"
