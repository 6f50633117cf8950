"""Tests over seeds and over examples, and what a number of seeds can decide at all.

    sign_flip([1.2, 0.4, 0.9, 1.1, 0.6, 0.8])       # exact: p = 2 / 2**6
    moderated([cell_1, cell_2, ...], "less")        # paired t per cell with variance shared between cells
    holm([t.p for t in tests])                      # adjusted p values, family-wise
    tost(values, margin=1.0)                        # equivalent, different or undecided
    decidable(5).sentence                           # "undecidable at this n: ..."

Every p value is a plain float. `alternative` is `two-sided`, `greater` (the mean lies above 0) or `less`.
A test that cannot reach alpha says so (`smallest`), because "not significant" would then be said of
the number of seeds and not of the methods. The formulas and their sources: docs/statistics.md.
"""

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
EXACT = 16  # 2**16 signs are all looked at; above, DRAWS of them
DRAWS = 100_000
FEW_DF = 20
MOST_SEEDS = 1000  # what needs more than this is not decided by seeds


@dataclass(frozen=True)
class Test:
    """One test: `statistic` on the scale of the input, `smallest` the least p that this n can give."""

    __test__ = False  # not a test of pytest's

    p: float
    statistic: float
    n: int
    alternative: Alternative
    smallest: float = 0.0
    df: float = math.nan

    @property
    def undecidable(self) -> bool:
        """True when no data of this size could have reached 5 %."""
        return self.smallest > ALPHA


def sign_flip(
    values: ArrayLike, alternative: Alternative = "two-sided", draws: int = DRAWS, seed: int = 0, exact: int = EXACT
) -> Test:
    """Permutation of signs over paired differences: exact up to 16, else over seeded draws with the data among them.

    Under the null a difference is as likely as its opposite. Statistic: the mean.
    """
    array = _finite(values)
    n = array.size
    if n == 0:
        return Test(1.0, 0.0, 0, alternative, 1.0)
    observed, least = float(array.mean()), smallest_p(n, alternative, draws, exact)
    if n <= exact:
        means = _all_sign_sums(array) / n
        return Test(_tail(means, observed, alternative, 0), observed, n, alternative, least)
    rng, found, block = np.random.default_rng(seed), [], max(1, 2_000_000 // n)
    for start in range(0, draws, block):
        signs = rng.integers(0, 2, size=(min(block, draws - start), n), dtype=np.int8)
        found.append((2 * (signs @ array) - array.sum()) / n)
    return Test(_tail(np.concatenate(found), observed, alternative, 1), observed, n, alternative, least)


def smallest_p(n: int, alternative: Alternative = "two-sided", draws: int = DRAWS, exact: int = EXACT) -> float:
    """The least p that a sign-flip test of n differences can give: 2 / 2**n two-sided, 1 / 2**n one-sided."""
    sides = 2 if alternative == "two-sided" else 1
    return min(1.0, sides / 2**n) if n <= exact else 1 / (draws + 1)


@dataclass(frozen=True)
class Decidable:
    """Whether n seeds can decide a sign-flip test at `alpha` over a family, and if not, how many can."""

    n: int
    smallest: float
    possible: bool
    needed: int
    sentence: str


def decidable(n: int, alpha: float = ALPHA, alternative: Alternative = "two-sided", family: int = 1) -> Decidable:
    """The smallest p that n seeds reach in a sign-flip test, held against alpha over the family's size."""
    sides, level = 2 if alternative == "two-sided" else 1, alpha / family
    least, needed = smallest_p(n, alternative), max(1, math.ceil(math.log2(sides / level)))
    possible = least <= level
    of = f" over a family of {family}" if family > 1 else ""
    words = f"{n} seed{'' if n == 1 else 's'} give a{' two-sided' if sides == 2 else ' one-sided'} sign-flip p of "
    words += f"{_short(least)} at least, and {_short(alpha)}{of} needs {_short(level)}: {needed} seeds reach it"
    return Decidable(n, least, possible, needed, "" if possible else f"undecidable at this n: {words}")


def paired_t(values: ArrayLike, alternative: Alternative = "two-sided", centre: float = 0.0) -> Test:
    """Student's t of the mean of paired differences against `centre`; p is 1 without spread or below two values."""
    array = _finite(values)
    n = array.size
    if n < 2 or np.ptp(array) == 0:
        return Test(1.0, 0.0, n, alternative, 1.0 if n < 2 else 0.0)
    statistic = float((array.mean() - centre) / (array.std(ddof=1) / math.sqrt(n)))
    return Test(t_tail(statistic, n - 1, alternative), statistic, n, alternative, 0.0, n - 1)


def t_tail(statistic: float, df: float, alternative: Alternative = "two-sided") -> float:
    """The p value of a t statistic; df may be infinite."""
    return float(_tails(np.array([statistic]), np.array([df]), alternative)[0])


def _tails(statistic: Floats, df: Floats, alternative: Alternative) -> Floats:
    if alternative == "two-sided":
        return np.asarray(np.minimum(1.0, 2 * stats.t.sf(np.abs(statistic), df)))
    return np.asarray(stats.t.sf(statistic if alternative == "greater" else -statistic, df))


def bootstrap_p(estimate: float, draws: ArrayLike, alternative: Alternative = "two-sided") -> float:
    """The paired bootstrap's p: how often draws, moved so that their centre is 0, lie as far out as the estimate."""
    array = _finite(draws)
    return _tail(array - array.mean(), estimate, alternative, 1)


def mcnemar(only_first: int, only_second: int, alternative: Alternative = "two-sided") -> Test:
    """Exact McNemar: of the examples that one of two models alone gets right, are halves each one's? `greater`: first.

    For one pair of runs. Predictions pooled over seeds are not independent: use `paired_permutation` there.
    """
    n = only_first + only_second
    if n == 0:
        return Test(1.0, 0.0, 0, alternative, 1.0)
    p = float(stats.binomtest(only_first, n, 0.5, alternative).pvalue)
    return Test(p, float(only_first - only_second), n, alternative, smallest_p(n, alternative, exact=10**6))


def paired_permutation(
    first: ArrayLike, second: ArrayLike, alternative: Alternative = "two-sided", draws: int = 10_000, seed: int = 0
) -> Test:
    """Exchange two arms' results example by example, (examples,) or (examples, seeds), all seeds of one at once.

    Seeds share the examples, so the example is the unit: exchanging each run's alone would treat twenty
    answers to one question as twenty questions. Statistic: the mean difference; n: examples that differ.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (first, second))
    if a.shape != b.shape:
        raise ValueError(f"paired results must have one shape, not {a.shape} and {b.shape}")
    gaps = (a - b).reshape(len(a), -1).mean(axis=1)
    differing = gaps[np.abs(gaps) > 1e-12]
    if differing.size <= EXACT:
        found = sign_flip(differing, alternative)
        return Test(found.p, float(gaps.sum()) / max(len(gaps), 1), differing.size, alternative, found.smallest)
    # of the c examples with one size of difference, how many are turned to plus is binomial: no need to draw each
    sizes, counts = np.unique(np.abs(differing).round(12), return_counts=True)
    rng, null = np.random.default_rng(seed), np.zeros(draws)
    for size, count in zip(sizes, counts, strict=True):
        null += size * (2 * rng.binomial(count, 0.5, draws) - count)
    p = _tail(null / len(gaps), float(gaps.mean()), alternative, 1)
    return Test(p, float(gaps.mean()), differing.size, alternative, 1 / (draws + 1))


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
    """Moderated t per cell, in the order given: posterior `sd` of one difference, `df` = prior + residual.

    `prior_df` is how many degrees of freedom a cell borrows: infinite where all cells have one variance.
    """

    mean: Floats
    sd: Floats
    statistic: Floats
    df: Floats
    p: Floats
    prior_df: float
    prior_sd: Floats
    alternative: Alternative

    def adjusted(self) -> list[float]:
        """Holm over the cells."""
        return holm(self.p.tolist())


def moderated(
    values: Sequence[ArrayLike],
    alternative: Alternative = "two-sided",
    groups: Sequence[Hashable] | None = None,
    centre: float | Sequence[float] = 0.0,
) -> Moderated:
    """Paired t of every cell's differences against `centre`, its variance shrunk to what cells share (Smyth 2004).

    `groups` names what shares a typical variance, such as the task of each cell; the strength of the
    shrinkage is one for all. A cell of one value has the shared variance alone. Where there is no spread
    to go by, the exact sign-flip p stands in, because a variance of zero would make any shift certain.
    """
    cells = [_finite(v) for v in values]
    n = np.array([cell.size for cell in cells], dtype=float)
    if (n == 0).any():
        raise ValueError("a cell without values cannot be tested; leave it out and say so")
    shift = np.broadcast_to(np.asarray(centre, dtype=float), n.shape)
    mean = np.array([cell.mean() for cell in cells]) - shift
    df = n - 1
    variance = np.array([cell.var(ddof=1) if cell.size > 1 else 0.0 for cell in cells])
    labels = list(groups) if groups is not None else [0] * len(cells)
    prior, prior_df = _shared_variance(variance, df, labels)
    pool = np.array([sum(d for d, m in zip(df, labels, strict=True) if m == label) for label in labels])
    if math.isinf(prior_df):
        prior, pool = _between_groups(prior, pool, labels)
    borrowed = pool if math.isinf(prior_df) else prior_df * pool / np.maximum(prior_df + pool, 1e-300)
    total = np.minimum(df + borrowed, pool)
    posterior = prior
    if not math.isinf(prior_df):
        posterior = np.divide(prior_df * prior + df * variance, prior_df + df, out=np.zeros_like(mean), where=total > 0)
    known = (posterior > 0) & (total > 0)
    flat = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    statistic = np.divide(mean, np.sqrt(posterior / n), out=flat, where=known)
    p = _tails(statistic, np.where(total > 0, total, 1.0), alternative)
    for i in np.flatnonzero(~known):
        p[i] = sign_flip(cells[i] - shift[i], alternative).p
    return Moderated(mean, np.sqrt(posterior), statistic, total, p, prior_df, np.sqrt(prior), alternative)


def _shared_variance(variance: Floats, df: Floats, labels: Sequence[Hashable]) -> tuple[Floats, float]:
    """Prior variance per cell and prior degrees of freedom, by moments of the log variances (Smyth 2004, section 6.2).

    Cells without spread (bit-equal in every seed) say nothing about the noise of the others and are left out.
    """
    spread = (df > 0) & (variance > 0)
    if not spread.any():
        return np.zeros_like(variance), 0.0
    used = spread & (variance > 1e-5 * np.median(variance[spread]))
    half = df[used] / 2
    logs = np.log(variance[used]) - special.digamma(half) + np.log(half)
    names = [label for label, use in zip(labels, used, strict=True) if use]
    centres = {name: float(np.mean([x for x, m in zip(logs, names, strict=True) if m == name])) for name in set(names)}
    spare = logs.size - len(centres)
    overall = float(np.mean(logs))
    prior_df = 0.0  # one cell, or a group for each: nothing says how far variances differ
    if spare > 0:
        residual = np.array([x - centres[m] for x, m in zip(logs, names, strict=True)])
        expected = float(np.mean(special.polygamma(1, half)))
        excess = float(residual @ residual) / spare - expected
        # within one standard error of none at all counts as none: half of all studies with one variance lie above 0
        prior_df = 2 * inverse_trigamma(excess) if excess > expected * math.sqrt(2 / spare) else math.inf
    located = np.array([centres.get(label, overall) for label in labels])
    if prior_df == 0:
        return np.exp(located), prior_df
    if math.isinf(prior_df):  # one variance for a group: pooled, as limma does, which is a t test with the pooled df
        at = np.array([label if use else None for label, use in zip(labels, used, strict=True)], dtype=object)
        sums = {name: (df * variance)[at == name].sum() / df[at == name].sum() for name in centres}
        return np.array([sums.get(label, float(np.exp(overall))) for label in labels]), prior_df
    return np.exp(located + special.digamma(prior_df / 2) - math.log(prior_df / 2)), prior_df


def _between_groups(prior: Floats, pool: Floats, labels: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Pooled variances of the groups shrunk to each other by the same formulas, with the degrees of freedom they gain.

    Not below `FEW_DF` of a group: at three seeds of four cells the false alarms of 32 cells rise from 5.4 to 7.2 %.
    """
    names = list(dict.fromkeys(labels))
    if len(names) < 3 or pool.min() < FEW_DF:
        return prior, pool
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
    """The x at which trigamma is `value`, by Newton's steps on its reciprocal, which is nearly straight."""
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


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t tests: `p` is the larger, `low` and `high` the 1 - 2 alpha interval of the mean."""

    p: float
    mean: float
    low: float
    high: float
    n: int
    verdict: Literal["equivalent", "different", "undecided"]


def tost(values: ArrayLike, margin: float, centre: float = 0.0, alpha: float = ALPHA) -> Equivalence:
    """Is the mean of paired differences within `margin` of `centre`? Equivalent where the 1 - 2 alpha interval is."""
    array = _finite(values)
    n, mean = array.size, float(array.mean()) if array.size else math.nan
    if n < 2 or np.ptp(array) == 0:
        return Equivalence(1.0, mean, -math.inf, math.inf, n, "undecided")
    return tost_from(mean, float(array.std(ddof=1)) / math.sqrt(n), n - 1, n, margin, centre, alpha)


def tost_from(
    mean: float, error: float, df: float, n: int, margin: float, centre: float = 0.0, alpha: float = ALPHA
) -> Equivalence:
    """The same from an estimate, its standard error and degrees of freedom. `different`: wholly out of the margin."""
    below, above = (centre - margin - mean) / error, (centre + margin - mean) / error
    p = max(t_tail(-below, df, "greater"), t_tail(-above, df, "less"))
    half = float(stats.t.ppf(1 - alpha, df)) * error
    low, high = mean - half, mean + half
    outside = low > centre + margin or high < centre - margin
    return Equivalence(p, mean, low, high, n, "equivalent" if p <= alpha else "different" if outside else "undecided")


def _all_sign_sums(array: Floats) -> Floats:
    """The sum under each of the 2**n choices of signs."""
    sums = np.zeros(1)
    for value in array:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _tail(null: Floats, observed: float, alternative: Alternative, counted: int) -> float:
    """Share of the null at least as far out, ties within rounding counting; `counted` adds the data to its draws."""
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


def _short(p: float) -> str:
    return f"{p:.4g}"
