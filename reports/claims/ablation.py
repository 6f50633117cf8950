"""Experiments that change one thing at a time: attribution steps, table 5's changes, and the lines of a sweep.

    found = ablation(compared, columns, with_paper=True)
    for step in found.steps: step.change        # paired with the step before
    found.changes                               # each arm minus the predecessor, with the paper's
    found.lines                                 # group -> arms by x

A step's effect is the paired difference from the step before, seed by seed, because neighbouring steps share most of
the spread between seeds, which would hide the effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.claims.decisions import Decision, tested
from reports.claims.paper_numbers import Column
from reports.statistics.cells import MACRO, Cell
from reports.statistics.differences import Difference, Differences
from results.format.published_numbers import paper_change
from results.format.records import Arm, Suite

WORDS = {"above": "above", "below": "below", "open": "not separated"}


@dataclass(frozen=True)
class AblationStep:
    """One attribution step: its score on the main task, and the change from the step before (None for the first)."""

    arm: Arm
    cell: Cell
    value: float | None
    change: Difference | None


@dataclass(frozen=True)
class Change:
    """An arm minus the predecessor in one column, and the change that table 5 prints there."""

    ours: Difference
    paper: float | None


@dataclass(frozen=True)
class Ablation:
    """The three kinds of experiment; each part is empty where the suite has none.

    `whole_change`: the last step minus the first, None below three steps, where it would repeat a change. `changes`:
    every other arm minus the predecessor, per column, for a suite beside table 5. `lines`: the arms of each line of a
    sweep by x.
    """

    steps: tuple[AblationStep, ...]
    whole_change: Difference | None
    changes: tuple[tuple[Arm, tuple[Change, ...]], ...]
    lines: Mapping[str, tuple[Arm, ...]]

    @property
    def along_steps(self) -> list[Difference]:
        """The differences between steps, that of the whole included."""
        return [d for d in (*(step.change for step in self.steps), self.whole_change) if d is not None]

    @property
    def from_predecessor(self) -> list[Difference]:
        """The differences of `changes`."""
        return [change.ours for _, changes in self.changes for change in changes]


def ablation(compared: Differences, columns: Sequence[Column], with_paper: bool) -> Ablation:
    """All three kinds, with the main table's columns; `with_paper` says whether the paper's numbers are beside ours."""
    suite, task = compared.cells.results.suite, compared.cells.main_task
    names = suite.steps
    steps = [_step(compared, name, before) for name, before in zip(names, (None, *names), strict=False)]
    whole = compared.of(task, names[-1], names[0]) if len(names) > 2 else None
    return Ablation(tuple(steps), whole, tuple(_changes(compared, columns, with_paper)), _lines(suite))


def _step(compared: Differences, name: str, before: str | None) -> AblationStep:
    cells, suite = compared.cells, compared.cells.results.suite
    own = cells.at(cells.main_task, name)
    change = compared.of(cells.main_task, name, before) if before else None
    return AblationStep(suite.arm(name), own, own.summary.centre(suite.statistic), change)


def in_words(decision: Decision) -> str:
    """`above`, `below` or `not separated`, with p, or the reason why nothing can be said."""
    d = decision.difference
    if d.mean is None:
        return "no seed in common"
    if decision.raw_p is None or decision.p is None:
        return f"undecided: {'one seed gives no interval' if d.n == 1 else 'every seed gives the same difference'}"
    if decision.word == "open" and d.estimate and d.estimate.tied:
        return "undecided: every seed gives the same difference"
    return f"{WORDS[decision.word]} ({decision.why or tested(decision)})"


def _changes(
    compared: Differences, columns: Sequence[Column], with_paper: bool
) -> list[tuple[Arm, tuple[Change, ...]]]:
    suite = compared.cells.results.suite
    deep = next((arm for arm in suite.arms if arm.is_predecessor), None)
    if suite.table != 5 or deep is None:
        return []
    macro = [task.published for task in suite.tasks if task.in_macro]

    def change(arm: Arm, column: Column) -> Change:
        names = macro if column.name == MACRO else [column.published]
        printed = paper_change(arm.published, names) if with_paper else None
        return Change(compared.of(column.name, arm.name, deep.name), printed)

    return [(arm, tuple(change(arm, c) for c in columns)) for arm in suite.arms if not arm.is_predecessor]


def _lines(suite: Suite) -> dict[str, tuple[Arm, ...]]:
    found: dict[str, list[Arm]] = {}
    for arm in suite.arms:
        if arm.group is not None and arm.x is not None:
            found.setdefault(arm.group, []).append(arm)
    return {group: tuple(sorted(arms, key=lambda arm: arm.x or 0.0)) for group, arms in found.items()}


def seeds_word(suite: Suite, d: Difference) -> str:
    """`3 seeds`, or `2 of 3 seeds` where some seeds have no pair."""
    planned = len(suite.seeds)
    noun = "seed" if planned == 1 else "seeds"
    return f"{planned} {noun}" if d.n == planned else f"{d.n} of {planned} {noun}"
