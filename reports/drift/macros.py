"""The macro of each arm: the mean over its tasks, new minus accepted, seed by seed.

    drawn = macro_of(arm, tasks, cells, margin, once)      # None where nothing can be paired
    settle(drawn, judged, bits)                            # MacroDrift: the verdict

There is one macro for each arm and not one for all of them, because a change of one method moves one arm. An arm whose
cells repeat bit for bit passes, and a cell that repeats adds nothing to the spread of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from reports.drift.judging import Judged, in_words
from reports.statistics.significance import ROUNDING

CLEAR = 3  # margins
Pairs = Mapping[int, tuple[float, float]]  # by seed: accepted score, new score


@dataclass(frozen=True)
class MacroDrift:
    """The macro of one arm over those of its `planned` tasks that have scores on both sides.

    `once`: the arm has one run per task, as a shared predecessor does. Such an arm is tested for a fall, and it need
    not be certified, because the arms that start from it are. `outside`: seeds whose score moved on some task and that
    have no macro, because another task has no score of them.
    """

    arm: str
    planned: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    accepted: float
    found: float
    margin: float
    once: bool = False
    outside: tuple[int, ...] = ()
    verdict: Literal["pass", "drift", "not certified", "undecided"] = "pass"
    why: str = ""
    judged: Judged | None = None
    differences: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """`macro arm`."""
        return f"macro {self.arm}"

    @property
    def moved(self) -> float:
        """The mean difference over seeds."""
        return self.found - self.accepted


def macro_of(
    arm: str, planned: tuple[str, ...], cells: Mapping[str, Pairs], margin: float, once: bool
) -> MacroDrift | None:
    """The macro of an arm from the paired scores of its tasks; None without any."""
    paired = {task: pairs for task, pairs in cells.items() if pairs}
    if not paired:
        return None
    columns = list(paired.values())
    if all(len(column) == 1 for column in columns):  # one run per task, whichever seed each has
        seed = min(columns[0])
        columns = [{seed: next(iter(column.values()))} for column in columns]
    seeds = tuple(seed for seed in columns[0] if all(seed in column for column in columns))
    accepted, found = np.mean([np.mean(list(column.values()), axis=0) for column in columns], axis=0).tolist()
    differences = ()
    if seeds:
        scores = np.array([[column[seed] for column in columns] for seed in seeds]).mean(axis=1)
        accepted, found = scores.mean(axis=0).tolist()
        differences = tuple((scores[:, 1] - scores[:, 0]).tolist())
    moved = {seed for column in columns for seed, (old, new) in column.items() if abs(new - old) > ROUNDING}
    outside = tuple(sorted(moved - set(seeds)))
    return MacroDrift(
        arm, planned, tuple(paired), seeds, accepted, found, margin, once, outside, differences=differences
    )


def unit(macro: MacroDrift, typical: Mapping[tuple[str, str], float]) -> float:
    """The spread that the macro has if its cells vary independently; `typical` is the sd of each cell that moved.

    Arms of which other cells moved have other spreads. In these units they are alike and can share their variance.
    """
    own = [typical[task, macro.arm] for task in macro.tasks if (task, macro.arm) in typical]
    spread = math.sqrt(sum(sd**2 for sd in own)) or math.sqrt(max(1, len(own)))
    return spread / len(macro.tasks)


def settle(macro: MacroDrift, judged: Judged | None, bits: bool) -> MacroDrift:
    """The macro with its verdict."""
    if not macro.seeds and not bits:
        return replace(macro, verdict="undecided", why="no seed has a score of every task")
    if judged is None:
        return replace(macro, why="bit-equal" if bits else "equal scores, other bits")
    if macro.once and judged.verdict == "undecided":
        # One run has no spread of its own, so that no test can find a fall of any size: a large one counts by itself.
        if judged.mean <= ROUNDING - CLEAR * macro.margin:
            return replace(macro, verdict="drift", why=f"one run per task fell by {CLEAR} margins", judged=judged)
        said = f"one run per task: only a fall of {CLEAR} margins shows"
        return replace(macro, verdict="not certified", why=said, judged=judged)
    if macro.outside and judged.verdict == "pass":
        seeds = ", ".join(map(str, macro.outside))
        why = f"seed {seeds} moved and is in no macro, because another task has no score of it"
        return replace(macro, verdict="undecided", why=why, judged=judged)
    return replace(macro, verdict=judged.verdict, why=in_words(judged), judged=judged)
