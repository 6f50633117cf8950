"""What a number of seeds can find: power, the seeds a claim would need, the difference that n seeds detect.

    seeds_needed(effect=0.8, sd=1.2, shared=0.1)      # None where even 1,000 would not do
    detectable_effect(sd=1.2, shared=0.1, n=5)

`sd` is the spread of one seed's difference, `shared` the variance of the mean that more seeds do not
lower: that of the dev set (reports.bootstrap's example part). Tests are the two-sided t of that mean.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from reports.significance import ALPHA, MOST_SEEDS


def seeds_needed(
    effect: float, sd: float, shared: float = 0.0, alpha: float = ALPHA, power: float = 0.8, tests: int = 1
) -> int | None:
    """Seeds at which a paired t test finds a true `effect` (in units of `sd`) with `power`, two-sided at alpha / tests.

    `shared` is a variance that more seeds do not lower: that of the dev set. None where even
    `MOST_SEEDS` are too few.
    """
    return _fewest(lambda n: _power(effect, sd, shared, n, alpha / tests) - power)


def seeds_for_equivalence(
    off: float, sd: float, margin: float, shared: float = 0.0, alpha: float = ALPHA, power: float = 0.8
) -> int | None:
    """Seeds at which a mean truly `off` centre is decided to lie within `margin`, or out of it if `off` is larger."""
    room = margin - abs(off)
    if room < 0:  # one side decides, and the interval of TOST is one of 1 - 2 alpha
        return _fewest(lambda n: _power(room, sd, shared, n, 2 * alpha) - power)

    def decided(n: int) -> float:
        error, df = _error(sd, shared, n)
        reach = stats.t.ppf(1 - alpha, df)
        inner, outer = room / error - reach, (margin + abs(off)) / error - reach
        return max(0.0, float(stats.norm.cdf(inner) + stats.norm.cdf(outer) - 1)) - power

    return _fewest(decided)


def detectable_effect(sd: float, shared: float, n: int, alpha: float = ALPHA, power: float = 0.8) -> float:
    """The true difference that a two-sided test with these variances finds with `power`; 0 without any variance."""
    error, df = _error(sd, shared, n)
    if error == 0:
        return 0.0
    return float(optimize.brentq(lambda shift: power_of_t(shift, df, alpha) - power, 1e-6, 1e4)) * error


def _fewest(short_of: Callable[[int], float]) -> int | None:
    """The least n from 2 whose power is not short, by bisection: power grows with n."""
    if short_of(MOST_SEEDS) < 0:
        return None
    low, high = 2, MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if short_of(middle) >= 0 else (middle + 1, high)
    return low


def _error(sd: float, shared: float, n: int) -> tuple[float, float]:
    """Standard error and Satterthwaite degrees of freedom; the shared part is taken as known."""
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

    Summed over quantiles of the sample sd, because scipy's noncentral t gives NaN at large shifts.
    """
    reach = stats.t.ppf(1 - alpha / 2, df) * (1.0 if df > 1e6 else _chi_scale(df))
    return float(np.mean(stats.norm.sf(reach - shift) + stats.norm.cdf(-reach - shift)))
