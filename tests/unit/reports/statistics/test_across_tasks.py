"""Pooling over tasks: published meta-analyses, plain loops, limits, and how often the intervals cover."""

import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics.across_tasks import between_variance, hartung_knapp, pool
from reports.statistics.bootstrap import Estimate, combined

# Thirteen trials of the BCG vaccine (Colditz et al. 1994; dat.bcg of metafor): cases and others, vaccinated and not.
BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
])  # fmt: skip
# Eight schools (Rubin 1981): effect of coaching and its standard error.
SCHOOLS = {
    "A": (28, 15),
    "B": (8, 10),
    "C": (-3, 16),
    "D": (7, 11),
    "E": (-1, 9),
    "F": (1, 11),
    "G": (18, 10),
    "H": (12, 18),
}


def bcg() -> tuple[np.ndarray, np.ndarray]:
    """Log relative risks and their variances."""
    a, b, c, d = BCG.T
    return np.log(a / (a + b) / (c / (c + d))), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def estimate(mean: float, error: float, df: float = 1e6) -> Estimate:
    return Estimate(mean, error, df, 5, error**2, 0.0)


def test_published_meta_analysis_of_the_bcg_vaccine():
    values, variances = bcg()
    assert between_variance(values, variances, 12) == pytest.approx(0.3181, abs=5e-5)  # metafor: method "PM"
    ends = [between_variance(values, variances, stats.chi2.ppf(q, 12)) for q in (0.975, 0.025)]
    assert ends == pytest.approx([0.1197, 1.1115], abs=5e-5)  # Viechtbauer 2010, section 3.2: confint()
    mean, error = hartung_knapp(values, variances, 0.3132)  # with his REML estimate
    assert mean == pytest.approx(-0.7145, abs=5e-5)
    assert error == pytest.approx(0.1808, abs=1e-4)


def test_eight_schools_do_not_differ_beyond_their_errors():
    found = pool({name: estimate(*pair) for name, pair in SCHOOLS.items()})
    assert found.between == found.between_low == 0
    assert found.between_high > 5
    assert found.mean == pytest.approx(7.69, abs=0.005)  # Gelman et al., Bayesian Data Analysis, section 5.5
    assert found.error == pytest.approx(4.07, abs=0.005)
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 7) * found.error)
    assert [task.mean for task in found.tasks.values()] == pytest.approx([found.mean] * 8)


def test_pooling_is_what_plain_loops_give():
    values, errors, df = (4.6, 1.2, 2.0, 0.4), (0.9, 0.5, 1.1, 0.3), (6.0, 9.0, 4.0, 30.0)
    found = pool({str(i): estimate(*row) for i, row in enumerate(zip(values, errors, df, strict=True))})

    def q(between):
        weights = [1 / (error**2 + between) for error in errors]
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
        return sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)), mean, weights

    low, high = 0.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if q(middle)[0] > 3 else (low, middle)
    scale, mean, weights = q(low)
    assert found.between**2 == pytest.approx(low)
    assert found.mean == pytest.approx(mean)
    assert found.error == pytest.approx(math.sqrt(scale / 3 / sum(weights)))
    doubt = 2 / sum(w**2 for w in weights)
    for task, value, error, own in zip(found.tasks.values(), values, errors, df, strict=True):
        kept = low / (low + error**2)
        assert (task.measured, task.error, task.kept) == pytest.approx((value, error, kept))
        assert task.mean == pytest.approx(kept * value + (1 - kept) * mean)
        # the derivative of `kept` with respect to tau^2, by a finite difference
        step = 1e-5
        slope = ((low + step) / (low + step + error**2) - kept) / step
        first, rest = kept * error**2, ((1 - kept) * found.error) ** 2 + (slope * (value - mean)) ** 2 * doubt
        freedom = (first + rest) ** 2 / (first**2 / own + rest**2 / 3)
        assert task.high - task.mean == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(first + rest), rel=1e-3)


def test_equal_errors_give_the_mean_and_the_t_test_over_tasks():
    values = [3.0, 1.0, -2.0, 5.0]
    found = pool({str(v): estimate(v, 0.4) for v in values})
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(theirs))
    assert found.between == pytest.approx(math.sqrt(np.var(values, ddof=1) - 0.16))


def test_equal_tasks_do_not_shorten_the_interval():
    found = pool({name: estimate(1.0, 0.6) for name in "abc"})
    assert found.error == pytest.approx(0.6 / math.sqrt(3))


def test_a_task_far_more_precise_than_tasks_differ_keeps_its_own_difference():
    found = pool({"a": estimate(5, 0.01), "b": estimate(0, 0.01), "c": estimate(-4, 3)})
    assert found.tasks["a"].mean == pytest.approx(5, abs=0.01)
    assert found.tasks["a"].high == pytest.approx(5.02, abs=0.005)
    assert -4 < found.tasks["c"].mean < found.mean


def test_two_tasks_are_too_few():
    assert pool({"a": estimate(1, 1), "b": estimate(2, 1)}) is None
    assert pool({}) is None


def coverage(tasks: int, seeds: int, between: float, studies: int, sampled: bool = True) -> tuple[float, float, float]:
    """Share of studies whose intervals hold the mean over tasks, the spread between tasks, and a task's difference.

    Seeds of a task's difference have a standard deviation of 0.4 to 2.0 points; the dev set, if `sampled`, adds 0.15 to
    1.2 points.
    """
    rng = np.random.default_rng([11, tasks, seeds, int(100 * between)])
    spread, dev = np.geomspace(0.4, 2.0, tasks), sampled * np.geomspace(0.15, 1.2, tasks) ** 2
    held = []
    for _ in range(studies):
        truth = 1.0 + rng.normal(0, between, tasks)
        values = truth + rng.normal(0, np.sqrt(spread**2 / seeds + dev))
        variances = spread**2 * rng.chisquare(seeds - 1, tasks) / (seeds - 1)
        parts = zip(values, variances / seeds, dev, strict=True)
        found = pool({str(i): combined(v, s, d, seeds, 277) for i, (v, s, d) in enumerate(parts)})
        inside = [task.low <= t <= task.high for task, t in zip(found.tasks.values(), truth, strict=True)]
        held.append((found.low <= 1 <= found.high, found.between_low <= between <= found.between_high, np.mean(inside)))
    return tuple(np.mean(held, axis=0))


def test_coverage_at_six_seeds_on_four_tasks():
    mean, between, task = coverage(4, 6, 1.0, 300)
    assert 0.88 < mean < 1
    assert 0.9 < between < 1
    assert 0.85 < task < 1


@pytest.mark.slow
@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("tasks", [3, 4, 8])
@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_coverage_over_two_thousand_studies(tasks, seeds, sampled):
    for between in (0.0, 0.5, 1.0, 2.0, 4.0):
        found = coverage(tasks, seeds, between, 2000, sampled)
        print(f"{tasks} tasks, {seeds} seeds, dev set {sampled}, tau {between}: {' '.join(f'{x:.3f}' for x in found)}")
        assert found[0] > 0.86
        assert found[2] > 0.84
        assert found[1] > 0.75 or seeds < 6  # with fewer seeds the standard errors are too uncertain for it
