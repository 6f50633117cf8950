"""Runs without a usable answer: how often each arm fails, and what its scores are if failures count.

    failure_rates(estimator)                            # per task and arm, with an exact binomial interval
    with_failures(estimator, "rte", "theseus", "kd")    # the difference in which a failed seed is a constant answer

A mean over the seeds that survived flatters a method that fails often, and no interval over survivors covers what a new
seed would give. So failures are counted beside scores, and a difference is also computed with every failed seed scored
as the best constant answer: what the user of a failed model could have had for nothing.

A small task also gives seeds that predict one class or one value for every input (Dodge et al. 2020, arXiv 2002.06305).
They count like any run, and `constant_cells` names them: leaving them out would flatter a method that fails often, and
hiding them would make a mean of two populations look like one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from reports.statistics.bootstrap import Estimate, estimated
from reports.statistics.cells import MACRO, Cell, Cells, Summary, for_every_seed, is_shared, macro_scores, summarise
from reports.statistics.intervals import Estimator
from results.format.predictions import Answers, score_kind
from results.format.records import Run
from results.format.scores import CORRELATIONS, score

BROKEN = ("diverged", "failed")
CONSTANT = "constant predictions"  # such a flag in result.json begins with this; the split follows
ZERO = frozenset({"matthews_correlation", "entity_f1", *CORRELATIONS})  # scores of 0 for one constant answer
ENOUGH = 3  # values below which a trimmed mean is not shown


@dataclass(frozen=True)
class ConstantCell:
    """A task and arm where `seeds` gave only one answer; the scores `of_all` seeds, and of the `others`."""

    task: str
    arm: str
    seeds: tuple[int, ...]
    of_all: Summary
    others: Summary


@dataclass(frozen=True)
class Failures:
    """The runs of a task × arm: how many are over, how many of them diverged, failed or gave one constant answer.

    `low` and `high` bound the failure rate (0 to 1). `robust` is the interquartile mean of the scores over all runs
    that are over, a diverged or failed one scored as the best constant answer, with its bootstrap interval; None below
    `ENOUGH` runs, or where a failed run cannot be scored.
    """

    task: str
    arm: str
    runs: int
    diverged: int
    failed: int
    constant: int
    low: float
    high: float
    robust: float | None = None
    robust_low: float | None = None
    robust_high: float | None = None

    @property
    def kinds(self) -> dict[str, int]:
        """The number of runs that failed in each way."""
        return {"diverged": self.diverged, "failed": self.failed, "constant": self.constant}

    @property
    def count(self) -> int:
        """All three kinds."""
        return sum(self.kinds.values())


def failure_rates(estimator: Estimator) -> list[Failures]:
    """Every task × arm with at least one run that is over, in the suite's order, over all trials of a search."""
    cells, found = estimator.cells, []
    for task in cells.results.suite.tasks:
        for arm in cells.results.suite.arms:
            cell = cells.at(task.name, arm.name, estimator.protocol)
            if any(run.status != "missing" for run in cell.runs):
                found.append(_failures(estimator, cell))
    return found


def constant_cells(cells: Cells, protocol: str | None = None) -> list[ConstantCell]:
    """The cells with such seeds, in the suite's order of tasks and arms, at the suite's protocol by default."""
    suite, found = cells.results.suite, []
    for task in suite.tasks:
        for arm in suite.arms:
            cell = cells.at(task.name, arm.name, protocol)
            constant = {run.seed for run in cell.runs if _is_constant(run, protocol or suite.protocol)}
            if seeds := tuple(seed for seed in cell.scores if seed in constant):
                others = summarise([score for seed, score in cell.scores.items() if seed not in constant])
                found.append(ConstantCell(task.title, arm.title, seeds, cell.summary, others))
    return found


def _is_constant(run: Run, protocol: str) -> bool:
    checkpoint = run.at(protocol)
    return checkpoint is not None and any(flag.startswith(CONSTANT) for flag in checkpoint.flags)


def rate_interval(failures: int, runs: int) -> tuple[float, float]:
    """Clopper-Pearson, 95 %: two-sided, or one-sided where none or all failed ("0 of 5: up to 45 %")."""
    tail = 0.05 if failures in (0, runs) else 0.025
    low = 0.0 if failures == 0 else float(stats.beta.ppf(tail, failures, runs - failures + 1))
    high = 1.0 if failures == runs else float(stats.beta.ppf(1 - tail, failures + 1, runs - failures))
    return low, high


def interquartile_mean(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of the middle half, with a seeded percentile bootstrap of 95 % (Agarwal et al. 2021)."""
    drawn = np.random.default_rng(0).choice(values, (10_000, len(values)))
    low, high = np.percentile(stats.trim_mean(drawn, 0.25, axis=1), [2.5, 97.5])
    return float(stats.trim_mean(values, 0.25)), float(low), float(high)


def constant_score(cells: Cells, answers: Mapping[str, Answers], task: str, protocol: str) -> float | None:
    """The best score (0 to 100) that one answer for every dev example gives; None where the labels are not stored."""
    if task in answers:
        found = answers[task]
        if found.kind in ZERO:
            return 0.0
        if found.summed:
            return None
        constants = [np.full(len(found.labels), value) for value in np.unique(found.labels)]
        return float(100 * score(found.kind, found.bounds, found.labels, np.stack(constants)).max())
    suite = cells.results.suite
    known = next(found for found in suite.tasks if found.name == task)
    kinds = {score_kind(known, run, protocol) for arm in suite.arms for run in cells.results.of(task, arm.name)}
    return 0.0 if kinds & ZERO else None


def with_failures(estimator: Estimator, task: str, reference: str, arm: str) -> Estimate | None:
    """`reference` minus `arm` over every seed that is over on both sides, a failed run scored as a constant answer.

    The example part of the variance is that of the seeds with predictions. None where a constant answer's score is not
    known, or below two seeds.
    """
    ours, theirs = (_all_scores(estimator, task, name) for name in (reference, arm))
    if ours is None or theirs is None:
        return None
    if is_shared(estimator.cells.results.suite, arm):
        theirs = for_every_seed(theirs, ours)
    points = np.array([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])
    if len(points) < 2:
        return None
    survivors = estimator.difference(task, reference, arm)
    examples, units = (survivors.example_part, survivors.units) if survivors else (0.0, 2)
    return estimated(points, examples, 0.0, units, 2 * estimator.rounding(task), 0.0)


def broken_seeds(cell: Cell, protocol: str) -> dict[str, list[int]]:
    """The seeds of a cell whose run is over and has no score, by what happened; empty where there is none."""
    found = {status: sorted({run.seed for run in cell.runs if run.status == status}) for status in BROKEN}
    found["has no score"] = sorted(
        {run.seed for run in cell.runs if run.status == "done" and run.score(protocol) is None}
    )
    return {status: seeds for status, seeds in found.items() if seeds}


def _all_scores(estimator: Estimator, task: str, arm: str) -> dict[int, float] | None:
    """The score of every seed that is over, macro scores included; None where a failed run cannot be scored."""
    cells = estimator.cells
    if task != MACRO:
        cell = cells.at(task, arm, estimator.protocol)
        over = [run for run in cell.runs if run.status != "missing" and run.score(estimator.protocol) is None]
        filled = {run.seed: _score(estimator, run) for run in over}
        if any(value is None for value in filled.values()):
            return None
        return dict(cell.scores) | {seed: value for seed, value in filled.items() if value is not None}
    parts = [_all_scores(estimator, name, arm) for name in cells.macro_tasks]
    whole = [part for part in parts if part is not None]
    return macro_scores(whole, is_shared(cells.results.suite, arm)) if len(whole) == len(parts) else None


def _score(estimator: Estimator, run: Run) -> float | None:
    return constant_score(estimator.cells, estimator.answers, run.task, estimator.protocol)


def _failures(estimator: Estimator, cell: Cell) -> Failures:
    # Every trial of a search counts, chosen or not: a method that fails under most settings fails often.
    over = [run for run in estimator.cells.results.of(cell.task, cell.arm) if run.status != "missing"]
    diverged, failed = (sum(run.status == status for run in over) for status in BROKEN)
    constant = sum(_is_constant(run, estimator.protocol) for run in over)
    low, high = rate_interval(diverged + failed + constant, len(over))
    found = Failures(cell.task, cell.arm, len(over), diverged, failed, constant, low, high)
    scores = _all_scores(estimator, cell.task, cell.arm)
    if scores is None or len(scores) < ENOUGH:
        return found
    robust, robust_low, robust_high = interquartile_mean(np.array([scores[seed] for seed in sorted(scores)]))
    return replace(found, robust=robust, robust_low=robust_low, robust_high=robust_high)
