"""Rounds of paired timing: every model once per round in an order drawn anew, ratios within rounds.

On a shared 2-core machine, timing one model and then the other gave speed-ups of 0.44, 1.79, 4.87 and 6.87 for the same
two models; ratios within rounds in random order gave 1.988 (1.904 to 2.126). So every round times all models on one
batch, and the result is the median ratio over rounds with a bootstrap interval. Timing stops when the intervals are
narrow enough or the time limit is reached; the result says which (`decided`).

A round in which a clock jumped (the machine slept, a clock was set), or in which a model took 20 times its median, is
discarded and counted.

Two runtimes disturb each other: the threads of one still spin when the other begins. At two threads, int8 took up to
seven times as long after a torch call. A pause in between would pull every ratio towards 1, because waking up takes
time. So if several variants are timed, each short call is made once untimed just before it is timed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks.machine import device as devices
from benchmarks.suites.speed import Speed
from results.format.documents.speed import SIDES, Condition, Discarded, Latency, Ratio

WARM_UP = 3
CHECK_EVERY = 10  # rounds between two checks of the intervals
CONFIDENCE = 0.95
OUTLIER = 20.0  # times a model's median
CLOCK_GAP = 0.05  # seconds by which clocks may differ on the length of a round
SETTLE = 0.05  # seconds; a shorter call is made once untimed before it is timed
FEWEST = 5  # rounds that a ratio needs

Inputs = dict[str, torch.Tensor]
Call = Callable[[Inputs], Any]
REFERENCE = ("eager", "predecessor")
Name = tuple[str, str]  # variant, side


@dataclass
class Rounds:
    """Timing of one variant: the seconds of each side in the rounds that count, and the number of discarded rounds."""

    seconds: dict[Name, list[float]]
    clock_gaps: int
    outliers: int

    def ratio(self, above: Name, below: Name) -> Ratio:
        """The median over rounds of the time of `above` over the time of `below`; empty after too few rounds."""
        if len(self.seconds[above]) < FEWEST:
            return Ratio()
        ratios = np.array(self.seconds[above]) / np.array(self.seconds[below])
        return Ratio(float(np.median(ratios)), *median_interval(ratios))


@dataclass
class _Log:
    """All rounds so far: the seconds of each call, and whether a clock jumped."""

    times: list[dict[Name, float]] = field(default_factory=list)
    gaps: list[bool] = field(default_factory=list)

    def of(self, names: Sequence[Name]) -> Rounds:
        """The rounds in which all of `names` were timed, without the discarded ones."""
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
) -> dict[str, Condition]:
    """Time `calls[variant][side]` in common rounds; returns per variant a condition that lacks its setting.

    Each round takes the next of `batches`, the same for all calls. A variant leaves the rounds when its speed-up is
    decided and, if eager is timed too, its gain over the eager predecessor. Times are seconds.
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
                if last or all(_narrow(ratio, speed) for ratio in _ratios(variant, rounds)):
                    found[variant] = rounds
                    del open_[variant]
        if not open_:
            break
    return {variant: _summary(variant, found[variant], speed) for variant in calls}


def _names(variant: str, calls: Mapping[str, Mapping[str, Call]]) -> list[Name]:
    """The calls that a variant's result needs: both its sides, and the eager predecessor if eager is timed."""
    own = [(variant, "predecessor"), (variant, "successor")]
    return own if variant == "eager" or "eager" not in calls else [REFERENCE, *own]


def _drawn(wanted: Set[Name], order: random.Random) -> list[Name]:
    """The variants in random order, and the sides of each in random order. A pair stays together, because the speed of
    a machine drifts even within a round of ten calls."""
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
    """Seconds of each call, made in this order, and whether a clock jumped meanwhile. Calls in `settle` run twice."""
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
    """The clock that times calls, then the clocks that go on while it stops: wall time and time since boot."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux: counts sleep, which perf_counter does not
    return (time.perf_counter(), time.time(), *([time.clock_gettime(boot)] if boot is not None else []))


def _narrow(found: Ratio, speed: Speed) -> bool:
    return found.ratio is not None and bool(found.ratio_high - found.ratio_low < speed.width * found.ratio)


def _ratios(variant: str, rounds: Rounds) -> list[Ratio]:
    """The speed-up within the variant, and the gain over the eager predecessor if that was timed."""
    found = [rounds.ratio((variant, "predecessor"), (variant, "successor"))]
    if REFERENCE in rounds.seconds and variant != "eager":
        found.append(rounds.ratio(REFERENCE, (variant, "successor")))
    return found


def _summary(variant: str, rounds: Rounds, speed: Speed) -> Condition:
    deep, shallow = (rounds.seconds[variant, side] for side in SIDES)
    enough = len(deep) >= speed.min_rounds - rounds.clock_gaps - rounds.outliers

    own, *gain = [replace(ratio, decided=enough and _narrow(ratio, speed)) for ratio in _ratios(variant, rounds)]
    if variant == "eager":
        gain = [own]
    return Condition(
        **vars(own),
        rounds=len(deep),
        confidence=CONFIDENCE,
        predecessor=_latency(deep),
        successor=_latency(shallow),
        over_eager=gain[0] if gain else None,
        discarded=Discarded(rounds.clock_gaps, rounds.outliers),
        ratios=[a / b for a, b in zip(deep, shallow, strict=True)],
        predecessor_seconds=deep,
        successor_seconds=shallow,
    )


def _latency(seconds: list[float]) -> Latency:
    return Latency(*(float(np.percentile(seconds, q)) if seconds else None for q in (50, 90, 99)))
