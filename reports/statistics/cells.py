"""From runs to numbers per cell: the scores of a task and an arm, the macro score, and what is missing.

    cells = Cells.of(results)              # every cell at every protocol, each computed once
    cells.at("rte", "kd")                  # Cell: scores by seed, mean, median, sd, n, and what is missing
    cells.at(MACRO, "kd", "held_out")

A seed has a macro score only where it has a score of every macro task. A failed or missing run lowers n and is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from results.format.records import PROTOCOLS, Results, Run, Suite
from results.format.trials import chosen_runs

MACRO = "macro"


@dataclass(frozen=True)
class Summary:
    """Moments over runs, on the scale of the input. `sd` has ddof 1 and is None below two runs."""

    n: int
    mean: float | None = None
    median: float | None = None
    sd: float | None = None

    def centre(self, statistic: str) -> float | None:
        """The mean or the median."""
        return self.median if statistic == "median" else self.mean


@dataclass(frozen=True)
class Cell:
    """One task × arm (or macro × arm) at one protocol, over the runs of the chosen trial.

    `scores` are by seed; `planned` counts the planned seeds. A macro cell has the runs of every macro task.
    """

    task: str
    arm: str
    runs: tuple[Run, ...] = field(repr=False)
    scores: Mapping[int, float]
    summary: Summary
    planned: int

    @property
    def gap(self) -> str:
        """The gap in words: `2 of 3 seeds, 1 diverged`; empty when nothing is missing."""
        if self.planned == 0:
            return "not planned"
        if self.summary.n == self.planned:
            return ""
        statuses = [run.status for run in self.runs]
        bad = [f"{statuses.count(status)} {status}" for status in ("diverged", "failed") if status in statuses]
        return ", ".join([f"{self.summary.n} of {self.planned} seed{'s' if self.planned != 1 else ''}", *bad])


@dataclass(frozen=True)
class Cells:
    """Every cell of a results folder at every protocol. The page's answer is about `main_task`."""

    results: Results
    macro_tasks: tuple[str, ...]
    main_task: str
    _by_key: Mapping[tuple[str, str, str], Cell] = field(repr=False)

    @classmethod
    def of(cls, results: Results) -> Cells:
        """Compute all cells, tasks first, because a macro score is made of their scores."""
        suite, macro = results.suite, macro_tasks(results.suite)
        found: dict[tuple[str, str, str], Cell] = {}
        for protocol in PROTOCOLS:
            for arm in suite.arms:
                own = {task.name: _cell(results, task.name, arm.name, protocol) for task in suite.tasks}
                own[MACRO] = _macro_cell(arm.name, [own[name] for name in macro], is_shared(suite, arm.name))
                found |= {(task, arm.name, protocol): cell for task, cell in own.items()}
        return cls(results, macro, main_task(results), found)

    def at(self, task: str, arm: str, protocol: str | None = None) -> Cell:
        """One cell, at the suite's own protocol unless another is named; `task` may be `MACRO`."""
        return self._by_key[task, arm, protocol or self.results.suite.protocol]


def summarise(values: Sequence[float]) -> Summary:
    """n, mean, median and sd (ddof 1) of finite values; an empty input gives n = 0."""
    array = np.asarray(values, dtype=float)
    if array.size == 0:
        return Summary(0)
    sd = float(array.std(ddof=1)) if array.size > 1 else None
    return Summary(int(array.size), float(array.mean()), float(np.median(array)), sd)


def by_seed(runs: Sequence[Run], protocol: str) -> dict[int, float]:
    """The known scores by seed."""
    return {run.seed: score for run in runs if (score := run.score(protocol)) is not None}


def macro_tasks(suite: Suite) -> tuple[str, ...]:
    """Names of the tasks that enter the macro score, in the suite's order."""
    return tuple(task.name for task in suite.tasks if task.in_macro)


def main_task(results: Results) -> str:
    """The macro score, or the only task that the suite has runs of."""
    planned = {run.task for run in results.runs}
    names = [name for name in macro_tasks(results.suite) if name in planned]
    if len(names) > 1:
        return MACRO
    return names[0] if names else results.suite.tasks[0].name


def is_shared(suite: Suite, arm: str) -> bool:
    """Whether the arm is a predecessor with one run per task, which every seed starts from."""
    return suite.arm(arm).is_predecessor and not suite.predecessor_per_seed


def macro_scores(columns: Sequence[Mapping[int, float]], shared: bool) -> dict[int, float]:
    """The mean over tasks for every seed that has a score of each task. `shared`: there is one run per task."""
    if not columns:
        return {}
    if shared:
        # There is one run per task, so there is one macro score, whichever seed each run has.
        if not all(len(column) == 1 for column in columns):
            return {}
        return {min(columns[0]): float(np.mean([next(iter(column.values())) for column in columns]))}
    seeds = sorted(set.intersection(*(set(column) for column in columns)))
    return {seed: float(np.mean([column[seed] for column in columns])) for seed in seeds}


def for_every_seed(scores: Mapping[int, float], seeds: Iterable[int]) -> dict[int, float]:
    """The score of a shared predecessor's one run for each of these seeds; empty if it has no score."""
    return dict.fromkeys(seeds, *scores.values()) if len(scores) == 1 else {}


def _cell(results: Results, task: str, arm: str, protocol: str) -> Cell:
    runs = chosen_runs(results, task, arm, protocol)
    return _summed_up(task, arm, runs, by_seed(runs, protocol), is_shared(results.suite, arm))


def _macro_cell(arm: str, cells: Sequence[Cell], shared: bool) -> Cell:
    runs = tuple(run for cell in cells for run in cell.runs)
    return _summed_up(MACRO, arm, runs, macro_scores([cell.scores for cell in cells], shared), shared)


def _summed_up(task: str, arm: str, runs: tuple[Run, ...], scores: Mapping[int, float], shared: bool) -> Cell:
    planned = min(len(runs), 1) if shared else len({run.seed for run in runs})
    return Cell(task, arm, runs, scores, summarise(list(scores.values())), planned)
