"""From runs to numbers per cell, macro scores and paired differences.

    frame = scores(results, "last")            # one row per planned run
    cell(results, "rte", "kd", "last")         # Cell: mean, median, sd, n, and what is missing
    differences(results, "theseus", "last")    # paired by seed, with a 95 % interval

A mean is never taken over a hole: a macro score exists for a seed only where every macro task has
a score, and a failed or missing run lowers n and is named. Intervals are Student t over the paired
differences between seeds and carry the spread between seeds only; given a `Joint` (reports.intervals)
they carry the sampling of the dev set too wherever the predictions are stored.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy import optimize, stats

from reports.power import detectable_effect
from reports.results import Arm, Results, Run
from reports.trials import chosen_runs

if TYPE_CHECKING:
    from reports.intervals import Joint

MACRO = "macro"
CONFIDENCE = 0.95
OWN_ROWS = ("BERT-of-Theseus", "Theseus", "Curriculum", "BERT-of-Theseus (MNLI)")


@dataclass(frozen=True)
class Summary:
    """Moments over runs, all on the scale of the input. `sd` has ddof 1 and is None below two runs."""

    n: int
    mean: float | None = None
    median: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    def centre(self, statistic: str) -> float | None:
        """The mean or the median."""
        return self.median if statistic == "median" else self.mean


@dataclass(frozen=True)
class Cell:
    """One task × arm (or macro × arm): a summary, and how many runs were planned and what became of them."""

    task: str
    arm: str
    summary: Summary
    planned: int
    counts: Mapping[str, int]

    @property
    def gap(self) -> str:
        """What is not there, in words: `2 of 3 seeds, 1 diverged`; empty when nothing is missing."""
        if self.planned == 0:
            return "not planned"
        if self.summary.n == self.planned:
            return ""
        bad = [f"{self.counts[status]} {status}" for status in ("diverged", "failed") if self.counts.get(status)]
        return ", ".join([f"{self.summary.n} of {self.planned} seed{'s' if self.planned != 1 else ''}", *bad])


@dataclass(frozen=True)
class Difference:
    """`reference` minus `arm` on one task (or macro), in points of the 0 to 100 scale.

    `pairing` is `seed` when both arms ran on the same seeds, and `shared` when the other side is one
    predecessor run that every seed started from: then the interval is a one-sample one, and the
    predecessor's own spread is not in it. `low` and `high` are None below two differences.
    `detectable` is the difference that a two-sided 5 % paired test with this n and this spread finds
    four times in five. `basis` says what interval and detectable difference carry.
    """

    task: str
    reference: str
    arm: str
    pairing: Literal["seed", "shared"]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    detectable: float | None
    basis: str = "seeds"

    @property
    def n(self) -> int:
        """How many differences there are."""
        return len(self.values)

    @property
    def verdict(self) -> Literal["above", "below", "open"]:
        """Where the interval lies: wholly above zero, wholly below, or neither (or there is none)."""
        if self.low is None or self.high is None or self.low == self.high:
            return "open"
        return "above" if self.low > 0 else "below" if self.high < 0 else "open"


def summarise(values: Sequence[float]) -> Summary:
    """n, mean, median, sd (ddof 1), min and max of finite values; an empty input gives n = 0."""
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        return Summary(0)
    sd = float(array.std(ddof=1)) if array.size > 1 else None
    mean, median = float(array.mean()), float(np.median(array))
    return Summary(int(array.size), mean, median, sd, float(array.min()), float(array.max()))


def scores(results: Results, protocol: str) -> pd.DataFrame:
    """One row per planned run: task, arm, seed, status, score (NaN where there is none)."""
    rows = [(r.task, r.arm, r.seed, r.status, r.score(protocol)) for r in results.runs]
    frame = pd.DataFrame(rows, columns=["task", "arm", "seed", "status", "score"])
    return frame.astype({"score": "float64"})


def by_seed(results: Results, task: str, arm: str, protocol: str) -> dict[int, float]:
    """Scores of one cell's chosen trial by seed; `task` may be `MACRO`, which needs every macro task for a seed."""
    if task != MACRO:
        runs = chosen_runs(results, task, arm, protocol)
        return {run.seed: score for run in runs if (score := run.score(protocol)) is not None}
    tasks = macro_tasks(results)
    if not tasks:
        return {}
    columns = [by_seed(results, name, arm, protocol) for name in tasks]
    if is_shared(results, arm):
        # One run per task, whatever seed each was given: one macro score.
        if not all(len(column) == 1 for column in columns):
            return {}
        return {min(columns[0]): float(np.mean([next(iter(column.values())) for column in columns]))}
    seeds = sorted(set.intersection(*(set(column) for column in columns)))
    return {seed: float(np.mean([column[seed] for column in columns])) for seed in seeds}


def macro_tasks(results: Results) -> tuple[str, ...]:
    """Names of the tasks that enter the macro score, in the suite's order."""
    return tuple(task.name for task in results.suite.tasks if task.in_macro)


def main_task(results: Results) -> str:
    """What the answer is about: the macro score, or the task where the suite has runs of only one."""
    planned = {run.task for run in results.runs}
    names = [name for name in macro_tasks(results) if name in planned]
    if len(names) > 1:
        return MACRO
    return names[0] if names else results.suite.tasks[0].name


def is_shared(results: Results, arm: str) -> bool:
    """True for a predecessor that every seed starts from: one run per task."""
    return results.suite.arm(arm).is_predecessor and not results.suite.predecessor_per_seed


def cell(results: Results, task: str, arm: str, protocol: str) -> Cell:
    """Summary and gaps of one cell's chosen trial; for `MACRO`, planned seeds and every macro run are counted."""
    values = by_seed(results, task, arm, protocol)
    names = macro_tasks(results) if task == MACRO else (task,)
    runs = [run for name in names for run in chosen_runs(results, name, arm, protocol)]
    planned = _planned(results, runs, arm)
    statuses = [run.status for run in runs]
    counts = {s: statuses.count(s) for s in ("diverged", "failed", "missing")}
    return Cell(task, arm, summarise(list(values.values())), planned, counts)


def _planned(results: Results, runs: Sequence[Run], arm: str) -> int:
    if is_shared(results, arm):
        return 1 if runs else 0
    return len({run.seed for run in runs})


def differences(results: Results, reference: str, protocol: str, joint: "Joint | None" = None) -> list[Difference]:
    """`reference` minus every other arm, for every task and the macro score, arms in suite order."""
    others = [arm.name for arm in results.suite.arms if arm.name != reference]
    return _against(results, reference, others, protocol, joint)


def comparisons(results: Results, protocol: str, joint: "Joint | None" = None) -> list[Difference]:
    """What the page compares: the reference minus every other arm, or the Theseus arm of each depth minus its equals.

    Where Theseus arms come out at several depths, an arm is compared with the leading one of its own
    depth, and the predecessor with each; a depth without a Theseus arm falls to the suite's reference.
    """
    found: list[Difference] = []
    leaders = depth_leaders(results)
    for leader in leaders:
        others = [
            arm.name
            for arm in results.suite.arms
            if arm.name not in leaders.values()
            and (arm.is_predecessor or leaders.get(arm.layers, next(iter(leaders.values()))) == leaders[leader])
        ]
        found += _against(results, leaders[leader], others, protocol, joint)
    return found


def depth_leaders(results: Results) -> dict[int | None, str]:
    """The Theseus arm that stands for each depth, the reference's own depth first; empty without a Theseus arm."""
    reference = reference_arm(results)
    if reference is None:
        return {}
    first = results.suite.arm(reference).layers
    depths = [first, *(depth for depth in results.suite.depths if depth != first)]
    leaders = {depth: leading_theseus([a for a in results.suite.arms if a.layers == depth]) for depth in depths}
    return {depth: name for depth, name in leaders.items() if name is not None}


def _against(
    results: Results, reference: str, others: Sequence[str], protocol: str, joint: "Joint | None"
) -> list[Difference]:
    tasks = [task.name for task in results.suite.tasks]
    if len(macro_tasks(results)) > 1:
        tasks.append(MACRO)
    return [difference(results, task, reference, other, protocol, joint) for other in others for task in tasks]


def difference(
    results: Results, task: str, reference: str, arm: str, protocol: str, joint: "Joint | None" = None
) -> Difference:
    """The paired differences of two arms on one task; see `Difference` for what the interval means."""
    ours, theirs = (by_seed(results, task, name, protocol) for name in (reference, arm))
    shared = is_shared(results, arm)
    if shared:
        single = next(iter(theirs.values()), None)
        theirs = {} if single is None else dict.fromkeys(ours, single)
    seeds = tuple(sorted(set(ours) & set(theirs)))
    values = tuple(ours[seed] - theirs[seed] for seed in seeds)
    summary = summarise(values)
    low, high = interval(values)
    found = None if summary.sd is None else detectable(summary.n) * summary.sd
    basis = "seeds"
    estimate = joint.difference(task, reference, arm) if joint else None
    if estimate is not None and estimate.basis != basis and summary.sd is not None:
        basis, (low, high) = estimate.basis, estimate.interval(CONFIDENCE)
        found = detectable_effect(summary.sd, estimate.example_part, summary.n)
    pairing: Literal["seed", "shared"] = "shared" if shared else "seed"
    return Difference(task, reference, arm, pairing, seeds, values, summary.mean, summary.sd, low, high, found, basis)


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float | None, float | None]:
    """Student t interval of the mean of `values`; (None, None) below two values."""
    summary = summarise(values)
    if summary.n < 2 or summary.mean is None or summary.sd is None:
        return None, None
    half = float(stats.t.ppf(0.5 + confidence / 2, summary.n - 1)) * summary.sd / math.sqrt(summary.n)
    return summary.mean - half, summary.mean + half


@cache
def detectable(n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The paired difference, in sd of the differences, that a two-sided t test with n pairs finds with `power`.

    3.26 at n = 3, 1.68 at n = 5, 1.00 at n = 10. Needs n >= 2. The noncentral t probability is summed
    over quantiles of the sample sd, because scipy's own returns NaN for the large effects of n = 2.
    """
    if n < 2:
        raise ValueError(f"n = {n}: a paired test needs two differences or more")
    quantiles = (np.arange(4000) + 0.5) / 4000
    threshold = stats.t.ppf(1 - alpha / 2, n - 1) * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))

    def short_of_power(effect: float) -> float:
        shift = effect * math.sqrt(n)
        return float(np.mean(stats.norm.sf(threshold - shift) + stats.norm.cdf(-threshold - shift))) - power

    return float(optimize.brentq(short_of_power, 1e-6, 100.0))


def reference_arm(results: Results) -> str | None:
    """The arm the others are compared with: named or published as Theseus, else the first of that method."""
    return leading_theseus(results.suite.arms)


def leading_theseus(arms: Sequence[Arm]) -> str | None:
    """The same, from the arms alone."""
    arms = [arm for arm in arms if arm.is_theseus]
    named = [arm for arm in arms if arm.name == "theseus" or arm.published in OWN_ROWS]
    return next((arm.name for arm in [*named, *arms]), None)
