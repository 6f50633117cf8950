"""Time two functions alternately in one process and compare their times.

pytest-benchmark times ours; the rival is timed right before each round. Changes of the machine's speed cancel in the
ratio of a round. The median ratio over rounds, with a bootstrap interval, is compared with the bar and with the
accepted value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed.timing import median_interval


def against(
    benchmark: Any,
    ours: Callable[[], object],
    rival: Callable[[], object],
    claim: str,
    bar: float,
    at_least: bool = True,
    rounds: int = 12,
) -> None:
    """Time both; record the median of rival / ours (`at_least`) or ours / rival under the name `claim`."""
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


def record(benchmark: Any, ratios: np.ndarray[Any, Any], claim: str, bar: float, at_least: bool) -> None:
    """Add a figure with its interval and its bar to the timing; `benchmarks.bench.compare` reads it."""
    low, high = median_interval(ratios)
    benchmark.extra_info |= {
        "claim": claim, "value": float(np.median(ratios)), "low": low, "high": high, "bar": bar, "at_least": at_least,
    }  # fmt: skip
