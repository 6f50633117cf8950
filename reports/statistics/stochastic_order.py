"""Whether one arm's scores over seeds are stochastically larger than another's: not only their means are ordered.

    orders({"rte": (ours, theirs), "cola": (ours, theirs)})     # an Order per task, p after Holm over the tasks

Two conditions, because each lacks what the other has:

- Mann and Whitney's statistic (1947), the share of pairs of a seed of one arm and a seed of the other in which the
  first is higher. Its p value exchanges the arms' scores seed by seed, which is exact at every n if, without a
  difference, either arm could have given either score of a seed. It does not show an order by itself.
- Almost stochastic order (del Barrio et al. 2018, Dror et al. 2019): the violation ratio is the share of the squared
  distance between the two quantile functions that lies on the wrong side, 0 for a perfect order and 1 for the opposite
  one. Its upper bound is the published bootstrap's. Alone, the published rule (bound below 0.5) finds an order, one
  way or the other, in a third or more of pairs of equal arms at 6 to 20 seeds.

Both are about seeds on this dev set: the sampling of the dev set is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reports.statistics.significance import ALPHA, holm, smallest_p

EXACT, DRAWS = 12, 10_000  # up to this n every exchange of scores is tried, above it this many random ones
BOOTSTRAPS = 1000
LIMIT = 0.2  # the bound below which deep-significance (Ulmer et al. 2022) advises to speak of an order
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Order:
    """One pair on one task. `superior`: the share of pairs of seeds in which the first arm is higher, ties as a half.

    `violation` is the ratio for "the first is larger" and `bound` its upper bound, `reverse_bound` that of the
    opposite. `p` is after Holm over the `family` tasks. `least_seeds` is the n from which p can be 5 % or less.
    """

    n: int
    superior: float
    p: float
    violation: float
    bound: float
    reverse_bound: float
    family: int
    least_seeds: int

    @property
    def word(self) -> Literal["larger", "smaller", "open", "too few seeds"]:
        """The verdict on the first arm."""
        if self.n < self.least_seeds:
            return "too few seeds"
        if self.p > ALPHA or min(self.bound, self.reverse_bound) >= LIMIT:
            return "open"
        return "larger" if self.bound < self.reverse_bound else "smaller"


def orders(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> dict[str, Order]:
    """The order of two arms on each task; the scores of a pair are seed by seed, and no pair is empty."""
    arrays = {task: tuple(np.asarray(side, dtype=np.float64) for side in pair) for task, pair in pairs.items()}
    adjusted = holm([exchange_p(ours, theirs) for ours, theirs in arrays.values()])
    return {
        task: _order(ours, theirs, p, len(arrays))
        for (task, (ours, theirs)), p in zip(arrays.items(), adjusted, strict=True)
    }


def _order(ours: Floats, theirs: Floats, p: float, family: int) -> Order:
    violation, error = violation_ratio(ours, theirs), _bootstrap_error(ours, theirs)
    # At 2.5 % a side, because either arm may be the larger one; Bonferroni over the tasks, as deep-significance does.
    margin = float(stats.norm.isf(ALPHA / 2 / family)) * error
    return Order(
        n=len(ours),
        superior=float(_higher(ours, theirs).mean()),
        p=p,
        violation=float(violation),
        bound=min(1.0, float(violation) + margin),
        reverse_bound=min(1.0, 1 - float(violation) + margin),
        family=family,
        least_seeds=least_seeds(family),
    )


def least_seeds(family: int) -> int:
    """The least n at which the first p of a family can be 5 % or less after Holm: 6 for one task, 9 for eight."""
    return next(n for n in range(1, 100) if smallest_p(n, exact=n) <= ALPHA / family)


def violation_ratio(ours: Floats, theirs: Floats) -> Floats:
    """For "ours is larger", along the last axis; a half where the two samples are the same. Both have one size."""
    gaps = np.sort(ours, axis=-1) - np.sort(theirs, axis=-1)  # two quantile functions, constant between steps of 1/n
    whole, wrong = (gaps**2).sum(axis=-1), (np.minimum(gaps, 0) ** 2).sum(axis=-1)
    return np.asarray(np.divide(wrong, whole, out=np.full_like(whole, 0.5), where=whole > 0))


def _bootstrap_error(ours: Floats, theirs: Floats, seed: int = 0) -> float:
    """The standard deviation of the ratio over resamples of each arm by itself, as published: seeds are not paired."""
    rng, size = np.random.default_rng(seed), (BOOTSTRAPS, len(ours))
    drawn = [side[rng.integers(0, len(side), size)] for side in (ours, theirs)]
    return float(np.std(violation_ratio(*drawn), ddof=1))


def exchange_p(ours: Floats, theirs: Floats, seed: int = 0) -> float:
    """The two-sided p of Mann and Whitney's statistic when the two scores of a seed change places."""
    n = len(ours)
    # U is a sum over ordered pairs of seeds (i, j) of whether the first arm's score at i is above the second's at j.
    # `kept` says which seeds keep their places: with (keep, swap) the pair compares ours_i to ours_j, and so on.
    kept = _patterns(n, seed)
    swapped = 1 - kept
    sums = sum(
        ((first @ _higher(one, other)) * second).sum(axis=1)
        for first, one, second, other in (
            (kept, ours, kept, theirs),
            (kept, ours, swapped, ours),
            (swapped, theirs, kept, theirs),
            (swapped, theirs, swapped, ours),
        )
    )
    observed = _higher(ours, theirs).sum()
    out = int((np.abs(sums - n * n / 2) >= abs(observed - n * n / 2) - 1e-9).sum())
    return out / len(kept) if n <= EXACT else (out + 1) / (len(kept) + 1)


def _patterns(n: int, seed: int) -> Floats:
    """(patterns, n) of 1 where a seed keeps its places and 0 where the arms change them."""
    if n <= EXACT:
        return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    return np.random.default_rng(seed).integers(0, 2, (DRAWS, n)).astype(np.float64)


def _higher(one: Floats, other: Floats) -> Floats:
    """(n, n): 1 where one's score is above the other's, a half where they tie within rounding."""
    gaps = one[:, None] - other[None, :]
    return np.where(np.abs(gaps) <= 1e-9, 0.5, (gaps > 0).astype(np.float64))
