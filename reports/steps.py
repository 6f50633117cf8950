"""One change at a time: an attribution experiment's steps, table 5's changes, and the lines of a sweep.

    for step in steps(results): step.change        # paired with the step before
    changes(results)                               # each arm minus the predecessor, with the paper's
    lines(results)                                 # group -> arms by x

A step's effect is the paired difference from the step before, seed by seed, because the arms' own
spread between seeds is shared by neighbours and would hide it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.beside import Column
from reports.intervals import Joint
from reports.published import paper_change
from reports.results import Arm, Results
from reports.statistics import MACRO, Cell, Difference, cell, difference, main_task

VERDICTS = {"above": "above", "below": "below", "open": "not separated"}


@dataclass(frozen=True)
class Step:
    """One step: its score on the main task, and the change from the step before (None for the first)."""

    arm: Arm
    cell: Cell
    value: float | None
    change: Difference | None

    @property
    def verdict(self) -> str:
        """What the interval says, in the words of the answer."""
        return "" if self.change is None else verdict(self.change)


@dataclass(frozen=True)
class Change:
    """An arm minus the predecessor in one column, and what table 5 prints there."""

    ours: Difference
    paper: float | None


def steps(results: Results, joint: Joint | None = None) -> list[Step]:
    """The suite's steps in order, at its protocol; empty where it names none."""
    task, protocol, statistic = main_task(results), results.suite.protocol, results.suite.statistic
    found: list[Step] = []
    before: str | None = None
    for name in results.suite.steps:
        own = cell(results, task, name, protocol)
        change = difference(results, task, name, before, protocol, joint) if before else None
        found.append(Step(results.suite.arm(name), own, own.summary.centre(statistic), change))
        before = name
    return found


def whole_change(results: Results, joint: Joint | None = None) -> Difference | None:
    """The last step minus the first, None below three steps, where it would say nothing new."""
    names = results.suite.steps
    if len(names) < 3:
        return None
    return difference(results, main_task(results), names[-1], names[0], results.suite.protocol, joint)


def verdict(d: Difference) -> str:
    """`above`, `below` or `not separated`; why nothing can be said below two seeds or without any spread."""
    if d.mean is None:
        return "no seed in common"
    if d.low is None or d.high is None:
        return "undecided: one seed gives no interval"
    if d.low == d.high:
        return "undecided: every seed gives the same difference"
    return VERDICTS[d.verdict]


def changes(
    results: Results, columns: Sequence[Column], beside: bool, joint: Joint | None = None
) -> list[tuple[Arm, list[Change]]]:
    """Every other arm minus the predecessor, per column, for a suite beside table 5; empty for any other."""
    deep = next((arm for arm in results.suite.arms if arm.is_predecessor), None)
    if results.suite.table != 5 or deep is None:
        return []
    macro = [task.published for task in results.suite.tasks if task.in_macro]
    rows = []
    for arm in results.suite.arms:
        if arm.is_predecessor:
            continue
        row = []
        for column in columns:
            names = macro if column.name == MACRO else [column.published]
            ours = difference(results, column.name, arm.name, deep.name, results.suite.protocol, joint)
            row.append(Change(ours, paper_change(arm.published, names) if beside else None))
        rows.append((arm, row))
    return rows


def lines(results: Results) -> dict[str, list[Arm]]:
    """The arms of each line of a sweep by x; empty without one."""
    found: dict[str, list[Arm]] = {}
    for arm in results.suite.arms:
        if arm.group is not None and arm.x is not None:
            found.setdefault(arm.group, []).append(arm)
    return {group: sorted(arms, key=lambda arm: arm.x or 0.0) for group, arms in found.items()}


def seeds_word(results: Results, d: Difference) -> str:
    """`3 seeds`, or `2 of 3 seeds` where some have no pair."""
    planned = len(results.suite.seeds)
    noun = "seed" if planned == 1 else "seeds"
    return f"{planned} {noun}" if d.n == planned else f"{d.n} of {planned} {noun}"
