"""Speed beside the accepted one: inference speed-up per condition, training throughput as a ratio within a run.

    compare_speed(accepted.speed, new.speed)              # drift where the new interval lies 5 % below the accepted one
    compare_throughput(accepted.cells, new.cells)         # a warning where a ratio fell by more than a quarter

Speed-up is a property of device, batch and length, so only equal conditions on devices of one name are
compared. Two timings of the same two models on a shared 2-core machine gave intervals of 1.27 to 1.94:
hence whole intervals and not points. Throughput ratios come from single runs side by side with whatever
else the machine did; they warn and never fail a change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.baseline import CONDITION, Cell
from reports.speed_matrix import variant_of

SPEED_MARGIN = 0.05
THROUGHPUT_MARGIN = 0.25


@dataclass(frozen=True)
class SpeedDrift:
    """One accepted timing condition; `found` is None where it was not timed again."""

    condition: str
    accepted: tuple[float, float, float]
    found: tuple[float, float, float] | None
    drift: bool
    words: str


@dataclass(frozen=True)
class ThroughputDrift:
    """Training examples per second over those of fine-tuning with the same seed, the median of seeds."""

    cell: str
    accepted: float
    found: float
    warn: bool


def compare_speed(accepted: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> tuple[SpeedDrift, ...]:
    """Every accepted condition that has an interval, beside its like in the new results."""
    now = {_key(condition): _interval(condition) for condition in new}
    found = []
    for condition in accepted:
        old, again = _interval(condition), now.get(_key(condition))
        if old is None:
            continue
        drift = again is not None and again[2] < old[1] * (1 - SPEED_MARGIN)
        words = "slower" if drift else "no fall of 5 %"
        if again is None:
            words = "not timed under this condition on this device" if new else "not timed"
        found.append(SpeedDrift(_name(condition), old, again, drift, words))
    return tuple(found)


def compare_throughput(
    accepted: Mapping[tuple[str, str], Cell], new: Mapping[tuple[str, str], Cell]
) -> tuple[ThroughputDrift, ...]:
    """Every cell that has a ratio on both sides."""
    found = []
    for key, cell in accepted.items():
        old, now = cell.typical_throughput, new[key].typical_throughput if key in new else None
        if old and now:
            found.append(ThroughputDrift(cell.name, old, now, now < old * (1 - THROUGHPUT_MARGIN)))
    return tuple(found)


def _key(condition: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(condition.get(name) for name in CONDITION)


def _name(condition: Mapping[str, Any]) -> str:
    layers = f"{condition.get('predecessor_layers')} to {condition.get('successor_layers')} layers"
    shape = f"batch {condition.get('batch_size')}, length {condition.get('length')}"
    where = f"{condition.get('device')} {condition.get('precision')}, {condition.get('threads')} thread(s)"
    if variant_of(condition) not in ("eager", "bfloat16"):
        where += f", {variant_of(condition)}"
    return f"{layers}, {shape}, {where}"


def _interval(condition: Mapping[str, Any]) -> tuple[float, float, float] | None:
    values = [condition.get(key) for key in ("ratio", "ratio_low", "ratio_high")]
    ratio, low, high = (float(value) if isinstance(value, (int, float)) else None for value in values)
    return None if ratio is None or low is None or high is None else (ratio, low, high)
