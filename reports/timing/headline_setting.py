"""The one timing setting that is shown beside scores: speed-up per depth, latency per arm. matrix.py has all settings.

    shown = timing_for_figure(results) # the conditions of one setting, one per depth
    latency(shown, arm), speed_up(shown, arm)

A speed-up belongs to a device, a batch, a length and a depth, not to a method. Arms of one depth share it, and one
figure or column never mixes numbers of two settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.timing.matrix import plain
from results.format.records import Arm, Condition, Results
from results.format.untrusted import real, text


@dataclass(frozen=True)
class Place:
    """The place and setting of a condition as text, and whether its ratio is decided."""

    where: str
    setting: str
    decided: bool


@dataclass(frozen=True)
class SpeedUp:
    """An arm's entry in the speed-up column: our ratio, whether the timing decided it, and the paper's ratio."""

    ratio: float | None
    decided: bool
    paper: float | None


def in_words(condition: Condition) -> Place:
    """Device and setting of a condition."""
    setting = [
        text(condition.precision, 40),
        f"{text(condition.attention, 40)} attention" if condition.attention else "",
        f"{text(condition.threads, 10)} threads" if condition.threads is not None else "",
        f"batch {text(condition.batch_size, 10)}",
        f"length {text(condition.length, 10)}",
    ]
    return Place(
        where=text(condition.device_name or condition.device, 80),
        setting=", ".join(part for part in setting if part),
        decided=condition.decided is True and real(condition.ratio) is not None,
    )


def timing_for_figure(results: Results) -> tuple[Condition, ...]:
    """The conditions of the setting to show, one per depth: the first of those with the most decided depths.

    Only plain eager execution counts, because a speed-up without further words refers to it.
    """
    groups: dict[tuple[str, ...], list[Condition]] = {}
    for condition in plain(results.speed):
        if any(latency([condition], arm) is not None for arm in results.suite.arms):
            groups.setdefault(_setting(condition), []).append(condition)
    if not groups:
        return ()
    return tuple(max(groups.values(), key=lambda group: sum(c.decided is True for c in group)))


def _setting(condition: Condition) -> tuple[str, ...]:
    """Everything that the conditions of one setting have in common."""
    device = (condition.device, condition.device_name, condition.precision, condition.attention, condition.threads)
    return tuple(text(value, 80) for value in (*device, condition.batch_size, condition.length, condition.layers[0]))


def _of_depth(conditions: Sequence[Condition], arm: Arm) -> Condition | None:
    """The condition that timed an arm's depth."""
    side = 0 if arm.is_predecessor else 1
    return next((c for c in conditions if arm.layers is not None and arm.layers == c.layers[side]), None)


def latency(conditions: Sequence[Condition], arm: Arm) -> float | None:
    """Median seconds per batch for an arm's depth under one setting, None when it was not timed."""
    if (condition := _of_depth(conditions, arm)) is None:
        return None
    timing = condition.predecessor if arm.is_predecessor else condition.successor
    value = real(timing.p50) if timing is not None else None
    # matplotlib overflows near the end of the float range
    return value if value is not None and abs(value) < 1e30 else None


def speed_up(conditions: Sequence[Condition], arm: Arm) -> tuple[float | None, bool]:
    """The measured ratio for an arm's depth under one setting, and whether it is decided; 1 for the predecessor."""
    if arm.is_predecessor:
        return (1.0, True) if conditions else (None, False)
    condition = _of_depth(conditions, arm)
    ratio = real(condition.ratio) if condition else None
    return ratio, condition is not None and condition.decided is True and ratio is not None
