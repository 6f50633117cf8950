"""Scores that others measured with the method and the start of an arm here, as evidence beside the paper's.

    found = reruns(cells)      # a row per cell of results/published/reruns.csv that has a counterpart in the suite

They are no test: encoder, recipe and choice of the checkpoint differ, and most rest on one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.statistics.cells import Cell, Cells
from results.format.published_numbers import OthersCell, published_reruns
from results.format.records import Arm, Run, Task

STARTS = ("start", "init")  # of the rivals, of Theseus
METHODS = {"theseus": "BERT-of-Theseus", "pkd": "BERT-PKD", "kd": "Vanilla KD", "finetune": "Fine-tuning"}


@dataclass(frozen=True)
class Rerun:
    """One published cell and ours on the same task."""

    row: OthersCell
    task: Task
    arm: Arm
    cell: Cell


def reruns(cells: Cells) -> tuple[Rerun, ...]:
    """Every cell with the same task, method and start as an arm of the suite; empty for a synthetic language."""
    suite = cells.results.suite
    if suite.synthetic:
        return ()
    tasks = {task.published: task for task in suite.tasks}
    known = [(row, tasks[row.task]) for row in published_reruns() if row.task in tasks]
    found = (Rerun(row, task, arm, cells.at(task.name, arm.name)) for row, task in known for arm in suite.arms)
    first: dict[int, Rerun] = {}
    for rerun in found:
        arm, row = rerun.arm, rerun.row
        if METHODS.get(arm.method) == row.method and arm.x is None and _start(rerun.cell.runs) == row.start:
            first.setdefault(id(row), rerun)
    return tuple(first.values())


def _start(runs: tuple[Run, ...]) -> str:
    """Where an arm's successor starts, as its settings say; `None` as text where no run has them."""
    options: Any = next((run.config.options for run in runs if isinstance(run.config.options, Mapping)), {})
    start: Any = next((options[key] for key in STARTS if isinstance(options.get(key), Mapping)), {})
    return str(start.get("source"))
