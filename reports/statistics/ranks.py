"""Mean ranks of arms over tasks, with Friedman's test and Nemenyi's critical difference (Demsar 2006).

    rank({"rte": {"theseus": 63.1, "kd": 61.0, "finetune": 60.2}, ...})     # Ranks, or None

Rank 1 is the highest score of a task; equal scores share their mean rank. Two arms whose mean ranks differ by less than
the critical difference are not separated. A rank says who is ahead on a task, not by how much and not how surely, so
with few tasks this decides little: with three tasks and four arms, only an arm that leads everywhere and one that is
last everywhere can be separated. Friedman's p is drawn by permuting ranks within tasks, because the chi-square that
usually replaces it needs more than ten tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reports.statistics.significance import ALPHA

LEAST_TASKS, LEAST_ARMS = 3, 3
DRAWS = 20_000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranks:
    """Mean rank per arm, best first. `friedman` is the chi-square, `p` its p value by permutation.

    `groups`: the largest sets of two or more neighbours in rank that are not separated; all arms where p is above 5 %.
    """

    mean: Mapping[str, float]
    by_task: Mapping[str, Mapping[str, float]]
    friedman: float
    p: float
    critical: float
    groups: tuple[tuple[str, ...], ...]

    @property
    def separated(self) -> list[tuple[str, str]]:
        """The pairs, better arm first, that no group holds together."""
        order = list(self.mean)
        pairs = [(one, other) for i, one in enumerate(order) for other in order[i + 1 :]]
        return [pair for pair in pairs if not any(set(pair) <= set(group) for group in self.groups)]


def rank(scores: Mapping[str, Mapping[str, float]]) -> Ranks | None:
    """Ranks over tasks in which every arm has a score; None below three tasks or three arms."""
    arms = list(next(iter(scores.values()), {}))
    if len(scores) < LEAST_TASKS or len(arms) < LEAST_ARMS:
        return None
    table = np.array([[-row[arm] for arm in arms] for row in scores.values()])
    ranked = stats.rankdata(table, axis=1)
    means = dict(sorted(zip(arms, map(float, ranked.mean(axis=0)), strict=True), key=lambda item: item[1]))
    critical, p = critical_difference(len(arms), len(scores)), permutation_p(ranked)
    return Ranks(
        mean=means,
        by_task={task: dict(zip(arms, map(float, row), strict=True)) for task, row in zip(scores, ranked, strict=True)},
        friedman=friedman(ranked),
        p=p,
        critical=critical,
        # Pairs are compared only where Friedman's test finds a difference at all.
        groups=tuple(_groups(means, critical)) if p <= ALPHA else (tuple(means),),
    )


def friedman(ranked: Floats) -> float:
    """Friedman's chi-square of (tasks, arms) ranks, without a correction for ties, as Demsar gives it."""
    tasks, arms = ranked.shape
    return float(12 * tasks / (arms * (arms + 1)) * ((ranked.mean(axis=0) - (arms + 1) / 2) ** 2).sum())


def permutation_p(ranked: Floats, draws: int = DRAWS, seed: int = 0) -> float:
    """The share of tables with the ranks of each task in random order that are at least as far apart; seeded."""
    rng = np.random.default_rng(seed)
    sums = sum(rng.permuted(np.tile(row, (draws, 1)), axis=1) for row in ranked)
    spread, observed = np.var(sums, axis=1), float(np.var(ranked.sum(axis=0)))
    return (int((spread >= observed - 1e-9).sum()) + 1) / (draws + 1)


def critical_difference(arms: int, tasks: int, alpha: float = ALPHA) -> float:
    """Nemenyi's: the studentized range of `arms` normal variables over root 2, times the error of a rank difference."""
    return float(stats.studentized_range.ppf(1 - alpha, arms, np.inf)) * math.sqrt(arms * (arms + 1) / (12 * tasks))


def _groups(means: Mapping[str, float], critical: float) -> list[tuple[str, ...]]:
    """The runs of neighbours within one critical difference that no longer run contains."""
    order, found, reached = list(means), [], 0
    for start, arm in enumerate(order):
        end = max(i for i, other in enumerate(order) if means[other] - means[arm] < critical) + 1
        if end > reached and end - start > 1:
            found.append(tuple(order[start:end]))
        reached = max(reached, end)
    return found
