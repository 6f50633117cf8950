"""The one timing setting that stands beside scores: speed-up per depth, latency per arm. All of them: speed_matrix.py.

    shown = timing_for_figure(results) # the conditions of one setting, one per depth
    latency(shown, arm), speed_up(shown, arm)

A speed-up belongs to a device, a batch, a length and a depth, not to a method: arms of one depth
share it, and numbers of two settings are never put into one figure or column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.results import Arm, Results
from reports.speed_matrix import plain
from reports.untrusted import real, text

Condition = Mapping[str, Any]
SETTING = ("device", "device_name", "precision", "attention", "threads", "batch_size", "length", "predecessor_layers")


@dataclass(frozen=True)
class Place:
    """Where the shown conditions were timed, in words, and whether the first of them is decided."""

    where: str
    setting: str
    decided: bool


@dataclass(frozen=True)
class SpeedUp:
    """An arm's place in the speed-up column: ours, whether the timing decided it, and the paper's."""

    ratio: float | None
    decided: bool
    paper: float | None


def in_words(condition: Condition) -> Place:
    """Device and setting of a condition."""
    setting = [
        text(condition.get("precision"), 40),
        f"{text(condition.get('attention'), 40)} attention" if condition.get("attention") else "",
        f"{text(condition.get('threads'), 10)} threads" if condition.get("threads") is not None else "",
        f"batch {text(condition.get('batch_size'), 10)}",
        f"length {text(condition.get('length'), 10)}",
    ]
    return Place(
        where=text(condition.get("device_name") or condition.get("device"), 80),
        setting=", ".join(part for part in setting if part),
        decided=condition.get("decided") is True and real(condition.get("ratio")) is not None,
    )


def timing_for_figure(results: Results) -> tuple[Condition, ...]:
    """The conditions of the setting to show, one per depth: the one with most depths decided, the first of equals.

    Of the variants only plain eager execution, because that is what a speed-up without further words means.
    """
    groups: dict[tuple[str, ...], list[Condition]] = {}
    for condition in plain(results.speed):
        if any(latency([condition], arm) is not None for arm in results.suite.arms):
            groups.setdefault(tuple(text(condition.get(key), 80) for key in SETTING), []).append(condition)
    if not groups:
        return ()
    return tuple(max(groups.values(), key=lambda group: sum(c.get("decided") is True for c in group)))


def latency(conditions: Sequence[Condition], arm: Arm) -> float | None:
    """Median seconds per batch of an arm's depth under one setting, None when it was not timed."""
    side = "predecessor" if arm.is_predecessor else "successor"
    for condition in conditions:
        if arm.layers is not None and arm.layers == condition.get(f"{side}_layers"):
            timing = condition.get(side)
            value = real(timing.get("p50")) if isinstance(timing, Mapping) else None
            # matplotlib overflows near the end of the float range
            return value if value is not None and abs(value) < 1e30 else None
    return None


def speed_up(conditions: Sequence[Condition], arm: Arm) -> tuple[float | None, bool]:
    """The measured ratio for an arm's depth under one setting and whether it is decided; 1 for the predecessor."""
    if arm.is_predecessor:
        return (1.0, True) if conditions else (None, False)
    for condition in conditions:
        if arm.layers is not None and arm.layers == condition.get("successor_layers"):
            ratio = real(condition.get("ratio"))
            return ratio, condition.get("decided") is True and ratio is not None
    return None, False
