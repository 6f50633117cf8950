"""Stochastic order: plain loops, scipy's U, counts that are known exactly, and how often equal arms seem ordered."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import integrate, stats

from reports.statistics.stochastic_order import exchange_p, least_seeds, orders, violation_ratio


def paired(n: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, n])
    common = rng.normal(70, 1, n)
    return common + rng.normal(shift, 1, n), common + rng.normal(0, 1, n)


def u(ours, theirs) -> float:
    return sum((a > b) + 0.5 * (a == b) for a in ours for b in theirs)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_exchange_p_is_that_of_all_exchanges(n):
    ours, theirs = (np.round(side * 2) / 2 for side in paired(n, 0.7))  # rounded, so that some tie
    observed, null = u(ours, theirs), []
    for swaps in product((False, True), repeat=n):
        sides = [(b, a) if swap else (a, b) for a, b, swap in zip(ours, theirs, swaps, strict=True)]
        null.append(u(*zip(*sides, strict=True)))
    exact = np.mean([abs(value - n * n / 2) >= abs(observed - n * n / 2) for value in null])
    assert exchange_p(ours, theirs) == pytest.approx(exact)


def test_many_seeds_draw_exchanges_near_the_exact_p(monkeypatch):
    ours, theirs = paired(10, 0.8)
    exact = exchange_p(ours, theirs)
    monkeypatch.setattr("reports.statistics.stochastic_order.EXACT", 5)
    assert exchange_p(ours, theirs) == pytest.approx(exact, abs=0.01)


def test_the_share_of_pairs_is_mann_and_whitneys():
    ours, theirs = paired(9, 0.5)
    found = orders({"rte": (ours, theirs)})["rte"]
    assert found.superior == pytest.approx(stats.mannwhitneyu(ours, theirs).statistic / 81)


def test_the_violation_ratio_is_the_integral_of_its_definition():
    ours, theirs = paired(7, 0.3, seed=3)

    def quantile(side, q):
        return np.sort(side)[int(np.ceil(q * 7)) - 1]

    grid = (np.arange(70_000) + 0.5) / 70_000
    gaps = np.array([quantile(ours, q) - quantile(theirs, q) for q in grid])
    wrong = integrate.trapezoid(np.where(gaps < 0, gaps**2, 0), grid) / integrate.trapezoid(gaps**2, grid)
    assert violation_ratio(ours, theirs) == pytest.approx(wrong, abs=1e-3)
    assert violation_ratio(theirs, ours) == pytest.approx(1 - wrong, abs=1e-3)
    assert violation_ratio(ours, ours) == 0.5


def test_a_violation_of_zero_is_common_among_equal_arms():
    """Of all ways to deal eight different scores to two arms of four seeds, one in five is in order throughout."""
    values = np.arange(8.0)
    ratios = []
    for chosen in combinations(range(8), 4):
        ratios.append(violation_ratio(values[list(chosen)], np.delete(values, list(chosen))))
    assert np.mean(np.array(ratios) == 0) == pytest.approx(1 / 5)


def test_words():
    low = np.arange(8.0)
    assert orders({"a": (low + 20, low)})["a"].word == "larger"
    assert orders({"a": (low, low + 20)})["a"].word == "smaller"
    assert orders({"a": (low, low)})["a"].word == "open"
    assert orders({"a": (low[:5] + 20, low[:5])})["a"].word == "too few seeds"
    # The same mean and three times the spread: the two quantile functions cross.
    assert orders({"a": (3 * (low - 3.5), low - 3.5)})["a"].word == "open"


def test_more_tasks_need_more_seeds():
    assert [least_seeds(family) for family in (1, 2, 3, 4, 6, 8)] == [6, 7, 7, 8, 8, 9]
    low = np.arange(7.0)
    three, four = (orders({str(i): (low + 20, low) for i in range(tasks)})["0"] for tasks in (3, 4))
    assert (three.word, four.word) == ("larger", "too few seeds")
    assert three.p == pytest.approx(3 * 2 / 2**7)


def equal_arms(n: int, studies: int):
    """Pairs of arms with the same distribution of scores, one seed in ten of which fails."""
    rng = np.random.default_rng([5, n])
    for _ in range(studies):
        yield tuple(rng.normal(0, 1, n) - 8 * (rng.random(n) < 0.1) for _ in range(2))


def wrong_words(n: int, studies: int) -> float:
    """How often equal arms are said to be in order."""
    return np.mean([orders({"t": pair})["t"].word != "open" for pair in equal_arms(n, studies)])


def published_rule(ours, theirs) -> bool:
    """Almost stochastic order by itself, in one direction or the other: the 95 % bound is below a half."""
    rng, n = np.random.default_rng(0), len(ours)
    drawn = [violation_ratio(ours[rng.integers(0, n, n)], theirs[rng.integers(0, n, n)]) for _ in range(200)]
    ratio, margin = violation_ratio(ours, theirs), stats.norm.ppf(0.95) * np.std(drawn, ddof=1)
    return min(ratio, 1 - ratio) + margin < 0.5


def test_equal_arms_are_rarely_said_to_be_in_order():
    assert wrong_words(8, 300) < 0.07  # two standard errors of 300 studies above 5 %


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 10, 20])
def test_equal_arms_are_rarely_said_to_be_in_order_in_two_thousand_studies(n):
    share, alone = wrong_words(n, 2000), np.mean([published_rule(*pair) for pair in equal_arms(n, 500)])
    print(n, share, alone)
    assert share < 0.05
    assert alone > 0.25
