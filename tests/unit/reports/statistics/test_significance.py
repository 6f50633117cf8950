"""Tests of the tests: against scipy where it has the formula, against loops and simulation where it has not."""

from itertools import product

import numpy as np
import pytest
from scipy import special, stats

from reports.statistics.bootstrap import mean_estimate
from reports.statistics.power import power_of_t, seeds_for_equivalence, seeds_needed
from reports.statistics.significance import (
    bootstrap_p,
    holm,
    inverse_trigamma,
    moderated,
    paired_permutation,
    sign_flip,
    smallest_p,
)

SIDES = ["two-sided", "greater", "less"]
VALUES = np.array([1.2, -0.4, 0.9, 1.1, 0.6, 0.8, -0.1])


def equivalence(values, margin, centre=0.0):
    """The verdict on whether the mean of `values` lies within `margin` of `centre`."""
    return mean_estimate(values).tost(margin, centre)[1]


@pytest.mark.parametrize("side", SIDES)
def test_sign_flip_is_scipys_exact_permutation_test(side):
    def mean(x, axis=-1):
        return np.mean(x, axis=axis)

    theirs = stats.permutation_test(
        (VALUES,), mean, permutation_type="samples", alternative=side, n_resamples=np.inf, vectorized=True
    )
    assert sign_flip(VALUES, side) == pytest.approx(theirs.pvalue)


def test_sign_flip_by_hand():
    values = [2.0, 1.0, -0.5]
    sums = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in product((1, -1), repeat=3)]
    assert sign_flip(values) == sum(s >= 2.5 for s in sums) / 8
    assert sign_flip([0.1] * 6) == 2 / 64  # ties by rounding count
    assert sign_flip([0.0, 0.0]) == 1.0
    assert sign_flip([]) == 1.0


def test_drawn_sign_flip_is_near_the_exact_one():
    values = np.random.default_rng(3).normal(0.4, 1, 14)
    exact, drawn = sign_flip(values), sign_flip(values, exact=10, draws=50_000)
    assert drawn == pytest.approx(exact, abs=0.005)
    assert drawn == sign_flip(values, exact=10, draws=50_000)
    assert sign_flip(np.ones(30)) == pytest.approx(1 / 100_001)


@pytest.mark.parametrize(("n", "least"), [(3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_smallest_p_of_few_seeds(n, least):
    assert smallest_p(n) == least
    assert sign_flip(np.arange(1, n + 1)) == least
    assert sign_flip(np.arange(1, n + 1), "greater") == least / 2


def test_five_seeds_are_undecidable_and_six_are_not():
    assert smallest_p(5) == 0.0625
    assert smallest_p(5) > 0.05 > smallest_p(6)


def test_values_without_a_number_are_refused():
    with pytest.raises(ValueError, match="finite"):
        sign_flip([1.0, float("nan")])


def test_one_seed_of_paired_permutation_is_the_exact_mcnemar_test():
    first = np.array([1] * 9 + [0] * 3 + [1] * 50, dtype=bool)
    second = np.array([0] * 9 + [1] * 3 + [1] * 50, dtype=bool)
    assert paired_permutation(first, second) == pytest.approx(stats.binomtest(9, 12).pvalue)
    many = paired_permutation(np.tile(first, 5), np.tile(second, 5), draws=200_000)
    assert many == pytest.approx(stats.binomtest(45, 60).pvalue, abs=5e-4)


def test_paired_permutation_exchanges_all_seeds_of_an_example():
    rng = np.random.default_rng(0)
    first, second = rng.random((40, 3)) < 0.7, rng.random((40, 3)) < 0.55
    gaps = (first.astype(float) - second).mean(axis=1)
    signs = rng.choice([-1, 1], size=(40_000, 40))
    brute = np.mean(np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-9)
    assert paired_permutation(first, second, draws=40_000) == pytest.approx(brute, abs=0.01)
    # the same twenty answers said by ten seeds are still twenty questions
    alone, ten = first[:, :1], np.repeat(first[:, :1], 10, axis=1)
    assert paired_permutation(ten, np.repeat(second[:, :1], 10, axis=1)) == pytest.approx(
        paired_permutation(alone, second[:, :1])
    )
    with pytest.raises(ValueError, match="one shape"):
        paired_permutation(first, second[:5])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_keeps_the_family_wise_error():
    rng = np.random.default_rng(5)
    rate = np.mean([min(holm(list(rng.random(8)))) <= 0.05 for _ in range(4000)])
    assert rate == pytest.approx(0.05, abs=0.01)


def test_bootstrap_p_shifts_the_draws():
    draws = np.array([0.0, 1.0, 2.0, 3.0])
    assert bootstrap_p(1.5, draws) == (2 + 1) / 5


@pytest.mark.parametrize("value", [1e-8, 0.01, 0.5, 3.0, 100.0, 1e9])
def test_inverse_trigamma(value):
    assert special.polygamma(1, inverse_trigamma(value)) == pytest.approx(value, rel=1e-3)


def test_moderated_t_without_anything_to_share_is_the_plain_one():
    ours = moderated([VALUES], "greater")
    assert ours.p[0] == pytest.approx(stats.ttest_1samp(VALUES, 0, alternative="greater").pvalue)
    assert ours.prior_df == 0


def test_moderated_t_of_equal_variances_pools_them():
    cells = [np.array([1.0, -1, 0, 0]) + shift for shift in (0.0, 1, 2)]
    ours = moderated(cells)
    assert ours.prior_df == np.inf
    assert ours.df == pytest.approx([9, 9, 9])
    assert ours.statistic[1] == pytest.approx(1 / np.sqrt(2 / 3 / 4))


def test_moderated_t_by_the_published_formulas():
    """Smyth 2004, equations of section 6.2, written out again for a common number of degrees of freedom."""
    rng = np.random.default_rng(2)
    cells = list(rng.normal(0, 1, (40, 5)) * rng.uniform(0.3, 3, (40, 1)))
    s2, d = np.array([np.var(c, ddof=1) for c in cells]), 4.0
    e = np.log(s2) - special.digamma(d / 2) + np.log(d / 2)
    excess = e.var(ddof=1) - special.polygamma(1, d / 2)
    grid = np.linspace(0.05, 50, 200_000)
    d0 = 2 * grid[np.argmin(np.abs(special.polygamma(1, grid) - excess))]
    s02 = np.exp(e.mean() + special.digamma(d0 / 2) - np.log(d0 / 2))
    ours = moderated(cells)
    assert ours.prior_df == pytest.approx(d0, rel=1e-3)
    assert ours.sd**2 == pytest.approx((d0 * s02 + d * s2) / (d0 + d), rel=1e-3)


def test_prior_is_found_again_from_many_cells():
    rng = np.random.default_rng(8)
    sigma2 = 6 * 2.0 / rng.chisquare(6, 2000)  # s0^2 = 2, d0 = 6
    ours = moderated(list(rng.normal(0, np.sqrt(sigma2)[:, None], (2000, 6))))
    assert ours.prior_df == pytest.approx(6, rel=0.2)
    assert ours.prior_sd[0] ** 2 == pytest.approx(2, rel=0.1)


def test_moderated_odd_cells():
    same = moderated([[0.0, 0.0, 0.0], [-1.0, -1.0, -1.0]], "less")
    assert list(same.p) == [1.0, 0.125]
    mixed = moderated([[0.0, 0.0, 0.0], [-1.0, 0.5, 1.0], [0.3, -0.2, 0.4], [-0.7]], "less")
    assert np.isfinite(mixed.p).all()
    assert mixed.p[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="without values"):
        moderated([[], [1.0]])


def study(rng, n: int, fall: float, shared: bool) -> tuple[bool, bool]:
    """One study of 32 cells: was there an alarm without any change, and was a fall of one cell found?"""
    sd = np.repeat(np.exp(rng.normal(0, 0.0 if shared else 0.5, 8)), 4)
    groups = None if shared else [i // 4 for i in range(32)]
    cells = rng.normal(0, 1, (32, n)) * sd[:, None]
    alarm = min(moderated(list(cells), "less", groups).adjusted()) <= 0.05
    hit = rng.integers(32)
    cells[hit] -= fall * sd[hit]
    return alarm, moderated(list(cells), "less", groups).adjusted()[hit] <= 0.05


@pytest.mark.parametrize("shared", [True, False], ids=["one variance", "a variance per task"])
def test_one_fallen_cell_of_32_is_found_and_false_alarms_are_few(shared):
    rng = np.random.default_rng(11)
    found = np.array([study(rng, 6, 1.75, shared) for _ in range(200)])
    assert found[:, 0].mean() < 0.095  # 5 % and three standard errors of 200 studies
    assert found[:, 1].mean() > (0.82 if shared else 0.72)


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "power"), [(True, 0.87), (False, 0.79)], ids=["one variance", "by task"])
def test_power_and_false_alarms_over_two_thousand_studies(shared, power):
    rng = np.random.default_rng(12)
    found = np.array([study(rng, 6, 1.75, shared) for _ in range(2000)])
    assert found[:, 0].mean() <= 0.06
    assert found[:, 1].mean() >= power


def test_groups_are_shrunk_to_each_other_where_they_are_alike():
    rng = np.random.default_rng(14)
    cells, groups = list(rng.normal(0, 1, (32, 6))), [i // 4 for i in range(32)]
    alike = moderated(cells, "less", groups)
    assert alike.df.min() > 20  # more than the twenty of one group of four
    assert moderated(cells[:8], "less", groups[:8]).df.max() <= 20  # two groups say nothing of how groups differ
    apart = moderated([c * 10.0**g for c, g in zip(cells, groups, strict=True)], "less", groups)
    assert apart.df.max() < 21


def test_cell_by_cell_t_tests_cannot_find_it():
    """Why variance is shared: five degrees of freedom against a threshold of 0.05 / 32."""
    rng = np.random.default_rng(13)
    p = stats.ttest_1samp(rng.normal(-1.75, 1, (4000, 6)), 0, axis=1, alternative="less").pvalue
    assert np.mean(p <= 0.05 / 32) == pytest.approx(0.355, abs=0.025)


def test_tost_is_two_t_tests_of_scipy():
    low = stats.ttest_1samp(VALUES, 0.5 - 1.0, alternative="greater").pvalue
    high = stats.ttest_1samp(VALUES, 0.5 + 1.0, alternative="less").pvalue
    p, verdict = mean_estimate(VALUES).tost(1.0, 0.5)
    assert p == pytest.approx(max(low, high))
    assert verdict == "equivalent"
    assert equivalence(VALUES + 5, 1.0) == "different"
    assert equivalence(VALUES, 0.3) == "undecided"


def test_equivalence_errs_one_time_in_twenty_at_the_margin():
    rng = np.random.default_rng(21)
    at = [equivalence(rng.normal(1.0, 1, 12), 1.0) for _ in range(4000)]
    assert at.count("equivalent") / 4000 == pytest.approx(0.05, abs=0.011)
    assert at.count("different") / 4000 == pytest.approx(0.05, abs=0.011)
    inside = [equivalence(rng.normal(0.0, 1, 20), 1.0) for _ in range(1000)]
    assert inside.count("equivalent") > 980


def test_power_agrees_with_scipys_noncentral_t():
    reach = stats.t.ppf(0.975, 9)
    assert power_of_t(3.0, 9) == pytest.approx(stats.nct.sf(reach, 9, 3.0) + stats.nct.cdf(-reach, 9, 3.0), abs=1e-3)


def test_seeds_needed_give_the_power_and_one_fewer_does_not():
    n = seeds_needed(0.8, 1.0)
    assert n == 15  # the textbook's number for d = 0.8
    rng = np.random.default_rng(4)
    for seeds, enough in ((n, True), (n - 2, False)):
        hit = stats.ttest_1samp(rng.normal(0.8, 1, (20_000, seeds)), 0, axis=1).pvalue < 0.05
        assert bool(hit.mean() > 0.797) is enough
    assert seeds_needed(0.8, 1.0, tests=8) > n


def test_no_number_of_seeds_outgrows_the_dev_set():
    assert seeds_needed(1.0, 2.0, shared=0.5) is None
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(10.0, 0.0) == 2


@pytest.mark.parametrize("off", [0.0, 0.5, 2.0])
def test_seeds_for_equivalence_by_simulation(off):
    n = seeds_for_equivalence(off, 1.0, 1.0)
    rng = np.random.default_rng(6)
    wanted = "equivalent" if off < 1 else "different"
    hit = [equivalence(rng.normal(off, 1, n), 1.0) == wanted for _ in range(2000)]
    assert np.mean(hit) == pytest.approx(0.82, abs=0.06)
    assert seeds_for_equivalence(1.0, 1.0, 1.0) is None
