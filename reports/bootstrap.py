"""Intervals over seeds and dev examples at once, from stored predictions.

    drawn = resample(answers, draws=10_000)          # the task score of every run on every resampled dev set
    joint_estimate(points, drawn)                    # of the mean over seeds: standard error, interval, its parts

The dev set is resampled with one set of weights for all runs of a task, so differences are paired by
example, and seeds stay rows, so they are paired by seed: what the Multi-Bootstrap (Sellam et al. 2022)
asks for. Two things differ from its plain form, both because a suite has few seeds:

- Seeds are not drawn again. Drawing n seeds from n multiplies their variance by (n - 1) / n, a sixth too
  little at six, and drawing both ways counts the seed-by-example noise three times. The mean over seeds
  has the variance  s2 / n + c : s2 between the seeds' scores (ddof 1), c the covariance of two seeds'
  scores that comes from sharing examples, which the resampled dev sets give. Both are unbiased.
- The quantile is Student's, with Satterthwaite's degrees of freedom from the two parts. Coverage by
  simulation at six seeds: docs/statistics.md.

A dev set of more than 2,048 examples is first put into at most so many random groups of equal size, and
groups are resampled: the same variance, estimated with 2,000 degrees of freedom and not 40,000, which
makes its root uncertain by 1.6 %; the spread between six seeds is uncertain by 32 %.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reports.predictions import Answers
from reports.scoring import Sums
from reports.significance import Alternative, Equivalence, t_tail, tost_from

CONFIDENCE = 0.95
DRAWS = 10_000
GROUPS = 2048
BLOCK = 2**23  # weights that are held at once: 32 MiB
Draws = NDArray[np.float32]


@dataclass(frozen=True)
class Resampled:
    """Per arm and seed the task score (0 to 100) on each resampled dev set, (draws,); `units` were resampled."""

    task: str
    draws: int
    units: int
    scores: Mapping[tuple[str, int], Draws]

    def of(self, arm: str, seeds: tuple[int, ...]) -> Draws:
        """(draws, seeds)."""
        return np.stack([self.scores[arm, seed] for seed in seeds], axis=1)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its standard error. `seed_part` and `example_part` are the two variances of the mean.

    `basis` says what the error carries: seeds and examples, or the spread between seeds alone.
    """

    mean: float
    error: float
    df: float
    n: int
    seed_part: float
    example_part: float
    basis: str = "seeds and examples"

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Student t interval."""
        half = float(stats.t.ppf(0.5 + confidence / 2, self.df)) * self.error
        return self.mean - half, self.mean + half

    def p(self, alternative: Alternative = "two-sided", centre: float = 0.0) -> float:
        """The p value of the mean against `centre`."""
        return t_tail((self.mean - centre) / self.error, self.df, alternative)

    def tost(self, margin: float, centre: float) -> Equivalence:
        """Is the mean within `margin` of `centre`?"""
        return tost_from(self.mean, self.error, self.df, self.n, margin, centre)

    @property
    def sd(self) -> float:
        """The spread of one seed."""
        return math.sqrt(self.seed_part * self.n)


def resample(answers: Answers, draws: int = DRAWS, seed: int = 0, most: int = GROUPS) -> Resampled:
    """Every run's task score on `draws` resampled dev sets; the splits of a task are resampled apart."""
    keys = [(arm, s) for arm, runs in answers.given.items() for s in runs]
    given = np.stack([answers.given[arm][s] for arm, s in keys])
    rng, total = np.random.default_rng([seed, *answers.task.encode()]), np.zeros((draws, len(keys)), np.float32)
    units = 0
    for part in answers.bounds.values():
        sums = Sums.of(answers.kind, answers.labels[part], given[:, part])
        sums = grouped(sums, rng, most)
        size, block = len(sums.columns), max(1, BLOCK // len(sums.columns))
        for start in range(0, draws, block):
            weights = multinomial(rng, min(block, draws - start), size)
            total[start : start + len(weights)] += sums.score(weights @ sums.columns)
        units += size
    total *= 100 / len(answers.bounds)
    return Resampled(answers.task, draws, units, {key: total[:, i] for i, key in enumerate(keys)})


def grouped(sums: Sums, rng: np.random.Generator, most: int = GROUPS) -> Sums:
    """Random groups of (nearly) one size, at most `most` of them; a smaller dev set stays as it is."""
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


def joint_estimate(points: NDArray[np.float64], drawn: Draws, units: int) -> Estimate | None:
    """From the seeds' values (n,) and the same on resampled dev sets (draws, n); None below two seeds."""
    n = len(points)
    if n < 2:
        return None
    centred = drawn.astype(np.float64) - drawn.mean(axis=0, dtype=np.float64)
    own = float((centred**2).sum()) / (len(drawn) - 1)
    whole = float((centred.sum(axis=1) ** 2).sum()) / (len(drawn) - 1)
    seeds = float(np.var(points, ddof=1)) / n
    examples = max(0.0, (whole - own) / (n * (n - 1)))
    return combined(float(np.mean(points)), seeds, examples, n, units)


def combined(mean: float, seeds: float, examples: float, n: int, units: int) -> Estimate | None:
    """An estimate from its two variances (Satterthwaite); None where neither is there."""
    variance = seeds + examples
    if variance <= 0:
        return None
    df = variance**2 / (seeds**2 / (n - 1) + examples**2 / max(units - 1, 1))
    return Estimate(mean, math.sqrt(variance), df, n, seeds, examples)


def seeds_estimate(points: NDArray[np.float64]) -> Estimate | None:
    """The same without predictions: Student's t over seeds; None below two seeds or without spread."""
    if len(points) < 2 or np.ptp(points) == 0:
        return None
    part = float(np.var(points, ddof=1)) / len(points)
    return Estimate(float(np.mean(points)), math.sqrt(part), len(points) - 1, len(points), part, 0.0, "seeds")


def joint_draws(drawn: Draws, seed: int = 0) -> NDArray[np.float64]:
    """The Multi-Bootstrap's own draws of the mean: of every resampled dev set, the mean over n seeds drawn of n."""
    n = drawn.shape[1]
    counts = multinomial(np.random.default_rng(seed), len(drawn), n)
    return np.asarray((counts * drawn).sum(axis=1, dtype=np.float64) / n)
