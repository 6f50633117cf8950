"""Inference timing in words and numbers: speed-up per condition and depth, latency per arm.

    speeds(results)                    # every condition, a row each
    shown = timing_for_figure(results) # the conditions of one setting, one per depth
    latency(shown, arm), speed_up(shown, arm)

A speed-up belongs to a device, a batch, a length and a depth, not to a method: arms of one depth
share it, and numbers of two settings are never put into one figure or column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.published import paper_speed_up
from reports.results import Arm, Results
from reports.untrusted import real, text

Condition = Mapping[str, Any]
SETTING = ("device", "device_name", "precision", "attention", "threads", "batch_size", "length", "predecessor_layers")


@dataclass(frozen=True)
class Speed:
    """One timing condition in words."""

    where: str
    setting: str
    depth: str
    ratio: str
    interval: str
    confidence: str
    decided: bool
    rounds: str
    predecessor: tuple[str, str, str]
    successor: tuple[str, str, str]
    paper: str


@dataclass(frozen=True)
class SpeedUp:
    """An arm's place in the speed-up column: ours, whether the timing decided it, and the paper's."""

    ratio: float | None
    decided: bool
    paper: float | None


def speeds(results: Results) -> list[Speed]:
    """Every timing condition; a ratio without a decided interval is marked so."""
    return [in_words(condition, results.suite.synthetic) for condition in results.speed]


def in_words(condition: Condition, synthetic: bool) -> Speed:
    """A condition as a row of the page."""
    deep, shallow = (condition.get(f"{side}_layers") for side in ("predecessor", "successor"))
    setting = [
        text(condition.get("precision"), 40),
        f"{text(condition.get('attention'), 40)} attention" if condition.get("attention") else "",
        f"{text(condition.get('threads'), 10)} threads" if condition.get("threads") is not None else "",
        f"batch {text(condition.get('batch_size'), 10)}",
        f"length {text(condition.get('length'), 10)}",
    ]
    paper = paper_speed_up(shallow) if deep == 12 and not synthetic and isinstance(shallow, int) else None
    low, high = real(condition.get("ratio_low")), real(condition.get("ratio_high"))
    ratio, confidence = real(condition.get("ratio")), real(condition.get("confidence"))
    return Speed(
        where=text(condition.get("device_name") or condition.get("device"), 80),
        setting=", ".join(part for part in setting if part),
        depth=f"{text(deep, 5)} to {text(shallow, 5)}",
        ratio=f"{ratio:.2f}×" if ratio is not None else "",
        interval=f"{low:.2f} to {high:.2f}" if low is not None and high is not None else "",
        confidence=f"{100 * confidence:g} %" if confidence is not None else "",
        decided=condition.get("decided") is True and ratio is not None,
        rounds=text(condition.get("rounds"), 10),
        predecessor=_percentiles(condition.get("predecessor")),
        successor=_percentiles(condition.get("successor")),
        paper=f"{paper:.2f}× for {deep} to {shallow} layers" if paper is not None else "",
    )


def timing_for_figure(results: Results) -> tuple[Condition, ...]:
    """The conditions of the setting to show, one per depth: the one with most depths decided, the first of equals."""
    groups: dict[tuple[str, ...], list[Condition]] = {}
    for condition in results.speed:
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


def _percentiles(value: object) -> tuple[str, str, str]:
    source = value if isinstance(value, Mapping) else {}
    found = [real(source.get(key)) for key in ("p50", "p90", "p99")]
    shown = ["" if v is None else f"{v * 1000:.2f}" for v in found]
    return shown[0], shown[1], shown[2]
