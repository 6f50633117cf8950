"""Power: how many seeds a claim needs, and which difference n seeds detect.

    seeds_needed(effect=0.8, sd=1.2, shared=0.1)      # None where even 1,000 are too few
    detectable_effect(sd=1.2, shared=0.1, n=5)

`sd` is the spread of one seed's difference. `shared` is the variance of the mean that more seeds do not lower: that of
the dev set (the example part in reports.statistics.bootstrap). The test is the two-sided t test of the mean.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from reports.statistics.significance import ALPHA, MOST_SEEDS

POWER = 0.8


def seeds_needed(effect: float, sd: float, shared: float = 0.0, tests: int = 1) -> int | None:
    """Seeds at which a paired t test, two-sided at `ALPHA` / tests, finds a true `effect` with `POWER`.

    None where even `MOST_SEEDS` are too few.
    """
    return fewest(lambda n: _power(effect, sd, shared, n, ALPHA / tests) >= POWER)


def seeds_for_equivalence(off: float, sd: float, margin: float, shared: float = 0.0) -> int | None:
    """Seeds that decide whether a mean is within `margin` of the centre if it truly lies `off` the centre."""
    room = margin - abs(off)
    if room < 0:  # one side decides, and the interval of TOST is one of 1 - 2 alpha
        return fewest(lambda n: _power(room, sd, shared, n, 2 * ALPHA) >= POWER)

    def decided(n: int) -> bool:
        error, df = _error(sd, shared, n)
        reach = stats.t.ppf(1 - ALPHA, df)
        inner, outer = room / error - reach, (margin + abs(off)) / error - reach
        return bool(stats.norm.cdf(inner) + stats.norm.cdf(outer) - 1 >= POWER)

    return fewest(decided)


def detectable_effect(sd: float, shared: float, n: int) -> float:
    """The true difference that a two-sided test with these variances finds with `POWER`; 0 without any variance."""
    error, df = _error(sd, shared, n)
    if error == 0:
        return 0.0
    return float(optimize.brentq(lambda shift: power_of_t(shift, df) - POWER, 1e-6, 1e4)) * error


def fewest(enough: Callable[[int], bool]) -> int | None:
    """The least number of seeds from 2 that is enough, by bisection, because power grows with it."""
    found = 2 + bisect_left(range(2, MOST_SEEDS + 1), True, key=enough)
    return found if found <= MOST_SEEDS else None


def _error(sd: float, shared: float, n: int) -> tuple[float, float]:
    """Standard error and Satterthwaite degrees of freedom; the shared part is treated as known."""
    own = sd * sd / n
    total = own + shared
    return math.sqrt(total), (n - 1) * (total / own) ** 2 if own > 0 else math.inf


def _power(effect: float, sd: float, shared: float, n: int, alpha: float) -> float:
    error, df = _error(sd, shared, n)
    if error == 0:
        return float(effect != 0)
    return power_of_t(abs(effect) / error, df, alpha)


@cache
def _chi_scale(df: float) -> NDArray[np.float64]:
    return np.sqrt(stats.chi2.ppf((np.arange(256) + 0.5) / 256, df) / df)


def power_of_t(shift: float, df: float, alpha: float = ALPHA) -> float:
    """Probability that a two-sided t test rejects when the statistic's noncentrality is `shift`.

    It is summed over quantiles of the sample sd, because scipy's noncentral t gives NaN at large shifts.
    """
    reach = stats.t.ppf(1 - alpha / 2, df) * (1.0 if df > 1e6 else _chi_scale(df))
    return float(np.mean(stats.norm.sf(reach - shift) + stats.norm.cdf(-reach - shift)))
