"""Loyalty, calibration and flips as rows for the page, and the flips as CSV.

grids(results, answers)        # a grid of arms by tasks per measure
flip_rows(results, answers)    # the leading arm beside every other, per task
flips_csv(results, answers)    # every example on which two arms differ
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from reports.agreement import MOST_FLIPS, Agreement, Flips, agreements, all_flips, flips_table
from reports.predictions import Answers
from reports.results import Arm, Results
from reports.statistics import Summary, reference_arm
from reports.tables import ordered_arms

MEASURES = {
    "label": "Label loyalty, %",
    "probability": "Probability loyalty, %",
    "regression": "Regression loyalty, %",
    "calibration": "Expected calibration error, %",
}


@dataclass(frozen=True)
class Grid:
    """One measure: arms down, the tasks with predictions across; a cell is None where it does not apply."""

    title: str
    tasks: tuple[str, ...]
    rows: tuple[tuple[Arm, tuple[Summary | None, ...]], ...]


@dataclass(frozen=True)
class FlipRow:
    """Two arms on one task, pooled over seeds: per cent of answers, and the paired permutation's p."""

    task: str
    first: str
    second: str
    seeds: int
    examples: int
    only_first: str
    only_second: str
    differ: str
    p: str


def grids(results: Results, answers: Mapping[str, Answers]) -> list[Grid]:
    """A grid per measure that any cell has."""
    found = {(a.task, a.arm): a for a in agreements(results, answers)}
    made = [_grid(results, measure, found) for measure in MEASURES]
    return [grid for grid in made if grid.rows]


def _grid(results: Results, measure: str, found: Mapping[tuple[str, str], Agreement]) -> Grid:
    def value(task: str, arm: str) -> Summary | None:
        entry = found.get((task, arm))
        summary = None if entry is None else getattr(entry, measure)
        return summary if summary is not None and summary.n else None

    arms = ordered_arms(results)
    tasks = [t for t in results.suite.tasks if any(value(t.name, arm.name) for arm in arms)]
    rows = [(arm, tuple(value(t.name, arm.name) for t in tasks)) for arm in arms]
    shown = tuple(row for row in rows if any(row[1]))
    return Grid(MEASURES[measure], tuple(t.title for t in tasks), shown)


def flip_rows(results: Results, answers: Mapping[str, Answers]) -> list[FlipRow]:
    """The leading arm beside every other one, task by task."""
    leader = reference_arm(results)
    if leader is None:
        return []
    titles = {task.name: task.title for task in results.suite.tasks}
    return [_flip_row(found, leader, titles, results) for found in all_flips(results, answers, (leader,))]


def _flip_row(found: Flips, leader: str, titles: Mapping[str, str], results: Results) -> FlipRow:
    turned = found.first != leader
    first, second = (found.second, found.first) if turned else (found.first, found.second)
    ours, theirs = (found.only_second, found.only_first) if turned else (found.only_first, found.only_second)
    pooled = len(ours) * len(found.seeds)
    only_first, only_second, differ = (
        f"{100 * int(counts.sum()) / pooled:.1f}" for counts in (ours, theirs, found.differ)
    )
    one, other = (results.suite.arm(name).title for name in (first, second))
    p = "< 0.001" if found.p < 0.001 else f"{found.p:.3f}"
    size = (len(found.seeds), len(ours))
    return FlipRow(titles[found.task], one, other, *size, only_first, only_second, differ, p)


def kept(results: Results, answers: Mapping[str, Answers]) -> tuple[str, ...]:
    """The arms whose pairs flips.csv holds: all (an empty tuple), or the leading one where that would be too long."""
    arms = len(results.suite.arms)
    rows = sum(len(a.labels) for a in answers.values() if not a.regression) * arms * (arms - 1) // 2
    leader = reference_arm(results)
    return () if leader is None or rows <= 5 * MOST_FLIPS else (leader,)


def flips_csv(results: Results, answers: Mapping[str, Answers]) -> str | None:
    """Every pair of arms (or every pair with the leading one: see `kept`), a row per example they differ on."""
    frames = [flips_table(found, answers[found.task]) for found in all_flips(results, answers, kept(results, answers))]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return None
    table = pd.concat(frames, ignore_index=True)
    imported = [arm.name for arm in results.suite.arms if arm.origin]
    either = table["first"].isin(imported) | table["second"].isin(imported)
    table["origin"] = either.map({True: "imported", False: ""})
    return str(table.to_csv(index=False, lineterminator="\n"))
