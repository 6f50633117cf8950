"""The parts of the page that are neither the main table nor a figure, as plain rows for the template.

The template formats the numbers; what takes more than a format is put into words here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from reports.findings.findings import Findings
from reports.statistics.cells import summarise
from reports.words import counted, duration, listed
from results.format import layout
from results.format.places import hidden_here
from results.format.records import PROTOCOLS, Arm, Results, Run, Suite

Row = dict[str, Any]


def costs(found: Findings) -> list[Row]:
    """Parameters and training cost per arm over the runs that are done; the total includes every run of every trial."""
    results = found.results
    deep = next((arm for arm in results.suite.arms if arm.is_predecessor), None)
    reference = _largest([run.parameters for run in _done(results, deep.name)]) if deep else None
    return [_cost(results, arm, reference) for arm in found.table.arms]


def _cost(results: Results, arm: Arm, reference: int | None) -> Row:
    runs = _done(results, arm.name)
    parameters = _largest([run.parameters for run in runs])
    return {
        "arm": arm,
        "parameters": parameters,
        "fewer": reference / parameters if reference and parameters and not arm.is_predecessor else None,
        "trainable": _largest([run.trainable_parameters for run in runs]),
        "seconds": _mean([run.train_seconds for run in runs]),
        "total": sum(run.train_seconds or 0.0 for run in results.runs if run.arm == arm.name) or None,
        "rate": _mean([run.examples_per_second for run in runs]),
        "memory": _largest([run.peak_memory_bytes for run in runs]),
    }


def selections(found: Findings) -> list[Row]:
    """Per arm: dev evaluations per run, and the macro (or the only task) at every protocol's checkpoint.

    `worth` is the score of the checkpoint chosen on dev minus that of the checkpoint chosen on held-out data.
    """
    return [_selection(found, arm) for arm in found.table.arms]


def _selection(found: Findings, arm: Arm) -> Row:
    counts = [run.evaluations for run in _done(found.results, arm.name) if run.evaluations is not None]
    cells = [found.cells.at(found.cells.main_task, arm.name, protocol) for protocol in PROTOCOLS]
    last, selected, held_out = (cell.summary.centre(found.results.suite.statistic) for cell in cells)
    spread = f"{min(counts)} to {max(counts)}" if counts and min(counts) != max(counts) else str(*counts[:1])
    return {
        "arm": arm,
        "evaluations": spread,
        "last": last,
        "selected": selected,
        "gain": selected - last if selected is not None and last is not None else None,
        "held_out": held_out,
        "worth": _worth(cells[1].scores, cells[2].scores),
    }


def _worth(on_dev: Mapping[int, float], held_out: Mapping[int, float]) -> float | None:
    """The mean difference over the seeds that have both scores, so that a missing seed does not shift it."""
    return summarise([on_dev[seed] - held_out[seed] for seed in sorted(on_dev.keys() & held_out.keys())]).mean


def run_lines(found: Findings, output: Path) -> list[tuple[str, list[Row]]]:
    """Every planned run grouped by task title, with links relative to the folder the page lies in."""
    arms = {arm.name: (i, arm) for i, arm in enumerate(found.table.arms)}
    groups = []
    for column in found.table.columns:
        planned = [run for run in found.results.runs if run.task == column.name]
        runs = sorted(planned, key=lambda run: (arms[run.arm][0], run.trial, run.seed))
        if runs:
            groups.append((column.title, [_run_line(found, run, arms[run.arm][1], output) for run in runs]))
    return groups


def _run_line(found: Findings, run: Run, arm: Arm, output: Path) -> Row:
    root = found.results.root
    selected_step = run.selected.step if run.selected else None
    steps = "" if run.steps is None else f"{run.steps:,}"
    flags = {flag for protocol in PROTOCOLS if (c := run.at(protocol)) for flag in c.flags}
    chosen = len(arm.trials) > 1 and run.trial == found.cells.at(run.task, arm.name).runs[0].trial
    return {
        "run": run,
        "arm": arm,
        "trial": f"{run.trial}{' (chosen)' if chosen else ''}",
        "step": f"{steps} (best at {selected_step:,})" if selected_step is not None and steps else steps,
        "flags": ", ".join(sorted(flags)),
        "config": link(root, run, layout.CONFIG, output) if run.config else "",
        "manifest": link(root, run, layout.MANIFEST, output) if run.manifest else "",
    }


def link(root: Path, run: Run, name: str, output: Path) -> str:
    """A percent-encoded relative link from the page's folder to a run's file; empty between two drives, and where the
    link would name the home folder, user or host of this machine."""
    try:
        relative = os.path.relpath(root.resolve() / run.folder / name, output.resolve())
    except ValueError:
        return ""
    return quote(Path(relative).as_posix()) if hidden_here(relative) == relative else ""


def failures_csv(found: Findings) -> str:
    """A line per task and arm; rates are shares of 1, means are points."""
    return str(pd.DataFrame(found.failures).to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def registration(suite: Suite) -> str:
    """Which seeds were planned when, for a suite that records it; empty for an older one."""
    if not suite.registered:
        return ""
    first, *later = suite.registered
    when = "before the first run" if first.after_runs == 0 else "at a time that was not recorded"
    said = f"Seeds {listed([str(seed) for seed in first.seeds])} were registered {when}"
    for before, entry in zip(suite.registered, later, strict=False):
        if set(entry.seeds) == set(before.seeds):
            continue
        said += (
            f"; they became {listed([str(seed) for seed in entry.seeds])} after {counted(entry.after_runs or 0, 'run')}"
        )
    return f"{said}. Claims are tested when all of them are there."


def per_seed_cost(results: Results) -> str:
    """What a predecessor for each seed would cost, where all seeds share one; empty elsewhere."""
    suite = results.suite
    deep = {arm.name for arm in suite.arms if arm.is_predecessor}
    seconds = [run.train_seconds for run in results.runs if run.arm in deep and run.train_seconds]
    if suite.predecessor_per_seed or not seconds or len(suite.seeds) < 2:
        return ""
    cost = duration(sum(seconds) * (len(suite.seeds) - 1))
    return (
        "All seeds share one predecessor per task, and its own spread is in no interval: a suite that is to decide "
        f"sets predecessor.per_seed = true, which here would cost {cost} of training more."
    )


def missing(found: Findings) -> list[str]:
    """One sentence for everything missing: absent and broken runs per cell, folders left out, the reader's notes."""
    results, lines = found.results, []
    for task in results.suite.tasks:
        for arm in found.table.arms:
            for status in ("diverged", "failed", "missing"):
                runs = [run for run in results.of(task.name, arm.name) if run.status == status]
                if runs:
                    which = _which(runs, len(arm.trials) > 1)
                    reasons = sorted({run.reason for run in runs if run.reason})
                    why = f" ({'; '.join(reasons)})" if reasons else ""
                    word = "not run yet" if status == "missing" else status
                    lines.append(f"{task.title}, {arm.title}: {which} {word}{why}")
    if results.left_out:
        belong, are = ("folders belong", "are") if results.left_out > 1 else ("folder belongs", "is")
        lines.append(f"{results.left_out} run {belong} to settings the suite no longer plans, and {are} left out")
    if not results.speed:
        lines.append("No speed.json: inference was not timed")
    return [*lines, *results.notes]


def _which(runs: Sequence[Run], searched: bool) -> str:
    """`seeds 1, 2`, per trial where there are several trials."""
    groups: dict[int, list[int]] = {}
    for run in runs:
        groups.setdefault(run.trial, []).append(run.seed)
    parts = []
    for trial, seeds in sorted(groups.items()):
        named = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(str(seed) for seed in seeds)}"
        parts.append(f"trial {trial} {named}" if searched else named)
    return "; ".join(parts)


def _done(results: Results, arm: str) -> list[Run]:
    return [run for run in results.runs if run.arm == arm and run.status == "done"]


def _largest(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
