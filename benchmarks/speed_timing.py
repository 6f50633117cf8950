"""Rounds of paired timing: every model once per round in an order drawn anew, ratios within rounds.

On a shared 2-core machine, timing one model and then the other gave speed-ups of 0.44, 1.79, 4.87 and 6.87 for
the same two models; ratios within rounds in random order gave 1.988 (1.904 to 2.126). So every round times all
models on one batch, and an answer is the median of the rounds' ratios with a bootstrap interval. Rounds go on until
the intervals are narrow enough or the allowance is spent; which of the two it was is part of the answer.

A round in which a clock jumped (the machine slept, a clock was set) or in which a model took 20 times its median
is discarded and counted.

Variants of two runtimes disturb each other: threads of the one still spin when the other begins. At two threads int8
after a torch call took up to seven times its time. Sleeping in between pulls every ratio towards 1 (the wake-up). So
where several variants are timed, a call that is short enough to feel it is made once untimed just before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks import device as devices
from benchmarks.settings import Speed

WARM_UP = 3
CHECK_EVERY = 10  # rounds between looks at the intervals
CONFIDENCE = 0.95
OUTLIER = 20.0  # times a model's median
CLOCK_GAP = 0.05  # seconds by which clocks may disagree about a round
SETTLE = 0.05  # seconds below which a call is made once untimed before it is timed
FEWEST = 5  # rounds without which there is no ratio

Inputs = dict[str, torch.Tensor]
Call = Callable[[Inputs], Any]
REFERENCE = ("eager", "predecessor")
Name = tuple[str, str]  # variant, side


@dataclass(frozen=True)
class Interval:
    """A median ratio over rounds with its bootstrap interval; all None where too few rounds are left."""

    ratio: float | None
    low: float | None
    high: float | None

    def narrower(self, width: float) -> bool:
        """Is the interval narrower than `width` times the ratio?"""
        if self.ratio is None or self.low is None or self.high is None:
            return False
        return self.high - self.low < width * self.ratio


@dataclass
class Rounds:
    """What was timed for one variant: seconds per side in the rounds that count, and how many rounds do not."""

    seconds: dict[Name, list[float]]
    clock_gaps: int
    outliers: int

    def interval(self, above: Name, below: Name) -> Interval:
        """Time of `above` over time of `below`, round by round."""
        if len(self.seconds[above]) < FEWEST:
            return Interval(None, None, None)
        ratios = np.array(self.seconds[above]) / np.array(self.seconds[below])
        return Interval(float(np.median(ratios)), *median_interval(ratios))


@dataclass
class _Log:
    """All rounds so far: seconds by name, and whether a clock jumped."""

    times: list[dict[Name, float]] = field(default_factory=list)
    gaps: list[bool] = field(default_factory=list)

    def of(self, names: Sequence[Name]) -> Rounds:
        """The rounds in which all of `names` were timed, without those to discard."""
        having = [(t, g) for t, g in zip(self.times, self.gaps, strict=True) if all(name in t for name in names)]
        smooth = [t for t, gap in having if not gap]
        limit = {name: OUTLIER * float(np.median([t[name] for t in smooth])) for name in names} if smooth else {}
        kept = [t for t in smooth if all(t[name] <= limit[name] for name in names)]
        seconds = {name: [t[name] for t in kept] for name in names}
        return Rounds(seconds, len(having) - len(smooth), len(smooth) - len(kept))


def median_interval(ratios: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile bootstrap interval of the median over rounds (2,000 resamples, seeded)."""
    if np.ptp(ratios) == 0:
        return float(ratios[0]), float(ratios[0])
    result = stats.bootstrap(
        (ratios,), np.median, n_resamples=2000, confidence_level=CONFIDENCE, method="percentile", rng=0, vectorized=True
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def time_variants(
    calls: Mapping[str, Mapping[str, Call]], batches: Sequence[Inputs], speed: Speed, device: str
) -> dict[str, dict[str, Any]]:
    """Time `calls[variant][side]` in common rounds; per variant the measured part of a condition in speed.json.

    Each round takes the next of `batches`, the same for all. A variant leaves the rounds when its speed-up and, where
    eager is timed too, its gain over the eager predecessor are decided. Times are seconds.
    """
    order, log, started = random.Random(0), _Log(), time.perf_counter()
    open_ = {variant: _names(variant, calls) for variant in calls}
    found: dict[str, Rounds] = {}
    settle: set[Name] = set()
    for round_ in range(-WARM_UP, speed.max_rounds):
        wanted = {name for names in open_.values() for name in names}
        batch = batches[round_ % len(batches)]
        times, gap = _round(calls, _drawn(wanted, order), batch, device, settle)
        if round_ < 0:
            settle = {name for name, seconds in times.items() if len(calls) > 1 and seconds < SETTLE}
            continue
        log.times.append(times)
        log.gaps.append(gap)
        done = round_ + 1
        spent = speed.max_seconds is not None and time.perf_counter() - started > speed.max_seconds
        last = done == speed.max_rounds or (spent and done >= FEWEST)
        if last or (done >= speed.min_rounds and done % CHECK_EVERY == 0):
            for variant, names in list(open_.items()):
                rounds = log.of(names)
                if last or _settled(variant, rounds, speed):
                    found[variant] = rounds
                    del open_[variant]
        if not open_:
            break
    return {variant: _summary(variant, found[variant], speed) for variant in calls}


def _names(variant: str, calls: Mapping[str, Mapping[str, Call]]) -> list[Name]:
    """What a variant's answer needs timed: both its sides, and the eager predecessor where eager is measured."""
    own = [(variant, "predecessor"), (variant, "successor")]
    return own if variant == "eager" or "eager" not in calls else [REFERENCE, *own]


def _drawn(wanted: Set[Name], order: random.Random) -> list[Name]:
    """The variants in a random order, the sides of each in a random order: a pair stays together, because a machine's
    speed drifts within a round of ten calls too."""
    variants = sorted({variant for variant, _ in wanted})
    sides = {variant: sorted(side for name, side in wanted if name == variant) for variant in variants}
    return [
        (variant, side)
        for variant in order.sample(variants, len(variants))
        for side in order.sample(sides[variant], len(sides[variant]))
    ]


def _round(
    calls: Mapping[str, Mapping[str, Call]], names: Sequence[Name], batch: Inputs, device: str, settle: Set[Name]
) -> tuple[dict[Name, float], bool]:
    """Seconds of each call in this order, and whether a clock jumped meanwhile; those in `settle` run twice."""
    times: dict[Name, float] = {}
    before = clocks()
    for variant, side in names:
        if (variant, side) in settle:
            calls[variant][side](batch)
            devices.synchronise(device)
        started = time.perf_counter()
        calls[variant][side](batch)
        devices.synchronise(device)
        times[variant, side] = time.perf_counter() - started
    steady, *others = (after - earlier for after, earlier in zip(clocks(), before, strict=True))
    return times, any(abs(other - steady) > CLOCK_GAP for other in others)


def clocks() -> tuple[float, ...]:
    """The clock that is timed with, then those that go on while it stands still: wall time and time since boot."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux: counts sleep, which perf_counter does not
    return (time.perf_counter(), time.time(), *([time.clock_gettime(boot)] if boot is not None else []))


def _settled(variant: str, rounds: Rounds, speed: Speed) -> bool:
    return all(interval.narrower(speed.width) for interval in _intervals(variant, rounds))


def _intervals(variant: str, rounds: Rounds) -> list[Interval]:
    """The speed-up within the variant, and the gain over the eager predecessor where that was timed."""
    found = [rounds.interval((variant, "predecessor"), (variant, "successor"))]
    if REFERENCE in rounds.seconds and variant != "eager":
        found.append(rounds.interval(REFERENCE, (variant, "successor")))
    return found


def _summary(variant: str, rounds: Rounds, speed: Speed) -> dict[str, Any]:
    own, *gain = _intervals(variant, rounds)
    if variant == "eager":
        gain = [own]
    sides = {side: rounds.seconds[variant, side] for side in ("predecessor", "successor")}
    count = len(sides["predecessor"])
    enough = count >= speed.min_rounds - rounds.clock_gaps - rounds.outliers

    def told(interval: Interval) -> dict[str, Any]:
        return {
            "ratio": interval.ratio, "ratio_low": interval.low, "ratio_high": interval.high,
            "decided": enough and interval.narrower(speed.width),
        }  # fmt: skip

    return {
        "rounds": count,
        **told(own),
        "confidence": CONFIDENCE,
        **{side: _percentiles(values) for side, values in sides.items()},
        "over_eager": told(gain[0]) if gain else None,
        "discarded": {"clock_gaps": rounds.clock_gaps, "outliers": rounds.outliers},
        "ratios": [a / b for a, b in zip(sides["predecessor"], sides["successor"], strict=True)],
        **{f"{side}_seconds": values for side, values in sides.items()},
    }


def _percentiles(seconds: list[float]) -> dict[str, float | None]:
    return {f"p{q}": float(np.percentile(seconds, q)) if seconds else None for q in (50, 90, 99)}
