"""Tests over seeds and over examples, and the least p that a number of seeds can give.

    sign_flip([1.2, 0.4, 0.9, 1.1, 0.6, 0.8])       # exact: p = 2 / 2**6
    moderated([cell_1, cell_2, ...], "less")        # paired t per cell with variance shared between cells
    holm([t.p for t in tests])                      # adjusted p values, family-wise

`alternative` is `two-sided`, `greater` (the mean is above 0) or `less`. Where the least p that a sign-flip test can
give (`smallest_p`) is above alpha, "not significant" would describe the number of seeds and not the methods.
docs/statistics.md has the formulas and their sources.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Alternative = Literal["two-sided", "greater", "less"]
Floats = NDArray[np.float64]
ALPHA = 0.05
EXACT = 16  # up to this n all 2**n signs are tried, above it DRAWS random ones
DRAWS = 100_000
FEW_DF = 20
ROUNDING = 1e-9  # scores (0 to 100) that differ by less than this are equal
MOST_SEEDS = 1000  # a question that needs more seeds than this counts as not decidable by seeds


def sign_flip(
    values: ArrayLike, alternative: Alternative = "two-sided", draws: int = DRAWS, seed: int = 0, exact: int = EXACT
) -> float:
    """The p of permuting the signs of paired differences: all up to 16, else seeded draws that include the data.

    Under the null a difference is as likely as its opposite. The statistic is the mean.
    """
    array = _finite(values)
    n = array.size
    if n == 0:
        return 1.0
    observed = float(array.mean())
    if n <= exact:
        return _tail(_all_sign_sums(array) / n, observed, alternative, 0)
    rng, found, block = np.random.default_rng(seed), [], max(1, 2_000_000 // n)
    for start in range(0, draws, block):
        signs = rng.integers(0, 2, size=(min(block, draws - start), n), dtype=np.int8)
        found.append((2 * (signs @ array) - array.sum()) / n)
    return _tail(np.concatenate(found), observed, alternative, 1)


def smallest_p(n: int, exact: int = EXACT) -> float:
    """The least p that a two-sided sign-flip test of n differences can give."""
    return min(1.0, 2 / 2**n) if n <= exact else 1 / (DRAWS + 1)


def t_tail(statistic: float, df: float, alternative: Alternative = "two-sided") -> float:
    """The p value of a t statistic; df may be infinite."""
    return float(_tails(np.array([statistic]), np.array([df]), alternative)[0])


def _tails(statistic: Floats, df: Floats, alternative: Alternative) -> Floats:
    if alternative == "two-sided":
        return np.asarray(np.minimum(1.0, 2 * stats.t.sf(np.abs(statistic), df)))
    return np.asarray(stats.t.sf(statistic if alternative == "greater" else -statistic, df))


def bootstrap_p(estimate: float, draws: ArrayLike) -> float:
    """The paired bootstrap's two-sided p: how often draws, shifted to centre 0, lie as far out as the estimate."""
    array = _finite(draws)
    return _tail(array - array.mean(), estimate, "two-sided", 1)


def paired_permutation(first: ArrayLike, second: ArrayLike, draws: int = 10_000, seed: int = 0) -> float:
    """The two-sided p of exchanging two arms' results example by example; (examples,) or (examples, seeds).

    Seeds share the examples, so all seeds of an example are exchanged together: exchanging each run's answer alone
    would treat twenty answers to one question as twenty questions. The statistic is the mean difference.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (first, second))
    if a.shape != b.shape:
        raise ValueError(f"paired results must have one shape, not {a.shape} and {b.shape}")
    gaps = (a - b).reshape(len(a), -1).mean(axis=1)
    differing = gaps[np.abs(gaps) > 1e-12]
    if differing.size <= EXACT:
        return sign_flip(differing)
    # Of c examples with the same size of difference, the number with a plus sign is binomial: draw only that number.
    sizes, counts = np.unique(np.abs(differing).round(12), return_counts=True)
    rng, null = np.random.default_rng(seed), np.zeros(draws)
    for size, count in zip(sizes, counts, strict=True):
        null += size * (2 * rng.binomial(count, 0.5, draws) - count)
    return _tail(null / len(gaps), float(gaps.mean()), "two-sided", 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given: rejecting at alpha keeps the family-wise error at it."""
    order = np.argsort(p_values, kind="stable")
    adjusted, worst = [0.0] * len(order), 0.0
    for rank, at in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * float(p_values[at])))
        adjusted[at] = worst
    return adjusted


@dataclass(frozen=True)
class Moderated:
    """Moderated t per cell, in the order given: `sd` is the posterior sd of one difference, `df` = prior + residual.

    `prior_df` is the number of degrees of freedom that a cell borrows, infinite where all cells have one variance.
    """

    mean: Floats
    sd: Floats
    statistic: Floats
    df: Floats
    p: Floats
    prior_df: float
    prior_sd: Floats

    def adjusted(self) -> list[float]:
        """Holm over the cells."""
        return holm(self.p.tolist())


def moderated(
    values: Sequence[ArrayLike], alternative: Alternative = "two-sided", groups: Sequence[Hashable] | None = None
) -> Moderated:
    """Paired t of every cell's differences, with the variance shrunk towards what the cells share (Smyth 2004).

    Cells of one group (for example, of one task) share a typical variance; all groups shrink with the same strength. A
    cell of one value has the shared variance alone. Where nothing has any spread, the exact sign-flip p is used,
    because a variance of zero would make any shift certain.
    """
    cells = [_finite(v) for v in values]
    n = np.array([cell.size for cell in cells], dtype=float)
    if (n == 0).any():
        raise ValueError("a cell without values cannot be tested; leave it out and say so")
    mean = np.array([cell.mean() for cell in cells])
    spread = np.array([variance_of(cell) for cell in cells])
    labels = list(groups) if groups is not None else [0] * len(cells)
    posterior, total, prior, prior_df = _shrunk(spread, n - 1, labels)
    known = (posterior > 0) & (total > 0)
    flat = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    statistic = np.divide(mean, np.sqrt(posterior / n), out=flat, where=known)
    p = _tails(statistic, np.where(total > 0, total, 1.0), alternative)
    for i in np.flatnonzero(~known):
        p[i] = sign_flip(cells[i], alternative)
    return Moderated(mean, np.sqrt(posterior), statistic, total, p, prior_df, np.sqrt(prior))


def variance_of(values: ArrayLike) -> float:
    """The variance (ddof 1) of scores or their differences; 0 for one value, and where they differ by rounding only.

    Scores are multiples of 1 / examples, so seeds often differ by the same number of examples. Floats then leave a
    spread of 1e-14, which a t test would take for certainty.
    """
    array = _finite(values)
    if array.size < 2 or np.ptp(array) <= ROUNDING * max(1.0, float(np.abs(array).max())):
        return 0.0
    return float(array.var(ddof=1))


def _shrunk(variance: Floats, df: Floats, labels: Sequence[Hashable]) -> tuple[Floats, Floats, Floats, float]:
    """Per cell the posterior variance, its degrees of freedom and the prior variance; then the prior's df."""
    # Three seeds estimate a spread badly: with two degrees of freedom the variance is off by more than a factor of two
    # in half of all cases. The cells of a suite have similar spreads, so each cell can borrow from the others. The
    # model is Smyth's (2004, "Linear models and empirical Bayes methods"; limma): true variances are drawn from
    # s0^2 * d0 / chi2(d0). The best estimate of one of them is then the weighted mean (d0 s0^2 + d s^2) / (d0 + d), and
    # the t statistic made with it has d0 + d degrees of freedom. d0 says how alike the variances are: 0 when they have
    # nothing in common, infinite when they are all equal.
    prior, prior_df = _shared_variance(variance, df, labels)
    pool = np.array([sum(d for d, m in zip(df, labels, strict=True) if m == label) for label in labels])
    if math.isinf(prior_df):
        prior, pool = _between_groups(prior, pool, labels)
    # No cell may claim more degrees of freedom than were measured in its group: `pool` is that sum. This cap is our
    # addition. The borrowed degrees rise smoothly to d0 as the pool grows.
    borrowed = pool if math.isinf(prior_df) else prior_df * pool / np.maximum(prior_df + pool, 1e-300)
    total = np.minimum(df + borrowed, pool)
    if math.isinf(prior_df):
        return prior, total, prior, prior_df
    whole = prior_df * prior + df * variance
    posterior = np.divide(whole, prior_df + df, out=np.zeros_like(variance), where=total > 0)
    return posterior, total, prior, prior_df


def _shared_variance(variance: Floats, df: Floats, labels: Sequence[Hashable]) -> tuple[Floats, float]:
    """Prior variance per cell and prior degrees of freedom, by moments of the log variances (Smyth 2004, section 6.2).

    Cells without spread (bit-equal in every seed) are left out: they say nothing about the noise of the others.
    """
    spread = (df > 0) & (variance > 0)
    if not spread.any():
        return np.zeros_like(variance), 0.0
    used = spread & (variance > 1e-5 * np.median(variance[spread]))
    half = df[used] / 2
    # Under the model log s^2 is log s0^2 plus two independent noises. The first is that of a chi-square with d degrees
    # of freedom: its mean digamma(d/2) - log(d/2) is subtracted here, and its variance is trigamma(d/2). The second is
    # that of the true variances, with variance trigamma(d0/2). So the spread of `logs` beyond the chi-square noise
    # gives d0, and their mean gives s0^2. Logarithms are used because the largest cell would dominate moments of s^2.
    logs = np.log(variance[used]) - special.digamma(half) + np.log(half)
    names = [label for label, use in zip(labels, used, strict=True) if use]
    centres = {name: float(np.mean([x for x, m in zip(logs, names, strict=True) if m == name])) for name in set(names)}
    spare = logs.size - len(centres)  # estimating each group's centre costs a degree of freedom
    overall = float(np.mean(logs))
    prior_df = 0.0  # with one cell, or one cell per group, nothing says how far variances differ
    if spare > 0:
        residual = np.array([x - centres[m] for x, m in zip(logs, names, strict=True)])
        expected = float(np.mean(special.polygamma(1, half)))
        excess = float(residual @ residual) / spare - expected
        # An excess within one standard error of 0 counts as 0: it is above 0 in half of all studies with one variance.
        prior_df = 2 * inverse_trigamma(excess) if excess > expected * math.sqrt(2 / spare) else math.inf
    located = np.array([centres.get(label, overall) for label in labels])
    if prior_df == 0:
        return np.exp(located), prior_df
    if math.isinf(prior_df):
        # A group has one variance, the pooled one, as in limma: this is then the t test with the pooled df.
        at = np.array([label if use else None for label, use in zip(labels, used, strict=True)], dtype=object)
        sums = {name: (df * variance)[at == name].sum() / df[at == name].sum() for name in centres}
        return np.array([sums.get(label, float(np.exp(overall))) for label in labels]), prior_df
    return np.exp(located + special.digamma(prior_df / 2) - math.log(prior_df / 2)), prior_df


def _between_groups(prior: Floats, pool: Floats, labels: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Shrink the pooled variances of groups towards each other by the same formulas; also the degrees they gain.

    This is not done where a group has fewer than `FEW_DF` degrees: with three seeds and four cells per group the false
    alarms of 32 cells would rise from 5.4 to 7.2 %.
    """
    names = list(dict.fromkeys(labels))
    if len(names) < 3 or pool.min() < FEW_DF:
        return prior, pool
    # The same idea one level up: each group is now one observation, with its pooled variance and the degrees of freedom
    # of its cells, and the groups borrow from each other according to how alike they are.
    at = [labels.index(name) for name in names]
    shared, strength = _shared_variance(prior[at], pool[at], [0] * len(names))
    if strength == 0:
        return prior, pool
    whole = float(pool[at].sum())
    if math.isinf(strength):
        found, support = shared, np.full(len(names), whole)
    else:
        found = (strength * shared + pool[at] * prior[at]) / (strength + pool[at])
        support = np.minimum(pool[at] + strength * whole / (strength + whole), whole)
    place = [names.index(label) for label in labels]
    return found[place], support[place]


def inverse_trigamma(value: float) -> float:
    """The x at which trigamma is `value`, by Newton's method on its reciprocal, which is nearly linear."""
    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if -step / x < 1e-10:
            break
    return x


def _all_sign_sums(array: Floats) -> Floats:
    """The sum under each of the 2**n choices of signs."""
    sums = np.zeros(1)
    for value in array:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _tail(null: Floats, observed: float, alternative: Alternative, counted: int) -> float:
    """The share of the null at least as far out (ties within rounding count); `counted` adds the data to its draws."""
    slack = 1e-9 * float(np.abs(null).max(initial=0.0))
    if alternative == "two-sided":
        out = np.abs(null) >= abs(observed) - slack
    else:
        out = null >= observed - slack if alternative == "greater" else null <= observed + slack
    return (int(out.sum()) + counted) / (null.size + counted)


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        raise ValueError("differences must be finite; leave runs without a score out and name them")
    return array
