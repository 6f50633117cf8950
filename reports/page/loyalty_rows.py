"""Loyalty, calibration and flips as rows for the page, and the flips as CSV.

grids(found)            # a grid of arms by tasks per measure
leading_flips(found)    # the leading arm against every other arm, per task
flips_csv(found)        # every example on which two arms differ
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.findings.findings import Findings
from reports.statistics.cells import Summary
from reports.statistics.loyalty import Flips, flips_table
from results.format.records import Arm

MEASURES = {
    "label": "Label loyalty, %",
    "probability": "Probability loyalty, %",
    "regression": "Regression loyalty, %",
    "calibration": "Expected calibration error, %",
}


@dataclass(frozen=True)
class Grid:
    """One measure: a row per arm, a column per task with predictions; a cell is None where it does not apply."""

    title: str
    tasks: tuple[str, ...]
    rows: tuple[tuple[Arm, tuple[Summary | None, ...]], ...]


def grids(found: Findings) -> list[Grid]:
    """A grid for each measure that some cell has."""
    made = [_grid(found, measure) for measure in MEASURES]
    return [grid for grid in made if grid.rows]


def _grid(found: Findings, measure: str) -> Grid:
    summaries = {(loyalty.task, loyalty.arm): getattr(loyalty, measure) for loyalty in found.loyalties}
    values: dict[tuple[str, str], Summary] = {key: summary for key, summary in summaries.items() if summary.n}
    arms = found.table.arms
    tasks = [task for task in found.results.suite.tasks if any((task.name, arm.name) in values for arm in arms)]
    rows = [(arm, tuple(values.get((task.name, arm.name)) for task in tasks)) for arm in arms]
    return Grid(MEASURES[measure], tuple(task.title for task in tasks), tuple(row for row in rows if any(row[1])))


def leading_flips(found: Findings) -> list[Flips]:
    """The leading arm against every other one, task by task, with the leading arm first."""
    leader = found.reference.name if found.reference else None
    pairs = [pair for pair in found.flips if leader in (pair.first, pair.second)]
    return [pair if pair.first == leader else pair.turned() for pair in pairs]


def flips_csv(found: Findings) -> str | None:
    """Every pair of arms (or every pair with the leading arm), a row per example on which they differ."""
    frames = [flips_table(pair, found.answers[pair.task]) for pair in found.flips]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return None
    table = pd.concat(frames, ignore_index=True)
    imported = [arm.name for arm in found.results.suite.arms if arm.origin]
    either = table["first"].isin(imported) | table["second"].isin(imported)
    table["origin"] = either.map({True: "imported", False: ""})
    return str(table.to_csv(index=False, lineterminator="\n"))
