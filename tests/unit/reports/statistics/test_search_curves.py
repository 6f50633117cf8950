"""The expected best of k trials: all subsets, the scores that choose, and trials that are not complete."""

from itertools import combinations

import numpy as np
import pytest

from reports.statistics.search_curves import expected_best, search_curves, trial_scores
from results.format.reader import read
from results.format.trials import choosing_score
from tests.report.make_results import KINDS, make_results


def test_it_is_the_mean_over_all_subsets():
    scores = [61.0, 55.5, 63.25, 55.5, 70.0]
    for k, found in enumerate(expected_best(scores), 1):
        assert found == pytest.approx(np.mean([max(chosen) for chosen in combinations(scores, k)]))


def test_it_begins_at_the_mean_and_ends_at_the_best():
    found = expected_best([3.0, 9.0, 6.0])
    assert (found[0], found[-1]) == (6.0, 9.0)
    assert expected_best([4.0]) == [4.0]
    assert len(expected_best(list(range(200)))) == 200


def test_it_is_unbiased_where_drawing_with_replacement_is_too_low():
    """The best of 3 standard normal trials has the expectation 1.5 / root pi; a search of 5 is seen."""
    rng, ours, dodge = np.random.default_rng(0), [], []
    shares = [(i / 5) ** 3 - ((i - 1) / 5) ** 3 for i in range(1, 6)]
    for _ in range(4000):
        scores = np.sort(rng.normal(size=5))
        ours.append(expected_best(scores)[2])
        dodge.append(float(scores @ shares))
    truth = 1.5 / np.sqrt(np.pi)
    assert np.mean(ours) == pytest.approx(truth, abs=0.03)
    assert np.mean(dodge) < truth - 0.08


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    kind = dict(KINDS["search"]) | {"arms": (*KINDS["search"]["arms"], "pkd")}
    return read(make_results(tmp_path_factory.mktemp("search"), **kind))


def test_curves_are_means_over_tasks_of_complete_trials(searched):
    curves = {curve.arm: curve for curve in search_curves(searched, ("cola", "rte"))}
    assert {arm: len(curve.values) for arm, curve in curves.items()} == {"finetune": 2, "kd": 3, "theseus": 5, "pkd": 1}
    assert {arm: curve.left_out for arm, curve in curves.items()} == {"finetune": 0, "kd": 1, "theseus": 1, "pkd": 0}
    by_hand = []
    for task in ("cola", "rte"):
        runs = [run for run in searched.of(task, "finetune")]
        scores = [np.mean([run.held_out.held_out_score for run in runs if run.trial == trial]) for trial in (0, 1)]
        by_hand.append((np.mean(scores), max(scores)))
    assert curves["finetune"].values == pytest.approx(tuple(np.mean(by_hand, axis=0)))


def test_a_trial_that_lacks_a_seed_is_left_out(searched):
    assert len(trial_scores(searched, "cola", "kd")) == 3  # trial 1 of seed 2 diverged
    assert len(trial_scores(searched, "rte", "kd")) == 4
    assert all(choosing_score(run, "held_out") is not None for run in searched.of("rte", "kd"))


def test_without_a_search_there_is_no_curve(tmp_path):
    assert search_curves(read(make_results(tmp_path, tasks=("rte",), seeds=(1,))), ("rte",)) == []
