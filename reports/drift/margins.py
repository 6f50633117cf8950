"""Margins: the fall that matters, per task and for the macro, and how many seeds it takes to rule it out.

    default_margins(results)                          # 1 or 2 points by task
    macro_margin(snapshot)                            # from the spread between the accepted seeds
    advice(accepted)                                  # the lines that `accept` prints

The spread between accepted seeds says what a comparison will be able to certify. New and accepted scores are two draws
with that spread, so their difference has sqrt(2) times as much. Where a seed's effect repeats it has less, so that the
counts of seeds given here are rather too high than too low.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import optimize

from reports.drift.snapshot import Cell, Snapshot
from reports.statistics.cells import MACRO, macro_scores
from reports.statistics.differences import SMALL_MARGIN, practical_margin
from reports.statistics.power import fewest, power_of_t
from reports.statistics.significance import ALPHA, MOST_SEEDS, variance_of
from results.format.errors import ReportError
from results.format.records import Results
from results.format.untrusted import shown

MACRO_MARGIN, MACRO_STEP = 1.0, 0.25  # points: the tightest margin of a macro, and the steps in which it is widened
PASSES = 0.9  # the share of unchanged cells that a margin is to let pass
SUITE_PASSES = 0.95  # the same of suites by their macros; cells that alarm by chance take some of it away
MOST_LENT = 20.0  # a cell borrows at most this many degrees of freedom


def default_margins(results: Results) -> dict[str, float]:
    """One point for tasks of 10,000 training examples or more; two for smaller tasks, whose seeds differ more."""
    return {task.name: practical_margin(results.suite, task.name) for task in results.suite.tasks}


def read_margins(given: Iterable[str], results: Results) -> dict[str, float]:
    """Read margins of the command line: `TASK=2.5`, `macro=1.5`, or `2.5` for every task."""
    found: dict[str, float] = {}
    for entry in given:
        task, equals, points = entry.rpartition("=")
        try:
            value = float(points)
        except ValueError:
            raise ReportError(f"--margin {shown(entry)}: write TASK=POINTS or POINTS, for example syn-cola=5") from None
        found |= {task: value} if equals else {t.name: value for t in results.suite.tasks}
    return found


def checked_margins(results: Results, margins: Mapping[str, float]) -> dict[str, float]:
    """The default margins with these in their place; `macro` is there only if it is given."""
    defaults = default_margins(results)
    merged = defaults | dict(margins)
    for task, margin in merged.items():
        if task not in defaults and task != MACRO:
            raise ReportError(f"margin of {shown(task)}: the suite has no such task")
        if not 0 <= margin <= 100:
            raise ReportError(f"margin of {task}: {margin:g} is not a number of points from 0 to 100")
    return merged


def macro_margin(found: Snapshot, tasks: Sequence[str] = ()) -> float:
    """The least margin at which the macros of 95 % of unchanged suites pass, at the accepted spread and seeds.

    It lies between `MACRO_MARGIN` and the mean of the task margins, which is how far the macro falls if every task
    falls by its own margin. `tasks` stand in where a baseline does not name those of the macro.
    """
    names = macro_names(found, tasks)
    most = float(np.mean([found.margins.get(task, SMALL_MARGIN) for task in names])) if names else SMALL_MARGIN
    if len(names) == 1:
        return most
    columns = _macro_columns(found, names)
    least = certifiable(_pooled(columns), columns, _each(columns))
    steps = math.ceil((least - MACRO_MARGIN) / MACRO_STEP - 1e-9) if math.isfinite(least) else math.inf
    return min(most, MACRO_MARGIN + MACRO_STEP * max(0, steps))


def macro_names(found: Snapshot, tasks: Sequence[str] = ()) -> tuple[str, ...]:
    """The tasks of the macro score: those recorded, or `tasks`, or all."""
    there = tuple(dict.fromkeys(task for task, _ in found.cells))
    return tuple(task for task in found.macro_tasks or tasks if task in there) or there


def spreads(found: Snapshot) -> dict[str, float]:
    """The sd between seeds, pooled over arms, by task and for `macro`; a task with one seed only is left out."""
    names = macro_names(found)
    columns = {task: _columns(found, task) for task in dict.fromkeys(task for task, _ in found.cells)}
    columns |= {MACRO: _macro_columns(found, names)} if len(names) > 1 else {}
    return {name: sd for name, found_in in columns.items() if (sd := _pooled(found_in)) is not None}


def advice(found: Snapshot) -> list[str]:
    """One line per task and for the macro: the margin, the seeds that it needs, and what these seeds can certify."""
    names = macro_names(found)
    lines = [_advice(task, margin, _columns(found, task), PASSES) for task, margin in found.margins.items()]
    if len(names) > 1 and found.macro_margin is not None:
        columns = _macro_columns(found, names)
        lines.append(_advice("macro of each arm", found.macro_margin, columns, _each(columns)))
    return lines


def _each(arms: Sequence[Sequence[float]]) -> float:
    """How often one arm has to pass if all arms together are to pass in `SUITE_PASSES`."""
    return float(SUITE_PASSES ** (1 / max(1, len(arms))))


def _advice(name: str, margin: float, columns: Sequence[Sequence[float]], passes: float) -> str:
    sd = _pooled(columns)
    if not sd:
        return f"{name}: margin {margin:g}; the accepted seeds show no spread, so nothing can be said about seeds"
    n, least = _seeds(columns), certifiable(sd, columns, passes)
    needed = seeds_for(margin, sd, len(columns), passes)
    count = f"{needed} seeds" if needed else f"more than {MOST_SEEDS} seeds"
    can = math.ceil(10 * least - 1e-9) / 10
    said = f"{name}: the seeds of one arm differ by {sd:.2f} points (sd)"
    return f"{said}; margin {margin:g} needs {count}; with {n} seeds {can:g} can be certified"


def certifiable(sd: float | None, columns: Sequence[Sequence[float]], passes: float) -> float:
    """The least margin that these seeds rule out in a share `passes` of unchanged comparisons; infinite if unknown."""
    return math.inf if sd is None else _reach(_seeds(columns), sd, len(columns), passes)


def seeds_for(margin: float, sd: float, arms: int, passes: float = PASSES) -> int | None:
    """The least number of seeds that rules out a fall of `margin` in a share `passes` of unchanged comparisons."""
    return fewest(lambda n: _reach(n, sd, arms, passes) <= margin)


def _reach(n: int, sd: float, arms: int, passes: float) -> float:
    """How far below zero the one-sided 95 % interval of an unchanged mean of n differences reaches, at that share."""
    df = min((n - 1) * arms, n - 1 + MOST_LENT)
    shift = float(optimize.brentq(lambda x: power_of_t(x, df, 2 * ALPHA) - passes, 1e-6, 1e4))
    return shift * math.sqrt(2 / n) * sd


def _columns(found: Snapshot, task: str) -> list[list[float]]:
    """The scores of each arm of a task that has two or more."""
    scored = [list(scores(cell).values()) for cell in found.cells.values() if cell.task == task]
    return [values for values in scored if len(values) > 1]


def _macro_columns(found: Snapshot, tasks: Sequence[str]) -> list[list[float]]:
    """The macro scores of each arm that has two or more."""
    arms = dict.fromkeys(arm for _, arm in found.cells)
    own = [[scores(found.cells[task, arm]) for task in tasks if (task, arm) in found.cells] for arm in arms]
    macros = [list(macro_scores(columns, shared=False).values()) for columns in own]
    return [values for values in macros if len(values) > 1]


def scores(cell: Cell) -> dict[int, float]:
    """The known scores by seed."""
    return {seed: o.score for seed, o in cell.outcomes.items() if o.score is not None}


def _pooled(columns: Sequence[Sequence[float]]) -> float | None:
    if not columns:
        return None
    weights = [len(column) - 1 for column in columns]
    return math.sqrt(float(np.average([variance_of(column) for column in columns], weights=weights)))


def _seeds(columns: Sequence[Sequence[float]]) -> int:
    return min(map(len, columns))
