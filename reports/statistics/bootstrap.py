"""Intervals over seeds and dev examples at once, from stored predictions.

    drawn = resample(answers, draws=10_000)          # the task score of every run on every resampled dev set
    mean_estimate(points, drawn, units)              # the mean over seeds: standard error, interval and its parts

All runs of a task share one set of weights per resampled dev set, so differences are paired by example. Seeds stay
rows, so differences are also paired by seed. The Multi-Bootstrap (Sellam et al. 2022) asks for both. Two things differ
from its plain form, because a suite has few seeds:

- Seeds are not drawn again. Drawing n seeds from n multiplies their variance by (n - 1) / n, which is a sixth too
  little at six, and drawing both ways counts the seed-by-example noise three times. The mean over seeds has the
  variance  s2 / n + c : s2 is the variance between the seeds' scores (ddof 1), and c is the covariance of two seeds'
  scores that comes from sharing examples, estimated from the resampled dev sets. Both are unbiased.
- The quantile is Student's, with Satterthwaite's degrees of freedom from the two parts. docs/statistics.md has the
  coverage by simulation at six seeds.

A dev set of more than 2,048 examples is first divided into at most that many random groups of equal size, and groups
are resampled. The variance stays the same and is estimated with 2,000 degrees of freedom instead of 40,000, so its root
is uncertain by 1.6 %; the spread between six seeds is uncertain by 32 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reports.statistics.significance import ALPHA, ROUNDING, t_tail
from results.format.predictions import Answers
from results.format.scores import Sums

CONFIDENCE = 0.95
DRAWS = 10_000
GROUPS = 2048
BLOCK = 2**23  # weights held at once: 32 MiB
Draws = NDArray[np.float32]


@dataclass(frozen=True)
class Resampled:
    """Per arm and seed the task score (0 to 100) on each resampled dev set, (draws,); `units` were resampled."""

    units: int
    scores: Mapping[tuple[str, int], Draws]

    def of(self, arm: str, seeds: tuple[int, ...]) -> Draws:
        """An arm's scores as (draws, seeds)."""
        return np.stack([self.scores[arm, seed] for seed in seeds], axis=1)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its standard error. `seed_part` and `example_part` are the two variances of the mean.

    `basis` says what the error includes: seeds and examples, or only the spread between seeds. `tied`: the seeds'
    values are all equal, so that their spread is unknown and not zero. `units` examples (or groups) were resampled.
    """

    mean: float
    error: float
    df: float
    n: int
    seed_part: float
    example_part: float
    basis: str = "seeds and examples"
    tied: bool = False
    units: int = 2

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Student t interval."""
        half = float(stats.t.ppf(0.5 + confidence / 2, self.df)) * self.error
        return self.mean - half, self.mean + half

    def p(self) -> float:
        """The two-sided p value of the mean against 0."""
        return t_tail(self.mean / self.error, self.df)

    def tost(self, margin: float, centre: float) -> tuple[float, Literal["equivalent", "different", "undecided"]]:
        """Is the mean within `margin` of `centre`? The verdict of two one-sided t tests, and the p that decided it.

        The verdict is `different` where the 1 - 2 alpha interval is wholly outside the margin, and p is then that of
        the one-sided test against the margin's nearer end. Otherwise p is the larger of the two of equivalence.
        """
        below, above = (centre - margin - self.mean) / self.error, (centre + margin - self.mean) / self.error
        p = max(t_tail(-below, self.df, "greater"), t_tail(-above, self.df, "less"))
        if p <= ALPHA:
            return p, "equivalent"
        outside = t_tail(-above, self.df, "greater") if self.mean > centre else t_tail(-below, self.df, "less")
        return (outside, "different") if outside <= ALPHA else (p, "undecided")

    @property
    def sd(self) -> float:
        """The spread of one seed."""
        return math.sqrt(self.seed_part * self.n)


def resample(answers: Answers, draws: int = DRAWS, seed: int = 0, most: int = GROUPS) -> Resampled:
    """Every run's task score on `draws` resampled dev sets; each split of a task is resampled by itself."""
    keys = [(arm, s) for arm, runs in answers.given.items() for s in runs]
    given = np.stack([answers.given[arm][s] for arm, s in keys])
    rng, total = np.random.default_rng([seed, *answers.task.encode()]), np.zeros((draws, len(keys)), np.float32)
    units = 0
    # A resampled dev set is the same examples with weights (how often each was drawn), and every score here is a
    # function of weighted sums over examples. So `weights` (draws, examples) times `sums.columns` (examples, sums of
    # all runs) gives the sums of every run on every resampled dev set in one matrix product. All runs share one row of
    # weights, which pairs two arms by example.
    for part in answers.bounds.values():
        sums = Sums.of(answers.kind, answers.labels[part], given[:, part])
        sums = grouped(sums, rng, most)
        size, block = len(sums.columns), max(1, BLOCK // len(sums.columns))  # all draws at once would need gigabytes
        for start in range(0, draws, block):
            weights = multinomial(rng, min(block, draws - start), size)
            total[start : start + len(weights)] += sums.score(weights @ sums.columns)
        units += size
    total *= 100 / len(answers.bounds)
    return Resampled(units, {key: total[:, i] for i, key in enumerate(keys)})


def grouped(sums: Sums, rng: np.random.Generator, most: int = GROUPS) -> Sums:
    """Divide examples into at most `most` random groups of nearly equal size; a smaller dev set stays as it is."""
    examples = len(sums.columns)
    if examples <= most:
        return sums
    count = math.ceil(examples / math.ceil(examples / most))
    return sums.grouped(rng.permutation(np.arange(examples) % count))


def multinomial(rng: np.random.Generator, rows: int, size: int) -> Draws:
    """(rows, size): how often each of `size` units is drawn when `size` are drawn with replacement."""
    if size <= 64:
        return rng.multinomial(size, np.full(size, 1 / size), rows).astype(np.float32)
    found = np.empty((rows, size), np.float32)
    for row in found:
        row[:] = np.bincount(rng.integers(0, size, size=size), minlength=size)
    return found


def mean_estimate(
    points: NDArray[np.float64], drawn: Draws | None = None, units: int = 2, rounding: float = 0.0,
    null: float | None = None,
) -> Estimate | None:  # fmt: skip
    """The mean of the seeds' values (n,); None below two seeds or without any variance.

    `drawn` are their values on resampled dev sets (draws, n) of `units` examples; without them the estimate is
    Student's t over seeds. `rounding`: the variance that one value has because scores are counts of examples. `null`:
    the value of no effect, for a difference: where all seeds give one value, the t test is then no surer than the exact
    sign-flip test.
    """
    n = len(points)
    if n < 2:
        return None
    if drawn is None:
        found = estimated(points, 0.0, 0.0, units, rounding, null)
        return found and replace(found, basis="seeds")
    # `drawn` (draws, n) holds the seeds' scores on the same resampled dev sets, so the covariance of two columns is the
    # part that two seeds' scores share because they are scored on the same examples. The mean covariance of all pairs
    # needs no n x n matrix: the variance of the row sums is the sum of all n^2 entries, `own` is the sum of the
    # diagonal, and the rest are n (n - 1) covariances. The diagonal is left out because it also includes the noise of
    # single answers, which the spread between seeds already includes (Sellam et al. 2022 draw both and count it again;
    # docs/statistics.md). An estimated variance can be below 0 by chance and then counts as 0.
    centred = drawn.astype(np.float64) - drawn.mean(axis=0, dtype=np.float64)
    own = float((centred**2).sum()) / (len(drawn) - 1)
    whole = float((centred.sum(axis=1) ** 2).sum()) / (len(drawn) - 1)
    shared = (whole - own) / (n * (n - 1))
    # With the seeds held fixed, the mean score still has the variance that its answers have over dev sets. On average
    # that is c + a / n, where a is the noise of single answers, and the spread between seeds includes a. So the sum
    # above is expected to be no smaller, and where chance makes it smaller (most of all where seeds tie by chance and
    # s2 is 0) this is what it is set to.
    return estimated(points, shared, whole / n**2, units, rounding, null)


def estimated(
    points: NDArray[np.float64], shared: float, least: float, units: int, rounding: float, null: float | None
) -> Estimate | None:
    """An estimate from the seeds' values and the example part `shared` of the mean's variance, from `units` examples;
    the variance is at least `least`. `rounding` and `null` are those of `mean_estimate`."""
    n = len(points)
    # `rounding` is h^2 / 12 for each of the scores behind a value, so that a difference of two has the step
    # sqrt(6 rounding). Without predictions, values that are one step apart say no more of the spread than equal ones:
    # (1, 1, 1, 1, 2) examples better would have p = 0.004 where (1, 1, 1, 1, 1) has 0.06.
    step = math.sqrt(6 * rounding) if null is not None and least == 0 else 0.0
    mean, tied = float(np.mean(points)), bool(np.ptp(points) <= max(ROUNDING, 1.001 * step))
    seeds = max(float(np.var(points, ddof=1)), rounding) / n
    examples = max(0.0, shared, least - seeds)
    if tied and null is not None:
        # Equal values say that the spread is small beside one example, not that it is 0. The sign-flip test needs no
        # spread: n equal differences have p = 2 / 2**n. The seeds' variance is set so that t gives no smaller p.
        tail = stats.t.ppf(1 - 0.5**n, n - 1)
        seeds = max(seeds, ((mean - null) / tail) ** 2 - examples)
    return combined(mean, seeds, examples, n, units, tied)


def combined(mean: float, seeds: float, examples: float, n: int, units: int, tied: bool = False) -> Estimate | None:
    """An estimate from its two variances; None where both are 0."""
    variance = seeds + examples
    if variance <= 0:
        return None
    # Satterthwaite (1946): the sum of two estimated variances behaves like one chi-square whose degrees of freedom give
    # it the same mean and variance. With a small dev part the result is about n - 1; a large dev part raises it.
    df = variance**2 / (seeds**2 / (n - 1) + examples**2 / max(units - 1, 1))
    return Estimate(mean, math.sqrt(variance), n - 1 if tied else df, n, seeds, examples, tied=tied, units=units)


def joint_draws(drawn: Draws, seed: int = 0) -> NDArray[np.float64]:
    """The plain Multi-Bootstrap's draws of the mean: for every resampled dev set, the mean over n seeds drawn of n."""
    n = drawn.shape[1]
    # Row k says how often each seed is drawn when n are drawn of n; it applies to resampled dev set k.
    counts = multinomial(np.random.default_rng(seed), len(drawn), n)
    return np.asarray((counts * drawn).sum(axis=1, dtype=np.float64) / n)
