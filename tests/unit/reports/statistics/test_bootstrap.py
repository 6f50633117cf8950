"""The joint interval: scores under weights, its variance against brute force, and how often it covers."""

import numpy as np
import pytest
from scipy import stats

from reports.statistics.bootstrap import (
    combined,
    grouped,
    joint_draws,
    mean_estimate,
    multinomial,
    resample,
)
from results.format.predictions import Answers
from results.format.scores import Sums, score
from tests.report.make_predictions import metric

KINDS = {
    "accuracy": ("accuracy",),
    "f1_accuracy": ("f1", "accuracy"),
    "matthews_correlation": ("matthews_correlation",),
    "pearson_spearman": ("pearson", "spearman"),
    "cosine_spearman": ("spearman",),
}


def made_up(kind: str, runs: int = 4, examples: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    if "spearman" in kind:
        labels = rng.integers(0, 26, examples) / 5
        return labels, labels + rng.normal(0, 1.5, (runs, examples))
    labels = rng.integers(0, 2, examples)
    return labels, np.where(rng.random((runs, examples)) < 0.75, labels, 1 - labels)


def by_definition(kind: str, labels, given) -> float:
    frame = {"label": labels, "prediction": given}
    import pandas as pd

    table = pd.DataFrame(frame)
    return float(np.mean([metric(name, table["label"], table["prediction"]) for name in KINDS[kind]]))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_what_their_definitions_give(kind):
    labels, given = made_up(kind)
    ours = score(kind, {"validation": slice(0, len(labels))}, labels, given)
    assert ours == pytest.approx([by_definition(kind, labels, row) for row in given], abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weighted_score_is_the_score_of_the_repeated_examples(kind):
    labels, given = made_up(kind)
    counts = multinomial(np.random.default_rng(1), 20, len(labels))
    sums = Sums.of(kind, labels, given)
    ours = sums.score(counts @ sums.columns)
    for row, weights in zip(ours, counts.astype(int), strict=True):
        again = np.repeat(np.arange(len(labels)), weights)
        theirs = [by_definition(kind, labels[again], run[again]) for run in given]
        # Spearman's ranks are those of the whole dev set, not of the resample; Pearson halves the difference
        assert row == pytest.approx(theirs, abs={"pearson_spearman": 0.02, "cosine_spearman": 0.04}.get(kind, 1e-5))


def test_weighted_pearson_is_exact():
    labels, given = made_up("pearson_spearman")
    ranks = stats.rankdata(given, axis=1)
    weights = multinomial(np.random.default_rng(2), 1, len(labels))
    sums = [Sums.of(kind, labels, given, np.float64) for kind in ("pearson_spearman", "cosine_spearman")]
    found, alone = (one.score(weights @ one.columns)[0] for one in sums)
    again = np.repeat(np.arange(len(labels)), weights[0].astype(int))
    for i in range(len(given)):
        plain = stats.pearsonr(given[i][again], labels[again]).statistic
        ranked = stats.pearsonr(ranks[i][again], stats.rankdata(labels)[again]).statistic
        assert found[i] == pytest.approx((plain + ranked) / 2, abs=1e-6)
        assert alone[i] == pytest.approx(ranked, abs=1e-6)


def test_degenerate_answers_score_as_the_suite_scores_them():
    whole, labels = {"validation": slice(0, 4)}, np.array([0, 1, 0, 1])
    none, alike = np.zeros((1, 4), int), np.ones((1, 4)) * 2.5
    assert score("f1_accuracy", whole, labels, none) == pytest.approx([0.25])
    assert score("matthews_correlation", whole, labels, none) == [0]
    assert score("pearson_spearman", whole, labels.astype(float), alike) == [0]


def test_two_splits_count_alike():
    labels, given = np.array([0, 0, 0, 1]), np.array([[0, 0, 0, 0]])
    assert score("accuracy", {"a": slice(0, 3), "b": slice(3, 4)}, labels, given) == [0.5]


def test_multinomial_draws_as_many_as_there_are():
    for size in (5, 300):
        rows = multinomial(np.random.default_rng(0), 200, size)
        assert (rows.sum(axis=1) == size).all()
        assert rows.var() == pytest.approx(1 - 1 / size, rel=0.1)


def answers(kind: str, seeds: int, examples: int, seed: int = 0, **bounds: slice) -> Answers:
    labels, given = made_up(kind, seeds, examples, seed)
    found = Answers("t", kind, bounds or {"validation": slice(0, examples)}, np.arange(examples), labels)
    found.given["a"] = dict(enumerate(given))
    return found


def test_resampling_an_accuracy_has_the_variance_of_theory():
    found = answers("accuracy", 3, 400, first=slice(0, 100), second=slice(100, 400))
    drawn = resample(found, 20_000).of("a", (0, 1, 2))
    for i in range(3):
        right = found.given["a"][i] == found.labels
        parts = [right[:100], right[100:]]
        assert drawn[:, i].mean() == pytest.approx(50 * sum(p.mean() for p in parts), abs=0.1)
        theory = 2500 * sum(p.var() / len(p) for p in parts)
        assert drawn[:, i].var() == pytest.approx(theory, rel=0.05)


@pytest.mark.parametrize("kind", ["accuracy", "matthews_correlation"])
def test_groups_of_examples_give_the_variance_of_examples(kind):
    found = answers(kind, 3, 4000)
    one, other = resample(found, 4000, most=10_000), resample(found, 4000, most=1000)
    assert (one.units, other.units) == (4000, 1000)
    spread = [np.cov(r.of("a", (0, 1, 2)).T) for r in (one, other)]
    assert spread[1] == pytest.approx(spread[0], rel=0.2, abs=0.15 * spread[0].max())


def test_groups_hold_every_example_once():
    labels, given = made_up("f1_accuracy", 2, 1001)
    sums = Sums.of("f1_accuracy", labels, given)
    packed = grouped(sums, np.random.default_rng(0), 100)
    assert packed.columns.sum(axis=0) == pytest.approx(sums.columns.sum(axis=0))
    assert set(packed.columns[:, 0]) <= {10, 11}
    assert grouped(sums, np.random.default_rng(0), 2000) is sums


def test_the_same_seed_gives_the_same_draws():
    found = answers("accuracy", 2, 300)
    one, two, other = (resample(found, 50, seed).of("a", (0, 1)) for seed in (1, 1, 2))
    assert (one == two).all()
    assert (one != other).any()


def test_variance_is_that_of_the_explicit_double_bootstrap_less_what_that_counts_twice():
    """Drawing seeds and examples by hand: s2 (n-1)/n2 + c + the seed-by-example noise counted again."""
    rng, n, m = np.random.default_rng(3), 5, 120
    right = (rng.normal(0.7, 1, m) + rng.normal(0, 0.3, (n, 1)) + rng.normal(0, 0.5, (n, m)) > 0).astype(float)
    draws = [100 * right[rng.integers(0, n, n)][:, rng.integers(0, m, m)].mean() for _ in range(40_000)]
    weights = multinomial(rng, 40_000, m)
    drawn = 100 * (weights @ right.T.astype(np.float32)) / m
    ours = mean_estimate(100 * right.mean(axis=1), drawn, m)
    own, shared = drawn.var(axis=0).mean(), ours.example_part
    noise = (own - shared) / n  # seed-by-example noise, in the mean
    explicit = ours.seed_part * (n - 1) / n + shared + noise + noise * (n - 1) / n
    assert np.var(draws) == pytest.approx(explicit, rel=0.05)
    assert joint_draws(drawn, 1).var() == pytest.approx(explicit, rel=0.05)


def test_estimate_without_spread_between_seeds_still_has_the_dev_set():
    same = np.tile(np.random.default_rng(0).normal(70, 2, (500, 1)), 3).astype(np.float32)
    found = mean_estimate(np.array([70.0, 70.0, 70.0]), same, 277)
    assert found.seed_part == 0
    assert found.error == pytest.approx(2, rel=0.1)
    assert (found.tied, found.df) == (True, 2)  # nothing is known of the spread between seeds
    assert mean_estimate(np.array([70.0]), same[:, :1], 277) is None
    assert combined(1.0, 0.0, 0.0, 3, 10) is None


def test_estimate_without_examples_is_students_t():
    values = np.array([1.0, 2.0, 4.0])
    found, theirs = mean_estimate(values), stats.ttest_1samp(values, 0)
    assert found.interval() == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.p() == pytest.approx(theirs.pvalue)
    assert found.sd == pytest.approx(values.std(ddof=1))
    assert mean_estimate(np.array([1.0, 1.0])) is None
    assert mean_estimate(np.array([1.0])) is None


def coverage(
    studies: int, seed_sd: float, noise: float, kind: str, n: int = 6, m: int = 400, draws: int = 600, arm_sd: float = 0
):
    """Share of studies whose 95 % interval holds the truth, for a score and for a paired difference.

    Right answers come from easiness of the example, quality of the seed (half of it shared by the two arms) and
    noise of each answer; `arm_sd` adds an effect of arm and example together that all seeds of the arm share. The truth
    over all seeds and examples is known in closed form for accuracy, and for Matthews with balanced classes, where it
    is twice the accuracy less one.
    """
    rng = np.random.default_rng([7, int(100 * seed_sd), int(100 * noise)])
    taste = np.random.default_rng([8, int(100 * arm_sd)])  # a stream of its own: without this effect nothing else moves
    weights, scale = multinomial(rng, draws, m), np.sqrt(1 + noise**2 + seed_sd**2 + arm_sd**2)
    levels = (0.8, 1.0)
    truth = [100 * stats.norm.cdf(level / scale) for level in levels]
    if kind == "matthews_correlation":
        truth = [2 * value - 100 for value in truth]
    held = np.zeros((studies, 2), bool)
    for k in range(studies):
        ease, common = rng.normal(0, 1, m), rng.normal(0, seed_sd * np.sqrt(0.5), (n, 1))
        labels = rng.integers(0, 2, m)
        given = []
        for level in levels:
            own = rng.normal(0, seed_sd * np.sqrt(0.5), (n, 1))
            answered = level + ease + taste.normal(0, arm_sd, m) + common + own
            right = answered + rng.normal(0, noise, (n, m)) > 0
            given.append(np.where(right, labels, 1 - labels))
        sums = Sums.of(kind, labels, np.concatenate(given))
        points = 100 * sums.score(sums.columns.sum(axis=0, keepdims=True))[0].astype(float)
        drawn = 100 * sums.score(weights @ sums.columns)
        one = mean_estimate(points[:n], drawn[:, :n], m).interval()
        gap = mean_estimate(points[n:] - points[:n], drawn[:, n:] - drawn[:, :n], m).interval()
        held[k] = one[0] <= truth[0] <= one[1], gap[0] <= truth[1] - truth[0] <= gap[1]
    return held.mean(axis=0)


def test_coverage_at_six_seeds():
    found = coverage(400, 0.15, 0.7, "accuracy", m=200, draws=300)
    assert (np.abs(found - 0.95) < 0.033).all()  # three standard errors of 400 studies


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["accuracy", "matthews_correlation"])
@pytest.mark.parametrize(
    ("seed_sd", "noise", "arm_sd"), [(0.15, 0.7, 0), (0.3, 0.3, 0), (0.15, 0.7, 0.5), (0.3, 0.3, 0.5)]
)
def test_coverage_at_six_seeds_over_two_thousand_studies(kind, seed_sd, noise, arm_sd):
    found = coverage(2000, seed_sd, noise, kind, arm_sd=arm_sd)
    print(kind, seed_sd, noise, arm_sd, found)
    assert ((found > 0.93) & (found < 0.97)).all(), found
