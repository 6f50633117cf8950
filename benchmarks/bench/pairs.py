"""Two things timed alternately in one process, and the ratio of their times.

pytest-benchmark times ours; the rival is timed right before each of its rounds. The ratio of a round cancels what the
machine did meanwhile, and its median over rounds with a bootstrap interval is what is compared with the bar and with
the accepted value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed_timing import median_interval


def against(
    benchmark: Any,
    ours: Callable[[], object],
    rival: Callable[[], object],
    claim: str,
    bar: float,
    at_least: bool = True,
    rounds: int = 12,
) -> list[float]:
    """Time both; record the median of rival / ours (`at_least`) or ours / rival under the words of `claim`."""
    seconds: list[float] = []
    for _ in range(2):
        rival()
        ours()

    def first() -> None:
        started = time.perf_counter()
        rival()
        seconds.append(time.perf_counter() - started)

    benchmark.pedantic(ours, setup=first, rounds=rounds)
    own = np.array(benchmark.stats.stats.data)
    ratios = np.array(seconds) / own if at_least else own / np.array(seconds)
    record(benchmark, ratios, claim, bar, at_least)
    return seconds


def record(benchmark: Any, ratios: np.ndarray[Any, Any], claim: str, bar: float, at_least: bool) -> None:
    """Keep a figure with its interval and its bar beside the timing; `benchmarks.bench.compare` judges it."""
    low, high = median_interval(ratios)
    benchmark.extra_info |= {
        "claim": claim, "value": float(np.median(ratios)), "low": low, "high": high, "bar": bar, "at_least": at_least,
    }  # fmt: skip
