"""Compare speed with the accepted one: inference speed-up per condition, and training throughput as a ratio.

    compare_speed(accepted.speed, new.speed)              # drift where the new interval is 5 % below the accepted one
    compare_throughput(accepted.cells, new.cells)         # a warning where a ratio fell by more than a quarter

Speed-up is a property of device, batch and length, so only equal conditions on devices of one name are compared. Whole
intervals are compared, not points: two timings of the same two models on a shared 2-core machine gave intervals of 1.27
to 1.94. A condition that is not timed any more leaves the suite undecided. Throughput ratios come from single
runs on a machine that may do other work; they warn and never fail a change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reports.drift.snapshot import Cell
from reports.timing.matrix import variant_of
from results.format.documents.codec import keys
from results.format.documents.speed import Condition, Setting, Summary

Timing = Condition | Summary
SPEED_MARGIN = 0.05
THROUGHPUT_MARGIN = 0.25
SHAPE = ("batch_size", "length", "predecessor_layers", "successor_layers")
Interval = tuple[float, float, float]  # the ratio, and the ends of its interval


@dataclass(frozen=True)
class SpeedDrift:
    """One accepted timing condition. `found` is None where it was not timed again; `missing`: on no device at all."""

    condition: str
    accepted: Interval
    found: Interval | None
    drift: bool
    words: str
    missing: bool = False

    @property
    def verdict(self) -> Literal["pass", "drift", "undecided"]:
        """What it makes of the suite's verdict."""
        return "drift" if self.drift else "undecided" if self.missing else "pass"


@dataclass(frozen=True)
class ThroughputDrift:
    """Training examples per second over those of fine-tuning with the same seed, as the median of seeds."""

    cell: str
    accepted: float
    found: float
    warn: bool


def compare_speed(accepted: Sequence[Timing], new: Sequence[Timing]) -> tuple[SpeedDrift, ...]:
    """Compare every accepted condition that has an interval with the same condition of the new results."""
    now = {_key(condition): _interval(condition) for condition in new}
    return tuple(
        _compared(condition, old, now.get(_key(condition)), new)
        for condition in accepted
        if (old := _interval(condition)) is not None
    )


def _compared(condition: Timing, old: Interval, again: Interval | None, new: Sequence[Timing]) -> SpeedDrift:
    name = _name(condition)
    if again is not None:
        drift = again[2] < old[1] * (1 - SPEED_MARGIN)
        return SpeedDrift(name, old, again, drift, "slower" if drift else "no fall of 5 %")
    if any(_is_elsewhere(condition, other) for other in new):
        return SpeedDrift(name, old, None, False, "timed on another device, so not compared")
    return SpeedDrift(name, old, None, False, "not timed any more: time it again or accept anew", missing=True)


def _is_elsewhere(condition: Timing, other: Timing) -> bool:
    """Whether the same models and shape were timed on another device."""
    alike = all(getattr(condition, name) == getattr(other, name) for name in SHAPE)
    return alike and condition.device_name != other.device_name and _interval(other) is not None


def compare_throughput(
    accepted: Mapping[tuple[str, str], Cell], new: Mapping[tuple[str, str], Cell]
) -> tuple[ThroughputDrift, ...]:
    """Compare every cell that has a ratio on both sides."""
    found = []
    for key, cell in accepted.items():
        old, now = cell.typical_throughput, new[key].typical_throughput if key in new else None
        if old and now:
            found.append(ThroughputDrift(cell.name, old, now, now < old * (1 - THROUGHPUT_MARGIN)))
    return tuple(found)


def _key(condition: Timing) -> tuple[Any, ...]:
    return tuple(getattr(condition, name) for name in keys(Setting))


def _name(condition: Timing) -> str:
    layers = f"{condition.predecessor_layers} to {condition.successor_layers} layers"
    shape = f"batch {condition.batch_size}, length {condition.length}"
    where = f"{condition.device} {condition.precision}, {condition.threads} thread(s)"
    if variant_of(condition) not in ("eager", "bfloat16"):
        where += f", {variant_of(condition)}"
    return f"{layers}, {shape}, {where}"


def _interval(condition: Timing) -> Interval | None:
    values = (condition.ratio, condition.ratio_low, condition.ratio_high)
    ratio, low, high = (float(value) if isinstance(value, (int, float)) else None for value in values)
    return None if ratio is None or low is None or high is None else (ratio, low, high)
