"""Ranks over tasks: Demsar's published example, his table of critical values, full enumeration, scipy."""

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from reports.statistics.ranks import critical_difference, permutation_p, rank

# Demsar 2006, table 6: AUC of C4.5 with and without tuning of m and cf on 14 data sets. His ranks say which of two is
# larger on "voting", where he prints the same three decimals.
ARMS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
DEMSAR = {
    "adult": (0.763, 0.768, 0.771, 0.798), "breast cancer": (0.599, 0.591, 0.590, 0.569),
    "wisconsin": (0.954, 0.971, 0.968, 0.967), "cmc": (0.628, 0.661, 0.654, 0.657),
    "ionosphere": (0.882, 0.888, 0.886, 0.898), "iris": (0.936, 0.931, 0.916, 0.931),
    "liver": (0.661, 0.668, 0.609, 0.685), "lung cancer": (0.583, 0.583, 0.563, 0.625),
    "lymphography": (0.775, 0.838, 0.866, 0.875), "mushroom": (1.0, 1.0, 1.0, 1.0),
    "primary tumor": (0.940, 0.962, 0.965, 0.962), "rheum": (0.619, 0.666, 0.614, 0.669),
    "voting": (0.972, 0.981, 0.9751, 0.975), "wine": (0.957, 0.978, 0.946, 0.970),
}  # fmt: skip


def test_demsars_example():
    found = rank({task: dict(zip(ARMS, row, strict=True)) for task, row in DEMSAR.items()})
    assert [found.mean[arm] for arm in ARMS] == pytest.approx([3.143, 2.0, 2.893, 1.964], abs=0.001)
    assert list(found.mean) == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert found.friedman == pytest.approx(9.28, abs=0.01)
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert found.p < 0.05
    assert found.separated == []  # he calls the power of this test not sufficient here


def test_friedman_is_scipys_without_ties():
    scores = np.random.default_rng(0).normal(size=(7, 4))
    found = rank({str(i): dict(enumerate(row)) for i, row in enumerate(scores)})
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*scores.T).statistic)


@pytest.mark.parametrize(("arms", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_values_are_demsars(arms, q):
    assert critical_difference(arms, 6) == pytest.approx(q * np.sqrt(arms * (arms + 1) / 36), abs=0.001)


@pytest.mark.parametrize(
    "rows", [[(1, 2, 3)] * 3, [(1, 2, 3), (1, 3, 2), (2, 1, 3)], [(1.5, 1.5, 3), (1, 2, 3), (2, 2, 2)]]
)
def test_the_permutation_p_is_that_of_all_tables(rows):
    def spread(table):
        return np.var(np.sum(table, axis=0))

    tables = list(product(*(list(permutations(row)) for row in rows)))
    exact = np.mean([spread(table) >= spread(rows) - 1e-9 for table in tables])
    assert permutation_p(np.array(rows, dtype=float)) == pytest.approx(exact, abs=0.012)


def test_groups_join_neighbours_and_only_a_significant_test_separates():
    order = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}
    found = rank({str(i): order for i in range(8)})
    assert found.critical == pytest.approx(1.658, abs=0.002)
    assert found.groups == (("a", "b"), ("b", "c"), ("c", "d"))
    assert found.separated == [("a", "c"), ("a", "d"), ("b", "d")]
    mixed = {str(i): dict(zip("abcd", row, strict=True)) for i, row in enumerate(list(permutations(range(4)))[::4])}
    undecided = rank(mixed)
    assert undecided.p > 0.05
    assert undecided.separated == []
    assert len(undecided.groups) == 1


def test_three_tasks_with_four_arms_separate_only_the_extremes():
    found = rank({str(i): {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0} for i in range(3)})
    assert 2 < found.critical < 3
    assert found.separated == [("a", "d")]


def test_too_few_tasks_or_arms():
    assert rank({"x": {"a": 1.0, "b": 2.0, "c": 3.0}, "y": {"a": 1.0, "b": 2.0, "c": 3.0}}) is None
    assert rank({name: {"a": 1.0, "b": 2.0} for name in "xyz"}) is None
    assert rank({}) is None
