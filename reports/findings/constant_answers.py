"""Degenerate seeds predict one class or one value for every input. They count like any run; the report names them and
shows the median with and without them.

    for cell in constant_cells(cells): ...

A small task fails this way on some seeds (Dodge et al. 2020, arXiv 2002.06305). Leaving them out would flatter a method
that fails often, and hiding them would make a mean of two populations look like one.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from reports.statistics.cells import Cell, Cells
from reports.statistics.failures import CONSTANT


@dataclass(frozen=True)
class ConstantCell:
    """A task and arm where `seeds` (of `scored`) gave only one answer; the median with and `without` them, if any."""

    task: str
    arm: str
    seeds: tuple[int, ...]
    scored: int
    median: float
    without: float | None


def constant_cells(cells: Cells, protocol: str | None = None) -> list[ConstantCell]:
    """The cells with such seeds, in the suite's order of tasks and arms, at the suite's protocol by default."""
    suite = cells.results.suite
    protocol = protocol or suite.protocol
    found = (
        _constant(cells.at(task.name, arm.name, protocol), protocol, task.title, arm.title)
        for task in suite.tasks
        for arm in suite.arms
    )
    return [cell for cell in found if cell is not None]


def _constant(cell: Cell, protocol: str, task: str, arm: str) -> ConstantCell | None:
    found = {run.seed: checkpoint.flags for run in cell.runs if (checkpoint := run.at(protocol)) is not None}
    constant = {seed for seed, flags in found.items() if any(flag.startswith(CONSTANT) for flag in flags)}
    seeds = tuple(seed for seed in cell.scores if seed in constant)
    if not seeds:
        return None
    others = [score for seed, score in cell.scores.items() if seed not in constant]
    median = statistics.median(cell.scores.values())
    return ConstantCell(task, arm, seeds, len(cell.scores), median, statistics.median(others) if others else None)
