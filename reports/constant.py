"""Seeds that learned to give one answer whatever they read: counted like any other, and named with what they do to a
median.

    for cell in constant_cells(results, "last"): ...

A small task fails this way on some seeds (Dodge et al. 2020, arXiv 2002.06305). Leaving them out would flatter a method
that fails often, hiding them would make a mean of two populations look like one: so both medians are shown.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from reports.results import Results, Run
from reports.trials import chosen_runs

FLAG = "constant predictions"  # how result.json begins such a flag; the split follows


@dataclass(frozen=True)
class ConstantCell:
    """A task and an arm of which some `seeds` (of `scored`) gave one answer only; the median score with them, and
    without them (None where nothing is left)."""

    task: str
    arm: str
    seeds: tuple[int, ...]
    scored: int
    median: float
    without: float | None


def is_constant(run: Run, protocol: str) -> bool:
    """Did the run predict one class, or one value, on a dev split?"""
    checkpoint = run.at(protocol)
    return checkpoint is not None and any(flag.startswith(FLAG) for flag in checkpoint.flags)


def constant_cells(results: Results, protocol: str) -> list[ConstantCell]:
    """The cells that have such seeds, by task and arm as the suite lists them."""
    cells = (
        _cell(results, task.name, arm.name, protocol) for task in results.suite.tasks for arm in results.suite.arms
    )
    return [cell for cell in cells if cell is not None]


def _cell(results: Results, task: str, arm: str, protocol: str) -> ConstantCell | None:
    runs = chosen_runs(results, task, arm, protocol)
    known = [(run, score) for run in runs if (score := run.score(protocol)) is not None]
    seeds = tuple(run.seed for run, _ in known if is_constant(run, protocol))
    if not seeds:
        return None
    others = [score for run, score in known if not is_constant(run, protocol)]
    titles = next(t.title for t in results.suite.tasks if t.name == task), results.suite.arm(arm).title
    median = statistics.median(score for _, score in known)
    return ConstantCell(*titles, seeds, len(known), median, statistics.median(others) if others else None)
