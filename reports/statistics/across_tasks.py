"""A hierarchical estimate over tasks: the mean difference over tasks like these, and each task's own shrunk towards it.

    pool({"rte": estimate, "cola": estimate, ...})      # Pooled, or None below three tasks

The macro score weighs the suite's tasks alike and is about these tasks only. This is the random-effects model of
meta-analysis: a task's true difference is drawn from a normal distribution over tasks, with mean mu and standard
deviation tau, and the suite measures it with the standard error of its seeds and dev examples. tau is estimated as
Paule and Mandel do (1982), the interval of mu is Hartung's and Knapp's (2001), because tasks are few, and a task's
shrunken difference is the best linear prediction from its own difference and mu (Raudenbush 1994). docs/statistics.md
has the formulas and the coverage by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from reports.statistics.bootstrap import CONFIDENCE, Estimate

LEAST_TASKS = 3
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shrunken:
    """One task: the difference as measured with its standard error, and shrunk with its interval.

    `kept` is the weight of the task's own difference, from 0 (only the mean over tasks counts) to 1.
    """

    measured: float
    error: float
    kept: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Pooled:
    """The mean over tasks with its 95 % interval, and tau, the standard deviation between tasks, with its own."""

    mean: float
    error: float
    low: float
    high: float
    between: float
    between_low: float
    between_high: float
    tasks: Mapping[str, Shrunken]


def pool(measured: Mapping[str, Estimate]) -> Pooled | None:
    """The random-effects estimate over the tasks' estimates; None below three tasks."""
    if len(measured) < LEAST_TASKS:
        return None
    values = np.array([estimate.mean for estimate in measured.values()])
    variances = np.array([estimate.error**2 for estimate in measured.values()])
    spread = len(values) - 1
    between = between_variance(values, variances, spread)
    mean, error = hartung_knapp(values, variances, between)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, spread)) * error
    # The Q-profile interval (Viechtbauer 2007): the tau^2 at which Q has the quantiles of its chi-square.
    ends = [between_variance(values, variances, stats.chi2.ppf(0.5 + s * CONFIDENCE / 2, spread)) for s in (1, -1)]
    tasks = dict(zip(measured, _shrunken(list(measured.values()), between, mean, error), strict=True))
    low, high = (math.sqrt(end) for end in ends)
    return Pooled(mean, error, mean - half, mean + half, math.sqrt(between), low, high, tasks)


def between_variance(values: Floats, variances: Floats, target: float) -> float:
    """The tau^2 >= 0 at which Q, the weighted sum of squares around the weighted mean, is `target`; 0 if Q is below it.

    With k - 1, the expectation of Q, as the target this is the estimate of Paule and Mandel.
    """

    def beyond(between: float) -> float:
        weights = 1 / (variances + between)
        mean = weights @ values / weights.sum()
        return float(weights @ (values - mean) ** 2) - target

    if beyond(0) <= 0:
        return 0.0
    most = float(((values - values.mean()) ** 2).sum()) / target  # Q falls with tau^2 and is below the target here
    return float(optimize.brentq(beyond, 0, most))


def hartung_knapp(values: Floats, variances: Floats, between: float) -> tuple[float, float]:
    """The weighted mean and its standard error for Student's t with k - 1 degrees of freedom.

    Where tasks differ less than their standard errors make them differ, the factor that scales the error would be below
    1 and the interval shorter than without a spread between tasks. It then counts as 1 (Roever, Knapp and Friede 2015).
    """
    weights = 1 / (variances + between)
    mean = float(weights @ values / weights.sum())
    scale = float(weights @ (values - mean) ** 2) / (len(values) - 1)
    return mean, math.sqrt(max(1.0, scale) / float(weights.sum()))


def _shrunken(estimates: Sequence[Estimate], between: float, mean: float, error: float) -> Iterator[Shrunken]:
    variances = [estimate.error**2 for estimate in estimates]
    # The asymptotic variance of tau^2, as for maximum likelihood.
    doubt = 2 / sum((variance + between) ** -2 for variance in variances)
    for estimate, variance in zip(estimates, variances, strict=True):
        kept = between / (between + variance)
        own, common = kept * variance, ((1 - kept) * error) ** 2
        # tau^2 is an estimate too: Kass and Steffey (1989) add the square by which its error would move the prediction.
        shift = (1 - kept) ** 2 / variance * (estimate.mean - mean)
        total = own + common + shift**2 * doubt
        df = total**2 / (
            own**2 / estimate.df + (total - own) ** 2 / (len(estimates) - 1)
        )  # Satterthwaite, as elsewhere
        centre = kept * estimate.mean + (1 - kept) * mean
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, df)) * math.sqrt(total)
        yield Shrunken(estimate.mean, estimate.error, kept, centre, centre - half, centre + half)
