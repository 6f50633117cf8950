"""The best score that a search of k trials is expected to find, for k up to the number of trials (Dodge et al. 2019).

    search_curves(results, tasks)       # a curve per arm with a search, averaged over tasks

A trial's score is the one that chooses trials (`results.format.trials`): its mean over seeds. The expectation is over
which k of the N trials were run: the mean, over all subsets of k trials, of the best in the subset. Dodge et al. draw
the k trials with replacement, which is too low; the form without replacement is unbiased (Tang et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from results.format.records import Results
from results.format.trials import choosing_score


@dataclass(frozen=True)
class SearchCurve:
    """`values[k - 1]` is the expected best of k trials, the mean over `tasks`; `left_out` trials lack seeds."""

    arm: str
    tasks: tuple[str, ...]
    trials: int
    values: tuple[float, ...]
    left_out: int


def search_curves(results: Results, tasks: Sequence[str]) -> list[SearchCurve]:
    """A curve per arm with more than one trial and a point per other arm but the predecessor; empty without a search.

    A curve ends at the least number of complete trials that one of its tasks has. A task of which the arm has no
    complete trial is left out of its curve.
    """
    if not any(len(arm.trials) > 1 for arm in results.suite.arms):
        return []
    arms = [arm.name for arm in results.suite.arms if len(arm.trials) > 1 or not arm.is_predecessor]
    return [curve for arm in arms if (curve := _curve(results, arm, tasks)) is not None]


def _curve(results: Results, arm: str, tasks: Sequence[str]) -> SearchCurve | None:
    found = {task: trial_scores(results, task, arm) for task in tasks}
    scored = {task: scores for task, scores in found.items() if scores}
    if not scored:
        return None
    length, trials = min(map(len, scored.values())), len(results.suite.arm(arm).trials)
    values = np.mean([expected_best(scores)[:length] for scores in scored.values()], axis=0)
    left_out = sum(trials - len(scores) for scores in found.values())
    return SearchCurve(arm, tuple(scored), trials, tuple(map(float, values)), left_out)


def trial_scores(results: Results, task: str, arm: str) -> list[float]:
    """The mean choosing score over seeds of every trial that has the most seeds done, as the choice itself takes."""
    groups: dict[int, list[float]] = {}
    for run in results.of(task, arm):
        if (score := choosing_score(run, results.suite.protocol)) is not None:
            groups.setdefault(run.trial, []).append(score)
    most = max(map(len, groups.values()), default=0)
    return [sum(scores) / len(scores) for scores in groups.values() if len(scores) == most]


def expected_best(scores: Sequence[float]) -> list[float]:
    """The expected maximum of k of the N scores, drawn without replacement, for k = 1 to N."""
    ranked = sorted(scores)
    # Of the comb(N, k) subsets, the i-th lowest score (from 0) is the best of comb(i, k - 1).
    return [
        sum(score * comb(i, k - 1) for i, score in enumerate(ranked)) / comb(len(ranked), k)
        for k in range(1, len(ranked) + 1)
    ]
