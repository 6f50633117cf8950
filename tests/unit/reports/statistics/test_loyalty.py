"""Loyalty, calibration and flips against scipy, loops and hand counts."""

import io

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial import distance

from reports import read
from reports.findings.findings import findings
from reports.page.loyalty_rows import flips_csv, grids, leading_flips
from reports.statistics.loyalty import (
    all_flips,
    calibration_error,
    flips,
    flips_table,
    jensen_shannon_distance,
    loyalties,
    probabilities,
    regression_loyalty,
)
from results.format.predictions import Answers, read_answers
from tests.report.make_results import make_results


def test_probabilities_are_a_softmax():
    logits = np.random.default_rng(0).normal(0, 3, (20, 3)).astype(np.float32)
    expected = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=1, keepdims=True)
    assert probabilities(logits) == pytest.approx(expected.T)
    assert probabilities(np.array([[1e4, 0.0]])) == pytest.approx(np.array([[1.0], [0.0]]))


def test_distance_is_scipys_to_base_two():
    rng = np.random.default_rng(1)
    p, q = rng.dirichlet([1, 1, 1], 30), rng.dirichlet([1, 1, 1], 30)
    ours = jensen_shannon_distance(p.T, q.T)
    assert ours == pytest.approx([distance.jensenshannon(a, b, base=2) for a, b in zip(p, q, strict=True)])
    ends = jensen_shannon_distance(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert ends == pytest.approx([1.0, 0.0])


def test_calibration_error_by_a_loop():
    rng = np.random.default_rng(2)
    found, labels = rng.dirichlet([1, 1], 500).T, rng.integers(0, 2, 500)
    confidence, right = found.max(axis=0), found.argmax(axis=0) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15 + 1e-15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert calibration_error(found, labels) == pytest.approx(expected)
    assert calibration_error(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([0, 1])) == 0.5


def test_regression_loyalty_is_pearson():
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=50), rng.normal(size=50)
    assert regression_loyalty(one, other) == pytest.approx(stats.pearsonr(one, other).statistic)
    assert regression_loyalty(np.ones(5), one[:5]) == 0.0


def small(**given) -> Answers:
    found = Answers(
        "t", "accuracy", {"a": slice(0, 2), "b": slice(2, 4)}, np.array([5, 7, 5, 9]), np.array([1, 0, 2, 1])
    )
    for arm, runs in given.items():
        found.given[arm] = {seed: np.array(run) for seed, run in enumerate(runs, 1)}
    return found


def test_flips_both_ways_by_hand():
    found = flips(small(x=[[1, 0, 0, 0], [1, 1, 0, 1]], y=[[0, 0, 2, 2], [1, 0, 1, 1]]), "x", "y")
    assert list(found.only_first) == [1, 0, 0, 0]
    assert list(found.only_second) == [0, 1, 1, 0]
    assert list(found.differ) == [1, 1, 2, 1]  # 0 and 2 are both wrong where 1 is right, and differ
    assert found.seeds == (1, 2)
    assert 0 < found.p <= 1


def test_flips_csv_names_the_examples():
    answers = small(x=[[1, 0, 0, 0]], y=[[0, 0, 2, 2]])
    table = flips_table(flips(answers, "x", "y"), answers)
    assert table[["split", "idx", "only_first_right", "only_second_right"]].values.tolist() == [
        ["a", 5, 1, 0], ["b", 5, 0, 1], ["b", 9, 0, 0],
    ]  # fmt: skip
    assert list(table["label"]) == [1, 2, 1]


def test_one_shared_run_stands_beside_every_seed():
    answers = small(deep=[[1, 0, 2, 1]], x=[[1, 1, 2, 1], [0, 0, 2, 1]])
    assert list(flips(answers, "deep", "x", shared="deep").only_first) == [1, 1, 0, 0]
    assert list(flips(answers, "x", "deep", shared="deep").only_second) == [1, 1, 0, 0]
    both = small(x=[[1, 0, 2, 1], [1, 1, 2, 1], [0, 0, 2, 1]], y=[[1, 1, 2, 1]])
    assert flips(both, "x", "y").seeds == tuple(
        set(both.given["x"]) & set(both.given["y"])
    )  # one seed done is no predecessor
    assert flips(small(x=[[1, 0, 2, 1]]), "x", "none") is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = make_results(
        tmp_path_factory.mktemp("agreement"), tasks=("rte", "stsb"), seeds=(1, 2), predictions=True, speed=False
    )
    results = read(root)
    return results, read_answers(results, "last")


def test_loyalty_is_to_the_shared_predecessor(folder):
    results, answers = folder
    found = {(a.task, a.arm): a for a in loyalties(results.suite, answers)}
    deep = answers["rte"].given["predecessor"][1]
    equal = [100 * np.mean(answers["rte"].given["kd"][seed] == deep) for seed in (1, 2)]
    kd = found["rte", "kd"]
    assert (kd.label.n, kd.label.mean) == (2, pytest.approx(np.mean(equal)))
    q = probabilities(answers["rte"].logits["predecessor"][1]).T
    apart = [
        [distance.jensenshannon(a, b, base=2) for a, b in zip(probabilities(logits).T, q, strict=True)]
        for logits in answers["rte"].logits["kd"].values()
    ]
    assert kd.probability.mean == pytest.approx(100 * (1 - np.mean(apart)))
    assert kd.regression.n == 0
    assert found["rte", "predecessor"].label.n == 0
    assert found["rte", "predecessor"].calibration.n == 1
    pearson = [
        100 * stats.pearsonr(answers["stsb"].given["kd"][s], answers["stsb"].given["predecessor"][1]).statistic
        for s in (1, 2)
    ]
    assert found["stsb", "kd"].regression.mean == pytest.approx(np.mean(pearson))
    assert found["stsb", "kd"].calibration.n == 0


def test_loyalty_is_to_the_predecessor_of_the_same_seed(tmp_path):
    suite = {"predecessor_per_seed": True}
    results = read(make_results(tmp_path, tasks=("rte",), seeds=(1, 2), predictions=True, suite=suite))
    answers = read_answers(results, "last")
    kd = next(a for a in loyalties(results.suite, answers) if a.arm == "kd")
    given = answers["rte"].given
    assert kd.label.mean == pytest.approx(
        np.mean([100 * np.mean(given["kd"][s] == given["predecessor"][s]) for s in (1, 2)])
    )


def test_every_pair_of_arms_is_in_the_csv(folder, tmp_path):
    results, answers = folder
    pairs = [(f.first, f.second) for f in all_flips(results.suite, answers)]
    assert len(pairs) == 10  # five arms on RTE; STS-B has no right and wrong
    table = pd.read_csv(io.StringIO(flips_csv(findings(results))))
    assert set(zip(table["first"], table["second"], strict=True)) == set(pairs)
    assert set(table["task"]) == {"rte"}
    assert (table["only_first_right"] + table["only_second_right"] <= table["answers_differ"]).all()
    bare = read(make_results(tmp_path, tasks=("rte",), seeds=(1,)))
    assert flips_csv(findings(bare)) is None


def test_rows_put_the_leading_arm_first(folder):
    results, answers = folder
    rows = leading_flips(findings(results))
    assert {pair.first for pair in rows} == {"theseus"}
    assert len(rows) == 4
    given, labels = answers["rte"].given, answers["rte"].labels
    kd = next(pair for pair in rows if pair.second == "kd")
    only = np.mean([(given["theseus"][s] == labels) & (given["kd"][s] != labels) for s in (1, 2)])
    assert kd.per_cent(kd.only_first) == pytest.approx(100 * only)
    titles = [grid.title for grid in grids(findings(results))]
    assert titles == [
        "Label loyalty, %",
        "Probability loyalty, %",
        "Regression loyalty, %",
        "Expected calibration error, %",
    ]
